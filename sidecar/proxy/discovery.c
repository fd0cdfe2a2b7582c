/* discovery.c - the names of configurations, and who is told of their addresses. */
#include "proxy/discovery_parts.h"

#include "base/hash_index.h"
#include "base/mem.h"

#include <errno.h>

/* ---- names ---- */

static struct list *bucket_of(struct discovery *d, struct str host)
{
    uint64_t h = HASH_BEGIN;
    for (size_t i = 0; i < host.n; i++)
        h = hash_number(h, (uint8_t)ascii_lower(host.p[i]));
    return &d->buckets[hash_end(h) % DISCOVERY_BUCKETS];
}

/* The name of an endpoint, with one use more; made where it is not known. NULL: memory is short. */
static struct discovered *use_name(struct discovery *d, const struct conf_upstream *u,
                                   const struct conf_endpoint *e)
{
    struct list *bucket = bucket_of(d, e->host);
    struct discovered *n;
    LIST_FOREACH (it, bucket) {
        n = LIST_ENTRY(it, struct discovered, link);
        if (n->name.kind == e->kind && n->name.family == u->dns.family &&
            str_ieq(str_of(n->name.host), e->host)) {
            n->uses++;
            return n;
        }
    }
    n = mem_zalloc(sizeof(*n));
    if (!n)
        return NULL;
    n->magic = DISCOVERED_MAGIC;
    n->d = d;
    n->uses = 1;
    dns_name_init(&n->name, e->kind, u->dns.family, e->host);
    timer_init(&n->timer, discovered_on_timer);
    list_push_back(bucket, &n->link);
    d->n_names++;
    return n;
}

static void free_name(struct reap *reap)
{
    struct discovered *n = CONTAINER_OF(reap, struct discovered, reap);
    CHECK_OBJ(n, DISCOVERED_MAGIC);
    dns_name_free(&n->name);
    n->magic = 0;
    free(n);
}

static void unuse_name(struct discovered *n)
{
    struct discovery *d = n->d;
    CHECK(n->uses > 0);
    if (--n->uses > 0)
        return;
    discovered_stop(n);
    if (n->awaited)
        d->awaited--;
    list_remove(&n->link);
    d->n_names--;
    loop_reap(d->loop, &n->reap, free_name);
}

/* ---- configurations ---- */

static struct discovery_view *view_free(struct discovery_view *v)
{
    if (!v)
        return NULL;
    for (uint32_t i = 0; v->names && i < v->n; i++) {
        if (v->names[i])
            unuse_name(v->names[i]);
    }
    free(v->names);
    free(v->first);
    free(v->told);
    free(v);
    return NULL;
}

static struct discovery_view *view_new(struct discovery *d, const struct conf *conf)
{
    struct discovery_view *v = mem_zalloc(sizeof(*v));
    uint32_t n = 0, at = 0;
    if (!v)
        return NULL;
    for (uint32_t i = 0; i < conf->n_upstreams; i++)
        n += conf->upstreams[i].n_endpoints;
    v->conf = conf;
    v->n = n;
    v->names = mem_zalloc((n + 1) * sizeof(struct discovered *));
    v->first = mem_zalloc((conf->n_upstreams + 1) * sizeof(*v->first));
    v->told = mem_zalloc((conf->n_upstreams + 1) * sizeof(*v->told));
    if (!v->names || !v->first || !v->told)
        return view_free(v);
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        const struct conf_upstream *u = &conf->upstreams[i];
        v->first[i] = at;
        for (uint32_t k = 0; k < u->n_endpoints; k++, at++) {
            if (u->endpoints[k].kind == ENDPOINT_ADDRESS)
                continue;
            v->names[at] = use_name(d, u, &u->endpoints[k]);
            if (!v->names[at])
                return view_free(v);
        }
    }
    return v;
}

#define FOR_EACH_NAME(n, d)                                                                        \
    for (uint32_t b_ = 0; b_ < DISCOVERY_BUCKETS; b_++)                                            \
        for (struct list *it_ = (d)->buckets[b_].next;                                             \
             it_ != &(d)->buckets[b_] && ((n) = LIST_ENTRY(it_, struct discovered, link));         \
             it_ = it_->next)

