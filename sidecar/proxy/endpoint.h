/* endpoint.h - one address of an upstream as one worker sees it, and which one a request goes to
 * (endpoint_choose.c).
 *
 * Listed by its pool, or no longer: then what is busy there ends with its stream. Lives until its
 * pool's list, its connections and the streams that name it have let go. One worker's only. */
#ifndef SLUICE_PROXY_ENDPOINT_H
#define SLUICE_PROXY_ENDPOINT_H

#include "base/result.h"
#include "proxy/upstream_shared.h"

struct stream;

#define ENDPOINT_UNLISTED UINT32_MAX

enum { ENDPOINT_WEIGHT_WHOLE = 10000 }; /* its whole share */

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
    uint8_t place;          /* where the pool has levels: in pool->levels->places */
    uint32_t refs;
    uint32_t credit;              /* round robin: what it has saved up of its weight */
    usec_t avoid_until;           /* it refused a connect: others are preferred until then */
    usec_t heard_at;              /* the last answer, or connection made */
    struct pace pace;             /* of its answers to this worker */
    struct list unreachable_link; /* on pool->unreachable: we found it so, and look whether it is */
    usec_t tested_at;             /* by a connection that nobody waits for */
    usec_t unreachable_told_at;   /* when the log was told last; 0: never */
    usec_t tls_told_at;           /* when the log was told last that TLS with it fails; 0: never */
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

/* Where a request goes; NULL when the pool has none that it has not tried, or the operator has
 * drained them all. s may be NULL. The best that there is: one that is well; one that is, and has
 * refused a connect lately; one that is ejected or unhealthy. While fewer than panicThreshold are
 * well, all are. Where there are levels one is drawn by its share, and the others are asked in
 * their order where it has none so good; of a level its zones likewise. O(1) as long as most can be
 * used. */
struct endpoint *endpoint_choose(struct pool *p, const struct stream *s);
/* There was none, as those that there are have as many connections or requests as they may. */
bool endpoint_limited(const struct pool *p, const struct stream *s);
/* Where a connection that nobody waits for goes; NULL: nowhere. */
struct endpoint *endpoint_choose_next(struct pool *p);

/* The operator has drained it. */
static inline bool endpoint_drained(const struct endpoint *e)
{
    return (standing_word(&e->shared->standing) & STANDING_DRAINED) != 0;
}
/* Others go before it: it is drained or unreachable, or it is ejected or unhealthy and there is no
 * panic. Where its ejection is over it is used again from here on. */
bool endpoint_is_out(const struct endpoint *e);
/* failover.dryRun: it is of a priority that nothing goes to. */
bool endpoint_is_beyond(const struct endpoint *e);
/* The place that a connection to it takes is of more use to others: it is out, or nothing goes to
 * its level (pool_levels.h). */
bool endpoint_is_spare(const struct endpoint *e);

/* --- packets to it are lost (endpoint_unreachable.c; policies/unreachable.h) --- */

static inline bool endpoint_unreachable(const struct endpoint *e)
{
    return (standing_word(&e->shared->standing) & STANDING_UNREACHABLE) != 0;
}
/* There is another one to go to. O(n) when most are out. */
bool endpoint_has_other(const struct endpoint *e);
/* Another one has answered since then. O(n). */
bool endpoint_other_heard(const struct endpoint *e, usec_t since);
/* It is, for all workers, until a connection to it is made; this worker tries, once an
 * unreachableAfter. Only where there is another one. */
void endpoint_lost(struct endpoint *e);
/* It may be: a connection to it is tried, which nobody waits for. */
void endpoint_suspect(struct endpoint *e);
/* It has answered. */
void endpoint_heard(struct endpoint *e);
/* A connection to it has been made. */
void endpoint_found(struct endpoint *e);
/* It leaves the pool's list, or the pool goes. */
void endpoint_unwatch(struct endpoint *e);
/* The pool's timer. When it is to come again; USEC_NEVER: need not. */
usec_t endpoint_test_unreachable(struct pool *p, usec_t now);

/* A try at it has ended so: never RESULT_NOTHING. latency: request sent to response's head, or to
 * when we stopped waiting for it; 0: there is none. */
void endpoint_on_result(struct endpoint *e, enum result r, usec_t latency);
/* The same, for outlier detection, which the upstream has (endpoint_judge.c). */
void endpoint_judge(struct endpoint *e, enum result r, usec_t latency);

/* Others are preferred for a while. */
void endpoint_avoid(struct endpoint *e);
/* A connect to it failed, which says something about it: others are preferred for a while. */
void endpoint_failed(struct endpoint *e);
/* It did not take the request: s tries another, if there is one that it has not tried. */
void endpoint_declined(struct endpoint *e, struct stream *s);
/* A connect failed that s waited for: it tries another, with some luck of another family. */
void endpoint_refused(struct endpoint *e, struct stream *s);

#endif
