/* downstream_sniff.c - a client's connection whose first bytes decide what becomes of it. */
#include "proxy/downstream_sniff.h"

#include "http/tls_hello.h"
#include "proxy/downstream_h1.h"
#include "proxy/downstream_h2.h"
#include "proxy/listener.h"

#include <errno.h>

enum { METHOD_MAX = 32 };

static struct downstream *of(struct conn *c)
{
    struct downstream *d = CONTAINER_OF(c, struct downstream, conn);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    return d;
}

static bool is_auto(const struct downstream *d)
{
    return d->listener->conf->protocol == PROTOCOL_AUTO;
}

/* ---- protocol: auto ---- */

enum guess { GUESS_MORE, GUESS_HTTP1, GUESS_HTTP2, GUESS_BYTES };

/* A method in capitals, a space, and the beginning of a target: in other protocols words in
 * capitals are followed by spaces too. */
static enum guess guess_http1(struct str s)
{
    size_t n = 0;
    while (n < s.n && n < METHOD_MAX && ((s.p[n] >= 'A' && s.p[n] <= 'Z') || s.p[n] == '-'))
        n++;
    if (n == s.n && n < METHOD_MAX)
        return GUESS_MORE;
    if (n == 0 || s.p[n] != ' ')
        return GUESS_BYTES;
    if (n + 1 == s.n)
        return GUESS_MORE;
    char target = s.p[n + 1];
    return target == '/' || target == '*' || ascii_lower(target) == 'h' ? GUESS_HTTP1 : GUESS_BYTES;
}

static enum guess guess(const struct downstream *d, struct str s)
{
    size_t n = min_u64(s.n, H2_PREFACE_LEN);
    if (d->listener->conf->http2 && memcmp(s.p, H2_PREFACE, n) == 0)
        return n < H2_PREFACE_LEN ? GUESS_MORE : GUESS_HTTP2;
    return guess_http1(s);
}

/* It is another's from here on, with the bytes that have come. */
static void become(struct downstream *d, enum guess what, struct str name)
{
    struct buf_pool *bufs = &d->worker->loop.bufs;
    struct buf first = d->pipelined;
    struct h1_beginning h1 = {
        .raw = what == GUESS_BYTES,
        .name = name,
        .p = buf_data(&first),
        .n = buf_len(&first),
    };
    d->pipelined = (struct buf){0};
    d->since = d->worker->loop.now;
    downstream_set_population(d, what != GUESS_BYTES);
    if (what == GUESS_HTTP2) {
        downstream_h2_begin(d, h1.p, h1.n);
    } else {
        downstream_set_ops(d, &downstream_h1_ops);
        downstream_h1_begin(d, &h1);
    }
    buf_clear(bufs, &first);
}

/* ---- protocol: tls ---- */

static void count_failure(struct downstream *d, enum tls_failure f)
{
    count_add(&d->listener->stats.tls.failed[f], 1);
}

void downstream_send_alert(struct downstream *d, uint8_t alert)
{
    enum { RECORD_ALERT = 21, FATAL = 2 };
    const unsigned char record[] = {RECORD_ALERT, 3, 3, 0, 2, FATAL, alert};
    conn_send(&d->conn, record, sizeof(record));
}

static void refuse(struct downstream *d, enum tls_failure f, uint8_t alert)
{
    count_failure(d, f);
    buf_clear(&d->worker->loop.bufs, &d->pipelined);
    if (alert > 0)
        downstream_send_alert(d, alert);
    downstream_linger(d);
}

static void read_hello(struct downstream *d, struct str s)
{
    struct tls_hello hello;
    switch (tls_hello_read(s.p, s.n, &hello)) {
    case TLS_HELLO_MORE:
        if (s.n >= TLS_HELLO_MAX)
            refuse(d, TLS_FAILURE_PROTOCOL, ALERT_DECODE_ERROR);
        break;
    case TLS_HELLO_DONE:
        become(d, GUESS_BYTES, (struct str){hello.name, hello.name_len});
        break;
    case TLS_HELLO_NOT_TLS:
        refuse(d, TLS_FAILURE_NOT_TLS, 0);
        break;
    case TLS_HELLO_BAD:
        refuse(d, TLS_FAILURE_PROTOCOL, ALERT_DECODE_ERROR);
        break;
    }
}

/* ---- events ---- */

static void look(struct downstream *d)
{
    struct str s = {buf_data(&d->pipelined), buf_len(&d->pipelined)};
    if (!is_auto(d)) {
        read_hello(d, s);
        return;
    }
    enum guess what = guess(d, s);
    if (what != GUESS_MORE)
        become(d, what, STR_NONE);
}

static void on_eof(struct downstream *d)
{
    d->request_eof = true;
    conn_read_stop(&d->conn);
    if (is_auto(d) && buf_len(&d->pipelined) > 0) {
        become(d, GUESS_BYTES, STR_NONE);
        return;
    }
    if (!is_auto(d))
        count_failure(d, TLS_FAILURE_PEER_CLOSED);
    downstream_close(d);
}

static void on_readable(struct conn *c)
{
    struct downstream *d = of(c);
    struct loop *l = &d->worker->loop;
    ssize_t n = conn_read(c, l->scratch, LOOP_SCRATCH_BYTES);
    if (n == 0) {
        on_eof(d);
    } else if (n < 0) {
        if (n == -EAGAIN)
            return;
        (void)downstream_read_failed(d);
        downstream_close(d);
    } else if (buf_append(&l->bufs, &d->pipelined, l->scratch, (size_t)n) < 0) {
        conn_break(c, ENOMEM);
    } else {
        look(d);
    }
}

static void on_failed(struct conn *c, int err)
{
    (void)err;
    downstream_close(of(c));
}

static void on_drained(struct conn *c)
{
    (void)c;
}

static usec_t next_deadline(const struct downstream *d)
{
    const struct conf_listener *l = d->listener->conf;
    return d->since + (is_auto(d) ? l->auto_timeout : l->header_timeout);
}

static void check(struct downstream *d, usec_t now)
{
    if (now < next_deadline(d))
        return;
    if (is_auto(d))
        become(d, GUESS_BYTES, STR_NONE); /* the server may be the one who speaks first */
    else
        refuse(d, TLS_FAILURE_TIMEOUT, 0);
}

static void on_gone(struct downstream *d, enum reason reason)
{
    (void)reason;
    downstream_close(d);
}

/* What it will be is not known: it is let through until the last call. */
static void nothing(struct downstream *d)
{
    (void)d;
}

static void force(struct downstream *d, enum force_rank rank)
{
    (void)rank;
    downstream_close(d);
}

static const struct downstream_ops sniff_ops = {
    .conn = {.readable = on_readable, .drained = on_drained, .failed = on_failed},
    .next_deadline = next_deadline,
    .check = check,
    .gone = on_gone,
    .notice = nothing,
    .idle_close = nothing,
    .last_call = downstream_close,
    .force = force,
};

void downstream_sniff_begin(struct downstream *d)
{
    downstream_set_population(d, false);
    downstream_set_ops(d, &sniff_ops);
    conn_read_start(&d->conn);
    downstream_arm(d);
}
