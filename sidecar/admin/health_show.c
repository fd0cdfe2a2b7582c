/* health_show.c - health checks in /v1/status, and what they mean for /readyz. */
#include "admin/health_show.h"

#include "admin/generation.h"
#include "proxy/health_checks.h"

static void set_u64(json_t *o, const char *key, uint64_t v)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

static uint64_t ms_ago(usec_t at, usec_t now)
{
    return now > at ? (now - at) / USEC_PER_MSEC : 0;
}

json_t *health_endpoint_json(const struct endpoint_shared *e, usec_t now)
{
    const struct health *h = health_checks_of(e);
    char text[CHECK_TEXT_MAX];
    if (!h)
        return json_null();
    json_t *o = json_object();
    (void)json_object_set_new(o, "healthy", json_boolean(h->healthy));
    set_u64(o, "since_ms", ms_ago(h->since, now));
    (void)json_object_set_new(o, "last", json_string(check_text(&h->last, text)));
    (void)json_object_set_new(o, "meaning", json_string(check_meaning(h->last.word)));
    (void)json_object_set_new(o, "checked_ms",
                              h->checked_at ? json_integer((json_int_t)ms_ago(h->checked_at, now))
                                            : json_null());
    set_u64(o, "took_us", h->last.took);
    /* In a row, towards the other state. */
    set_u64(o, "rising", h->healthy ? 0 : h->streak);
    set_u64(o, "falling", h->healthy ? h->streak : 0);
    set_u64(o, "passed", h->passed);
    set_u64(o, "failed", h->failed);
    set_u64(o, "changes", h->changes);
    return o;
}

static bool is_local(const struct address *a)
{
    return a->u.sa.sa_family == AF_UNIX || address_is_loopback(a);
}

/* None of its endpoints is healthy, and all of them are here. */
static bool is_down(const struct upstream_shared *u)
{
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        const struct health *h = health_checks_of(u->endpoints[i]);
        if (!h || h->healthy || !is_local(&u->endpoints[i]->address))
            return false;
    }
    return u->n_endpoints > 0;
}

static bool route_is_down(const struct generation *g, const struct conf_route *r)
{
    bool any = false;
    for (uint32_t b = 0; b < r->n_backends; b++) {
        if (r->backends[b].ppm == 0)
            continue;
        if (!is_down(g->upstreams[r->backends[b].upstream->index]))
            return false;
        any = true;
    }
    return any;
}

bool health_unready(const struct generation *g, const struct conf_route **ret)
{
    const struct conf *c = g ? g->snapshot->conf : NULL;
    for (uint32_t i = 0; c && i < c->n_listeners; i++) {
        const struct conf_listener *l = &c->listeners[i];
        for (uint32_t k = 0; l->direction == DIRECTION_INBOUND && k < l->n_routes; k++) {
            if (route_is_down(g, &l->routes[k])) {
                *ret = &l->routes[k];
                return true;
            }
        }
    }
    return false;
}
