/* pool_ask.c - mails to pools: workers that ask each other for connection slots, and the control
 * thread's news of endpoints. */
#include "proxy/pool.h"

#include "base/mem.h"
#include "proxy/endpoint_limits.h"
#include "proxy/upstream.h"
#include "proxy/upstream_shared.h"
#include "proxy/worker.h"

enum { YOUNG_MS = 100 };

struct pool_mail {
    struct mail mail;
    struct upstream_shared *shared; /* a reference: either pool may go before it arrives */
    void (*fn)(struct pool *);
};

static void on_mail(struct mail *m, void *owner)
{
    struct pool_mail *pm = CONTAINER_OF(m, struct pool_mail, mail);
    struct worker *w = owner;
    struct pool *p = pm->shared->worker[w->id].pool;
    if (p)
        pm->fn(p);
    upstream_shared_unref(pm->shared);
    free(pm);
}

void pool_post(struct pool *p, uint32_t worker, void (*fn)(struct pool *))
{
    pool_post_shared(p->shared, &p->worker->process->workers[worker], fn);
}

void pool_post_shared(struct upstream_shared *u, struct worker *w, void (*fn)(struct pool *))
{
    struct pool_mail *pm = mem_zalloc(sizeof(*pm));
    if (!pm)
        return; /* who waits is told by its queue time */
    pm->shared = upstream_shared_ref(u);
    pm->fn = fn;
    mailbox_post(&w->mailbox, &pm->mail, on_mail);
}

static void on_endpoints(struct mail *m, void *owner)
{
    struct endpoint_list *list = CONTAINER_OF(m, struct endpoint_list, mail);
    struct upstream_shared *shared = list->upstream;
    struct worker *w = owner;
    struct pool *p = shared->worker[w->id].pool;
    if (p)
        (void)pool_set_endpoints(p, list);
    else
        (void)endpoint_list_free(list);
    upstream_shared_unref(shared);
}

void pool_post_endpoints(struct mailbox *worker, struct endpoint_list *list)
{
    (void)upstream_shared_ref(list->upstream);
    mailbox_post(worker, &list->mail, on_endpoints);
}

void pool_ask_others(struct pool *p)
{
    uint64_t mine = pool_bit(p->worker->id);
    uint64_t was = atomic_fetch_or(&p->shared->starving, mine);
    if (was & mine)
        return;
    for (uint32_t i = 0; i < p->worker->process->n_workers; i++) {
        if (i != p->worker->id)
            pool_post(p, i, pool_yield_idle);
    }
}

void pool_tell_starving(struct pool *p)
{
    uint64_t starving = atomic_load(&p->shared->starving) & ~pool_bit(p->worker->id);
    if (starving == 0 || p->closing)
        return;
    (void)atomic_fetch_and(&p->shared->starving, ~starving);
    for (uint32_t i = 0; i < p->worker->process->n_workers; i++) {
        if (starving & pool_bit(i))
            pool_post(p, i, pool_slot_free);
    }
}

bool pool_others_starve(const struct pool *p)
{
    return (atomic_load(&p->shared->starving) & ~pool_bit(p->worker->id)) != 0;
}

void pool_yield_idle(struct pool *p)
{
    struct list *oldest = list_last(&p->idle);
    if (oldest)
        upstream_close(LIST_ENTRY(oldest, struct upstream_conn, link));
    else if (atomic_load(&p->shared->connections) < p->conf->bounds.connections &&
             !endpoint_limits_set(p->conf)) /* who waits for those looks himself */
        pool_tell_starving(p);              /* a slot became free while it was asking */
    else
        pool_yield_busy(p);
}

/* A connection that many streams share may never be idle. Of several the one with the fewest
 * streams is given up; an only one when all that it carries is young, and so probably short: for
 * a long stream's time neither we nor who asks would have a connection. */
void pool_yield_busy(struct pool *p)
{
    struct upstream_conn *least = NULL;
    uint32_t n = 0;
    if (!list_empty(&p->waiting))
        return;
    LIST_FOREACH (it, &p->active) {
        struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
        if (!u->h2)
            continue;
        if (u->leaving)
            return; /* one at a time */
        n++;
        if (!least || u->streams < least->streams)
            least = u;
    }
    if (least &&
        (n > 1 || least->ops->oldest(least) + YOUNG_MS * USEC_PER_MSEC > p->worker->loop.now))
        pool_leave(p, least);
}
