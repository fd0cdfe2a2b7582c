/* relay.h - body bytes from one side to the other, at the pace of the slower.
 *
 * A byte is credited to its sender when the other side has taken it, not when we have read it:
 * that pauses an HTTP/1 connection, and is the window of an HTTP/2 stream. So a stalled stream
 * holds one read (64 KiB) in each direction, however long its body is. */
#ifndef SLUICE_PROXY_RELAY_H
#define SLUICE_PROXY_RELAY_H

#include "base/buf.h"
#include "proxy/side.h"

struct relay {
    struct side *from, *to; /* to may be NULL until it is known: bytes wait in `early` */
    struct buf early;
    uint64_t bytes;  /* passed so far */
    size_t held;     /* delivered by `from`, not yet credited */
    bool from_ended; /* the whole body has come in */
    bool discarding;
};

/* n bytes from `from` are dealt with by the caller: counted, and credited by relay_drained(). */
static inline void relay_take(struct relay *r, size_t n)
{
    r->bytes += n;
    r->held += n;
}

/* Bytes from `from`. 0 or -ENOMEM. */
int relay_push(struct relay *r, struct buf_pool *pool, const char *p, size_t n);
/* `to` is there now: what waited goes out. */
void relay_open(struct relay *r, struct buf_pool *pool, struct side *to);
/* `to` has gone, and another will come: p[0..n) are all the bytes that it was given. 0 or
 * -ENOMEM. */
int relay_rewind(struct relay *r, struct buf_pool *pool, const char *p, size_t n);
/* The same when bytes were discarded too: all that has come from `from` is p[0..n), and goes out
 * again. 0 or -ENOMEM. */
int relay_replay(struct relay *r, struct buf_pool *pool, const char *p, size_t n);
/* `to` takes bytes again. */
void relay_drained(struct relay *r);
/* Bytes will go nowhere: they are credited at once from now on. */
void relay_discard(struct relay *r, struct buf_pool *pool);

#endif
