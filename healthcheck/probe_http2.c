/* probe_http2.c - a check by HTTP/2: one stream on a connection of its own. */
#include "healthcheck/probe_parts.h"

#include "base/mem.h"
#include "http/grpc.h"

static struct probe *of(struct h2_stream *st)
{
    return CONTAINER_OF(st, struct probe_h2, stream)->probe;
}

/* ---- what is sent ---- */

static void pump(struct probe *p)
{
    struct probe_h2 *h2 = p->h2;
    while (p->conn.open && !p->conn.blocked && !p->conn.error && h2_wants_pull(&h2->codec)) {
        int rc = h2_pull(&h2->codec, &p->conn.out, H2_PULL_MOST);
        if (rc < 0) {
            probe_end(p, CHECK_SOCKERR, 0, "out of memory");
            return;
        }
        if (buf_len(&p->conn.out) == 0)
            break;
        conn_flush(&p->conn);
    }
    if (h2->codec.failure_why != REASON_NONE)
        probe_end(p, CHECK_L7RSP, 0, "HTTP/2 protocol error");
}

static int send_request(struct probe *p, struct message *m)
{
    struct probe_h2 *h2 = p->h2;
    bool grpc = p->rules->kind == PROBE_GRPC;
    char check[GRPC_CHECK_MAX];
    int rc = probe_make_request(p, m);
    if (rc == 0)
        rc = h2_request(&h2->codec, &h2->stream, m, p->tls ? STR("https") : STR("http"), !grpc);
    if (rc == 0 && grpc)
        rc = h2_send(&h2->stream, check, probe_grpc_request(p->rules->service, check));
    if (rc == 0 && grpc)
        rc = h2_send_end(&h2->stream, NULL);
    return rc;
}

/* ---- what comes ---- */

static void on_head(struct h2_stream *st)
{
    struct probe *p = of(st);
    probe_on_head(p);
    if (st->recv_ended)
        probe_on_whole(p);
}

static void on_interim(struct h2_stream *st)
{
    (void)st;
}

static void on_body(struct h2_stream *st, const char *bytes, size_t n)
{
    probe_on_body(of(st), bytes, n);
    h2_credit(st, n);
}

static void on_end(struct h2_stream *st)
{
    probe_on_whole(of(st));
}

static void on_bad(struct h2_stream *st, enum reason reason, const char *detail)
{
    (void)reason;
    probe_end(of(st), CHECK_L7RSP, 0, detail ? detail : "no HTTP answer");
}

static void on_closed(struct h2_stream *st, enum h2_error code, bool ours, bool unprocessed)
{
    (void)code;
    (void)ours;
    probe_end(of(st), CHECK_L7RSP, 0,
              unprocessed ? "the server took no request" : "the stream was reset");
}

static void on_writable(struct h2_stream *st)
{
    (void)st;
}

static const struct h2_ops ops = {
    .head = on_head,
    .interim = on_interim,
    .body = on_body,
    .end = on_end,
    .bad = on_bad,
    .closed = on_closed,
    .writable = on_writable,
};

/* ---- the speaker ---- */

static void begin(struct probe *p)
{
    struct h2_settings settings = H2_SETTINGS_DEFAULT;
    struct message_room room;
    struct message m;
    struct probe_h2 *h2 = mem_zalloc(sizeof(*h2));
    settings.connection_window = settings.stream_window = PROBE_BODY_MAX;
    if (!h2 || h2_init(&h2->codec, H2_CLIENT, &settings, &ops, &p->loop->bufs) < 0) {
        free(h2);
        probe_end(p, CHECK_SOCKERR, 0, "out of memory");
        return;
    }
    p->h2 = h2;
    h2->probe = p;
    h2->stream.head = &p->answer;
    h2->stream.trailers = &p->trailers;
    message_init_in(&m, true, &room);
    if (send_request(p, &m) < 0)
        probe_end(p, CHECK_SOCKERR, 0, "out of memory");
    else
        pump(p);
    message_free(&m);
}

static void feed(struct probe *p, const char *bytes, size_t n)
{
    size_t taken;
    if (h2_feed(&p->h2->codec, bytes, n, p->loop->now, &taken) < 0)
        probe_end(p, CHECK_L7RSP, 0, "it speaks no HTTP/2, or wrongly");
    /* Whoever sends frames without end, and no answer among them. */
    else if (p->received > 4 * PROBE_BODY_MAX)
        probe_end(p, CHECK_L7RSP, 0, "no HTTP answer");
    else
        pump(p);
}

static void eof(struct probe *p, bool whole)
{
    (void)whole;
    probe_end(p, CHECK_L7RSP, 0,
              p->received > 0 ? "the answer was cut" : "closed without an answer");
}

/* GOAWAY, if there is room for it. */
static void close_h2(struct probe *p)
{
    struct probe_h2 *h2 = p->h2;
    if (!h2)
        return;
    if (h2->stream.h2)
        h2_reset(&h2->stream, H2_CANCEL);
    if (p->conn.open && !p->conn.blocked && !p->conn.error) {
        h2_goaway_final(&h2->codec, H2_NO_ERROR);
        if (h2_pull(&h2->codec, &p->conn.out, H2_PULL_MOST) == 0)
            conn_flush(&p->conn);
    }
    h2_free(&h2->codec);
    free(h2);
    p->h2 = NULL;
}

const struct probe_speaker probe_http2 = {
    .begin = begin,
    .feed = feed,
    .eof = eof,
    .drained = pump,
    .close = close_h2,
};
