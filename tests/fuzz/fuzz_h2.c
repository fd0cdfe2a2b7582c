/* fuzz_h2.c - any bytes from an HTTP/2 peer, in either role, to an owner that answers, credits,
 * resets and leaves as the input says: no state of the codec's is lost, and what it tells keeps to
 * its contract. */
#include "base/mem.h"
#include "base/rng.h"
#include "http/h2.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STREAMS = 64, PULL = 700, CLIENT_ASKS = 6 };

struct owned {
    struct h2_stream st;
    struct message head, trailers;
    uint64_t body;
    bool used, let_go, head_told, end_told, bad_told, closed, responded;
};

struct owner {
    struct h2 h2;
    struct rng rng;
    struct buf_pool pool;
    struct buf out;
    struct owned streams[STREAMS];
    uint32_t n;
};

static struct owned *of(struct h2_stream *st)
{
    struct owned *o = CONTAINER_OF(st, struct owned, st);
    CHECK(o->used && !o->let_go && !o->closed);
    return o;
}

static struct owner *owner_of(struct h2 *h)
{
    return CONTAINER_OF(h, struct owner, h2);
}

static bool chance(struct owner *w, uint32_t one_in)
{
    return rng_below(&w->rng, one_in) == 0;
}

static struct owned *take(struct owner *w, bool request)
{
    if (w->n == STREAMS)
        return NULL;
    struct owned *o = &w->streams[w->n++];
    o->used = true;
    message_init(&o->head, request);
    message_init(&o->trailers, request);
    o->st.head = &o->head;
    o->st.trailers = &o->trailers;
    return o;
}

static void respond(struct owner *w, struct owned *o)
{
    struct message m;
    bool end = chance(w, 4);
    if (o->responded)
        return;
    message_init(&m, false);
    m.status = chance(w, 8) ? 204 : 200;
    m.body = end ? BODY_NONE : BODY_CHUNKED;
    if (chance(w, 8)) {
        m.status = 103;
        CHECK(h2_interim(&o->st, &m) == 0);
        m.status = 200;
    }
    if (chance(w, 8)) {
        CHECK(h2_send(&o->st, "taken back", 10) == 0 && h2_send_end(&o->st, NULL) == 0);
        h2_take_back(&o->st);
    }
    o->responded = true;
    CHECK(h2_respond(&o->st, &m, end) == 0);
    message_free(&m);
}

/* Something that an owner may do to one of its streams at any time. */
static void act(struct owner *w, struct owned *o)
{
    static const char bytes[20000];
    struct message m;
    if (!o->st.h2 || o->let_go)
        return;
    switch (rng_below(&w->rng, 12)) {
    case 0:
        h2_reset(&o->st, H2_CANCEL);
        o->let_go = true;
        CHECK(!o->st.h2);
        break;
    case 1:
        if (o->st.send_ended && (o->responded || w->h2.role == H2_CLIENT))
            h2_leave(&o->st);
        break;
    case 2:
    case 3:
        if (w->h2.role == H2_SERVER && (o->head_told || o->bad_told))
            respond(w, o);
        break;
    case 4:
    case 5:
        if (!o->st.blocked)
            CHECK(h2_send(&o->st, bytes, rng_below(&w->rng, sizeof(bytes))) == 0);
        break;
    case 6:
        message_init(&m, false);
        CHECK(message_add(&m, FIELD_OTHER, STR("a"), STR("b")) == 0);
        CHECK(h2_send_end(&o->st, chance(w, 2) ? &m : NULL) == 0);
        message_free(&m);
        break;
    default:
        h2_credit(&o->st, rng_below(&w->rng, 70000));
        break;
    }
}

static void act_on_any(struct owner *w)
{
    if (w->n > 0 && chance(w, 2))
        act(w, &w->streams[rng_below(&w->rng, w->n)]);
}

static struct h2_stream *on_begin(struct h2 *h)
{
    struct owner *w = owner_of(h);
    struct owned *o = chance(w, 16) ? NULL : take(w, true);
    act_on_any(w);
    return o ? &o->st : NULL;
}

