/* upstream_tls.c - TLS towards an endpoint: the transport, and what is told of a handshake. */
#include "proxy/upstream_tls.h"

#include "base/log.h"
#include "proxy/endpoint.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

#include <errno.h>

enum { TELL_EVERY_S = 10 }; /* an endpoint whose handshakes fail, in the log */

static void count_failure(struct pool *p, enum tls_failure f)
{
    count_add(&p->stats->tls.failed[f], 1);
}

static void tell(struct pool *p, struct endpoint *e, const char *text)
{
    usec_t now = p->worker->loop.now;
    if (e->tls_told_at != 0 && now < e->tls_told_at + TELL_EVERY_S * USEC_PER_SEC)
        return;
    e->tls_told_at = now;
    log_warn("upstream %.*s: TLS with %.*s failed: %s", STR_FMT(p->conf->name),
             STR_FMT(e->shared->text), text);
}

int upstream_transport(struct pool *p, struct endpoint *e, int fd, struct transport *ret,
                       enum reason *ret_reason)
{
    const struct address *to = &e->shared->address;
    char ip[ADDRESS_IP_MAX];
    if (!p->conf->tls.enabled) {
        transport_plain(ret, fd);
        return 0;
    }
    /* A Unix socket has no name to be verified. */
    struct str name = {ip, address_format_ip(to, ip)};
    if (to->u.sa.sa_family == AF_UNIX)
        name = STR_NONE;
    int r = transport_tls_client(ret, fd, p->shared->tls, name, to);
    if (r == 0)
        return 0;
    if (r == -ENOKEY) {
        count_failure(p, TLS_FAILURE_NO_CONTEXT);
        tell(p, e, "its certificates could not be loaded");
        *ret_reason = REASON_UPSTREAM_CERTIFICATE;
    } else {
        count_failure(p, TLS_FAILURE_NO_MEMORY);
        *ret_reason = REASON_OUT_OF_MEMORY;
    }
    return r;
}

void upstream_tls_done(struct upstream_conn *u)
{
    struct tls_identity id;
    if (!transport_is_tls(&u->conn.transport))
        return;
    transport_tls_identity(&u->conn.transport, &id);
    count_add(&u->pool->stats->tls.done, 1);
    if (id.resumed)
        count_add(&u->pool->stats->tls.resumed, 1);
}

enum reason upstream_tls_failed(struct upstream_conn *u)
{
    const char *text;
    enum tls_failure f;
    if (!transport_is_tls(&u->conn.transport))
        return REASON_NONE;
    f = transport_tls_failure(&u->conn.transport, &text);
    if (f == TLS_FAILURE_NONE)
        return REASON_NONE;
    count_failure(u->pool, f);
    tell(u->pool, u->endpoint, text);
    return f == TLS_FAILURE_NO_MEMORY      ? REASON_OUT_OF_MEMORY
           : tls_failure_is_certificate(f) ? REASON_UPSTREAM_CERTIFICATE
                                           : REASON_UPSTREAM_TLS;
}

void upstream_tls_timed_out(struct upstream_conn *u)
{
    if (u->conn.stage != CONN_SHAKES)
        return;
    count_failure(u->pool, TLS_FAILURE_TIMEOUT);
    tell(u->pool, u->endpoint, "the handshake did not end within connectTimeout");
}

static bool same_texts(const struct str *a, uint32_t n_a, const struct str *b, uint32_t n_b)
{
    bool same = n_a == n_b;
    for (uint32_t i = 0; same && i < n_a; i++)
        same = str_eq(a[i], b[i]);
    return same;
}

bool upstream_tls_same_rules(const struct conf_upstream_tls *a, const struct conf_upstream_tls *b)
{
    return a->enabled == b->enabled && a->insecure == b->insecure &&
           a->min_version == b->min_version && str_eq(a->server_name, b->server_name) &&
           same_texts(a->sans, a->n_sans, b->sans, b->n_sans) &&
           same_texts(a->spiffe_ids, a->n_spiffe_ids, b->spiffe_ids, b->n_spiffe_ids) &&
           str_eq(a->ca.path, b->ca.path) && str_eq(a->pair.cert.path, b->pair.cert.path) &&
           str_eq(a->pair.key.path, b->pair.key.path);
}
