/* upstream_limits.c - an upstream's limits for /v1/status, and what they would have held up where
 * they are only counted. */
#include "admin/control.h"
#include "admin/exposition.h"

#include "proxy/upstream_shared.h"

#include <jansson.h>
#include <stdio.h>

static const char *const words[LIMITS] = {
#define X(id, word) word,
    LIMIT_TABLE(X)
#undef X
};

static uint64_t dry_run(const struct upstream_shared *shared, int limit)
{
    uint64_t n = 0;
    for (uint32_t k = 0; k < shared->n_workers; k++)
        n += count_read(&shared->worker[k].stats.limits_dry_run[limit]);
    return n;
}

static void set_u64(json_t *o, const char *key, uint64_t v)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

json_t *upstream_limits_json(const struct conf_upstream *u, const struct upstream_shared *shared)
{
    const struct conf_limits *l = &u->limits;
    json_t *o = json_object();
    set_u64(o, "connections", atomic_load(&shared->connections));
    set_u64(o, "max_connections", l->connections);
    set_u64(o, "requests", atomic_load(&shared->requests));
    set_u64(o, "max_requests", l->requests);
    set_u64(o, "max_pending_requests", l->pending);
    set_u64(o, "retries", atomic_load(&shared->retries));
    set_u64(o, "max_retries", l->retries);
    set_u64(o, "max_connections_per_endpoint", l->connections_per_endpoint);
    set_u64(o, "max_requests_per_endpoint", l->requests_per_endpoint);
    set_u64(o, "queue_timeout_ms", u->queue_timeout / USEC_PER_MSEC);
    (void)json_object_set_new(o, "dry_run", json_boolean(u->limits_dry_run));
    for (int x = 0; x < LIMITS && u->limits_dry_run; x++) {
        char key[64];
        (void)snprintf(key, sizeof(key), "%s_dry_run", words[x]);
        set_u64(o, key, dry_run(shared, x));
    }
    return o;
}

void metrics_upstream_limits(struct exposition *t, const struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    metric_family(t, "upstream_limits_dry_run_total", "counter",
                  "What limits that are only counted would have held up.");
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        const struct conf_upstream *u = &conf->upstreams[i];
        for (int x = 0; x < LIMITS && u->limits_dry_run; x++)
            metric_put(t,
                       "sluice_upstream_limits_dry_run_total{upstream=\"%.*s\",limit=\"%s\"} "
                       "%llu\n",
                       STR_FMT(u->name), words[x],
                       (unsigned long long)dry_run(c->generation->upstreams[i], x));
    }
}
