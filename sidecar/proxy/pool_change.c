/* pool_change.c - a pool comes, gets other limits or other endpoints, and goes. */
#include "proxy/pool.h"

#include "base/mem.h"
#include "proxy/admission.h"
#include "proxy/endpoint.h"
#include "proxy/pool_levels.h"
#include "proxy/upstream.h"
#include "proxy/upstream_tls.h"
#include "proxy/worker.h"

#include <errno.h>

static void close_idle(struct pool *p)
{
    struct list *first;
    while ((first = list_first(&p->idle)) != NULL)
        upstream_close(LIST_ENTRY(first, struct upstream_conn, link));
}

/* Nobody waits for them, and they would not be kept. What has a waiter serves it once. Those that
 * this turn leaves close when they are made. */
static void close_connecting(struct pool *p)
{
    LIST_FOREACH_SAFE (it, &p->connecting) {
        struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
        if (u->n_waiters == 0 &&
            (p->retired || !endpoint_listed(u->endpoint) || endpoint_drained(u->endpoint)) &&
            (p->closing || loop_spend(&p->worker->loop, 1)))
            upstream_close(u);
    }
}

/* What carries many streams may be leased again before it is without one. */
static void leave_active(struct pool *p)
{
    LIST_FOREACH (it, &p->active) {
        struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
        if (u->h2 && (p->retired || pool_worn(p, u)))
            pool_leave(p, u);
    }
}

/* --- endpoints --- */

static void unref_list(struct endpoint **list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        endpoint_unref(list[i]);
    free(list);
}

/* Takes `list` over, and gives its levels. NULL when memory is short. */
static struct endpoint **endpoints_of(struct pool *p, struct endpoint_list *list, uint32_t *ret_n,
                                      struct pool_levels **ret_levels)
{
    uint32_t n = 0;
    struct endpoint **at = mem_alloc(max_u64(list->n, 1) * sizeof(struct endpoint *));
    while (at && n < list->n) {
        at[n] = endpoint_get(p, list->at[n]);
        if (!at[n]) {
            unref_list(at, n);
            at = NULL;
            break;
        }
        n++;
    }
    if (at) {
        *ret_levels = list->levels;
        list->levels = NULL;
    }
    (void)endpoint_list_free(list);
    *ret_n = n;
    return at;
}

static void number(struct pool *p)
{
    for (uint32_t i = 0; i < p->n_endpoints; i++)
        p->endpoints[i]->index = i;
    pool_levels_enter(p);
}

int pool_set_endpoints(struct pool *p, struct endpoint_list *list)
{
    uint32_t n, n_was = p->n_endpoints;
    struct pool_levels *levels = NULL;
    struct endpoint **was = p->endpoints, **now = endpoints_of(p, list, &n, &levels);
    if (!now) {
        atomic_store(&p->shared->missed, true);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n_was; i++)
        was[i]->index = ENDPOINT_UNLISTED;
    free(p->levels);
    p->levels = levels;
    p->endpoints = now;
    p->n_endpoints = n;
    p->endpoints_version++;
    number(p);
    for (uint32_t i = 0; i < n_was; i++) {
        if (!endpoint_listed(was[i]))
            endpoint_unwatch(was[i]);
    }
    (void)pool_close_some(p);
    close_connecting(p);
    leave_active(p);
    unref_list(was, n_was);
    /* For who waits, and for minIdle. */
    pool_wake_at(p, p->worker->loop.now);
    return 0;
}

/* --- limits --- */

void pool_configure(struct pool *p, const struct conf_upstream *conf)
{
    /* What a retired one has of its old settings may be gone. */
    if (p->retired || !upstream_tls_same_rules(&p->conf->tls, &conf->tls))
        p->tls_rules++;
    p->conf = conf;
    p->retired = false;
    pool_levels_configure(p);
    (void)pool_close_some(p);
    leave_active(p);
    admission_look(p);
    pool_wake_at(p, p->worker->loop.now);
}

void pool_retire(struct pool *p)
{
    p->retired = true;
    if (p->conf != &p->last) {
        p->last = *p->conf;
        p->last.name = STR_NONE;
        p->last.endpoints = NULL;
        p->last.n_endpoints = 0;
        p->last.outlier = NULL;
        p->last.slow_start = NULL;
        p->last.own_zone = STR_NONE;
        p->last.concurrency = NULL;
        p->conf = &p->last;
        pool_levels_configure(p);
    }
    if (p->closing)
        close_idle(p);
    else
        (void)pool_close_some(p);
    close_connecting(p);
    leave_active(p);
}

/* --- coming and going --- */

struct pool *pool_new(struct worker *w, const struct conf_upstream *conf,
                      struct upstream_shared *shared, struct endpoint_list *list)
{
    struct pool *p = mem_zalloc(sizeof(*p));
    if (!p) {
        (void)endpoint_list_free(list);
        return NULL;
    }
    p->worker = w;
    p->conf = conf;
    p->idle_look = USEC_NEVER;
    p->shared = shared;
    p->stats = &shared->worker[w->id].stats;
    p->endpoints = endpoints_of(p, list, &p->n_endpoints, &p->levels);
    if (!p->endpoints) {
        free(p);
        return NULL;
    }
    number(p);
    list_init(&p->idle);
    list_init(&p->connecting);
    list_init(&p->waiting);
    list_init(&p->active);
    list_init(&p->open);
    list_init(&p->unreachable);
    admission_init(p);
    timer_init(&p->timer, pool_on_timer);
    CHECK(!shared->worker[w->id].pool);
    shared->worker[w->id].pool = p;
    (void)upstream_shared_ref(shared);
    return p;
}

struct pool *pool_free(struct pool *p)
{
    if (!p)
        return NULL;
    CHECK(list_empty(&p->active) && list_empty(&p->waiting));
    p->closing = true;
    pool_retire(p);
    timer_stop(&p->worker->loop, &p->timer);
    admission_free(p);
    unref_list(p->endpoints, p->n_endpoints);
    free(p->levels);
    CHECK(list_empty(&p->connecting) && p->endpoints_alive == 0);
    (void)atomic_fetch_and(&p->shared->starving, ~pool_bit(p->worker->id));
    (void)atomic_fetch_and(&p->shared->crowded, ~pool_bit(p->worker->id));
    (void)atomic_fetch_and(&p->shared->queueing, ~pool_bit(p->worker->id));
    p->shared->worker[p->worker->id].pool = NULL;
    upstream_shared_unref(p->shared);
    free(p);
    return NULL;
}
