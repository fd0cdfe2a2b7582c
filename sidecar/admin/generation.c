/* generation.c - a configuration and its run-time objects: built, handed out, let go. */
#include "admin/generation.h"

#include "admin/generation_jwt.h"
#include "base/mem.h"
#include "proxy/listener.h"
#include "proxy/pool.h"
#include "proxy/route_limits.h"
#include "proxy/route_state.h"
#include "proxy/worker.h"

#include <errno.h>

/* --- what the generation in force has of the same name --- */

static bool same_listener(const struct conf_listener *a, const struct conf_listener *b)
{
    return a->protocol == b->protocol && a->direction == b->direction &&
           address_equal(&a->address, &b->address) && str_eq(a->name, b->name);
}

static const struct conf_listener *kept_listener(const struct conf *old,
                                                 const struct conf_listener *l)
{
    const struct conf_listener *was = old ? conf_find_listener(old, l->name) : NULL;
    return was && same_listener(was, l) ? was : NULL;
}

static bool has_address(const struct conf *c, const struct address *a)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        if (address_equal(&c->listeners[i].address, a))
            return true;
    }
    return false;
}

/* --- building --- */

struct building {
    struct generation *g;
    const struct generation_source *from;
    const struct conf *conf, *old; /* old NULL: there is none */
    /* By conf_upstream.index: the addresses, should anything fail, of those that stay. */
    struct upstream_addresses *before;
};

static const struct view *old_view(const struct building *b, uint32_t worker)
{
    return b->from->in_force->views[worker];
}

static int set_addresses(const struct building *b, const struct conf_upstream *u,
                         struct upstream_shared *shared)
{
    const struct endpoint_address *list = NULL;
    uint32_t n = 0;
    bool changed = false;
    b->from->addresses(b->from->ctx, u, &list, &n);
    int rc = upstream_shared_set(shared, list, n, &changed);
    shared->undelivered = shared->undelivered || changed;
    return rc;
}

/* Of an upstream that stays this is what its pools have not been told yet. */
static int change_addresses(const struct building *b)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < b->conf->n_upstreams; i++)
        rc = upstream_shared_keep(b->g->upstreams[i], &b->before[i]);
    for (uint32_t i = 0; rc == 0 && i < b->conf->n_upstreams; i++)
        rc = set_addresses(b, &b->conf->upstreams[i], b->g->upstreams[i]);
    return rc;
}

static void forget_before(const struct building *b, bool restore)
{
    for (uint32_t i = 0; b->before && i < b->conf->n_upstreams; i++) {
        if (restore && b->before[i].endpoints)
            upstream_shared_restore(b->g->upstreams[i], &b->before[i]);
        upstream_addresses_free(&b->before[i]);
    }
    free(b->before);
}

static int make_upstreams(const struct building *b)
{
    struct generation *g = b->g;
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        const struct conf_upstream *was = b->old ? conf_find_upstream(b->old, u->name) : NULL;
        g->upstreams[i] = was ? upstream_shared_ref(b->from->in_force->upstreams[was->index])
                              : upstream_shared_new(g->n_workers);
        if (!g->upstreams[i])
            return -ENOMEM;
    }
    return 0;
}

static int make_limits(const struct building *b)
{
    struct generation *g = b->g;
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct conf_listener *l = &b->conf->listeners[i];
        for (uint32_t k = 0; k < l->n_routes; k++) {
            const struct conf_route *r = &l->routes[k];
            const struct conf_route *was =
                b->old && r->n_rate_limits > 0 ? conf_find_route(b->old, l->name, r->name) : NULL;
            if (r->n_rate_limits == 0)
                continue;
            g->limits[r->index] = route_limits_new(
                r, g->n_workers, was, was ? b->from->in_force->limits[was->index] : NULL);
            if (!g->limits[r->index])
                return -ENOMEM;
        }
    }
    return 0;
}

static int make_pools(const struct building *b, struct view *v)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        const struct conf_upstream *was = b->old ? conf_find_upstream(b->old, u->name) : NULL;
        struct upstream_shared *shared = b->g->upstreams[i];
        struct endpoint_list *list = NULL;
        if (!was || shared->undelivered) {
            list = endpoint_list_new(shared);
            if (!list)
                return -ENOMEM;
        }
        if (was) {
            v->pools[i] = old_view(b, v->worker->id)->pools[was->index];
            v->change->lists[i] = list;
        } else {
            v->pools[i] = pool_new(v->worker, u, shared, list);
        }
        if (!v->pools[i])
            return -ENOMEM;
        v->pools[i]->views++;
    }
    return 0;
}

