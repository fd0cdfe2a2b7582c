/* probe.c - one look: connecting, TLS, its time, and its end in one place. */
#include "healthcheck/probe_parts.h"

#include "base/mem.h"
#include "io/socket.h"
#include "io/tls.h"

#include <errno.h>
#include <unistd.h>

static void reaped(struct reap *r)
{
    struct probe *p = CONTAINER_OF(r, struct probe, reap);
    p->magic = 0;
    free(p);
}

static void release(struct probe *p)
{
    timer_stop(p->loop, &p->timer);
    probe_exec_end(p);
    if (p->speaker)
        p->speaker->close(p);
    if (p->conn.open && p->tls && p->conn.stage == CONN_STANDS)
        conn_shutdown(&p->conn); /* close_notify, as far as there is room */
    conn_close(&p->conn);
    message_free(&p->answer);
    message_free(&p->trailers);
    buf_clear(&p->loop->bufs, &p->body);
    loop_reap(p->loop, &p->reap, reaped);
}

void probe_decide(struct probe *p, enum check_word word, unsigned code, const char *detail)
{
    if (p->decided)
        return;
    p->decided = true;
    p->result = (struct check_result){word, (uint16_t)code, clock_mono() - p->began};
    p->detail = detail;
}

void probe_end(struct probe *p, enum check_word word, unsigned code, const char *detail)
{
    probe_decide(p, word, code, detail);
    if (p->over)
        return;
    p->over = true;
    /* From the loop, where no codec and no connection is in the middle of anything. */
    timer_set(p->loop, &p->timer, clock_mono());
}

/* How far it got in its time. */
static void too_late(struct probe *p)
{
    if (p->exec)
        probe_decide(p, CHECK_PROCTOUT, 0, "killed after its timeout");
    else if (p->speaker)
        probe_decide(p, CHECK_L7TOUT, 0, "no whole answer");
    else if (p->tls && p->conn.stage == CONN_SHAKES)
        probe_decide(p, CHECK_L6TOUT, 0, "the TLS handshake did not end");
    else
        probe_decide(p, CHECK_L4TOUT, 0, "no connection");
}

static void on_timer(struct timer *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);
    CHECK_OBJ(p, PROBE_MAGIC);
    if (!p->over)
        too_late(p);
    p->over = true;
    struct probe_answer answer = {&p->answer, {buf_data(&p->body), buf_len(&p->body)}};
    p->done(p->ctx, &p->result, p->detail, &answer);
    release(p);
}

/* ---- the connection ---- */

static struct probe *of(struct conn *c)
{
    struct probe *p = CONTAINER_OF(c, struct probe, conn);
    CHECK_OBJ(p, PROBE_MAGIC);
    return p;
}

static void on_readable(struct conn *c)
{
    struct probe *p = of(c);
    char bytes[16 * 1024];
    if (p->over) {
        conn_read_stop(c);
        return;
    }
    ssize_t n = conn_read(c, bytes, sizeof(bytes));
    if (n == -EAGAIN)
        return;
    if (n > 0) {
        p->received += (size_t)n;
        p->speaker->feed(p, bytes, (size_t)n);
        if (p->decided && p->received > PROBE_BODY_MAX)
            probe_end(p, CHECK_L7OK, 0, NULL);
    } else if (n == 0 || n == -ECONNABORTED) {
        p->speaker->eof(p, n == 0);
    } else {
        probe_end(p, CHECK_L7RSP, 0, "the connection broke");
    }
    if (p->over)
        conn_read_stop(c);
}

static void on_drained(struct conn *c)
{
    struct probe *p = of(c);
    if (!p->over && p->speaker->drained)
        p->speaker->drained(p);
}

/* What the peer said before it closed is read first. */
static void on_failed(struct conn *c, int err)
{
    struct probe *p = of(c);
    if (p->over)
        return;
    if (err == ENOMEM) {
        probe_end(p, CHECK_SOCKERR, 0, "out of memory");
        return;
    }
    conn_read_start(c);
    for (int i = 0; i < PROBE_READS && !p->over; i++)
        on_readable(c);
    probe_end(p, CHECK_L7RSP, 0, "the connection broke");
}

static const struct conn_ops talking_ops = {
    .readable = on_readable,
    .drained = on_drained,
    .failed = on_failed,
};

