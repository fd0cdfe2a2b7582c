/* metrics_health.c - health checks of endpoints. */
#include "admin/control.h"
#include "admin/exposition.h"

typedef unsigned long long ull;

struct state {
    uint32_t healthy, unhealthy;
};

static struct state count(const struct upstream_shared *u)
{
    struct state s = {0};
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        const struct health *h = health_checks_of(u->endpoints[i]);
        s.healthy += h && h->healthy;
        s.unhealthy += h && !h->healthy;
    }
    return s;
}

static void put_results(struct exposition *t, struct str upstream, const struct health_counts *n)
{
    for (int w = CHECK_NONE + 1; w < CHECK_WORDS; w++) {
        if (n->results[w] > 0)
            metric_put(t, "sluice_health_checks_total{upstream=\"%.*s\",result=\"%s\"} %llu\n",
                       STR_FMT(upstream), check_word((enum check_word)w), (ull)n->results[w]);
    }
}

enum part { RESULTS_BY_WORD, SKIPPED, HEALTHY, UNHEALTHY, PARTS };

static void put(struct exposition *t, struct str name, const struct upstream_shared *u,
                const struct health_counts *n, enum part part)
{
    switch (part) {
    case RESULTS_BY_WORD:
        put_results(t, name, n);
        break;
    case SKIPPED:
        metric_put(t, "sluice_health_checks_skipped_total{upstream=\"%.*s\"} %llu\n", STR_FMT(name),
                   (ull)n->skipped);
        break;
    case HEALTHY:
        metric_put(t, "sluice_upstream_endpoints_healthy{upstream=\"%.*s\"} %u\n", STR_FMT(name),
                   count(u).healthy);
        break;
    default:
        metric_put(t, "sluice_upstream_endpoints_unhealthy{upstream=\"%.*s\"} %u\n", STR_FMT(name),
                   count(u).unhealthy);
        break;
    }
}

void metrics_health(struct exposition *t, const struct control *c)
{
    static const struct {
        const char *name, *type, *help;
    } families[PARTS] = {
        {"health_checks_total", "counter", "Checks of an upstream's endpoints, by result."},
        {"health_checks_skipped_total", "counter",
         "Checks that were left out because requests succeeded."},
        {"upstream_endpoints_healthy", "gauge", "Endpoints that their checks find healthy."},
        {"upstream_endpoints_unhealthy", "gauge", "Endpoints that their checks find unhealthy."},
    };
    const struct conf *conf = c->snapshot->conf;
    uint32_t running, waiting;
    for (int p = 0; p < PARTS; p++) {
        metric_family(t, families[p].name, families[p].type, families[p].help);
        for (uint32_t i = 0; i < conf->n_upstreams; i++) {
            const struct upstream_shared *u = c->generation->upstreams[i];
            const struct health_counts *n = health_checks_counts(u);
            if (n)
                put(t, conf->upstreams[i].name, u, n, (enum part)p);
        }
    }
    health_checks_load(c->checks, &running, &waiting);
    metric_family(t, "health_checks_running", "gauge", "Checks that are under way.");
    metric_put(t, "sluice_health_checks_running %u\n", running);
    metric_family(t, "health_checks_waiting", "gauge",
                  "Checks that are due and wait for a place (health.maxProbes).");
    metric_put(t, "sluice_health_checks_waiting %u\n", waiting);
}

void metrics_each_healthy(struct exposition *t, const struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    metric_family(t, "endpoint_healthy", "gauge", "1: its checks find it healthy.");
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        const struct upstream_shared *u = c->generation->upstreams[i];
        for (uint32_t k = 0; k < u->n_endpoints; k++) {
            const struct health *h = health_checks_of(u->endpoints[k]);
            if (h)
                metric_put(t, "sluice_endpoint_healthy{upstream=\"%.*s\",endpoint=\"%.*s\"} %d\n",
                           STR_FMT(conf->upstreams[i].name), STR_FMT(u->endpoints[k]->text),
                           h->healthy);
        }
    }
}
