/* probe_http1.c - a check by HTTP/1.1: one request, one answer, and the connection ends. */
#include "healthcheck/probe_parts.h"

#include "http/h1_write.h"

static enum http_method method_of(const struct probe *p)
{
    return http_method_of(p->rules->method);
}

static void begin(struct probe *p)
{
    struct message m;
    struct h1_limits limits = H1_LIMITS_DEFAULT;
    struct message_room room;
    enum http_method method = method_of(p);
    struct h1_framing f = {
        .body = BODY_NONE,
        .declare_length = method == METHOD_POST || method == METHOD_PUT || method == METHOD_PATCH,
        .connection_close = true,
    };
    message_init_in(&m, true, &room);
    int rc = probe_make_request(p, &m);
    if (rc == 0)
        rc = h1_write_request(&p->loop->bufs, &p->conn.out, &m, &f);
    message_free(&m);
    if (rc < 0) {
        probe_end(p, CHECK_SOCKERR, 0, "out of memory");
        return;
    }
    h1_head_init(&p->h1.head, &limits, method);
    conn_flush(&p->conn);
}

/* The final head is whole: its body, if it has one, follows. */
static void head_done(struct probe *p)
{
    if (p->answer.status == 101) {
        probe_end(p, CHECK_L7RSP, 101, "it changes protocols without being asked");
        return;
    }
    p->h1.in_body = true;
    h1_body_init(&p->h1.body, &p->answer, &p->h1.head);
    probe_on_head(p);
    if (p->answer.body == BODY_NONE ||
        (p->answer.body == BODY_LENGTH && p->answer.content_length == 0))
        probe_on_whole(p);
}

static size_t feed_head(struct probe *p, const char *bytes, size_t n)
{
    struct h1_limits limits = H1_LIMITS_DEFAULT;
    size_t taken = n;
    enum h1_result r = h1_head_feed(&p->h1.head, &p->answer, bytes, n, &taken);
    if (r == H1_ERROR) {
        probe_end(p, CHECK_L7RSP, 0, p->h1.head.detail ? p->h1.head.detail : "no HTTP answer");
    } else if (r == H1_DONE && p->answer.status < 200 && p->answer.status != 101) {
        message_clear(&p->answer);
        h1_head_init(&p->h1.head, &limits, method_of(p));
    } else if (r == H1_DONE) {
        head_done(p);
    }
    return taken;
}

static size_t feed_body(struct probe *p, const char *bytes, size_t n)
{
    struct str data = STR_NONE;
    size_t taken = 0;
    enum h1_result r = h1_body_feed(&p->h1.body, &p->trailers, bytes, n, &taken, &data);
    if (data.n > 0)
        probe_on_body(p, data.p, data.n);
    if (r == H1_ERROR)
        probe_end(p, CHECK_L7RSP, p->answer.status, "the body is no HTTP");
    else if (r == H1_DONE)
        probe_on_whole(p);
    return taken;
}

static void feed(struct probe *p, const char *bytes, size_t n)
{
    while (n > 0 && !p->over) {
        size_t taken = p->h1.in_body ? feed_body(p, bytes, n) : feed_head(p, bytes, n);
        bytes += taken;
        n -= taken;
    }
    /* An endless row of interim answers or of fields is none. */
    if (!p->over && !p->h1.in_body && p->received > PROBE_BODY_MAX)
        probe_end(p, CHECK_L7RSP, 0, "no HTTP answer");
}

static void eof(struct probe *p, bool whole)
{
    if (p->h1.in_body && p->answer.body == BODY_CLOSE && whole)
        probe_on_whole(p);
    else if (p->h1.in_body)
        probe_end(p, CHECK_L7RSP, p->answer.status, "the body was cut");
    else
        probe_end(p, CHECK_L7RSP, 0,
                  p->received > 0 ? "the answer was cut" : "closed without an answer");
}

static void nothing(struct probe *p)
{
    (void)p;
}

const struct probe_speaker probe_http1 = {
    .begin = begin,
    .feed = feed,
    .eof = eof,
    .close = nothing,
};
