/* admission.c - places among the requests in flight, and the queue for them. */
#include "proxy/admission.h"

#include "proxy/pool.h"
#include "proxy/stream.h"
#include "proxy/upstream_shared.h"
#include "proxy/worker.h"

/* The bit of a worker that waits is set before it looks a last time, and read after a place was
 * given back: so one of the two sees the other. Hence the ordered operations. */
static bool take(struct pool *p, struct stream *s)
{
    uint32_t before = atomic_fetch_add(&p->shared->requests, 1);
    if (before >= p->conf->bounds.requests) {
        (void)atomic_fetch_sub(&p->shared->requests, 1);
        return false;
    }
    pool_count_over(p, LIMIT_REQUESTS, before, p->conf->limits.requests);
    s->admitted = true;
    return true;
}

static void wake_soon(struct pool *p)
{
    timer_set(&p->worker->loop, &p->admission_timer, p->worker->loop.now);
}

static struct stream *first_waiting(struct pool *p)
{
    struct list *first = list_first(&p->unadmitted);
    return first ? LIST_ENTRY(first, struct pool_wait, link)->stream : NULL;
}

static void leave_queue(struct pool *p, struct stream *s)
{
    list_remove(&s->exchange->wait.link);
    pool_uncount_pending(p, s);
}

static usec_t ends_at(const struct pool *p, const struct stream *s)
{
    return s->exchange->wait.since + p->conf->queue_timeout;
}

static void on_timer(struct timer *t)
{
    struct pool *p = CONTAINER_OF(t, struct pool, admission_timer);
    struct stream *s;
    while ((s = first_waiting(p)) != NULL && take(p, s)) {
        leave_queue(p, s);
        stream_on_admitted(s);
    }
    /* All have waited for as long as the oldest, or less. */
    while ((s = first_waiting(p)) != NULL && ends_at(p, s) <= p->worker->loop.now) {
        leave_queue(p, s);
        stream_on_refused(s, REASON_QUEUE_TIMEOUT);
    }
    if (!s)
        return;
    timer_set(&p->worker->loop, t, ends_at(p, s));
    (void)atomic_fetch_or(&p->shared->queueing, pool_bit(p->worker->id));
    if (atomic_load(&p->shared->requests) < p->conf->bounds.requests)
        wake_soon(p);
}

void admission_init(struct pool *p)
{
    list_init(&p->unadmitted);
    timer_init(&p->admission_timer, on_timer);
}

void admission_free(struct pool *p)
{
    CHECK(list_empty(&p->unadmitted));
    timer_stop(&p->worker->loop, &p->admission_timer);
}

void admission_look(struct pool *p)
{
    if (!list_empty(&p->unadmitted))
        wake_soon(p);
}

enum admission admission_ask(struct pool *p, struct stream *s, enum reason *ret_reason)
{
    if (s->admitted || (list_empty(&p->unadmitted) && take(p, s)))
        return ADMISSION_GRANTED;
    if (!pool_count_pending(p, s, p->conf->bounds.pending)) {
        *ret_reason = REASON_REQUEST_LIMIT;
        return ADMISSION_REFUSED;
    }
    s->exchange->wait.since = p->worker->loop.now;
    list_push_back(&p->unadmitted, &s->exchange->wait.link);
    /* The timer looks whether a place came free meanwhile, and sets our bit. */
    wake_soon(p);
    return ADMISSION_WAITS;
}

void admission_leave(struct pool *p, struct stream *s)
{
    if (!s->admitted)
        return;
    s->admitted = false;
    (void)atomic_fetch_sub(&p->shared->requests, 1);
    uint64_t queueing = atomic_load(&p->shared->queueing);
    if (queueing == 0)
        return;
    (void)atomic_fetch_and(&p->shared->queueing, ~queueing);
    for (uint32_t i = 0; i < p->worker->process->n_workers; i++) {
        if (!(queueing >> i & 1))
            continue;
        if (i == p->worker->id)
            wake_soon(p);
        else
            pool_post(p, i, wake_soon);
    }
}
