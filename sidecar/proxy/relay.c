/* relay.c - body bytes from one side to the other, at the pace of the slower. */
#include "proxy/relay.h"

#include <errno.h>

static void settle(struct relay *r)
{
    size_t n = r->held;
    if (n == 0 || !r->from || (r->to && r->to->blocked))
        return;
    r->held = 0;
    r->from->ops->credit(r->from, n);
}

int relay_push(struct relay *r, struct buf_pool *pool, const char *p, size_t n)
{
    relay_take(r, n);
    if (!r->to && !r->discarding)
        return buf_append(pool, &r->early, p, n);
    if (r->to)
        r->to->ops->body(r->to, p, n);
    settle(r);
    return 0;
}

void relay_open(struct relay *r, struct buf_pool *pool, struct side *to)
{
    r->to = to;
    if (buf_len(&r->early) > 0)
        to->ops->body(to, buf_data(&r->early), buf_len(&r->early));
    buf_clear(pool, &r->early);
    settle(r);
}

int relay_rewind(struct relay *r, struct buf_pool *pool, const char *p, size_t n)
{
    if (r->discarding || (n > 0 && buf_append(pool, &r->early, p, n) < 0))
        return -ENOMEM;
    r->to = NULL;
    return 0;
}

int relay_replay(struct relay *r, struct buf_pool *pool, const char *p, size_t n)
{
    r->discarding = false;
    buf_clear(pool, &r->early);
    return relay_rewind(r, pool, p, n);
}

void relay_drained(struct relay *r)
{
    settle(r);
}

void relay_discard(struct relay *r, struct buf_pool *pool)
{
    r->to = NULL;
    r->discarding = true;
    buf_clear(pool, &r->early);
    settle(r);
}
