/* metrics_retries.c - requests that were sent once more, and why others were not. Labels are
 * upstreams and the fixed words of policies/retry.h; a series begins with its first count. */
#include "admin/control.h"
#include "admin/exposition.h"

#include "admin/generation.h"
#include "config/snapshot.h"
#include "proxy/upstream_shared.h"

typedef unsigned long long ull;

static void put_made(struct exposition *t, struct str name, const struct upstream_shared *u)
{
    for (int x = 0; x < RETRY_CONDITIONS; x++) {
        uint64_t n = 0;
        for (uint32_t k = 0; k < u->n_workers; k++)
            n += count_read(&u->worker[k].stats.retries[x]);
        if (n > 0)
            metric_put(t,
                       "sluice_upstream_retries_total{upstream=\"%.*s\",condition=\"%s\"} %llu\n",
                       STR_FMT(name), retry_condition_word((enum retry_condition)x), (ull)n);
    }
}

static void put_refused(struct exposition *t, struct str name, const struct upstream_shared *u)
{
    for (int x = 0; x < RETRY_VERDICTS; x++) {
        uint64_t n = 0;
        for (uint32_t k = 0; k < u->n_workers; k++)
            n += count_read(&u->worker[k].stats.retries_refused[x]);
        if (n > 0)
            metric_put(t,
                       "sluice_upstream_retries_refused_total{upstream=\"%.*s\",why=\"%s\"} %llu\n",
                       STR_FMT(name), retry_verdict_word((enum retry_verdict)x), (ull)n);
    }
}

static void put_moved(struct exposition *t, struct str name, const struct upstream_shared *u)
{
    static const char *const words[MOVED_CAUSES] = {
        [MOVED_UNREACHABLE] = "unreachable", [MOVED_LOST] = "connection_lost"};
    for (int x = 0; x < MOVED_CAUSES; x++) {
        uint64_t n = 0;
        for (uint32_t k = 0; k < u->n_workers; k++)
            n += count_read(&u->worker[k].stats.moved[x]);
        if (n > 0)
            metric_put(t, "sluice_upstream_moved_total{upstream=\"%.*s\",why=\"%s\"} %llu\n",
                       STR_FMT(name), words[x], (ull)n);
    }
}

static void put_now(struct exposition *t, struct str name, const struct upstream_shared *u)
{
    metric_put(t, "sluice_upstream_retries_active{upstream=\"%.*s\"} %u\n", STR_FMT(name),
               atomic_load(&u->retries));
}

void metrics_retries(struct exposition *t, const struct control *c)
{
    static const struct {
        const char *name, *type, *help;
        void (*put)(struct exposition *t, struct str name, const struct upstream_shared *u);
    } families[] = {
        {"upstream_retries_total", "counter", "Requests sent once more, by what had gone wrong.",
         put_made},
        {"upstream_retries_refused_total", "counter",
         "Failures that a route retries, and that were not retried, by why.", put_refused},
        {"upstream_moved_total", "counter",
         "Requests sent once more without `retry`, from one endpoint to another, by why.",
         put_moved},
        {"upstream_retries_active", "gauge", "Requests that are being retried.", put_now},
    };
    const struct conf *conf = c->snapshot->conf;
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        metric_family(t, families[f].name, families[f].type, families[f].help);
        for (uint32_t i = 0; i < conf->n_upstreams; i++)
            families[f].put(t, conf->upstreams[i].name, c->generation->upstreams[i]);
    }
}
