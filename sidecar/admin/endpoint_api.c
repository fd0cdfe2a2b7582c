/* endpoint_api.c - /v1/endpoints: which endpoints are used, and the operator's word on them. */
#include "admin/endpoint_api.h"

#include "admin/control.h"
#include "admin/health_show.h"
#include "admin/operator_words.h"
#include "proxy/endpoint_look.h"
#include "proxy/endpoint_word.h"
#include "proxy/levels.h"

#include <errno.h>
#include <stdio.h>

/* --- shown --- */

static void set_u64(json_t *o, const char *key, uint64_t v)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

static const char *state_word(uint32_t word)
{
    if (word & STANDING_DRAINED)
        return "drained";
    if (word & STANDING_UNREACHABLE)
        return "unreachable";
    if (word & STANDING_EJECTED)
        return "ejected";
    return word & STANDING_UNHEALTHY ? "unhealthy" : "well";
}

static void add_ejection(json_t *o, const struct endpoint_shared *e, usec_t now)
{
    uint32_t word = standing_word(&e->standing);
    usec_t left = outlier_left(&e->outlier, now);
    set_u64(o, "ejections", atomic_load(&e->outlier.ejections));
    if (!(word & STANDING_EJECTIONS))
        return;
    (void)json_object_set_new(o, "dry_run", json_boolean(word & STANDING_EJECTED_DRY_RUN));
    (void)json_object_set_new(
        o, "cause",
        json_string(outlier_cause_word((enum outlier_cause)atomic_load(&e->outlier.cause))));
    set_u64(o, "returns_in_ms", left == USEC_NEVER ? 0 : left / USEC_PER_MSEC);
}

static json_t *endpoint_json(const struct endpoint_shared *e, const struct conf_upstream *conf,
                             bool panics, usec_t now)
{
    json_t *o = json_object();
    uint64_t connections = 0, active = 0, requests = 0, errors = 0;
    for (uint32_t k = 0; k < e->n_workers; k++) {
        const struct endpoint_stats *s = &e->worker[k].stats;
        connections += count_read(&s->connections);
        active += count_read(&s->active);
        requests += count_read(&s->requests);
        errors += count_read(&s->errors);
    }
    (void)json_object_set_new(o, "address", json_stringn(e->text.p, e->text.n));
    (void)json_object_set_new(o, "state", json_string(state_word(standing_word(&e->standing))));
    set_u64(o, "percent", endpoint_percent(e, conf, panics, now));
    set_u64(o, "operator_percent", atomic_load(&e->percent));
    add_ejection(o, e, now);
    if (standing_word(&e->standing) & STANDING_UNREACHABLE_DRY_RUN)
        (void)json_object_set_new(o, "unreachable_dry_run", json_true());
    set_u64(o, "connections", connections);
    set_u64(o, "active", active);
    set_u64(o, "requests", requests);
    set_u64(o, "errors", errors);
    (void)json_object_set_new(o, "health", health_endpoint_json(e, now));
    return o;
}

/* only: NULL for all. */
static json_t *some_endpoints_json(const struct upstream_shared *u,
                                   const struct conf_upstream *conf, const struct address *only)
{
    usec_t now = clock_mono();
    json_t *a = json_array();
    bool panics = upstream_panics(u, conf);
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        if (only && !address_equal(&u->endpoints[i]->address, only))
            continue;
        json_t *o = endpoint_json(u->endpoints[i], conf, panics, now);
        levels_add_place(u, i, o);
        (void)json_array_append_new(a, o);
    }
    return a;
}

json_t *endpoints_json(const struct upstream_shared *u, const struct conf_upstream *conf)
{
    return some_endpoints_json(u, conf, NULL);
}

json_t *standing_json(const struct upstream_shared *u, const struct conf_upstream *conf)
{
    struct standing_counts c = standing_read(&u->group);
    json_t *o = json_object();
    set_u64(o, "there", c.there);
    set_u64(o, "well", c.usable);
    set_u64(o, "ejected", c.ejected);
    (void)json_object_set_new(o, "panic", json_boolean(upstream_panics(u, conf)));
    json_t *levels = levels_json(u, conf);
    if (levels)
        (void)json_object_set_new(o, "levels", levels);
    if (levels && conf->failover_dry_run)
        (void)json_object_set_new(o, "failover_dry_run", json_true());
    return o;
}

static void reply_json(struct http_request *req, json_t *o)
{
    char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
    json_decref(o);
    if (text)
        http_reply(req, 200, "application/json", text, strlen(text));
    else
        http_reply_problem(req, 503, "out_of_memory", NULL);
    free(text);
}

static void reply_no_upstream(struct http_request *req)
{
    http_reply_problem(req, 404, "no_upstream", "the configuration in force has no such upstream");
}

