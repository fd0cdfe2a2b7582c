/* endpoint.h - one address of an upstream as one worker sees it, and which one a request goes to.
 *
 * Listed by its pool, or no longer: then what is busy there ends with its stream. Lives until its
 * pool's list, its connections and the streams that name it have let go. One worker's only. */
#ifndef SLUICE_PROXY_ENDPOINT_H
#define SLUICE_PROXY_ENDPOINT_H

#include "base/result.h"
#include "proxy/upstream_shared.h"

struct stream;

#define ENDPOINT_UNLISTED UINT32_MAX

struct endpoint {
    struct endpoint_shared *shared; /* a reference */
    struct endpoint_stats *stats;   /* this worker's, in there */
    struct pool *pool;
    struct list idle;       /* upstream_conn.endpoint_link, latest used first */
    struct list open;       /* the same, of those that carry streams and have room */
    uint32_t active;        /* streams */
    uint32_t http2_streams; /* that its server took at once when it last said so; 0: never has */
    bool chose_http1;       /* its last connection speaks HTTP/1 */
    uint32_t index;         /* in pool->endpoints; ENDPOINT_UNLISTED: it is there no longer */
    uint32_t refs;
    usec_t avoid_until; /* it refused a connect: others are preferred until then */
    usec_t tls_told_at; /* when the log was told last that TLS with it fails; 0: never */
};

/* The pool's endpoint for it, with a reference more: the one that there is, or a new one, which is
 * not listed yet. NULL when memory is short. */
struct endpoint *endpoint_get(struct pool *p, struct endpoint_shared *shared);
static inline struct endpoint *endpoint_ref(struct endpoint *e)
{
    e->refs++;
    return e;
}
/* NULL is harmless. */
void endpoint_unref(struct endpoint *e);

static inline bool endpoint_listed(const struct endpoint *e)
{
    return e->index != ENDPOINT_UNLISTED;
}

/* Where a request goes; NULL when the pool has none that it has not tried. s may be NULL. */
struct endpoint *endpoint_choose(struct pool *p, const struct stream *s);
/* Where a connection that nobody waits for goes. */
struct endpoint *endpoint_choose_next(struct pool *p);

/* A try at it has ended so: never RESULT_NOTHING. */
void endpoint_on_result(struct endpoint *e, enum result r);

/* Others are preferred for a while. */
void endpoint_avoid(struct endpoint *e);
/* It did not take the request: s tries another, if there is one that it has not tried. */
void endpoint_declined(struct endpoint *e, struct stream *s);
/* A connect failed: others are preferred for a while, and s, if there is one, tries another. */
void endpoint_refused(struct endpoint *e, struct stream *s);

#endif
