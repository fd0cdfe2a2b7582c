/* metrics_limits.c - rate limits, for the metrics and for /v1/status. */
#include "admin/control.h"
#include "admin/exposition.h"

#include "proxy/route_limits.h"

#include <stdio.h>

typedef unsigned long long ull;

static const struct route_limits *limits_of(const struct control *c, const struct conf_route *r)
{
    return c->generation->limits[r->index];
}

static struct route_limit_stats sum_of(const struct route_limit *l)
{
    struct route_limit_stats sum = {0};
    for (uint32_t k = 0; k < l->n_workers; k++) {
        const struct route_limit_stats *s = &l->worker[k].stats;
        sum.allowed += count_read(&s->allowed);
        sum.refused += count_read(&s->refused);
        sum.refused_dry_run += count_read(&s->refused_dry_run);
    }
    return sum;
}

static void each_limit(const struct control *c, void *ctx,
                       void (*fn)(void *ctx, const char *labels, const struct route_limit *l))
{
    const struct conf *conf = c->snapshot->conf;
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        for (uint32_t j = 0; j < l->n_routes; j++) {
            const struct conf_route *r = &l->routes[j];
            for (uint32_t k = 0; k < r->n_rate_limits; k++) {
                char labels[320];
                (void)snprintf(labels, sizeof(labels),
                               "direction=\"%s\",route=\"%.*s\",limit=\"%.*s\"",
                               l->direction == DIRECTION_INBOUND ? "inbound" : "outbound",
                               STR_FMT(r->name), STR_FMT(r->rate_limits[k].name));
                fn(ctx, labels, limits_of(c, r)->at[k]);
            }
        }
    }
}

static void put_requests(void *ctx, const char *labels, const struct route_limit *l)
{
    struct route_limit_stats s = sum_of(l);
    metric_put(ctx, "sluice_rate_limit_requests_total{%s,result=\"allowed\"} %llu\n", labels,
               (ull)s.allowed);
    metric_put(ctx, "sluice_rate_limit_requests_total{%s,result=\"refused\"} %llu\n", labels,
               (ull)s.refused);
    metric_put(ctx, "sluice_rate_limit_requests_total{%s,result=\"dry_run\"} %llu\n", labels,
               (ull)s.refused_dry_run);
}

static void put_keys(void *ctx, const char *labels, const struct route_limit *l)
{
    if (l->keys)
        metric_put(ctx, "sluice_rate_limit_keys{%s} %u\n", labels, rate_keys_held(l->keys));
}

static void put_forgotten(void *ctx, const char *labels, const struct route_limit *l)
{
    if (l->keys)
        metric_put(ctx, "sluice_rate_limit_keys_forgotten_total{%s} %llu\n", labels,
                   (ull)rate_keys_forgotten(l->keys));
}

void metrics_limits(struct exposition *t, const struct control *c)
{
    metric_family(t, "rate_limit_requests_total", "counter",
                  "Requests that a rate limit looked at, by what it said.");
    each_limit(c, t, put_requests);
    metric_family(t, "rate_limit_keys", "gauge", "Keys that a rate limit remembers.");
    each_limit(c, t, put_keys);
    metric_family(t, "rate_limit_keys_forgotten_total", "counter",
                  "Keys that were forgotten for others before their limit was unused.");
    each_limit(c, t, put_forgotten);
}

json_t *limits_json(const struct control *c, const struct conf_route *r)
{
    json_t *a = json_array();
    for (uint32_t i = 0; i < r->n_rate_limits; i++) {
        const struct conf_rate_limit *conf = &r->rate_limits[i];
        const struct route_limit *l = limits_of(c, r)->at[i];
        struct route_limit_stats s = sum_of(l);
        json_t *o = json_pack("{s:s#, s:i, s:f, s:b, s:I, s:I, s:I}", "name", conf->name.p,
                              (int)conf->name.n, "requests", (int)conf->rule.requests, "per_s",
                              (double)conf->rule.per / 1e6, "dry_run", conf->dry_run, "allowed",
                              (json_int_t)s.allowed, "refused", (json_int_t)s.refused,
                              "refused_dry_run", (json_int_t)s.refused_dry_run);
        if (o && l->keys)
            (void)json_object_set_new(o, "keys", json_integer((json_int_t)rate_keys_held(l->keys)));
        (void)json_array_append_new(a, o);
    }
    return a;
}
