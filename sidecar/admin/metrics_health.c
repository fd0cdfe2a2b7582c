/* metrics_health.c - health checks of endpoints. By endpoint there is one gauge alone, and no more
 * than ENDPOINTS_MAX of them: what DNS gives is not bounded by the configuration. */
#include "admin/control.h"
#include "admin/exposition.h"

typedef unsigned long long ull;

enum { ENDPOINTS_MAX = 1000 };

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

static uint32_t put_endpoints(struct exposition *t, struct str upstream,
                              const struct upstream_shared *u, uint32_t room)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < u->n_endpoints && n < room; i++) {
        const struct health *h = health_checks_of(u->endpoints[i]);
        if (!h)
            continue;
        n++;
        metric_put(t, "sluice_endpoint_healthy{upstream=\"%.*s\",endpoint=\"%.*s\"} %d\n",
                   STR_FMT(upstream), STR_FMT(u->endpoints[i]->text), h->healthy);
    }
    return n;
}

enum part { RESULTS_BY_WORD, SKIPPED, HEALTHY, UNHEALTHY, EACH, PARTS };

static void put(struct exposition *t, struct str name, const struct upstream_shared *u,
                const struct health_counts *n, enum part part, uint32_t *left)
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
    case UNHEALTHY:
        metric_put(t, "sluice_upstream_endpoints_unhealthy{upstream=\"%.*s\"} %u\n", STR_FMT(name),
                   count(u).unhealthy);
        break;
    default:
        *left -= put_endpoints(t, name, u, *left);
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
        {"endpoint_healthy", "gauge", "1: its checks find it healthy. Of 1000 endpoints at most."},
    };
    const struct conf *conf = c->snapshot->conf;
    uint32_t running, waiting, left = ENDPOINTS_MAX;
    for (int p = 0; p < PARTS; p++) {
        metric_family(t, families[p].name, families[p].type, families[p].help);
        for (uint32_t i = 0; i < conf->n_upstreams; i++) {
            const struct upstream_shared *u = c->generation->upstreams[i];
            const struct health_counts *n = health_checks_counts(u);
            if (n)
                put(t, conf->upstreams[i].name, u, n, (enum part)p, &left);
        }
    }
    health_checks_load(c->checks, &running, &waiting);
    metric_family(t, "health_checks_running", "gauge", "Checks that are under way.");
    metric_put(t, "sluice_health_checks_running %u\n", running);
    metric_family(t, "health_checks_waiting", "gauge",
                  "Checks that are due and wait for a place (health.maxProbes).");
    metric_put(t, "sluice_health_checks_waiting %u\n", waiting);
}
