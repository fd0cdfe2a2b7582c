/* metrics_concurrency.c - adaptive concurrency limits: what they are, what they come from, and who
 * was refused. */
#include "admin/control.h"
#include "admin/exposition.h"

#include "proxy/upstream_shared.h"

typedef unsigned long long ull;

static bool get(const struct conf_upstream *u, const struct upstream_shared *shared,
                struct concurrency_view *ret)
{
    const struct concurrency *c = atomic_load_explicit(&shared->concurrency, memory_order_acquire);
    if (!u->concurrency || !c)
        return false;
    concurrency_look(c, u->concurrency, ret);
    return true;
}

static void put_limit(struct exposition *t, struct str name, const struct concurrency_view *v)
{
    metric_put(t, "sluice_concurrency_limit{upstream=\"%.*s\"} %u\n", STR_FMT(name), v->limit);
}

static void put_in_flight(struct exposition *t, struct str name, const struct concurrency_view *v)
{
    metric_put(t, "sluice_concurrency_in_flight{upstream=\"%.*s\"} %u\n", STR_FMT(name),
               v->in_flight);
}

static void put_min_rtt(struct exposition *t, struct str name, const struct concurrency_view *v)
{
    metric_put(t, "sluice_concurrency_min_rtt_seconds{upstream=\"%.*s\"} %.6f\n", STR_FMT(name),
               (double)v->min_rtt / 1e6);
}

static void put_p90(struct exposition *t, struct str name, const struct concurrency_view *v)
{
    metric_put(t, "sluice_concurrency_p90_seconds{upstream=\"%.*s\"} %.6f\n", STR_FMT(name),
               (double)v->p90 / 1e6);
}

static void put_probes(struct exposition *t, struct str name, const struct concurrency_view *v)
{
    metric_put(t, "sluice_concurrency_probes_total{upstream=\"%.*s\"} %llu\n", STR_FMT(name),
               (ull)v->probes);
}

static void put_refused(struct exposition *t, struct str name, const struct concurrency_view *v)
{
    for (int dry = 0; dry < 2; dry++) {
        for (int p = 0; p < PRIORITIES; p++)
            metric_put(t,
                       "sluice_concurrency_refused_total{upstream=\"%.*s\",priority=\"%s\","
                       "dry_run=\"%s\"} %llu\n",
                       STR_FMT(name), priority_word((enum priority)p), dry ? "true" : "false",
                       (ull)v->refused[dry][p]);
    }
}

void metrics_concurrency(struct exposition *t, const struct control *c)
{
    static const struct {
        const char *name, *type, *help;
        void (*put)(struct exposition *t, struct str name, const struct concurrency_view *v);
    } families[] = {
        {"concurrency_limit", "gauge", "Requests that may be in flight to the upstream.",
         put_limit},
        {"concurrency_in_flight", "gauge", "Requests that are in flight: without an answer yet.",
         put_in_flight},
        {"concurrency_min_rtt_seconds", "gauge",
         "90th percentile of the time to an answer's head without a queue.", put_min_rtt},
        {"concurrency_p90_seconds", "gauge",
         "90th percentile of the time to an answer's head at the last look.", put_p90},
        {"concurrency_probes_total", "counter",
         "Times that the limit was lowered to see the upstream without a queue.", put_probes},
        {"concurrency_refused_total", "counter",
         "Requests that the limit refused, or would have (dry_run).", put_refused},
    };
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        struct concurrency_view v;
        metric_family(t, families[f].name, families[f].type, families[f].help);
        for (uint32_t i = 0; i < c->snapshot->conf->n_upstreams; i++) {
            const struct conf_upstream *u = &c->snapshot->conf->upstreams[i];
            if (get(u, c->generation->upstreams[i], &v))
                families[f].put(t, u->name, &v);
        }
    }
}

static void set(json_t *o, const char *key, uint64_t v)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

json_t *concurrency_json(const struct conf_upstream *u, const struct upstream_shared *shared)
{
    struct concurrency_view v;
    if (!get(u, shared, &v))
        return NULL;
    json_t *o = json_object(), *refused = json_object();
    set(o, "limit", v.limit);
    set(o, "in_flight", v.in_flight);
    set(o, "min_rtt_us", v.min_rtt);
    set(o, "p90_us", v.p90);
    set(o, "probes", v.probes);
    for (int p = 0; p < PRIORITIES; p++)
        set(refused, priority_word((enum priority)p), v.refused[u->concurrency->dry_run][p]);
    (void)json_object_set_new(o, u->concurrency->dry_run ? "refused_dry_run" : "refused", refused);
    return o;
}