static int keep_route(struct view *v, const struct route_slot *slot, const struct conf_route *was,
                      const struct conf_route *now)
{
    struct route_slot *mine = &v->routes[now->index];
    *mine = *slot;
    mine->limits = v->generation->limits[now->index];
    mine->state->views++;
    if (route_same_shape(was, now))
        return 0;
    struct route_change *rc = &v->change->routes[v->change->n_routes++];
    *rc = (struct route_change){.was = was, .now = now};
    mine->shape = v->snapshot->generation;
    if (now->n_backends < 2)
        return 0;
    rc->fresh = mem_zalloc(sizeof(*rc->fresh));
    return rc->fresh ? 0 : -ENOMEM;
}

static int make_routes(const struct building *b, struct view *v, const struct conf_listener *l)
{
    for (uint32_t i = 0; i < l->n_routes; i++) {
        const struct conf_route *r = &l->routes[i];
        const struct conf_route *was = b->old ? conf_find_route(b->old, l->name, r->name) : NULL;
        if (was) {
            int rc = keep_route(v, &old_view(b, v->worker->id)->routes[was->index], was, r);
            if (rc < 0)
                return rc;
            continue;
        }
        struct route_slot *slot = &v->routes[r->index];
        slot->shape = v->snapshot->generation;
        slot->limits = b->g->limits[r->index];
        slot->state = route_state_new(
            r, slot->shape, v->worker->id > 0 ? b->g->views[0]->routes[r->index].state : NULL);
        if (!slot->state)
            return -ENOMEM;
        slot->state->views++;
    }
    return 0;
}

static int make_listeners(const struct building *b, struct view *v,
                          struct listener_shared *const *shared)
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct conf_listener *l = &b->conf->listeners[i];
        const struct conf_listener *was = kept_listener(b->old, l);
        if (was)
            v->listeners[i] = old_view(b, v->worker->id)->listeners[was->index];
        else
            v->listeners[i] =
                listener_new(v->worker, shared[i], b->from->listen_fd(b->from->ctx, l));
        if (!v->listeners[i])
            return -ENOMEM;
        int rc = make_routes(b, v, l);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What only the generation before has. */
static void make_goodbyes(const struct building *b, struct view *v)
{
    struct view_change *change = v->change;
    for (uint32_t i = 0; b->old && i < b->old->n_listeners; i++) {
        const struct conf_listener *was = &b->old->listeners[i];
        if (kept_listener(b->conf, was))
            continue;
        change->leaving[change->n_leaving++] = (struct listener_change){
            .listener = old_view(b, v->worker->id)->listeners[i],
            .keeps_fd = has_address(b->conf, &was->address),
        };
    }
    for (uint32_t i = 0; b->old && i < b->old->n_upstreams; i++) {
        if (!conf_find_upstream(b->conf, b->old->upstreams[i].name))
            change->retired[change->n_retired++] = old_view(b, v->worker->id)->pools[i];
    }
}

static void change_free(struct view_change *c, uint32_t n_upstreams)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < c->n_routes; i++)
        free(c->routes[i].fresh);
    for (uint32_t i = 0; c->lists && i < n_upstreams; i++)
        c->lists[i] = endpoint_list_free(c->lists[i]);
    free(c->routes);
    free(c->leaving);
    free(c->retired);
    free(c->lists);
    free(c);
}

/* n of them; never NULL for want of something to hold. */
static void *array(uint64_t n, size_t size)
{
    return mem_zalloc(max_u64(n, 1) * size);
}

static struct view_change *change_new(const struct building *b)
{
    const struct conf *c = b->conf;
    struct view_change *change = mem_zalloc(sizeof(*change));
    if (!change)
        return NULL;
    change->routes = array(b->old ? c->n_routes : 0, sizeof(*change->routes));
    change->leaving = array(b->old ? b->old->n_listeners : 0, sizeof(*change->leaving));
    change->retired = array(b->old ? b->old->n_upstreams : 0, sizeof(struct pool *));
    change->lists = array(c->n_upstreams, sizeof(struct endpoint_list *));
    change->drain_timeout = c->lifecycle.drain_timeout;
    change->last_call = c->lifecycle.last_call;
    if (change->routes && change->leaving && change->retired && change->lists)
        return change;
    change_free(change, c->n_upstreams);
    return NULL;
}