static void on_head(struct h2_stream *st)
{
    struct owner *w = owner_of(st->h2);
    struct owned *o = of(st);
    const struct message *m = &o->head;
    CHECK(!o->head_told && !o->bad_told && m->http2 && m->version_minor == 1);
    o->head_told = true;
    if (m->is_request) {
        /* What HTTP/1 could not carry on, or would read in another way. */
        struct str path = message_str(m, m->path);
        CHECK(m->method_text.len > 0 && m->authority.len > 0);
        CHECK(m->asterisk || (path.n > 0 && path.p[0] == '/'));
        CHECK(!memchr(path.p, ' ', path.n) && !memchr(path.p, '\r', path.n));
        CHECK(m->method != METHOD_CONNECT && m->method != METHOD_TRACE);
        CHECK(!st->recv_ended || m->websocket || m->body == BODY_NONE || m->content_length == 0);
    } else {
        CHECK((m->status >= 200 && m->status < 1000) || (m->status == 101 && m->websocket));
    }
    unsigned cookies = 0;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        struct str name = field_name(m, &m->fields[i]), value = field_value(m, &m->fields[i]);
        CHECK(name.n > 0 && !memchr(name.p, ':', name.n) && !memchr(name.p, ' ', name.n));
        CHECK(!memchr(value.p, '\n', value.n) && !memchr(value.p, '\r', value.n));
        CHECK(m->fields[i].id != FIELD_TRANSFER_ENCODING);
        cookies += m->fields[i].id == FIELD_COOKIE;
    }
    CHECK(cookies <= 1);
    act(w, o);
    act_on_any(w);
}

static void on_interim(struct h2_stream *st)
{
    struct owned *o = of(st);
    struct owner *w = owner_of(st->h2);
    CHECK(!o->head_told && o->head.status >= 100 && o->head.status < 200);
    message_free(&o->head);
    message_init(&o->head, false);
    act(w, o);
}

static void on_body(struct h2_stream *st, const char *p, size_t n)
{
    struct owned *o = of(st);
    struct owner *w = owner_of(st->h2);
    CHECK(o->head_told && !o->end_told && !o->bad_told && n > 0);
    o->body += n + (uint64_t)(p[0] == p[n - 1]);
    if (chance(w, 2))
        h2_credit(st, n);
    act(w, o);
    act_on_any(w);
}

static void on_end(struct h2_stream *st)
{
    struct owned *o = of(st);
    CHECK(o->head_told && !o->end_told && !o->bad_told && st->recv_ended);
    o->end_told = true;
    act(owner_of(st->h2), o);
}

static void on_bad(struct h2_stream *st, enum reason reason, const char *detail)
{
    struct owned *o = of(st);
    (void)detail;
    CHECK(!o->bad_told && reason != REASON_NONE);
    o->bad_told = true;
    act(owner_of(st->h2), o);
}

static void on_closed(struct h2_stream *st, enum h2_error code, bool ours, bool unprocessed)
{
    struct owned *o = of(st);
    (void)code;
    (void)ours;
    CHECK(!st->h2 && buf_len(&st->out) == 0 && !(unprocessed && o->head_told));
    o->closed = true;
}

static void on_writable(struct h2_stream *st)
{
    CHECK(!st->blocked);
    act(owner_of(st->h2), of(st));
}

static const struct h2_ops ops = {
    .begin = on_begin,
    .head = on_head,
    .interim = on_interim,
    .body = on_body,
    .end = on_end,
    .bad = on_bad,
    .closed = on_closed,
    .writable = on_writable,
};

static void ask(struct owner *w)
{
    struct message m;
    struct owned *o = take(w, false);
    if (!o)
        return;
    message_init(&m, true);
    m.websocket = chance(w, 4);
    m.method = chance(w, 4) ? METHOD_HEAD : METHOD_GET;
    CHECK(message_append(&m, m.method == METHOD_HEAD ? "HEAD" : "GET",
                         m.method == METHOD_HEAD ? 4 : 3, &m.method_text) == 0);
    CHECK(message_append(&m, "/a", 2, &m.path) == 0);
    CHECK(message_append(&m, "h", 1, &m.authority) == 0);
    (void)h2_request(&w->h2, &o->st, &m, STR("http"), chance(w, 2));
    message_free(&m);
}

