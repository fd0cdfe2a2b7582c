/* downstream_tls.c - a client's connection in its TLS handshake: it has headerTimeout for it, and
 * what it speaks is known only behind it. */
#include "proxy/downstream_tls.h"

#include "base/log.h"
#include "proxy/listener.h"

#include <errno.h>

static struct downstream *of(struct conn *c)
{
    struct downstream *d = CONTAINER_OF(c, struct downstream, conn);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    return d;
}

static void count_failure(struct downstream *d, enum tls_failure f, const char *text)
{
    count_add(&d->listener->stats.tls.failed[f], 1);
    log_debug("listener %.*s: TLS with %.*s failed: %s", STR_FMT(d->listener->conf->name),
              (int)d->peer_len, d->peer, text);
}

static void on_ready(struct conn *c)
{
    struct downstream *d = of(c);
    struct tls_identity id;
    transport_tls_identity(&c->transport, &id);
    count_add(&d->listener->stats.tls.done, 1);
    if (id.resumed)
        count_add(&d->listener->stats.tls.resumed, 1);
    downstream_secured(d, id.alpn);
}

/* Who broke the protocol is told why by an alert, which a reset would overtake. */
static void on_failed(struct conn *c, int err)
{
    struct downstream *d = of(c);
    const char *text = "not enough memory";
    enum tls_failure f = transport_tls_failure(&c->transport, &text);
    count_failure(d, f == TLS_FAILURE_NONE ? TLS_FAILURE_NO_MEMORY : f, text);
    if (err == EPROTO)
        downstream_linger(d);
    else
        downstream_close(d);
}

static usec_t next_deadline(const struct downstream *d)
{
    return d->opened + d->listener->conf->header_timeout;
}

static void check(struct downstream *d, usec_t now)
{
    if (now < next_deadline(d))
        return;
    count_failure(d, TLS_FAILURE_TIMEOUT, "not done within headerTimeout");
    downstream_close(d);
}

static void on_gone(struct downstream *d, enum reason reason)
{
    (void)reason;
    downstream_close(d);
}

/* A handshake under way is the beginning of a request: it is let through until the last call. */
static void nothing(struct downstream *d)
{
    (void)d;
}

static void force(struct downstream *d, enum force_rank rank)
{
    (void)rank;
    downstream_close(d);
}

const struct downstream_ops downstream_tls_ops = {
    .conn = {.ready = on_ready, .failed = on_failed},
    .next_deadline = next_deadline,
    .check = check,
    .gone = on_gone,
    .notice = nothing,
    .idle_close = nothing,
    .last_call = downstream_close,
    .force = force,
};
