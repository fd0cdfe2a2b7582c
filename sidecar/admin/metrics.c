/* metrics.c - /metrics: the workers' counters, summed when they are asked for.
 *
 * Labels are direction, route, upstream, endpoint, code class, reason, phase and worker: never
 * what a peer can choose, so that the number of series is bounded by the configuration. */
#include "admin/control.h"
#include "admin/discovery_show.h"
#include "admin/endpoint_api.h"
#include "admin/exposition.h"

#include "base/mem.h"
#include "proxy/access_log.h"
#include "proxy/listener.h"
#include "proxy/upstream_shared.h"

#include <stdio.h>

typedef unsigned long long ull;

enum { OWN_SERIES = 2 }; /* of the cap itself */

/* The sum over workers of the counter at `offset` in what `base` gives for each. */
#define SUM(c, expr)                                                                               \
    ({                                                                                             \
        uint64_t sum_ = 0;                                                                         \
        for (uint32_t k = 0; k < (c)->process.n_workers; k++) {                                    \
            const struct worker *w = &(c)->workers[k];                                             \
            sum_ += count_read(&(expr));                                                           \
        }                                                                                          \
        (ull) sum_;                                                                                \
    })

static const char *direction_word(enum direction d)
{
    return d == DIRECTION_INBOUND ? "inbound" : "outbound";
}

static void put_process(struct exposition *t, const struct control *c)
{
    usec_t now = clock_mono();
    enum drain_phase phase = drain_now(&c->process.drain);
    metric_family(t, "info", "gauge", "Version of the program.");
    metric_put(t, "sluice_info{version=\"%s\"} 1\n", SLUICE_VERSION);
    metric_family(t, "uptime_seconds", "gauge", "Since the serving process started.");
    metric_put(t, "sluice_uptime_seconds %.3f\n", (double)(now - c->started) / 1e6);
    metric_family(t, "drain_phase", "gauge", "1 for the phase that the process is in.");
    for (int p = 0; p < DRAIN_PHASES; p++)
        metric_put(t, "sluice_drain_phase{phase=\"%s\"} %d\n",
                   drain_phase_word((enum drain_phase)p), p == (int)phase);
    metric_family(t, "drain_remaining_seconds", "gauge",
                  "Until the drain's deadline; 0: none runs.");
    const struct drain *d = &c->process.drain;
    metric_put(t, "sluice_drain_remaining_seconds %.3f\n",
               d->started && d->budget.deadline > now ? (double)(d->budget.deadline - now) / 1e6
                                                      : 0.);
    metric_family(t, "drain_phase_remaining_seconds", "gauge",
                  "Until the phase ends at the latest; 0: no drain runs.");
    usec_t phase_end = drain_phase_end(d);
    metric_put(t, "sluice_drain_phase_remaining_seconds %.3f\n",
               phase_end > now ? (double)(phase_end - now) / 1e6 : 0.);
    prestop_metrics(&c->prestop, t);
    control_app_metrics(c, t);
    control_leaks_metrics(c, t);
    config_state_metrics(&c->config, t);
    certificates_metrics(&c->certificates, c->snapshot->conf, t);
    metric_family(t, "loop_lag_seconds", "gauge", "How far a worker's loop is behind.");
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        metric_put(t, "sluice_loop_lag_seconds{worker=\"%u\"} %.6f\n", i,
                   (double)control_loop_lag(c, i, now) / 1e6);
    metric_family(t, "connections_max", "gauge", "Client connections that are let in at most.");
    metric_put(t, "sluice_connections_max %u\n",
               (unsigned)atomic_load(&c->process.max_connections));
    metric_family(t, "streams", "gauge", "Requests and TCP connections in progress.");
    metric_put(t, "sluice_streams %llu\n", SUM(c, w->stats.streams));
    metric_family(t, "accept_paused_total", "counter", "Times that accepting was paused.");
    metric_put(t, "sluice_accept_paused_total %llu\n", SUM(c, w->stats.accept_paused));
    metric_family(t, "idle_close_crossed_total", "counter",
                  "Closes of idle connections that crossed a request.");
    metric_put(t, "sluice_idle_close_crossed_total %llu\n", SUM(c, w->stats.crossed));
    metric_family(t, "allocation_failures_total", "counter", "Allocations that failed on demand.");
    metric_put(t, "sluice_allocation_failures_total %llu\n", (ull)mem_failures());
    metric_family(t, "access_log_dropped_total", "counter", "Access log records that were lost.");
    uint64_t dropped = c->log ? access_log_write_errors(c->log) : 0;
    for (uint32_t k = 0; c->log && k < c->process.n_workers; k++)
        dropped += access_ring_dropped(c->rings[k]);
    metric_put(t, "sluice_access_log_dropped_total %llu\n", (ull)dropped);
    metric_family(t, "access_log_redacted_total", "counter",
                  "Values that the access log tells as hashes.");
    metric_put(t, "sluice_access_log_redacted_total %llu\n",
               (ull)(c->log ? access_log_redacted(c->log) : 0));
}

