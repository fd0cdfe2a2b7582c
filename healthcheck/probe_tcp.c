/* probe_tcp.c - a connection alone; or bytes that are sent, and bytes that must come. */
#include "healthcheck/probe_parts.h"

static void begin(struct probe *p)
{
    const struct probe_rules *r = p->rules;
    if (r->send.n > 0)
        conn_send(&p->conn, r->send.p, r->send.n);
    if (r->expect.n == 0)
        probe_end(p, p->tls ? CHECK_L6OK : CHECK_L4OK, 0, NULL);
}

/* The bytes may come in any pieces, and others before them. */
static void feed(struct probe *p, const char *bytes, size_t n)
{
    const struct str expect = p->rules->expect;
    size_t room = PROBE_BODY_MAX - buf_len(&p->body), seen = buf_len(&p->body);
    if (p->decided)
        return;
    if (buf_append(&p->loop->bufs, &p->body, bytes, min_u64(n, room)) < 0) {
        probe_end(p, CHECK_SOCKERR, 0, "out of memory");
        return;
    }
    size_t from = seen >= expect.n ? seen - expect.n + 1 : 0;
    if (memmem(buf_data(&p->body) + from, buf_len(&p->body) - from, expect.p, expect.n))
        probe_end(p, CHECK_L7OK, 0, NULL);
    else if (n >= room)
        probe_end(p, CHECK_L7RSP, 0, "other bytes came");
}

static void eof(struct probe *p, bool whole)
{
    (void)whole;
    probe_end(p, CHECK_L7RSP, 0, p->received > 0 ? "other bytes came" : "closed without an answer");
}

static void nothing(struct probe *p)
{
    (void)p;
}

const struct probe_speaker probe_tcp = {
    .begin = begin,
    .feed = feed,
    .eof = eof,
    .close = nothing,
};