static void pull(struct owner *w)
{
    CHECK(h2_pull(&w->h2, &w->out, PULL) == 0);
    if (chance(w, 4)) /* the transport takes them */
        buf_clear(&w->pool, &w->out);
}

static void between(struct owner *w)
{
    act_on_any(w);
    if (w->h2.role == H2_CLIENT && chance(w, 8))
        ask(w);
    if (chance(w, 64))
        h2_ping(&w->h2);
    if (chance(w, 64))
        h2_goaway_notice(&w->h2);
    if (chance(w, 96))
        h2_goaway_final(&w->h2, H2_NO_ERROR);
    if (chance(w, 2) && h2_wants_pull(&w->h2))
        pull(w);
}

/* Every piece is an allocation of its own, so that a sanitizer sees one byte too many. */
static int feed(struct owner *w, const uint8_t *data, size_t n, usec_t now)
{
    char *piece = malloc(n);
    CHECK(piece);
    memcpy(piece, data, n);
    size_t at = 0, taken = 0;
    int rc;
    while ((rc = h2_feed(&w->h2, piece + at, n - at, now, &taken)) == 0 && at + taken < n) {
        CHECK(h2_crowded(&w->h2));
        at += taken;
        for (uint32_t i = 0; i < w->n; i++)
            h2_head_gone(&w->streams[i].st);
    }
    free(piece);
    return rc;
}

static void finish(struct owner *w)
{
    struct buf_pool none = {0};
    h2_free(&w->h2);
    for (uint32_t i = 0; i < w->n; i++) {
        struct owned *o = &w->streams[i];
        CHECK(!o->st.h2 && buf_len(&o->st.out) == 0 && !o->st.own_trailers);
        message_free(&o->head);
        message_free(&o->trailers);
    }
    buf_clear(&w->pool, &w->out);
    buf_pool_free(&w->pool);
    buf_pool_free(&none);
}

/* Two bytes choose; the preface and the first SETTINGS are given, unless the first says not. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct owner owner;
    struct owner *w = &owner;
    struct h2_settings settings = H2_SETTINGS_DEFAULT;
    usec_t now = USEC_PER_SEC;
    int rc = 0;
    if (size < 3)
        return 0;
    uint8_t choice = data[0];
    memset(w, 0, sizeof(*w));
    rng_init(&w->rng, data[1]);
    data += 2;
    size -= 2;
    settings.max_concurrent_streams = choice & 4 ? 2 : 100;
    settings.max_field_bytes = choice & 8 ? 200 : 32 * 1024;
    settings.connect_protocol = !(choice & 16);
    CHECK(h2_init(&w->h2, choice & 1 ? H2_CLIENT : H2_SERVER, &settings, &ops, &w->pool) == 0);
    if (w->h2.role == H2_CLIENT) {
        for (int i = 0; i < CLIENT_ASKS; i++)
            ask(w);
        pull(w);
    }
    if (!(choice & 2)) {
        if (w->h2.role == H2_SERVER)
            rc = feed(w, (const uint8_t *)H2_PREFACE, H2_PREFACE_LEN, now);
        CHECK(rc == 0);
        rc = feed(w, (const uint8_t[9]){0, 0, 0, 4}, 9, now);
    }
    for (size_t at = 0, step; at < size && rc == 0; at += step) {
        step = choice & 32    ? size
               : chance(w, 2) ? 1 + rng_below(&w->rng, 9)
                              : 1 + rng_below(&w->rng, 200);
        step = min_u64(step, size - at);
        now += rng_below(&w->rng, 1000);
        rc = feed(w, data + at, step, now);
        CHECK(rc == 0 || rc == -EPROTO);
        between(w);
    }
    for (int i = 0; i < 20 && h2_wants_pull(&w->h2); i++)
        pull(w);
    finish(w);
    return 0;
}