static void put_listener_family(struct exposition *t, const struct control *c, const char *name,
                                const char *type, const char *help, size_t offset)
{
    const struct conf *conf = c->snapshot->conf;
    metric_family(t, name, type, help);
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        uint64_t sum = 0;
        for (uint32_t k = 0; k < c->process.n_workers; k++)
            sum += count_read(
                (const counter_t
                     *)(const void *)((const char *)&c->generation->views[k]->listeners[i]->stats +
                                      offset));
        metric_put(t, "sluice_%s{direction=\"%s\",listener=\"%.*s\"} %llu\n", name,
                   direction_word(l->direction), STR_FMT(l->name), (ull)sum);
    }
}

static void put_listeners(struct exposition *t, const struct control *c)
{
    put_listener_family(t, c, "connections", "gauge", "Client connections that are open.",
                        offsetof(struct listener_stats, open));
    put_listener_family(t, c, "connections_accepted_total", "counter", "Client connections.",
                        offsetof(struct listener_stats, accepted));
    put_listener_family(t, c, "connections_refused_total", "counter",
                        "Client connections closed for want of memory.",
                        offsetof(struct listener_stats, refused));
    put_listener_family(t, c, "request_body_bytes_total", "counter", "Body bytes from clients.",
                        offsetof(struct listener_stats, bytes_in));
    put_listener_family(t, c, "response_body_bytes_total", "counter", "Body bytes to clients.",
                        offsetof(struct listener_stats, bytes_out));
}

static void put_errors(struct exposition *t, const struct control *c)
{
    metric_family(t, "errors_total", "counter",
                  "Streams that did not end well, in all, by reason.");
    for (int x = 1; x < REASON_COUNT; x++)
        metric_put(t, "sluice_errors_total{reason=\"%s\"} %llu\n", reason_word((enum reason)x),
                   SUM(c, w->stats.reasons[x]));
}