static const char *connect_failure(int err)
{
    return err == ECONNREFUSED                         ? "connection refused"
           : err == ENOENT                             ? "no such socket"
           : err == EHOSTUNREACH || err == ENETUNREACH ? "no way there"
           : err == ETIMEDOUT                          ? "connection timed out"
                                                       : "connecting failed";
}

/* What is ours to answer for says nothing of the endpoint. */
static bool is_ours(int err)
{
    return socket_error_is_ours(err) || err == EACCES || err == EPERM || err == EAFNOSUPPORT;
}

static void connect_failed(struct probe *p, int err)
{
    const char *why = NULL;
    if (p->tls && p->conn.open &&
        transport_tls_failure(&p->conn.transport, &why) != TLS_FAILURE_NONE)
        probe_end(p, CHECK_L6RSP, 0, why);
    else if (is_ours(err))
        probe_end(p, CHECK_SOCKERR, 0, strerror(err));
    else if (err == ETIMEDOUT)
        probe_end(p, CHECK_L4TOUT, 0, connect_failure(err));
    else
        probe_end(p, CHECK_L4CON, 0, connect_failure(err));
}

static void on_connect_failed(struct conn *c, int err)
{
    if (!of(c)->over)
        connect_failed(of(c), err);
}

static const struct probe_speaker *speaker_of(const struct probe *p)
{
    struct tls_identity id;
    if (p->rules->kind == PROBE_TCP)
        return &probe_tcp;
    if (p->rules->kind == PROBE_GRPC || p->target->protocol == PROBE_HTTP2)
        return &probe_http2;
    if (p->target->protocol == PROBE_HTTP1 || !p->tls)
        return &probe_http1;
    transport_tls_identity(&p->conn.transport, &id);
    return str_eq(id.alpn, STR("h2")) ? &probe_http2 : &probe_http1;
}

static void on_connected(struct conn *c)
{
    struct probe *p = of(c);
    if (p->over)
        return;
    int err = socket_connect_result(c->transport.fd);
    if (err != 0) {
        connect_failed(p, err);
        return;
    }
    c->ops = &talking_ops;
    p->speaker = speaker_of(p);
    p->speaker->begin(p);
    if (!p->over)
        conn_read_start(c);
}

static const struct conn_ops connecting_ops = {
    .drained = on_connected,
    .failed = on_connect_failed,
};

static void connect_to(struct probe *p)
{
    const struct probe_target *to = p->target;
    struct transport t;
    int fd = socket_connect(to->address);
    if (fd < 0) {
        /* A Unix socket whose backlog is full. */
        connect_failed(p, fd == -EAGAIN ? ECONNREFUSED : -fd);
        return;
    }
    if (!to->tls) {
        transport_plain(&t, fd);
    } else {
        int rc = transport_tls_client(&t, fd, to->tls, to->tls_name, to->address);
        if (rc < 0) {
            (void)close(fd);
            probe_end(p, CHECK_SOCKERR, 0,
                      rc == -ENOKEY ? "the upstream's certificates could not be loaded"
                                    : "out of memory");
            return;
        }
    }
    p->tls = to->tls != NULL;
    conn_open_transport(&p->conn, p->loop, t, &connecting_ops, true);
}

struct probe *probe_start(struct loop *l, const struct probe_rules *rules,
                          const struct probe_regex *regex, const struct probe_target *target,
                          usec_t timeout, probe_done_fn *done, void *ctx)
{
    struct probe *p = mem_zalloc(sizeof(*p));
    if (!p)
        return NULL;
    p->magic = PROBE_MAGIC;
    p->loop = l;
    p->rules = rules;
    p->regex = regex;
    p->target = target;
    p->done = done;
    p->ctx = ctx;
    p->began = clock_mono();
    p->deadline = p->began + timeout;
    message_init_in(&p->answer, false, &p->room);
    message_init(&p->trailers, false);
    timer_init(&p->timer, on_timer);
    timer_set(l, &p->timer, p->deadline);
    if (rules->kind == PROBE_EXEC)
        probe_exec_start(p);
    else
        connect_to(p);
    return p;
}

void probe_move(struct probe *p, const struct probe_rules *rules, const struct probe_regex *regex)
{
    p->rules = rules;
    p->regex = regex;
}

struct probe *probe_cancel(struct probe *p)
{
    if (!p)
        return NULL;
    CHECK_OBJ(p, PROBE_MAGIC);
    release(p);
    return NULL;
}
