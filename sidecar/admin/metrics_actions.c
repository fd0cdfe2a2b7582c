/* metrics_actions.c - header rules: how many messages they changed; faults: how many were injected.
 */
#include "admin/control.h"
#include "admin/exposition.h"
#include "proxy/fault_shared.h"
#include "proxy/route_state.h"

#include <stdio.h>

typedef unsigned long long ull;

static uint64_t header_count(const struct control *c, int message, int result)
{
    uint64_t n = 0;
    for (uint32_t k = 0; k < c->process.n_workers; k++)
        n += count_read(&c->workers[k].stats.header_rules[message][result]);
    return n;
}

static void put_header_rules(struct exposition *t, const struct control *c)
{
    static const char *const messages[] = {"request", "response"};
    static const char *const results[] = {
#define X(id, word) word,
        HEADER_COUNT_TABLE(X)
#undef X
    };
    metric_family(t, "header_rules_total", "counter",
                  "Messages that header rules changed; left_out: fields not written.");
    for (int m = 0; m < 2; m++) {
        for (int r = 0; r < HEADER_COUNTS; r++)
            metric_put(t, "sluice_header_rules_total{message=\"%s\",result=\"%s\"} %llu\n",
                       messages[m], results[r], (ull)header_count(c, m, r));
    }
}

/* The same for all workers. */
static const struct fault_state *fault_of(const struct control *c, const struct conf_route *r)
{
    return &c->generation->views[0]->routes[r->index].state->fault->state;
}

static void put_route_faults(struct exposition *t, const struct fault_state *s, const char *labels,
                             bool active)
{
    const struct {
        const char *fault, *result;
        const _Atomic uint64_t *n;
    } rows[] = {
        {"delay", "injected", &s->delayed},    {"delay", "skipped", &s->skipped},
        {"delay", "dry_run", &s->dry_delayed}, {"abort", "injected", &s->aborted},
        {"abort", "dry_run", &s->dry_aborted},
    };
    if (active)
        metric_put(t, "sluice_faults_active{%s} %u\n", labels, atomic_load(&s->active));
    for (size_t i = 0; i < ARRAY_LEN(rows) && !active; i++)
        metric_put(t, "sluice_faults_total{%s,fault=\"%s\",result=\"%s\"} %llu\n", labels,
                   rows[i].fault, rows[i].result, (ull)atomic_load(rows[i].n));
}

/* Of routes that have faults. */
static void put_faults(struct exposition *t, const struct control *c, bool active)
{
    const struct conf *conf = c->snapshot->conf;
    char labels[192];
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        for (uint32_t k = 0; k < l->n_routes; k++) {
            const struct conf_route *r = &l->routes[k];
            if (!r->fault)
                continue;
            (void)snprintf(labels, sizeof(labels), "direction=\"%s\",route=\"%.*s\"",
                           l->direction == DIRECTION_INBOUND ? "inbound" : "outbound",
                           STR_FMT(r->name));
            put_route_faults(t, fault_of(c, r), labels, active);
        }
    }
}

void metrics_actions(struct exposition *t, const struct control *c)
{
    put_header_rules(t, c);
    metric_family(t, "faults_total", "counter", "Faults that routes were told to inject.");
    put_faults(t, c, false);
    metric_family(t, "faults_active", "gauge", "Requests that wait because of one.");
    put_faults(t, c, true);
}
