/* metrics_tls.c - handshakes with clients and with upstreams, for the metrics. */
#include "admin/control.h"

#include "proxy/listener.h"

typedef unsigned long long ull;

struct sums {
    uint64_t full, resumed, failed[TLS_FAILURES];
};

static void add(struct sums *to, const struct tls_stats *from)
{
    uint64_t done = count_read(&from->done), resumed = count_read(&from->resumed);
    to->full += done > resumed ? done - resumed : 0;
    to->resumed += resumed;
    for (int i = 0; i < TLS_FAILURES; i++)
        to->failed[i] += count_read(&from->failed[i]);
}

static void put(struct exposition *t, const char *prefix, const char *labels, const struct sums *s,
                bool failures)
{
    if (!failures) {
        metric_put(t, "sluice_%stls_handshakes_total{%s,result=\"full\"} %llu\n", prefix, labels,
                   (ull)s->full);
        metric_put(t, "sluice_%stls_handshakes_total{%s,result=\"resumed\"} %llu\n", prefix, labels,
                   (ull)s->resumed);
        return;
    }
    for (int i = TLS_FAILURE_NONE + 1; i < TLS_FAILURES; i++) {
        if (s->failed[i] > 0)
            metric_put(t, "sluice_%stls_failures_total{%s,reason=\"%s\"} %llu\n", prefix, labels,
                       tls_failure_word((enum tls_failure)i), (ull)s->failed[i]);
    }
}

static void put_listener(struct exposition *t, const struct control *c,
                         const struct conf_listener *l, bool failures)
{
    struct sums s = {0};
    char labels[128];
    for (uint32_t k = 0; k < c->process.n_workers; k++)
        add(&s, &c->generation->views[k]->listeners[l->index]->stats.tls);
    (void)snprintf(labels, sizeof(labels), "direction=\"%s\",listener=\"%.*s\"",
                   l->direction == DIRECTION_INBOUND ? "inbound" : "outbound", STR_FMT(l->name));
    put(t, "", labels, &s, failures);
}

static void put_upstream(struct exposition *t, const struct control *c,
                         const struct conf_upstream *conf, bool failures)
{
    const struct upstream_shared *u = c->generation->upstreams[conf->index];
    struct sums s = {0};
    char labels[96];
    for (uint32_t k = 0; k < u->n_workers; k++)
        add(&s, &u->worker[k].stats.tls);
    (void)snprintf(labels, sizeof(labels), "upstream=\"%.*s\"", STR_FMT(conf->name));
    put(t, "upstream_", labels, &s, failures);
}

void metrics_tls(struct exposition *t, const struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    for (int failures = 0; failures <= 1; failures++) {
        if (failures)
            metric_family(t, "tls_failures_total", "counter",
                          "Handshakes with clients that failed, by reason.");
        else
            metric_family(t, "tls_handshakes_total", "counter",
                          "Handshakes with clients, full ones and resumed sessions.");
        for (uint32_t i = 0; i < conf->n_listeners; i++) {
            const struct conf_listener *l = &conf->listeners[i];
            if (l->tls.enabled || (failures && l->protocol == PROTOCOL_TLS))
                put_listener(t, c, l, failures);
        }
        if (failures)
            metric_family(t, "upstream_tls_failures_total", "counter",
                          "Handshakes with the upstream that failed, by reason.");
        else
            metric_family(t, "upstream_tls_handshakes_total", "counter",
                          "Handshakes with the upstream, full ones and resumed sessions.");
        for (uint32_t i = 0; i < conf->n_upstreams; i++) {
            if (conf->upstreams[i].tls.enabled)
                put_upstream(t, c, &conf->upstreams[i], failures);
        }
    }
}
