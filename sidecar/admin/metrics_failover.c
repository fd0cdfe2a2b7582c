/* metrics_failover.c - levels of upstreams whose endpoints have priorities. Labels are upstreams,
 * and priorities, of which there are at most eight. */
#include "admin/control.h"
#include "admin/endpoint_api.h"
#include "proxy/levels.h"

typedef unsigned long long ull;

/* Of each level of each upstream that has several. */
typedef void put_fn(struct exposition *t, struct str upstream, const struct levels *l, uint32_t i);

static void put_share(struct exposition *t, struct str upstream, const struct levels *l, uint32_t i)
{
    metric_put(t, "sluice_upstream_level_share{upstream=\"%.*s\",priority=\"%u\"} %.6f\n",
               STR_FMT(upstream), l->at[i].priority, (double)l->ppm[i] / FAILOVER_WHOLE);
}

static void put_there(struct exposition *t, struct str upstream, const struct levels *l, uint32_t i)
{
    metric_put(t, "sluice_upstream_level_endpoints{upstream=\"%.*s\",priority=\"%u\"} %u\n",
               STR_FMT(upstream), l->at[i].priority, l->at[i].count.there);
}

static void put_well(struct exposition *t, struct str upstream, const struct levels *l, uint32_t i)
{
    metric_put(t, "sluice_upstream_level_endpoints_well{upstream=\"%.*s\",priority=\"%u\"} %u\n",
               STR_FMT(upstream), l->at[i].priority, l->at[i].count.usable);
}

static void put_levels(struct exposition *t, const struct control *c, put_fn *put)
{
    const struct conf *conf = c->snapshot->conf;
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        struct levels l;
        if (!upstream_levels(c->generation->upstreams[i], &conf->upstreams[i], &l))
            continue;
        for (uint32_t k = 0; k < l.n; k++)
            put(t, conf->upstreams[i].name, &l, k);
    }
}

static const char *const dry_run_words[] = {"false", "true"};

static uint64_t sum_level(const struct upstream_shared *u, int dry_run, uint32_t priority)
{
    uint64_t sum = 0;
    for (uint32_t k = 0; k < u->n_workers; k++)
        sum += count_read(&u->worker[k].stats.level_requests[dry_run][priority]);
    return sum;
}

/* Also of a level that a reload has removed: a counter does not vanish. */
static void put_requests(struct exposition *t, const struct control *c, int dry_run)
{
    const struct conf *conf = c->snapshot->conf;
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        const struct upstream_shared *u = c->generation->upstreams[i];
        for (uint32_t priority = 0; priority < FAILOVER_LEVELS_MAX; priority++) {
            uint64_t sum = sum_level(u, dry_run, priority);
            if (sum > 0 || (!dry_run && u->places && priority == u->places->at[0].priority))
                metric_put(t,
                           "sluice_upstream_level_requests_total{upstream=\"%.*s\","
                           "priority=\"%u\",dry_run=\"%s\"} %llu\n",
                           STR_FMT(conf->upstreams[i].name), priority, dry_run_words[dry_run],
                           (ull)sum);
        }
    }
}

static void put_zones(struct exposition *t, const struct control *c, int dry_run)
{
    static const char *const words[] = {"own", "other"};
    const struct conf *conf = c->snapshot->conf;
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        const struct upstream_shared *u = c->generation->upstreams[i];
        for (int z = 0; z < 2 && u->places && conf->upstreams[i].own_zone.n > 0; z++) {
            uint64_t sum = 0;
            for (uint32_t k = 0; k < u->n_workers; k++)
                sum += count_read(&u->worker[k].stats.zone_requests[dry_run][z]);
            metric_put(t,
                       "sluice_upstream_zone_requests_total{upstream=\"%.*s\",zone=\"%s\","
                       "dry_run=\"%s\"} %llu\n",
                       STR_FMT(conf->upstreams[i].name), words[z], dry_run_words[dry_run],
                       (ull)sum);
        }
    }
}

void metrics_failover(struct exposition *t, const struct control *c)
{
    metric_family(t, "upstream_level_share", "gauge",
                  "Share of requests that the endpoints of a priority take now, 0 to 1.");
    put_levels(t, c, put_share);
    metric_family(t, "upstream_level_endpoints", "gauge",
                  "Endpoints of a priority that no operator has drained.");
    put_levels(t, c, put_there);
    metric_family(t, "upstream_level_endpoints_well", "gauge",
                  "Those that are neither ejected nor unhealthy.");
    put_levels(t, c, put_well);
    metric_family(t, "upstream_level_requests_total", "counter",
                  "Tries that endpoints of a priority were sent, where there are several.");
    put_requests(t, c, 0);
    put_requests(t, c, 1);
    metric_family(t, "upstream_zone_requests_total", "counter",
                  "Tries that went to our own zone and to others, where our own is preferred.");
    put_zones(t, c, 0);
    put_zones(t, c, 1);
}