static void put_upstreams(struct exposition *t, const struct control *c)
{
    static const struct {
        const char *name, *type, *help;
        size_t offset;
    } rows[] = {
#define ROW(name, type, help, member) {name, type, help, offsetof(struct upstream_stats, member)}
        ROW("upstream_connections", "gauge", "Connections to the upstream.", connections),
        ROW("upstream_connections_active", "gauge", "Those that carry a request.", active),
        ROW("upstream_connections_idle", "gauge", "Those that wait for one.", idle),
        ROW("upstream_connecting", "gauge", "Connections being made.", connecting),
        ROW("upstream_http2_streams", "gauge", "Requests on connections that speak HTTP/2.",
            http2_streams),
        ROW("upstream_pending", "gauge", "Requests that wait for a connection.", pending),
        ROW("upstream_requests_total", "counter", "Requests sent, retries included.", requests),
        ROW("upstream_connections_opened_total", "counter", "Connections begun.", opened),
        ROW("upstream_connections_reused_total", "counter", "Requests on a used connection.",
            reused),
        ROW("upstream_connect_failed_total", "counter", "Connections that could not be made.",
            connect_failed),
        ROW("upstream_resent_total", "counter",
            "Requests sent again: on a reused connection that had been closed, or not processed.",
            retried),
        ROW("upstream_endpoints_full_total", "counter",
            "Times that a request found every endpoint at its limit.", endpoints_full),
        ROW("upstream_unreachable_total", "counter",
            "Times that packets to an endpoint were found to be lost.", unreachable),
        ROW("upstream_unreachable_dry_run_total", "counter",
            "The same with unreachableDryRun: nothing came of it.", unreachable_dry_run),
        ROW("upstream_closed_idle_total", "counter", "Idle connections the upstream closed.",
            closed_idle),
        ROW("upstream_unsolicited_total", "counter",
            "Idle connections with bytes nobody asked for.", unsolicited),
#undef ROW
    };
    const struct conf *conf = c->snapshot->conf;
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        metric_family(t, rows[r].name, rows[r].type, rows[r].help);
        for (uint32_t i = 0; i < conf->n_upstreams; i++) {
            const struct upstream_shared *u = c->generation->upstreams[i];
            uint64_t sum = 0;
            for (uint32_t k = 0; k < u->n_workers; k++)
                sum +=
                    count_read((const counter_t *)(const void *)((const char *)&u->worker[k].stats +
                                                                 rows[r].offset));
            metric_put(t, "sluice_%s{upstream=\"%.*s\"} %llu\n", rows[r].name,
                       STR_FMT(conf->upstreams[i].name), (ull)sum);
        }
    }
    metric_family(t, "upstream_first_byte_seconds", "histogram",
                  "Request sent to response's first byte.");
    for (uint32_t i = 0; i < conf->n_upstreams; i++) {
        uint64_t counts[HISTOGRAM_BUCKETS] = {0}, sum = 0;
        char labels[96];
        const struct upstream_shared *u = c->generation->upstreams[i];
        for (uint32_t k = 0; k < u->n_workers; k++) {
            struct histogram *h =
                atomic_load_explicit(&u->worker[k].stats.first_byte, memory_order_acquire);
            if (h)
                histogram_collect(h, counts, &sum);
        }
        (void)snprintf(labels, sizeof(labels), "upstream=\"%.*s\"",
                       STR_FMT(conf->upstreams[i].name));
        metric_histogram(t, "upstream_first_byte_seconds", labels, counts, sum);
    }
}

static void put_websockets(struct exposition *t, const struct control *c)
{
    static const char *const classes[WEBSOCKET_CLOSE_CLASSES] = {
        [WEBSOCKET_CLOSE_NORMAL] = "normal",
        [WEBSOCKET_CLOSE_GOING_AWAY] = "going_away",
        [WEBSOCKET_CLOSE_PROTOCOL_ERROR] = "protocol_error",
        [WEBSOCKET_CLOSE_POLICY] = "policy",
        [WEBSOCKET_CLOSE_TOO_BIG] = "too_big",
        [WEBSOCKET_CLOSE_OTHER] = "other",
        [WEBSOCKET_CLOSE_APPLICATION] = "application",
        [WEBSOCKET_CLOSE_ABNORMAL] = "abnormal",
    };
    metric_family(t, "websockets", "gauge", "WebSockets that are open.");
    metric_put(t, "sluice_websockets %llu\n", SUM(c, w->stats.websockets));
    metric_family(t, "websocket_messages_total", "counter", "Messages, by who sent them.");
    metric_put(t, "sluice_websocket_messages_total{from=\"client\"} %llu\n",
               SUM(c, w->stats.websocket_messages[0]));
    metric_put(t, "sluice_websocket_messages_total{from=\"server\"} %llu\n",
               SUM(c, w->stats.websocket_messages[1]));
    metric_family(t, "websocket_closes_total", "counter",
                  "WebSockets that ended, by the class of the first close code.");
    for (int i = 0; i < WEBSOCKET_CLOSE_CLASSES; i++)
        metric_put(t, "sluice_websocket_closes_total{class=\"%s\"} %llu\n", classes[i],
                   SUM(c, w->stats.websocket_closes[i]));
    metric_family(t, "websocket_pings_missed_total", "counter",
                  "Pings of ours that were not answered within pingInterval.");
    metric_put(t, "sluice_websocket_pings_missed_total %llu\n",
               SUM(c, w->stats.websocket_pings_missed));
}

