/* endpoint.c - which address a request goes to. */
#include "proxy/endpoint.h"

#include "base/mem.h"
#include "proxy/pool.h"
#include "proxy/stream.h"
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
    list_init(&e->idle);
    list_init(&e->open);
    shared->worker[id].endpoint = e;
    p->endpoints_alive++;
    return e;
}

void endpoint_unref(struct endpoint *e)
{
    if (!e || --e->refs > 0)
        return;
    CHECK(list_empty(&e->idle) && list_empty(&e->open) && e->active == 0);
    e->pool->endpoints_alive--;
    e->shared->worker[e->pool->worker->id].endpoint = NULL;
    endpoint_shared_unref(e->shared);
    free(e);
}

/* --- choosing --- */

/* The bits are of one list; with the next one they say nothing, and only the number of tries
 * bounds them. */
static bool tried(const struct pool *p, const struct stream *s, uint32_t i)
{
    return s && i < 64 && s->exchange->wait.tried_version == p->endpoints_version &&
           (s->exchange->wait.tried_endpoints >> i & 1);
}

/* What is asked of an endpoint, the best first. An IPv6 that leads nowhere takes IPv4 with it as
 * little as the other way round (RFC 8305's reason, without its race). */
enum preference { OTHER_FAMILY, NOT_REFUSED, HEALTHY, ANY };

static bool usable(const struct pool *p, const struct stream *s, uint32_t i,
                   enum preference preference)
{
    const struct endpoint *e = p->endpoints[i];
    if (tried(p, s, i))
        return false;
    if (preference == ANY)
        return true;
    if (endpoint_shared_unhealthy(e->shared))
        return false;
    if (preference == HEALTHY)
        return true;
    return e->avoid_until <= p->worker->loop.now &&
           (preference == NOT_REFUSED ||
            e->shared->address.u.sa.sa_family != s->exchange->wait.refused_family);
}

/* Endpoints that refused lately come behind the others, and those that their health check finds
 * unhealthy come last: each is taken only when there is no better one. */
static struct endpoint *next_usable(const struct pool *p, const struct stream *s, uint32_t from)
{
    bool again = s && s->exchange->wait.refused_family != AF_UNSPEC;
    for (int preference = again ? OTHER_FAMILY : NOT_REFUSED; preference <= ANY; preference++) {
        for (uint32_t k = 0; k < p->n_endpoints; k++) {
            uint32_t i = (from + k) % p->n_endpoints;
            if (usable(p, s, i, (enum preference)preference))
                return p->endpoints[i];
        }
    }
    return NULL;
}

struct endpoint *endpoint_choose_next(struct pool *p)
{
    return p->n_endpoints > 0 ? next_usable(p, NULL, p->cursor++ % p->n_endpoints) : NULL;
}

struct endpoint *endpoint_choose(struct pool *p, const struct stream *s)
{
    uint32_t n = p->n_endpoints;
    if (n <= 1)
        return n == 0 || tried(p, s, 0) ? NULL : p->endpoints[0];
    if (p->conf->balance == BALANCE_ROUND_ROBIN)
        return next_usable(p, s, p->cursor++ % n);
    struct rng *rng = &p->worker->loop.rng;
    struct endpoint *a = next_usable(p, s, rng_below(rng, n));
    if (!a)
        return NULL;
    struct endpoint *b = next_usable(p, s, (a->index + 1 + rng_below(rng, n - 1)) % n);
    return b->active < a->active ? b : a;
}

void endpoint_on_result(struct endpoint *e, enum result r)
{
    if (r == RESULT_SUCCESS)
        count_add(&e->stats->succeeded, 1);
    else if (result_local(r))
        count_add(&e->stats->errors, 1);
}

void endpoint_avoid(struct endpoint *e)
{
    e->avoid_until = e->pool->worker->loop.now + AVOID_MS * USEC_PER_MSEC;
}

static void note_tried(struct endpoint *e, struct stream *s)
{
    struct pool *p = e->pool;
    if (s->exchange->wait.tried_version != p->endpoints_version) {
        s->exchange->wait.tried_version = p->endpoints_version;
        s->exchange->wait.tried_endpoints = 0;
    }
    if (e->index < 64)
        s->exchange->wait.tried_endpoints |= UINT64_C(1) << e->index;
}

void endpoint_declined(struct endpoint *e, struct stream *s)
{
    note_tried(e, s);
    if (!next_usable(e->pool, s, 0))
        s->exchange->wait.tried_endpoints = 0; /* all have: from the beginning */
}

void endpoint_refused(struct endpoint *e, struct stream *s)
{
    endpoint_avoid(e);
    endpoint_on_result(e, RESULT_CONNECT);
    if (!s)
        return;
    s->tries++;
    s->exchange->wait.refused_family = e->shared->address.u.sa.sa_family;
    note_tried(e, s);
}
