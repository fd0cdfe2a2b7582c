/* metrics_routes.c - what became of each route's requests. */
#include "admin/control.h"
#include "admin/exposition.h"

#include "http/grpc.h"
#include "proxy/route_state.h"

#include <stdio.h>

typedef unsigned long long ull;

enum { LABELS_MAX = 192 };

static struct route_state *state_of(const struct control *c, uint32_t worker,
                                    const struct conf_route *r)
{
    return c->generation->views[worker]->routes[r->index].state;
}

/* Of counters that a worker makes when it has something to count: n of them, of all workers. False,
 * and no sums: nobody has any, as is so for most routes. */
static bool lazy_sums(const struct control *c, const struct conf_route *r, size_t offset,
                      uint64_t *sums, uint32_t n)
{
    bool any = false;
    for (uint32_t k = 0; k < c->process.n_workers; k++) {
        const char *stats = (const char *)&state_of(c, k, r)->stats;
        counter_t *_Atomic const *where =
            (counter_t * _Atomic const *)(const void *)(stats + offset);
        counter_t *counters = atomic_load_explicit(where, memory_order_acquire);
        if (!counters)
            continue;
        if (!any)
            memset(sums, 0, n * sizeof(*sums));
        any = true;
        for (uint32_t i = 0; i < n; i++)
            sums[i] += count_read(&counters[i]);
    }
    return any;
}

uint64_t route_timeouts_dry_run(const struct control *c, const struct conf_route *r,
                                enum timeout_kind kind)
{
    uint64_t n = 0;
    for (uint32_t k = 0; k < c->process.n_workers; k++)
        n += count_read(&state_of(c, k, r)->stats.timeouts_dry_run[kind]);
    return n;
}

typedef void put_fn(struct exposition *t, const struct control *c, const struct conf_route *r,
                    const char *labels);

