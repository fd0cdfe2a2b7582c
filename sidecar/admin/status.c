/* status.c - /v1/status: the whole of it in one JSON object. */
#include "admin/breaker_api.h"
#include "admin/control.h"
#include "admin/discovery_show.h"
#include "admin/endpoint_api.h"

#include "proxy/listener.h"
#include "proxy/route_state.h"
#include "proxy/upstream_shared.h"

#include <jansson.h>
#include <unistd.h>

static void set_u64(json_t *o, const char *key, uint64_t v)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void set_str(json_t *o, const char *key, struct str s)
{
    (void)json_object_set_new(o, key, json_stringn(s.n ? s.p : "", s.n));
}

static json_t *workers_json(const struct control *c, usec_t now)
{
    json_t *a = json_array();
    for (uint32_t i = 0; i < c->process.n_workers; i++) {
        const struct worker *w = &c->workers[i];
        json_t *o = json_object();
        set_u64(o, "id", i);
        set_u64(o, "loop_lag_us", control_loop_lag(c, i, now));
        set_u64(o, "connections", count_read(&w->stats.connections));
        set_u64(o, "streams", count_read(&w->stats.streams));
        set_u64(o, "requests", requests_read(&w->stats));
        (void)json_array_append_new(a, o);
    }
    return a;
}

static const char *const protocols[] = {
    [PROTOCOL_HTTP] = "http", [PROTOCOL_HTTP2] = "http2", [PROTOCOL_TCP] = "tcp",
    [PROTOCOL_TLS] = "tls",   [PROTOCOL_AUTO] = "auto",
};

static json_t *listeners_json(const struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    json_t *a = json_array();
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        uint64_t open = 0, accepted = 0;
        for (uint32_t k = 0; k < c->process.n_workers; k++) {
            const struct listener *at = c->generation->views[k]->listeners[i];
            open += count_read(&at->stats.open);
            accepted += count_read(&at->stats.accepted);
        }
        json_t *o = json_object();
        set_str(o, "name", l->name);
        set_str(o, "direction",
                l->direction == DIRECTION_INBOUND ? STR("inbound") : STR("outbound"));
        set_str(o, "address", l->address_text);
        set_str(o, "protocol", str_of(protocols[l->protocol]));
        (void)json_object_set_new(o, "tls", json_boolean(l->tls.enabled));
        (void)json_object_set_new(o, "listening", json_boolean(control_listener_fd(c, l) >= 0));
        set_u64(o, "connections", open);
        set_u64(o, "accepted", accepted);
        (void)json_array_append_new(a, o);
    }
    return a;
}

static json_t *backends_json(const struct control *c, const struct conf_route *r)
{
    json_t *a = json_array();
    for (uint32_t b = 0; b < r->n_backends; b++) {
        uint64_t picked = 0;
        for (uint32_t k = 0; k < c->process.n_workers; k++)
            picked += route_state_picked(c->generation->views[k]->routes[r->index].state, r, b);
        json_t *o = json_object();
        set_str(o, "upstream", r->backends[b].upstream->name);
        set_u64(o, "weight_ppm", r->backends[b].ppm);
        set_u64(o, "intended_ppm", r->backends[b].ppm);
        set_u64(o, "picked", picked);
        (void)json_array_append_new(a, o);
    }
    return a;
}

static json_t *routes_json(const struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    json_t *a = json_array();
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        for (uint32_t j = 0; j < l->n_routes; j++) {
            const struct conf_route *r = &l->routes[j];
            uint64_t requests = 0, errors = 0;
            for (uint32_t k = 0; k < c->process.n_workers; k++) {
                struct route_stats *s = &c->generation->views[k]->routes[r->index].state->stats;
                counter_t *e = atomic_load_explicit(&s->errors, memory_order_acquire);
                for (int code = 0; code < CODE_CLASSES; code++)
                    requests += count_read(&s->requests[code]);
                for (int x = 1; e && x < REASON_COUNT; x++)
                    errors += count_read(&e[x]);
            }
            json_t *o = json_object();
            set_str(o, "name", r->name);
            set_str(o, "listener", l->name);
            set_u64(o, "requests", requests);
            set_u64(o, "errors", errors);
            (void)json_object_set_new(o, "backends", backends_json(c, r));
            route_policies_json(c, r, o);
            (void)json_array_append_new(a, o);
        }
    }
    return a;
}

/* Within the budget's window; NULL: none of its requests could have been retried yet. */
static json_t *retries_json(const struct conf_upstream *u, struct upstream_shared *shared,
                            usec_t now)
{
    const struct retry_budget *b = atomic_load(&shared->retry_budget);
    if (!b)
        return NULL;
    struct retry_budget_state s = retry_budget_state(b, &u->retry_budget, now);
    json_t *o = json_object();
    set_u64(o, "active", atomic_load(&shared->retries));
    set_u64(o, "requests", s.requests);
    set_u64(o, "retries", s.retries);
    set_u64(o, "budget", s.most);
    return o;
}