static void tighten(const struct discovery_view *v)
{
    for (uint32_t i = 0; v && i < v->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &v->conf->upstreams[i];
        for (uint32_t k = 0; k < u->n_endpoints; k++) {
            struct discovered *n = v->names[v->first[i] + k];
            if (!n)
                continue;
            dns_bounds_tighten(&n->bounds, &u->dns);
            n->allow_link_local = n->allow_link_local || u->dns.allow_link_local;
        }
    }
}

/* As all configurations want it now; who waits longer than that asks sooner. */
static void set_bounds(struct discovery *d)
{
    struct discovered *n;
    FOR_EACH_NAME(n, d)
    {
        n->bounds = (struct dns_bounds){0};
        n->allow_link_local = false;
    }
    tighten(d->committed);
    tighten(d->prepared);
    FOR_EACH_NAME(n, d)
    {
        usec_t latest = d->loop->now + dns_wait_ttl(UINT32_MAX, &n->bounds, &d->loop->rng);
        if (n->timer.at > latest) {
            n->name.next = latest;
            timer_set(d->loop, &n->timer, latest);
        }
    }
}

/* ---- who is told ---- */

static uint64_t newest_change(const struct discovery_view *v, const struct conf_upstream *u)
{
    uint64_t newest = 0;
    for (uint32_t k = 0; k < u->n_endpoints; k++) {
        const struct discovered *n = v->names[v->first[u->index] + k];
        if (n)
            newest = max_u64(newest, n->changed_at);
    }
    return newest;
}

static void on_flush(struct timer *t)
{
    struct discovery *d = CONTAINER_OF(t, struct discovery, flush_timer);
    struct discovery_view *v = d->committed;
    CHECK_OBJ(d, DISCOVERY_MAGIC);
    for (uint32_t i = 0; v && i < v->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &v->conf->upstreams[i];
        if (newest_change(v, u) <= v->told[i])
            continue;
        v->told[i] = d->clock;
        d->changed(d->ctx, u);
        if (d->committed != v) /* committed from within, which has set the timer */
            return;
    }
}

static void finish_prepare(struct discovery *d, usec_t at)
{
    if (d->done)
        timer_set(d->loop, &d->done_timer, at);
}

static void on_done(struct timer *t)
{
    struct discovery *d = CONTAINER_OF(t, struct discovery, done_timer);
    discovery_done_fn *done = d->done;
    CHECK_OBJ(d, DISCOVERY_MAGIC);
    d->done = NULL;
    if (done)
        done(d->done_ctx);
}

void discovered_settled(struct discovered *n, bool changed, bool final)
{
    struct discovery *d = n->d;
    if (changed) {
        n->changed_at = ++d->clock;
        timer_set(d->loop, &d->flush_timer, d->loop->now);
    }
    if (!final)
        return;
    n->answered = true;
    if (n->awaited) {
        n->awaited = false;
        if (--d->awaited == 0)
            finish_prepare(d, d->loop->now);
    }
}

/* ---- for others ---- */

struct discovery *discovery_new(struct loop *l, const struct conf_dns *dns,
                                discovery_changed_fn *changed, void *ctx)
{
    struct discovery *d = mem_zalloc(sizeof(*d));
    if (!d)
        return NULL;
    d->magic = DISCOVERY_MAGIC;
    d->loop = l;
    d->dns = *dns;
    d->dns.servers = NULL;
    d->changed = changed;
    d->ctx = ctx;
    for (size_t i = 0; i < DISCOVERY_BUCKETS; i++)
        list_init(&d->buckets[i]);
    timer_init(&d->done_timer, on_done);
    timer_init(&d->flush_timer, on_flush);
    d->list = dns_list_new();
    if (dns->n_servers > 0) {
        d->dns.servers = mem_alloc(dns->n_servers * sizeof(*dns->servers));
        if (d->dns.servers)
            memcpy(d->dns.servers, dns->servers, dns->n_servers * sizeof(*dns->servers));
    }
    if (!d->list || (dns->n_servers > 0 && !d->dns.servers))
        return discovery_free(d);
    return d;
}

struct discovery *discovery_free(struct discovery *d)
{
    if (!d)
        return NULL;
    CHECK_OBJ(d, DISCOVERY_MAGIC);
    d->freeing = true;
    d->prepared = view_free(d->prepared);
    d->committed = view_free(d->committed);
    d->resolver = resolver_free(d->resolver);
    timer_stop(d->loop, &d->done_timer);
    timer_stop(d->loop, &d->flush_timer);
    free(d->list);
    free(d->dns.servers);
    d->magic = 0;
    free(d);
    return NULL;
}