static void put_requests(struct exposition *t, const struct control *c, const struct conf_route *r,
                         const char *labels)
{
    static const char *const words[CODE_CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    for (int code = 0; code < CODE_CLASSES; code++) {
        uint64_t n = 0;
        for (uint32_t k = 0; k < c->process.n_workers; k++)
            n += count_read(&state_of(c, k, r)->stats.requests[code]);
        if (n > 0 || code == 2)
            metric_put(t, "sluice_requests_total{%s,code=\"%s\"} %llu\n", labels, words[code],
                       (ull)n);
    }
}

static void put_errors(struct exposition *t, const struct control *c, const struct conf_route *r,
                       const char *labels)
{
    uint64_t sums[REASON_COUNT];
    if (!lazy_sums(c, r, offsetof(struct route_stats, errors), sums, REASON_COUNT))
        return;
    for (int x = 1; x < REASON_COUNT; x++) {
        if (sums[x] > 0)
            metric_put(t, "sluice_route_errors_total{%s,reason=\"%s\"} %llu\n", labels,
                       reason_word((enum reason)x), (ull)sums[x]);
    }
}

static void put_grpc(struct exposition *t, const struct control *c, const struct conf_route *r,
                     const char *labels)
{
    uint64_t sums[GRPC_CODES];
    if (!lazy_sums(c, r, offsetof(struct route_stats, grpc), sums, GRPC_CODES))
        return;
    for (int x = 0; x < GRPC_CODES; x++) {
        if (sums[x] > 0)
            metric_put(t, "sluice_grpc_requests_total{%s,code=\"%s\"} %llu\n", labels,
                       grpc_code_word((enum grpc_code)x), (ull)sums[x]);
    }
}

static void put_timeouts(struct exposition *t, const struct control *c, const struct conf_route *r,
                         const char *labels)
{
    static const char *const words[TIMEOUT_KINDS] = {
        [TIMEOUT_WHOLE] = "timeout", [TIMEOUT_FIRST_BYTE] = "first_byte_timeout"};
    for (int x = 0; x < TIMEOUT_KINDS && r->timeout_dry_run; x++)
        metric_put(t, "sluice_timeouts_dry_run_total{%s,kind=\"%s\"} %llu\n", labels, words[x],
                   (ull)route_timeouts_dry_run(c, r, (enum timeout_kind)x));
}

static void put_intended(struct exposition *t, const struct control *c, const struct conf_route *r,
                         const char *labels)
{
    (void)c;
    for (uint32_t b = 0; b < r->n_backends; b++)
        metric_put(t, "sluice_split_intended_ratio{%s,upstream=\"%.*s\"} %.6f\n", labels,
                   STR_FMT(r->backends[b].upstream->name), (double)r->backends[b].ppm / 1e6);
}

static void put_picked(struct exposition *t, const struct control *c, const struct conf_route *r,
                       const char *labels)
{
    for (uint32_t b = 0; b < r->n_backends; b++) {
        uint64_t n = 0;
        for (uint32_t k = 0; k < c->process.n_workers; k++)
            n += route_state_picked(state_of(c, k, r), r, b);
        metric_put(t, "sluice_split_picked_total{%s,upstream=\"%.*s\"} %llu\n", labels,
                   STR_FMT(r->backends[b].upstream->name), (ull)n);
    }
}

static void put_duration(struct exposition *t, const struct control *c, const struct conf_route *r,
                         const char *labels)
{
    uint64_t counts[HISTOGRAM_BUCKETS] = {0}, sum = 0;
    for (uint32_t k = 0; k < c->process.n_workers; k++) {
        struct histogram *h =
            atomic_load_explicit(&state_of(c, k, r)->stats.duration, memory_order_acquire);
        if (h)
            histogram_collect(h, counts, &sum);
    }
    metric_histogram(t, "request_duration_seconds", labels, counts, sum);
}

/* From the `first` of all routes on; returns how many have been seen to, when that is enough, else
 * 0. */
static uint32_t routes_from(struct exposition *t, const struct control *c, put_fn *put,
                            uint32_t first)
{
    const struct conf *conf = c->snapshot->conf;
    char labels[LABELS_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        for (uint32_t j = 0; j < l->n_routes; j++, n++) {
            if (n < first)
                continue;
            if (n > first && exposition_rests(t))
                return n;
            (void)snprintf(labels, sizeof(labels), "direction=\"%s\",route=\"%.*s\"",
                           l->direction == DIRECTION_INBOUND ? "inbound" : "outbound",
                           STR_FMT(l->routes[j].name));
            put(t, c, &l->routes[j], labels);
        }
    }
    return 0;
}

void metrics_routes(struct exposition *t, const struct control *c)
{
    static const struct {
        const char *name, *type, *help;
        put_fn *put;
    } families[] = {
        {"requests_total", "counter", "Requests, by the class of the status that was given.",
         put_requests},
        {"route_errors_total", "counter", "Streams that did not end well, by reason.", put_errors},
        {"timeouts_dry_run_total", "counter",
         "Requests that took longer than a timeout that is only counted.", put_timeouts},
        {"split_intended_ratio", "gauge", "Share that an upstream is meant to have of a route.",
         put_intended},
        {"split_picked_total", "counter", "Requests that were given to an upstream.", put_picked},
        {"grpc_requests_total", "counter", "gRPC calls, by the status that the client was told.",
         put_grpc},
    };
    uint32_t rest_at = t->rest_at;
    t->rest_at = 0; /* these are no more than a few for each */
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        metric_family(t, families[f].name, families[f].type, families[f].help);
        (void)routes_from(t, c, families[f].put, 0);
    }
    t->rest_at = rest_at;
}

void metrics_durations(struct exposition *t, const struct control *c)
{
    if (t->at == 0)
        metric_family(t, "request_duration_seconds", "histogram",
                      "First byte in to last byte out.");
    t->at = routes_from(t, c, put_duration, t->at);
}
