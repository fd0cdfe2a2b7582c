/* policies_show.c - what /v1/status tells of policies that are small: who may pass a route, its
 * timeouts and faults, header rules, what the access log hides. */
#include "admin/control.h"

#include "config/conf_authz.h"
#include "proxy/access_log.h"
#include "proxy/fault_shared.h"
#include "proxy/route_state.h"
#include "proxy/upstream_shared.h"

#include <jansson.h>

static void set_u64(json_t *o, const char *key, uint64_t v)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void set_bool(json_t *o, const char *key, bool v)
{
    (void)json_object_set_new(o, key, json_boolean(v));
}

/* ---- of a route ---- */

static json_t *authz_json(const struct control *c, const struct conf_route *r)
{
    static const char *const words[AUTHZ_DECISIONS] = {
        [AUTHZ_ALLOWED] = "allowed",
        [AUTHZ_REFUSED] = "refused",
        [AUTHZ_DRY_RUN] = "refused_dry_run",
    };
    const struct conf_authz *a = r->authz;
    json_t *o = json_object(), *names = json_array();
    for (uint32_t i = 0; i < a->n_names; i++)
        (void)json_array_append_new(names, json_stringn(a->names[i].p, a->names[i].n));
    (void)json_object_set_new(o, "jwt", names);
    set_bool(o, "optional", a->optional);
    set_u64(o, "rules", a->rules.n);
    set_bool(o, "dry_run", a->dry_run);
    for (int d = 0; d < AUTHZ_DECISIONS; d++) {
        uint64_t n = 0;
        for (uint32_t k = 0; k < c->process.n_workers; k++)
            n += count_read(&c->generation->views[k]->routes[r->index].state->stats.authz[d]);
        set_u64(o, words[d], n);
    }
    return o;
}

static json_t *fault_json(const struct control *c, const struct conf_route *r)
{
    struct fault_state *s = &c->generation->views[0]->routes[r->index].state->fault->state;
    json_t *o = json_object();
    set_bool(o, "dry_run", r->fault->dry_run);
    set_u64(o, "delay_ppm", r->fault->delay_ppm);
    set_u64(o, "abort_ppm", r->fault->abort_ppm);
    set_u64(o, "active", atomic_load(&s->active));
    set_u64(o, "delayed", atomic_load(&s->delayed));
    set_u64(o, "aborted", atomic_load(&s->aborted));
    set_u64(o, "skipped", atomic_load(&s->skipped));
    set_u64(o, "delayed_dry_run", atomic_load(&s->dry_delayed));
    set_u64(o, "aborted_dry_run", atomic_load(&s->dry_aborted));
    return o;
}

static json_t *timeouts_json(const struct control *c, const struct conf_route *r)
{
    json_t *o = json_object();
    set_u64(o, "timeout_ms", r->timeout / USEC_PER_MSEC);
    set_u64(o, "first_byte_timeout_ms", r->first_byte_timeout / USEC_PER_MSEC);
    set_u64(o, "idle_timeout_ms", r->idle_timeout / USEC_PER_MSEC);
    set_bool(o, "dry_run", r->timeout_dry_run);
    if (r->timeout_dry_run) {
        set_u64(o, "timeout_dry_run", route_timeouts_dry_run(c, r, TIMEOUT_WHOLE));
        set_u64(o, "first_byte_timeout_dry_run", route_timeouts_dry_run(c, r, TIMEOUT_FIRST_BYTE));
    }
    return o;
}

void route_policies_json(const struct control *c, const struct conf_route *r, json_t *o)
{
    if (r->action == ACTION_FORWARD)
        (void)json_object_set_new(o, "timeouts", timeouts_json(c, r));
    if (r->authz)
        (void)json_object_set_new(o, "authz", authz_json(c, r));
    if (r->fault)
        (void)json_object_set_new(o, "fault", fault_json(c, r));
    if (r->n_rate_limits > 0)
        (void)json_object_set_new(o, "rate_limits", limits_json(c, r));
}

/* ---- of the process ---- */

json_t *header_rules_json(const struct control *c)
{
    static const char *const messages[] = {"request", "response"};
    static const char *const results[] = {
#define X(id, word) word,
        HEADER_COUNT_TABLE(X)
#undef X
    };
    json_t *o = json_object();
    for (size_t m = 0; m < ARRAY_LEN(messages); m++) {
        json_t *counts = json_object();
        for (int r = 0; r < HEADER_COUNTS; r++) {
            uint64_t n = 0;
            for (uint32_t k = 0; k < c->process.n_workers; k++)
                n += count_read(&c->workers[k].stats.header_rules[m][r]);
            set_u64(counts, results[r], n);
        }
        (void)json_object_set_new(o, messages[m], counts);
    }
    return o;
}

json_t *access_log_json(const struct control *c)
{
    if (!c->log)
        return json_null();
    json_t *o = json_object();
    uint64_t dropped = access_log_write_errors(c->log);
    for (uint32_t k = 0; k < c->process.n_workers; k++)
        dropped += access_ring_dropped(c->rings[k]);
    set_u64(o, "dropped", dropped);
    set_u64(o, "redacted", access_log_redacted(c->log));
    return o;
}
