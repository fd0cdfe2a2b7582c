/* breaker_api.c - /v1/breakers. */
#include "admin/breaker_api.h"

#include "admin/control.h"
#include "admin/operator_words.h"
#include "proxy/breaker_tell.h"
#include "proxy/stream_permit.h"

#include <stdlib.h>

enum { PREFIX_LEN = sizeof("/v1/breakers/") - 1 };

static void set_u64(json_t *o, const char *key, uint64_t v)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

static uint64_t sum(const struct upstream_shared *u, size_t offset)
{
    uint64_t n = 0;
    for (uint32_t k = 0; k < u->n_workers; k++)
        n += count_read(
            (const counter_t *)(const void *)((const char *)&u->worker[k].stats + offset));
    return n;
}

static json_t *opened_json(const struct breaker_view *v)
{
    json_t *o = json_object();
    for (int i = 0; i < BREAKER_CAUSES; i++)
        set_u64(o, breaker_cause_word((enum breaker_cause)i), v->opened[i]);
    return o;
}

static void set_window(json_t *o, const struct breaker_view *v, const struct breaker_rules *r)
{
    if (r->error_rate == 0 && r->slow_call_duration == 0)
        return;
    set_u64(o, "window_requests", v->calls[CALL_ANY]);
    if (r->error_rate > 0)
        set_u64(o, "window_errors", v->calls[CALL_FAILED]);
    if (r->slow_call_duration > 0)
        set_u64(o, "window_slow", v->calls[CALL_SLOW]);
}

json_t *breaker_json(const struct conf_upstream *u, const struct upstream_shared *shared,
                     usec_t now)
{
    const struct breaker_rules *r = &u->breaker;
    struct breaker_view v;
    json_t *o = json_object();
    breaker_look(&shared->breaker, r, now, &v);
    bool off = !r->enabled && v.state != BREAKER_FORCED;
    (void)json_object_set_new(o, "upstream", json_stringn(u->name.p, u->name.n));
    (void)json_object_set_new(o, "state", json_string(off ? "off" : breaker_state_word(v.state)));
    (void)json_object_set_new(o, "dry_run", json_boolean(r->dry_run));
    if (v.since > 0 && !off)
        set_u64(o, "since_ms", now > v.since ? (now - v.since) / USEC_PER_MSEC : 0);
    if (v.state == BREAKER_OPEN && !off)
        set_u64(o, "half_open_in_ms", (v.opens_in + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
    if (v.state == BREAKER_CLOSED && !off) {
        set_u64(o, "consecutive_errors", v.consecutive);
        set_window(o, &v, r);
    }
    if (v.state == BREAKER_HALF_OPEN && !off) {
        (void)json_object_set_new(o, "probing", json_boolean(v.probing));
        set_u64(o, "successes", v.successes);
    }
    if (v.has_cause)
        (void)json_object_set_new(o, "last_cause", json_string(breaker_cause_word(v.last_cause)));
    (void)json_object_set_new(o, "opened", opened_json(&v));
    set_u64(o, "probes", v.probes);
    set_u64(o, "refused", sum(shared, offsetof(struct upstream_stats, breaker_refused)));
    set_u64(o, "refused_dry_run", sum(shared, offsetof(struct upstream_stats, breaker_dry_run)));
    return o;
}

static void reply_json(struct http_request *req, json_t *o)
{
    char *text = json_dumps(o, JSON_INDENT(1));
    json_decref(o);
    if (text)
        http_reply(req, 200, "application/json", text, strlen(text));
    else
        http_reply_problem(req, 503, "out_of_memory", NULL);
    free(text);
}

void breakers_get(struct http_request *req, void *ctx)
{
    const struct control *c = ctx;
    const struct conf *conf = c->snapshot->conf;
    usec_t now = clock_mono();
    json_t *o = json_object(), *list = json_array();
    for (uint32_t i = 0; i < conf->n_upstreams; i++)
        (void)json_array_append_new(
            list, breaker_json(&conf->upstreams[i], c->generation->upstreams[i], now));
    (void)json_object_set_new(o, "breakers", list);
    reply_json(req, o);
}

/* Who did it is known by the way that they came: the socket, or the token. */
static void tell(const struct conf_upstream *u, const char *word, const struct breaker_change *c)
{
    log_info("audit: circuit breaker %s: upstream %.*s, was %s", word, STR_FMT(u->name),
             breaker_state_word(c->happened ? c->from : BREAKER_CLOSED));
}

static void act(struct http_request *req, struct control *c, const struct conf_upstream *u,
                bool open)
{
    struct upstream_shared *shared = c->generation->upstreams[u->index];
    struct breaker_change change = {0};
    usec_t now = clock_mono();
    bool changed = open ? breaker_force(&shared->breaker, now, &change)
                        : breaker_reset(&shared->breaker, now, &change);
    if (changed || !open)
        tell(u, open ? "opened" : "reset", &change);
    breaker_tell(u->name, &u->breaker, &change);
    if (changed && open)
        stream_permits_recall(&c->process, shared);
    operator_words_hold(c);
    reply_json(req, breaker_json(u, shared, now));
}

void breaker_post(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    struct str name = {req->path.p + PREFIX_LEN, req->path.n - PREFIX_LEN};
    const char *slash = name.n > 0 ? memrchr(name.p, '/', name.n) : NULL;
    struct str verb = STR_NONE;
    if (slash) {
        verb = (struct str){slash + 1, name.n - (size_t)(slash + 1 - name.p)};
        name.n = (size_t)(slash - name.p);
    }
    bool open = str_eq(verb, STR("open"));
    const struct conf_upstream *u = conf_find_upstream(c->snapshot->conf, name);
    if (!open && !str_eq(verb, STR("reset")))
        http_reply_problem(req, 404, "not_found", "it is POST /v1/breakers/NAME/open or /reset");
    else if (!u)
        http_reply_problem(req, 404, "no_upstream", "there is no upstream of that name");
    else
        act(req, c, u, open);
}