static void put_h2(struct exposition *t, const struct control *c)
{
    metric_family(
        t, "http2_crowded_total", "counter",
        "Times that an HTTP/2 client had to wait because its requests' fields came to too "
        "much for what it had sent.");
    metric_put(t, "sluice_http2_crowded_total %llu\n", SUM(c, w->stats.h2_crowded));
}

static void put_learned(struct exposition *t, const struct control *c)
{
    static const char *const words[] = {
#define X(id, word) word,
        LEARN_COUNT_TABLE(X)
#undef X
    };
    metric_family(t, "learned_total", "counter",
                  "Requests that acquire or give back by a learned rule, by what became of them.");
    for (unsigned i = 0; i < LEARN_COUNTS; i++)
        metric_put(t, "sluice_learned_total{result=\"%s\"} %llu\n", words[i],
                   SUM(c, w->stats.learned[i]));
    metric_family(t, "learn_pending", "gauge",
                  "Acquisitions under way: asked for, read or written to the journal.");
    metric_put(t, "sluice_learn_pending %llu\n", SUM(c, w->stats.learn_pending));
}

static void put_discovery(struct exposition *t, const struct control *c)
{
    discovery_metrics(c->discovery, t);
}

/* What there is little of comes first: where all of it is too much, what there is most of goes. */
bool metrics_part(struct exposition *t, struct control *c, uint32_t i)
{
    static void (*const parts[])(struct exposition *, const struct control *) = {
        put_process,
        put_errors,
        put_websockets,
        put_h2,
        put_learned,
        metrics_overload,
        metrics_leases,
        metrics_actions,
        put_listeners,
        metrics_tls,
        metrics_jwt,
        put_upstreams,
        metrics_retries,
        metrics_health,
        metrics_breakers,
        metrics_concurrency,
        metrics_upstream_limits,
        metrics_endpoints,
        metrics_failover,
        put_discovery,
        metrics_routes,
        metrics_authz,
        metrics_limits,
        metrics_durations,
        metrics_each_healthy,
        metrics_each_weight,
    };
    if (i >= ARRAY_LEN(parts))
        return false;
    parts[i](t, c);
    return true;
}

static void tell_dropped(struct control *c, const struct exposition *t)
{
    bool dropped = t->dropped > 0;
    if (dropped && !c->series_dropped)
        log_warn("metrics: %u series are left out: there are more than limits.maxMetricSeries (%u)",
                 t->dropped, t->most);
    c->series_dropped = dropped;
}

void metrics_begin(struct exposition *t, const struct control *c)
{
    free(t->p);
    *t = (struct exposition){.most = c->snapshot->conf->max_metric_series - OWN_SERIES};
}

void metrics_end(struct exposition *t, struct control *c)
{
    uint32_t told = t->series + OWN_SERIES;
    t->most = told; /* these are always told */
    metric_family(t, "metrics_series", "gauge", "Series that are told here.");
    metric_put(t, "sluice_metrics_series %u\n", told);
    metric_family(t, "metrics_series_dropped", "gauge",
                  "Series that are left out, as there are more than limits.maxMetricSeries.");
    metric_put(t, "sluice_metrics_series_dropped %u\n", t->dropped);
    t->most = c->snapshot->conf->max_metric_series;
    tell_dropped(c, t);
}
