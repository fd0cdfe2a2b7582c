/* stream_permit.c - asking the circuit breaker, and telling it. */
#include "proxy/stream_permit.h"

#include "proxy/breaker_tell.h"
#include "proxy/worker.h"

static const struct breaker_rules *rules_of(const struct stream *s)
{
    return &s->pool->conf->breaker;
}

static struct breaker *breaker_of(const struct stream *s)
{
    return &s->pool->shared->breaker;
}

/* Not with dryRun; but an operator's word holds in any case. */
static bool acts(const struct pool *p)
{
    return (p->conf->breaker.enabled && !p->conf->breaker.dry_run) ||
           breaker_is_forced(&p->shared->breaker);
}

static bool is_stale(const struct stream *s)
{
    return s->permit_held && !breaker_is_current(breaker_of(s), s->permit_epoch);
}

static void on_change(const struct stream *s, const struct breaker_change *c)
{
    if (!c->happened)
        return;
    breaker_tell(s->pool->conf->name, rules_of(s), c);
    if (c->to == BREAKER_OPEN && acts(s->pool))
        stream_permits_recall(s->worker->process, s->pool->shared);
}

bool stream_permit_would_fail(const struct stream *s)
{
    return acts(s->pool) && breaker_refuses(breaker_of(s), s->worker->loop.now);
}

bool stream_permit_refused(struct stream *s)
{
    if (s->permit_held || !stream_permit_would_fail(s))
        return false;
    count_add(&s->pool->stats->breaker_refused, 1);
    return true;
}

bool stream_permit_take(struct stream *s)
{
    const struct breaker_rules *r = rules_of(s);
    struct worker *w = s->worker;
    struct breaker_change change = {0};
    enum breaker_verdict v = BREAKER_REFUSE;
    if (s->permit_held && !is_stale(s))
        return true;
    s->permit_held = s->permit_probe = false;
    if (r->enabled)
        v = breaker_admit(breaker_of(s), r, w->loop.now, s->deadline ? s->deadline : USEC_NEVER,
                          rng_next(&w->loop.rng), &s->permit_epoch, &change);
    else if (!breaker_is_forced(breaker_of(s)))
        return true;
    on_change(s, &change);
    if (v != BREAKER_REFUSE) {
        s->permit_held = true;
        s->permit_probe = v == BREAKER_PROBE;
        return true;
    }
    bool refused = acts(s->pool);
    count_add(refused ? &s->pool->stats->breaker_refused : &s->pool->stats->breaker_dry_run, 1);
    return !refused;
}

bool stream_permit_lost(struct stream *s)
{
    if (!acts(s->pool) || !is_stale(s) || !breaker_refuses(breaker_of(s), s->worker->loop.now))
        return false;
    s->permit_held = s->permit_probe = false;
    count_add(&s->pool->stats->breaker_refused, 1);
    return true;
}

/* From the request sent to the response's head, or until now. */
static usec_t took(const struct stream *s)
{
    if (s->sent == 0 || (s->response_begun && s->first_byte < s->sent))
        return 0;
    return (s->first_byte >= s->sent ? s->first_byte : clock_mono()) - s->sent;
}

void stream_permit_report(struct stream *s, enum result r)
{
    struct breaker_change change = {0};
    if (!s->permit_held)
        return;
    s->permit_held = s->permit_probe = false;
    breaker_report(breaker_of(s), rules_of(s), s->permit_epoch, r, took(s), s->worker->loop.now,
                   rng_next(&s->worker->loop.rng), &change);
    on_change(s, &change);
}

void stream_permit_answered(struct stream *s)
{
    if (s->permit_probe && s->status < 500)
        breaker_answered(breaker_of(s), s->permit_epoch);
}

unsigned stream_permit_retry_after(const struct stream *s)
{
    usec_t t = breaker_is_forced(breaker_of(s))
                   ? rules_of(s)->max_open_duration
                   : breaker_opens_in(breaker_of(s), s->worker->loop.now);
    return (unsigned)max_u64((t + USEC_PER_SEC - 1) / USEC_PER_SEC, 1);
}

/* --- who waits --- */

static struct stream *next_to_refuse(const struct pool *p)
{
    struct list *first = list_first(&p->unadmitted);
    if (first && breaker_refuses(&p->shared->breaker, p->worker->loop.now))
        return LIST_ENTRY(first, struct pool_wait, link)->stream;
    LIST_FOREACH (it, &p->waiting) {
        struct stream *s = LIST_ENTRY(it, struct pool_wait, link)->stream;
        if (is_stale(s))
            return s;
    }
    return NULL;
}

static void refuse_waiting(struct pool *p)
{
    struct stream *s;
    while (acts(p) && (s = next_to_refuse(p)) != NULL) {
        pool_cancel(p, s);
        count_add(&p->stats->breaker_refused, 1);
        stream_on_refused(s, REASON_BREAKER_OPEN);
    }
}

void stream_permits_recall(struct process *p, struct upstream_shared *u)
{
    for (uint32_t i = 0; i < u->n_workers; i++)
        pool_post_shared(u, &p->workers[i], refuse_waiting);
}
