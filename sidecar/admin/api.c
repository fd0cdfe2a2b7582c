/* api.c - what the admin and health servers answer. */
#include "admin/breaker_api.h"
#include "admin/connections.h"
#include "admin/control.h"
#include "admin/endpoint_api.h"
#include "admin/health_show.h"
#include "admin/lease_api.h"

#include "base/mem.h"

#include <jansson.h>

/* A loop that is this far behind is not alive. */
#define LIVE_LAG_MAX (5 * USEC_PER_SEC)

static const char json[] = "application/json";

static void reply_owned(struct http_request *req, const char *type, char *text, size_t n)
{
    if (text)
        http_reply(req, 200, type, text, n);
    else
        http_reply_problem(req, 503, "out_of_memory", NULL);
    free(text);
}

/* --- health --- */

static void get_livez(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    usec_t now = clock_mono();
    bool alive = true;
    json_t *o = json_object(), *workers = json_array();
    for (uint32_t i = 0; i < c->process.n_workers; i++) {
        usec_t lag = control_loop_lag(c, i, now);
        json_t *w = json_object();
        alive = alive && lag < LIVE_LAG_MAX;
        (void)json_object_set_new(w, "id", json_integer(i));
        (void)json_object_set_new(w, "loop_lag_us", json_integer((json_int_t)lag));
        (void)json_array_append_new(workers, w);
    }
    (void)json_object_set_new(o, "live", json_boolean(alive));
    (void)json_object_set_new(o, "workers", workers);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    http_reply(req, alive ? 200 : 503, json, text ? text : "", text ? strlen(text) : 0);
    free(text);
}

bool control_ready(const struct control *c)
{
    const struct drain *d = &c->process.drain;
    const struct conf_route *down;
    enum drain_phase phase = drain_now(d);
    if (phase == DRAIN_SERVING)
        return !prestop_unready(&c->prestop.rules) && !health_unready(c->generation, &down);
    /* At a pod's end kube-proxy has no fallback for a last replica that is not serving. */
    return phase == DRAIN_NOTICE && d->ready_in_notice;
}

static void get_readyz(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    enum drain_phase phase = drain_now(&c->process.drain);
    const struct conf_route *down;
    char text[256], why[160] = "";
    bool ready = control_ready(c);
    if (!ready && phase == DRAIN_SERVING && health_unready(c->generation, &down))
        (void)snprintf(why, sizeof(why), ",\"unhealthy_route\":\"%.*s\"", STR_FMT(down->name));
    int n =
        snprintf(text, sizeof(text), "{\"ready\":%s,\"phase\":\"%s\"%s}", ready ? "true" : "false",
                 phase == DRAIN_EXIT ? "drained" : drain_phase_word(phase), why);
    http_reply(req, ready ? 200 : 503, json, text, (size_t)n);
}

static void get_startupz(struct http_request *req, void *ctx)
{
    (void)ctx; /* the servers start after the listeners: who is answered has started */
    http_reply(req, 200, json, "{\"started\":true}", 16);
}

/* --- admin --- */

static void get_status(struct http_request *req, void *ctx)
{
    char *text = status_json(ctx);
    reply_owned(req, json, text, text ? strlen(text) : 0);
}

static void post_drain(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    usec_t budget = 0;
    if (req->body.n > 0) {
        json_error_t error;
        json_t *o = json_loadb(req->body.p, req->body.n, 0, &error);
        json_t *ms = json_object_get(o, "deadline_ms");
        bool bad =
            !json_is_object(o) || (ms && (!json_is_integer(ms) || json_integer_value(ms) <= 0 ||
                                          json_integer_value(ms) > 86400000));
        if (!bad && ms)
            budget = (usec_t)json_integer_value(ms) * USEC_PER_MSEC;
        json_decref(o);
        if (bad) {
            http_reply_problem(req, 400, "bad_request",
                               "the body is {\"deadline_ms\": N}, N from 1 to 86400000");
            return;
        }
    }
    control_drain(c, DRAIN_BY_ADMIN, budget);
    control_report_get(req, ctx);
}

static void get_config(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    json_t *o = control_config_json(c);
    char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(o);
    reply_owned(req, json, text, text ? strlen(text) : 0);
}

static void post_reload(struct http_request *req, void *ctx)
{
    control_reload(ctx, CONFIG_BY_ADMIN, req);
}

static const struct http_route admin_routes[] = {
    {"GET", "/v1/status", get_status, false},
    {"GET", "/v1/connections", connections_get, false},
    {"GET", "/v1/drain", control_report_get, false},
    {"POST", "/v1/drain", post_drain, true},
    {"GET", "/v1/config", get_config, false},
    {"POST", "/v1/reload", post_reload, true},
    {"GET", "/v1/endpoints", endpoints_get, false},
    {"POST", "/v1/endpoints", endpoints_post, true},
    {"GET", "/v1/leases", leases_get, false},
    {"POST", "/v1/leases", leases_post, true},
    {"GET", "/v1/leases/*", lease_get, false},
    {"PUT", "/v1/leases/*", lease_put, true},
    {"POST", "/v1/leases/*", lease_post, true},
    {"DELETE", "/v1/leases/*", lease_delete, true},
    {"GET", "/v1/breakers", breakers_get, false},
    {"POST", "/v1/breakers/*", breaker_post, true},
    {"GET", "/metrics", metrics_get, false},
};

static const struct http_route health_routes[] = {
    {"GET", "/livez", get_livez, false},       {"GET", "/readyz", get_readyz, false},
    {"GET", "/startupz", get_startupz, false}, {"GET", "/prestop", prestop_get, false},
    {"GET", "/metrics", metrics_get, false},   {"GET", "/app-probe/*", app_forward_get, false},
};

void api_admin(struct http_request *req, void *ctx)
{
    http_dispatch(admin_routes, ARRAY_LEN(admin_routes), req, ctx);
}

void api_health(struct http_request *req, void *ctx)
{
    http_dispatch(health_routes, ARRAY_LEN(health_routes), req, ctx);
}