static json_t *upstreams_json(const struct control *c, usec_t now)
{
    const struct conf *conf = c->snapshot->conf;
    json_t *a = json_array();
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        const struct conf_upstream *u = &conf->upstreams[i];
        const struct upstream_shared *shared = c->generation->upstreams[i];
        uint64_t active = 0, idle = 0, pending = 0, connections = 0, streams = 0;
        for (uint32_t k = 0; k < shared->n_workers; k++) {
            const struct upstream_stats *s = &shared->worker[k].stats;
            connections += count_read(&s->connections);
            active += count_read(&s->active);
            idle += count_read(&s->idle);
            pending += count_read(&s->pending);
            streams += count_read(&s->http2_streams);
        }
        json_t *o = json_object();
        set_str(o, "name", u->name);
        set_u64(o, "connections", connections);
        set_u64(o, "active", active);
        set_u64(o, "idle", idle);
        set_u64(o, "pending", pending);
        set_u64(o, "http2_streams", streams);
        set_u64(o, "max_connections", u->limits.connections);
        (void)json_object_set_new(o, "limits", upstream_limits_json(u, shared));
        (void)json_object_set_new(o, "standing", standing_json(shared, u));
        json_t *retries = retries_json(u, c->generation->upstreams[i], now);
        if (retries)
            (void)json_object_set_new(o, "retries", retries);
        json_t *concurrency = concurrency_json(u, shared);
        if (concurrency)
            (void)json_object_set_new(o, "concurrency", concurrency);
        (void)json_object_set_new(o, "endpoints", endpoints_json(shared, u));
        (void)json_object_set_new(o, "circuit_breaker", breaker_json(u, shared, now));
        (void)json_array_append_new(a, o);
    }
    return a;
}

static json_t *drain_json(const struct drain *d, uint64_t open, usec_t now)
{
    if (d->started == 0)
        return json_null();
    static const struct {
        const char *phase;
        size_t at;
    } ends[] = {
#define ROW(phase, member) {phase, offsetof(struct budget, member)}
        ROW("notice", notice_end), ROW("drain", last_call_at),     ROW("last_call", force_at),
        ROW("force", force_at),    ROW("egress_only", cleanup_at), ROW("cleanup", deadline),
#undef ROW
    };
    json_t *o = json_object(), *phases = json_object();
    usec_t end = d->began[DRAIN_EXIT] ? d->began[DRAIN_EXIT] : now;
    set_u64(o, "elapsed_ms", (end - d->started) / USEC_PER_MSEC);
    set_u64(o, "deadline_ms", (d->budget.deadline - d->started) / USEC_PER_MSEC);
    set_u64(o, "remaining_ms",
            d->budget.deadline > end ? (d->budget.deadline - end) / USEC_PER_MSEC : 0);
    set_u64(o, "open", open);
    set_str(o, "trigger", str_of(drain_trigger_word(d->trigger)));
    usec_t phase_end = drain_phase_end(d);
    set_u64(o, "phase_remaining_ms", phase_end > now ? (phase_end - now) / USEC_PER_MSEC : 0);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        usec_t at = *(const usec_t *)(const void *)((const char *)&d->budget + ends[i].at);
        set_u64(phases, ends[i].phase, (at - d->started) / USEC_PER_MSEC);
    }
    (void)json_object_set_new(o, "phase_ends_ms", phases);
    return o;
}

char *status_json(struct control *c)
{
    const struct process *p = &c->process;
    usec_t now = clock_mono();
    uint64_t open = atomic_load(&p->open[0]) + atomic_load(&p->open[1]);
    json_t *o = json_object();
    enum drain_phase phase = drain_now(&p->drain);
    set_str(o, "version", STR(SLUICE_VERSION));
    set_u64(o, "pid", (uint64_t)getpid());
    (void)json_object_set_new(o, "uptime_s", json_real((double)((now - c->started) / 1000) / 1e3));
    set_str(o, "phase", str_of(phase == DRAIN_EXIT ? "drained" : drain_phase_word(phase)));
    (void)json_object_set_new(o, "ready", json_boolean(control_ready(c)));
    (void)json_object_set_new(o, "drain", drain_json(&p->drain, open, now));
    (void)json_object_set_new(o, "prestop", prestop_json(&c->prestop));
    (void)json_object_set_new(o, "app", control_app_json(c));
    (void)json_object_set_new(o, "leak_watch", control_leaks_json(c));
    (void)json_object_set_new(o, "config", control_config_json(c));
    (void)json_object_set_new(o, "overload", overload_json(c));
    (void)json_object_set_new(o, "header_rules", header_rules_json(c));
    (void)json_object_set_new(o, "access_log", access_log_json(c));
    (void)json_object_set_new(o, "workers", workers_json(c, now));
    (void)json_object_set_new(o, "listeners", listeners_json(c));
    (void)json_object_set_new(o, "routes", routes_json(c));
    (void)json_object_set_new(o, "upstreams", upstreams_json(c, now));
    (void)json_object_set_new(o, "dns", discovery_json(c->discovery));
    char *text = json_dumps(o, JSON_INDENT(1));
    json_decref(o);
    return text;
}
