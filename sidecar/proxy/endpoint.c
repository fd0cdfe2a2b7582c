/* endpoint.c - one address of an upstream as one worker sees it. */
#include "proxy/endpoint.h"

#include "base/mem.h"
#include "proxy/pool.h"
#include "proxy/worker.h"

enum { AVOID_MS = 1000 }; /* an endpoint that refused is not preferred for so long */

struct endpoint *endpoint_get(struct pool *p, struct endpoint_shared *shared)
{
    uint32_t id = p->worker->id;
    struct endpoint *e = shared->worker[id].endpoint;
    if (e) {
        CHECK(e->pool == p);
        return endpoint_ref(e);
    }
    e = mem_zalloc(sizeof(*e));
    if (!e)
        return NULL;
    e->shared = endpoint_shared_ref(shared);
    e->stats = &shared->worker[id].stats;
    e->pool = p;
    e->index = ENDPOINT_UNLISTED;
    e->refs = 1;
    /* So that endpoints of one weight do not come up all at once. Not by the loop's numbers: a pool
     * is made by the control thread, while the worker draws them. */
    struct rng rng;
    rng_init(&rng, (uintptr_t)e);
    e->credit = rng_below(&rng, ENDPOINT_WEIGHT_WHOLE);
    list_init(&e->idle);
    list_init(&e->open);
    list_init(&e->unreachable_link);
    shared->worker[id].endpoint = e;
    p->endpoints_alive++;
    return e;
}

void endpoint_unref(struct endpoint *e)
{
    if (!e || --e->refs > 0)
        return;
    endpoint_unwatch(e);
    CHECK(list_empty(&e->idle) && list_empty(&e->open) && e->active == 0);
    e->pool->endpoints_alive--;
    e->shared->worker[e->pool->worker->id].endpoint = NULL;
    endpoint_shared_unref(e->shared);
    free(e);
}

void endpoint_on_result(struct endpoint *e, enum result r, usec_t latency)
{
    if (r == RESULT_SUCCESS)
        count_add(&e->stats->succeeded, 1);
    else if (result_local(r))
        count_add(&e->stats->errors, 1);
    if (!result_local(r))
        endpoint_heard(e);
    if (latency > 0 && e->pool->n_endpoints > 1) {
        if (pace_is_better(&e->pace, latency))
            pace_trial_passed(&e->shared->trial);
        pace_note(&e->pace, latency, e->pool->worker->loop.now);
    }
    if (e->pool->conf->outlier)
        endpoint_judge(e, r, latency);
}

void endpoint_avoid(struct endpoint *e)
{
    e->avoid_until = e->pool->worker->loop.now + AVOID_MS * USEC_PER_MSEC;
}

void endpoint_failed(struct endpoint *e)
{
    endpoint_avoid(e);
    endpoint_on_result(e, RESULT_CONNECT, 0);
}