static struct view *view_new(const struct building *b, struct worker *w)
{
    const struct conf *c = b->conf;
    struct view *v = mem_zalloc(sizeof(*v));
    if (!v)
        return NULL;
    view_init(v, w);
    v->generation = b->g;
    v->snapshot = b->g->snapshot;
    v->listeners = array(c->n_listeners, sizeof(struct listener *));
    v->routes = array(c->n_routes, sizeof(struct route_slot));
    v->pools = array(c->n_upstreams, sizeof(struct pool *));
    v->dead = array(c->n_upstreams, sizeof(struct pool *));
    v->change = change_new(b);
    return v;
}

static bool view_is_whole(const struct view *v)
{
    return v && v->listeners && v->routes && v->pools && v->dead && v->change;
}

static struct view *view_free(struct view *v)
{
    if (!v)
        return NULL;
    timer_stop(&v->worker->loop, &v->bury); /* active only where the worker has ended */
    change_free(v->change, v->snapshot->conf->n_upstreams);
    free(v->listeners);
    free(v->routes);
    free(v->pools);
    free(v->dead);
    free(v);
    return NULL;
}

static int make_views(const struct building *b)
{
    struct generation *g = b->g;
    struct listener_shared **shared = array(b->conf->n_listeners, sizeof(struct listener_shared *));
    int rc = shared ? 0 : -ENOMEM;
    for (uint32_t i = 0; rc == 0 && i < b->conf->n_listeners; i++) {
        if (kept_listener(b->old, &b->conf->listeners[i]))
            continue;
        shared[i] = listener_shared_new();
        rc = shared[i] ? 0 : -ENOMEM;
    }
    for (uint32_t k = 0; rc == 0 && k < g->n_workers; k++) {
        struct view *v = g->views[k] = view_new(b, &b->from->workers[k]);
        rc = view_is_whole(v) ? make_listeners(b, v, shared) : -ENOMEM;
        if (rc == 0)
            rc = make_pools(b, v);
        if (rc == 0)
            rc = generation_jwt_states(v, b->from->in_force);
        if (rc == 0)
            make_goodbyes(b, v);
    }
    for (uint32_t i = 0; shared && i < b->conf->n_listeners; i++)
        listener_shared_unref(shared[i]);
    free(shared);
    return rc;
}

/* Names that no view of the worker has any more: route states are freed, pools go to v->dead. */
static void drop_names(struct view *v)
{
    const struct conf *c = v->snapshot->conf;
    for (uint32_t i = 0; i < c->n_routes; i++) {
        struct route_state *s = v->routes[i].state;
        if (s && --s->views == 0)
            (void)route_state_free(s);
    }
    for (uint32_t i = 0; i < c->n_upstreams; i++) {
        struct pool *p = v->pools[i];
        if (p && --p->views == 0)
            v->dead[v->n_dead++] = p;
    }
    generation_jwt_states_drop(v);
    v->names_dropped = true;
}

static void free_dead(struct view *v)
{
    for (uint32_t i = 0; i < v->n_dead; i++)
        (void)pool_free(v->dead[i]);
    v->n_dead = 0;
}

/* The views are gone. */
static void generation_free(struct generation *g)
{
    for (uint32_t i = 0; g->upstreams && i < g->snapshot->conf->n_upstreams; i++) {
        if (g->upstreams[i])
            upstream_shared_unref(g->upstreams[i]);
    }
    for (uint32_t i = 0; g->limits && i < g->snapshot->conf->n_routes; i++)
        (void)route_limits_free(g->limits[i]);
    generation_jwt_slots_free(g);
    list_remove(&g->link);
    free(g->limits);
    free(g->upstreams);
    free(g);
}

/* One that was not posted: what only it has is freed. */
static void generation_abandon(struct generation *g, const struct generation *in_force)
{
    const struct conf *c = g->snapshot->conf, *old = in_force ? in_force->snapshot->conf : NULL;
    for (uint32_t k = 0; k < g->n_workers; k++) {
        struct view *v = g->views[k];
        for (uint32_t i = 0; view_is_whole(v) && i < c->n_listeners; i++) {
            if (!kept_listener(old, &c->listeners[i]))
                (void)listener_free(v->listeners[i]);
        }
        if (view_is_whole(v)) {
            drop_names(v);
            free_dead(v);
        }
        g->views[k] = view_free(v);
    }
    generation_free(g);
}

