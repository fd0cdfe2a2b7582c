/* metrics_endpoints.c - which endpoints are good. */
#include "admin/control.h"
#include "admin/endpoint_api.h"
#include "proxy/endpoint_look.h"
#include "proxy/levels.h"

typedef unsigned long long ull;

#define FOR_EACH_UPSTREAM(c, u, s)                                                                 \
    for (uint32_t i_ = 0;                                                                          \
         i_ < (c)->snapshot->conf->n_upstreams && ((u) = &(c)->snapshot->conf->upstreams[i_]) &&   \
         ((s) = (c)->generation->upstreams[i_]);                                                   \
         i_++)

static void put_ejections(struct exposition *t, const struct control *c)
{
    const struct conf_upstream *u;
    const struct upstream_shared *s;
    metric_family(t, "outlier_ejections_total", "counter",
                  "Endpoints ejected by outlier detection, or that would be with dryRun.");
    FOR_EACH_UPSTREAM(c, u, s)
    {
        for (int cause = 0; cause < 2 * OUTLIER_CAUSES; cause++)
            metric_put(
                t,
                "sluice_outlier_ejections_total{upstream=\"%.*s\",cause=\"%s\","
                "dry_run=\"%s\"} %llu\n",
                STR_FMT(u->name), outlier_cause_word((enum outlier_cause)(cause % OUTLIER_CAUSES)),
                cause < OUTLIER_CAUSES ? "false" : "true",
                (ull)atomic_load(&s->ejections[cause / OUTLIER_CAUSES][cause % OUTLIER_CAUSES]));
    }
    metric_family(t, "outlier_ejections_refused_total", "counter",
                  "Failures for which an endpoint would have been ejected, but for "
                  "maxEjectionPercent or for being the last.");
    FOR_EACH_UPSTREAM(c, u, s)
    {
        uint64_t sum = 0;
        for (uint32_t k = 0; k < s->n_workers; k++)
            sum += count_read(&s->worker[k].stats.ejections_refused);
        metric_put(t, "sluice_outlier_ejections_refused_total{upstream=\"%.*s\"} %llu\n",
                   STR_FMT(u->name), (ull)sum);
    }
}

static void put_standing(struct exposition *t, const struct control *c)
{
    static const struct {
        const char *name, *help;
    } rows[] = {
        {"upstream_endpoints", "Endpoints that it has and that no operator has drained."},
        {"upstream_endpoints_well", "Those that are neither ejected, unhealthy nor unreachable."},
        {"upstream_endpoints_ejected", "Those that are ejected, or would be with dryRun."},
        {"upstream_panic", "1: too few are well (panicThreshold), and so all are used."},
    };
    const struct conf_upstream *u;
    const struct upstream_shared *s;
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        metric_family(t, rows[r].name, "gauge", rows[r].help);
        FOR_EACH_UPSTREAM(c, u, s)
        {
            struct standing_counts n = standing_read(&s->group);
            const uint32_t values[] = {n.there, n.usable, n.ejected, upstream_panics(s, u)};
            metric_put(t, "sluice_%s{upstream=\"%.*s\"} %u\n", rows[r].name, STR_FMT(u->name),
                       values[r]);
        }
    }
}

void metrics_each_weight(struct exposition *t, const struct control *c)
{
    const struct conf_upstream *u;
    const struct upstream_shared *s;
    usec_t now = clock_mono();
    metric_family(t, "endpoint_weight", "gauge", "Percent of its share that an endpoint gets.");
    FOR_EACH_UPSTREAM(c, u, s)
    {
        bool panics = upstream_panics(s, u);
        for (uint32_t k = 0; k < s->n_endpoints; k++) {
            const struct endpoint_shared *e = s->endpoints[k];
            metric_put(t, "sluice_endpoint_weight{upstream=\"%.*s\",endpoint=\"%.*s\"} %u\n",
                       STR_FMT(u->name), STR_FMT(e->text), endpoint_percent(e, u, panics, now));
        }
    }
}

void metrics_endpoints(struct exposition *t, const struct control *c)
{
    put_ejections(t, c);
    put_standing(t, c);
}