static int begin_resolver(struct discovery *d)
{
    struct resolver_options o = {.servers = d->dns.servers,
                                 .n_servers = d->dns.n_servers,
                                 .timeout = d->dns.timeout,
                                 .tries = d->dns.tries};
    if (!d->resolver && d->n_names > 0) {
        d->resolver = resolver_new(d->loop, &o);
        return d->resolver ? 0 : -EIO;
    }
    return 0;
}

static void drop_prepared(struct discovery *d)
{
    struct discovered *n;
    d->done = NULL;
    timer_stop(d->loop, &d->done_timer);
    FOR_EACH_NAME(n, d)
    {
        n->awaited = false;
    }
    d->awaited = 0;
    d->prepared = view_free(d->prepared);
}

int discovery_prepare(struct discovery *d, const struct conf *conf, discovery_done_fn *done,
                      void *ctx)
{
    struct discovered *n;
    CHECK_OBJ(d, DISCOVERY_MAGIC);
    struct discovery_view *v = view_new(d, conf);
    if (!v)
        return -ENOMEM;
    if (begin_resolver(d) < 0) {
        (void)view_free(v);
        return -EIO;
    }
    drop_prepared(d);
    d->prepared = v;
    d->done = done;
    d->done_ctx = ctx;
    set_bounds(d);
    for (uint32_t i = 0; i < v->n; i++) {
        n = v->names[i];
        if (!n || n->answered || n->awaited)
            continue;
        n->awaited = true;
        d->awaited++;
    }
    finish_prepare(d, d->loop->now + (d->awaited > 0 ? d->dns.timeout : 0));
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->names[i] && v->names[i]->awaited)
            discovered_ask(v->names[i]);
    }
    return 0;
}

void discovery_commit(struct discovery *d, const struct conf *conf)
{
    CHECK_OBJ(d, DISCOVERY_MAGIC);
    CHECK(d->prepared && d->prepared->conf == conf);
    struct discovery_view *old = d->committed, *v = d->prepared;
    d->prepared = NULL;
    drop_prepared(d);
    d->committed = v;
    (void)view_free(old);
    set_bounds(d);
    /* What has changed since its addresses were taken. */
    timer_set(d->loop, &d->flush_timer, d->loop->now);
}

void discovery_abandon(struct discovery *d, const struct conf *conf)
{
    CHECK_OBJ(d, DISCOVERY_MAGIC);
    if (!d->prepared || d->prepared->conf != conf)
        return;
    drop_prepared(d);
    set_bounds(d);
}

static struct discovery_view *view_of(const struct discovery *d, const struct conf_upstream *u)
{
    struct discovery_view *views[] = {d->prepared, d->committed};
    for (size_t i = 0; i < ARRAY_LEN(views); i++) {
        if (views[i] && u->index < views[i]->conf->n_upstreams &&
            &views[i]->conf->upstreams[u->index] == u)
            return views[i];
    }
    return NULL;
}

void discovery_addresses(struct discovery *d, const struct conf_upstream *u,
                         const struct endpoint_address **ret, uint32_t *ret_n)
{
    CHECK_OBJ(d, DISCOVERY_MAGIC);
    struct discovery_view *v = view_of(d, u);
    CHECK(v != NULL);
    dns_list_clear(d->list);
    for (uint32_t k = 0; k < u->n_endpoints; k++) {
        const struct conf_endpoint *e = &u->endpoints[k];
        const struct discovered *n = v->names[v->first[u->index] + k];
        uint32_t i = d->list->n;
        if (n)
            dns_list_add_name(d->list, &n->name, e->port, &u->dns);
        else
            dns_list_add(d->list, e->text, &e->address);
        for (; i < d->list->n; i++) {
            d->list->at[i].priority = e->priority;
            d->list->at[i].zone = e->zone;
        }
    }
    v->told[u->index] = d->clock;
    *ret = d->list->at;
    *ret_n = d->list->n;
}

void discovery_walk(const struct discovery *d, discovery_status_fn *fn, void *ctx)
{
    const struct discovered *n;
    FOR_EACH_NAME(n, d)
    {
        struct discovery_status s = {.name = &n->name, .asking = n->asking, .now = clock_mono()};
        dns_name_count(&n->name, n->allow_link_local, &s.addresses, &s.refused);
        fn(ctx, &s);
    }
}

uint32_t discovery_names(const struct discovery *d)
{
    return d->n_names;
}