struct generation *generation_new(struct snapshot *snapshot, const struct generation_source *from)
{
    struct generation *g = mem_zalloc(sizeof(*g) + from->n_workers * sizeof(struct view *));
    struct building b = {g, from, snapshot->conf,
                         from->in_force ? from->in_force->snapshot->conf : NULL, NULL};
    if (!g)
        return NULL;
    g->snapshot = snapshot;
    g->n_workers = from->n_workers;
    g->upstreams = array(b.conf->n_upstreams, sizeof(struct upstream_shared *));
    g->limits = array(b.conf->n_routes, sizeof(struct route_limits *));
    b.before = array(b.conf->n_upstreams, sizeof(*b.before));
    int rc = g->upstreams && g->limits && b.before ? make_upstreams(&b) : -ENOMEM;
    if (rc == 0)
        rc = make_limits(&b);
    if (rc == 0)
        rc = generation_jwt_slots(g, from->in_force);
    if (rc == 0)
        rc = change_addresses(&b);
    if (rc == 0)
        rc = make_views(&b);
    forget_before(&b, rc < 0);
    if (rc == 0)
        return g;
    generation_abandon(g, from->in_force);
    return NULL;
}

/* --- in force, and left --- */

static void generation_end(struct generation *g)
{
    struct snapshot *s = g->snapshot;
    generation_free(g);
    (void)snapshot_free(s);
}

static void enter_limits(const struct generation *g)
{
    const struct conf *c = g->snapshot->conf;
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        for (uint32_t k = 0; k < c->listeners[i].n_routes; k++) {
            const struct conf_route *r = &c->listeners[i].routes[k];
            if (g->limits[r->index])
                route_limits_enter(g->limits[r->index], r);
        }
    }
}

void generation_post(struct generation *g)
{
    g->entering = g->alive = g->n_workers;
    for (uint32_t i = 0; i < g->snapshot->conf->n_upstreams; i++)
        g->upstreams[i]->undelivered = false;
    enter_limits(g);
    for (uint32_t k = 0; k < g->n_workers; k++)
        view_post(g->views[k]);
}

bool generation_entered(struct view *v)
{
    change_free(v->change, v->snapshot->conf->n_upstreams);
    v->change = NULL;
    return --v->generation->entering == 0;
}

void generation_freed(struct view *v)
{
    struct generation *g = v->generation;
    uint32_t worker = v->worker->id;
    g->views[worker] = view_free(v);
    if (--g->alive == 0)
        generation_end(g);
}

void generation_left(struct view *v)
{
    drop_names(v);
    if (v->n_dead > 0)
        view_post_dead(v);
    else
        generation_freed(v);
}

/* To all workers; again later where memory is short for it. */
static int deliver(const struct generation *g, struct upstream_shared *shared)
{
    shared->undelivered = true;
    for (uint32_t k = 0; k < g->n_workers; k++) {
        struct endpoint_list *list = endpoint_list_new(shared);
        if (!list)
            return -ENOMEM;
        pool_post_endpoints(&g->views[k]->worker->mailbox, list);
    }
    shared->undelivered = false;
    return 0;
}

int generation_update(struct generation *g, const struct conf_upstream *u,
                      const struct endpoint_address *list, uint32_t n)
{
    struct upstream_shared *shared = g->upstreams[u->index];
    bool changed = false;
    int rc = upstream_shared_set(shared, list, n, &changed);
    if (rc < 0 || !(changed || shared->undelivered))
        return rc;
    return deliver(g, shared);
}

void generation_deliver(struct generation *g, const struct conf_upstream *u)
{
    (void)deliver(g, g->upstreams[u->index]); /* else by generation_deliver_missed() */
}

void generation_deliver_missed(struct generation *g)
{
    for (uint32_t i = 0; i < g->snapshot->conf->n_upstreams; i++) {
        struct upstream_shared *shared = g->upstreams[i];
        if (atomic_exchange(&shared->missed, false) || shared->undelivered)
            (void)deliver(g, shared);
    }
}

void generation_tear_down(struct generation *g, bool in_force)
{
    const struct conf *c = g->snapshot->conf;
    for (uint32_t k = 0; k < g->n_workers; k++) {
        struct view *v = g->views[k];
        if (!v)
            continue;
        for (uint32_t i = 0; in_force && i < c->n_listeners; i++) {
            listener_stop(v->listeners[i]);
            (void)listener_free(v->listeners[i]);
        }
        if (!v->names_dropped)
            drop_names(v);
        free_dead(v);
        g->views[k] = view_free(v);
    }
    generation_end(g);
}