static json_t *upstream_json(const struct control *c, const struct conf_upstream *conf,
                             const struct address *only)
{
    const struct upstream_shared *u = c->generation->upstreams[conf->index];
    json_t *o = json_object();
    (void)json_object_set_new(o, "name", json_stringn(conf->name.p, conf->name.n));
    (void)json_object_set_new(o, "standing", standing_json(u, conf));
    (void)json_object_set_new(o, "endpoints", some_endpoints_json(u, conf, only));
    return o;
}

void endpoints_get(struct http_request *req, void *ctx)
{
    const struct control *c = ctx;
    const struct conf *conf = c->snapshot->conf;
    char name[128];
    bool one = http_query_get(req, "upstream", name, sizeof(name));
    if (one && !conf_find_upstream(conf, str_of(name))) {
        reply_no_upstream(req);
        return;
    }
    json_t *o = json_object(), *a = json_array();
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        if (!one || str_eq(conf->upstreams[i].name, str_of(name)))
            (void)json_array_append_new(a, upstream_json(c, &conf->upstreams[i], NULL));
    }
    (void)json_object_set_new(o, "upstreams", a);
    reply_json(req, o);
}

/* --- changed --- */

static const char body_help[] =
    "the body is {\"upstream\": NAME, \"address\": ADDRESS, \"action\": \"drain\", \"ready\" or "
    "\"weight\", \"percent\": 1 to 100 with \"weight\"}";

struct wish {
    struct str upstream;
    struct endpoint_word word;
};

static struct str text_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? (struct str){json_string_value(v), json_string_length(v)} : STR_NONE;
}

/* What stays as it is comes from `was`. */
static bool read_action(const json_t *o, const struct endpoint_word *was, struct endpoint_word *ret)
{
    struct str action = text_of(o, "action");
    const json_t *percent = json_object_get(o, "percent");
    ret->drained = was && was->drained;
    ret->percent = was ? was->percent : 100;
    if (str_eq(action, STR("weight"))) {
        json_int_t n = json_integer_value(percent);
        if (n < 1 || n > 100)
            return false;
        ret->percent = (uint32_t)n;
        return true;
    }
    if (percent)
        return false;
    if (str_eq(action, STR("drain")))
        ret->drained = true;
    else if (str_eq(action, STR("ready")))
        *ret = (struct endpoint_word){.address = ret->address, .percent = 100};
    else
        return false;
    return true;
}

static bool is_listed(const struct upstream_shared *u, const struct address *a)
{
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        if (address_equal(&u->endpoints[i]->address, a))
            return true;
    }
    return false;
}

static void tell_log(const struct conf_upstream *conf, const struct endpoint_word *w)
{
    char text[ADDRESS_TEXT_MAX];
    (void)address_format(&w->address, text);
    log_info("audit: upstream %.*s: the operator has endpoint %s %s, with %u %% of its share",
             STR_FMT(conf->name), text, w->drained ? "drained" : "ready", w->percent);
}

static void change(struct http_request *req, struct control *c, const json_t *o)
{
    const struct conf_upstream *conf =
        conf_find_upstream(c->snapshot->conf, text_of(o, "upstream"));
    struct endpoint_word w;
    const char *why = NULL;
    if (!conf) {
        reply_no_upstream(req);
        return;
    }
    struct upstream_shared *u = c->generation->upstreams[conf->index];
    bool parsed = address_parse(text_of(o, "address"), &w.address, &why) == 0;
    const struct endpoint_word *was = parsed ? endpoint_word_find(u, &w.address) : NULL;
    if (!parsed || (!was && !is_listed(u, &w.address))) {
        http_reply_problem(req, 404, "no_endpoint",
                           "the upstream has no such address at the moment");
        return;
    }
    if (!read_action(o, was, &w)) {
        http_reply_problem(req, 400, "bad_request", body_help);
        return;
    }
    int rc = endpoint_word_set(u, &w);
    if (rc == -EUSERS) {
        http_reply_problem(req, 409, "too_many_words", "4096 endpoints of it are set apart");
    } else if (rc < 0) {
        http_reply_problem(req, 503, "out_of_memory", NULL);
    } else {
        tell_log(conf, &w);
        operator_words_hold(c);
        /* It is in force already. The workers hear of it behind the answer: they free what the mail
         * brings, and would wait for a lock in malloc where we make JSON at the same time. */
        reply_json(req, upstream_json(c, conf, &w.address));
        generation_deliver(c->generation, conf);
    }
}

void endpoints_post(struct http_request *req, void *ctx)
{
    json_error_t error;
    json_t *o = json_loadb(req->body.p, req->body.n, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(o) && text_of(o, "upstream").n > 0 && text_of(o, "address").n > 0)
        change(req, ctx, o);
    else
        http_reply_problem(req, 400, "bad_request", body_help);
    json_decref(o);
}

/* --- looked at --- */

void control_endpoints_tick(struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    usec_t now = clock_mono();
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        endpoint_look(c->generation->upstreams[i], &conf->upstreams[i], now);
        upstream_levels_tell(c->generation->upstreams[i], &conf->upstreams[i]);
    }
}
