/* metrics_breakers.c - circuit breakers: their state, why they opened, and who was refused. Those
 * of upstreams that have one, or that an operator has opened. */
#include "admin/control.h"
#include "admin/exposition.h"

#include "proxy/upstream_shared.h"

typedef unsigned long long ull;

struct row {
    const struct conf_upstream *u;
    const struct upstream_shared *shared;
    struct breaker_view view;
};

static bool get(const struct control *c, uint32_t i, usec_t now, struct row *ret)
{
    ret->u = &c->snapshot->conf->upstreams[i];
    ret->shared = c->generation->upstreams[i];
    breaker_look(&ret->shared->breaker, &ret->u->breaker, now, &ret->view);
    return ret->u->breaker.enabled || ret->view.state == BREAKER_FORCED;
}

static void put_state(struct exposition *t, const struct row *r)
{
    for (int s = 0; s < BREAKER_STATES; s++)
        metric_put(t, "sluice_breaker_state{upstream=\"%.*s\",state=\"%s\"} %d\n",
                   STR_FMT(r->u->name), breaker_state_word((enum breaker_state)s),
                   s == (int)r->view.state);
}

static void put_opened(struct exposition *t, const struct row *r)
{
    for (int i = 0; i < BREAKER_CAUSES; i++)
        metric_put(t, "sluice_breaker_opened_total{upstream=\"%.*s\",cause=\"%s\"} %llu\n",
                   STR_FMT(r->u->name), breaker_cause_word((enum breaker_cause)i),
                   (ull)r->view.opened[i]);
}

static void put_refused(struct exposition *t, const struct row *r)
{
    uint64_t refused = 0, dry_run = 0;
    for (uint32_t k = 0; k < r->shared->n_workers; k++) {
        refused += count_read(&r->shared->worker[k].stats.breaker_refused);
        dry_run += count_read(&r->shared->worker[k].stats.breaker_dry_run);
    }
    metric_put(t, "sluice_breaker_refused_total{upstream=\"%.*s\",dry_run=\"false\"} %llu\n",
               STR_FMT(r->u->name), (ull)refused);
    metric_put(t, "sluice_breaker_refused_total{upstream=\"%.*s\",dry_run=\"true\"} %llu\n",
               STR_FMT(r->u->name), (ull)dry_run);
}

static void put_probes(struct exposition *t, const struct row *r)
{
    metric_put(t, "sluice_breaker_probes_total{upstream=\"%.*s\"} %llu\n", STR_FMT(r->u->name),
               (ull)r->view.probes);
}

void metrics_breakers(struct exposition *t, const struct control *c)
{
    static const struct {
        const char *name, *type, *help;
        void (*put)(struct exposition *t, const struct row *r);
    } families[] = {
        {"breaker_state", "gauge", "1 for the state that the circuit breaker is in.", put_state},
        {"breaker_opened_total", "counter", "Times that the circuit breaker opened, by cause.",
         put_opened},
        {"breaker_refused_total", "counter",
         "Requests that the circuit breaker refused, or would have (dry_run).", put_refused},
        {"breaker_probes_total", "counter", "Requests let through while it was half-open.",
         put_probes},
    };
    usec_t now = clock_mono();
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        struct row r;
        metric_family(t, families[f].name, families[f].type, families[f].help);
        for (uint32_t i = 0; i < c->snapshot->conf->n_upstreams; i++) {
            if (get(c, i, now, &r))
                families[f].put(t, &r);
        }
    }
}
