/* h2_head.c - from the fields of an HTTP/2 header block to a message (RFC 9113 §8).
 *
 * What a field is by itself was found out before (h2_field.c). Here is what follows from the others
 * around it, until the message can go on as HTTP/1 without a second reading. */
#include "http/authority.h"
#include "http/field_rules.h"
#include "http/grpc.h"
#include "http/h2_parts.h"
#include "http/websocket_handshake.h"

#include <errno.h>

enum { METHOD_MAX = 32, FIELD_OVERHEAD = 32 };

/* Bits of h2_stream.seen */
enum {
    SEEN_METHOD = 1,
    SEEN_PATH = 2,
    SEEN_SCHEME = 4,
    SEEN_AUTHORITY = 8,
    SEEN_PROTOCOL = 16,
    SEEN_STATUS = 32,
    SEEN_HOST = 64,
    SEEN_LENGTH = 128,
    SEEN_WEBSOCKET = 256,
    SEEN_FIELDS = 512, /* no pseudo-field may follow */
    SEEN_TARGET = SEEN_METHOD | SEEN_PATH | SEEN_SCHEME,
};

static void bad(struct h2_stream *st, enum reason reason, const char *detail)
{
    bool request = st->h2->role == H2_SERVER;
    if (st->bad != REASON_NONE)
        return;
    st->bad = request || reason == REASON_OUT_OF_MEMORY ? reason
              : reason == REASON_HEADERS_TOO_LARGE      ? REASON_UPSTREAM_HEADERS_TOO_LARGE
                                                        : REASON_UPSTREAM_PROTOCOL;
    st->bad_detail = detail;
}

static struct str value_of(const struct hpack_got *f)
{
    return (struct str){f->line + f->name_len + 2, f->value_len};
}

/* As the line that it is, so that it can go on to HTTP/1 in one piece. */
static void add(struct h2_stream *st, struct message *m, const struct hpack_got *f)
{
    uint32_t n = f->name_len + f->value_len + 4;
    char *to = message_reserve(m, n);
    struct field field = {
        .name = m->len,
        .value = m->len + f->name_len + 2,
        .value_len = f->value_len,
        .name_len = (uint16_t)f->name_len,
        .id = (uint8_t)(f->note & H2_NAME),
        .no_index = (f->note & HPACK_NEVER_INDEXED) != 0,
    };
    if (!to || message_add_slice(m, field) < 0) {
        bad(st, REASON_OUT_OF_MEMORY, NULL);
        return;
    }
    memcpy(to, f->line, n);
    m->len += n;
}

static void keep(struct h2_stream *st, struct message *m, struct str s, struct text *ret)
{
    if (message_append(m, s.p, s.n, ret) < 0)
        bad(st, REASON_OUT_OF_MEMORY, NULL);
}

/* ---- pseudo-fields ---- */

static void field_path(struct h2_stream *st, struct message *m, struct str v, bool odd)
{
    if (odd) {
        bad(st, REASON_BAD_REQUEST, "a byte of the target is not allowed");
        return;
    }
    keep(st, m, v, &m->path);
    if (st->bad != REASON_NONE)
        return;
    const char *mark = memchr(v.p, '?', v.n);
    if (mark) {
        m->has_query = 1;
        m->path.len = (uint32_t)(mark - v.p);
        m->query = (struct text){m->path.off + m->path.len + 1, (uint32_t)v.n - m->path.len - 1};
    }
}

static void field_method(struct h2_stream *st, struct message *m, struct str v)
{
    if (v.n > METHOD_MAX) {
        bad(st, REASON_BAD_REQUEST, "the method is not valid");
        return;
    }
    keep(st, m, v, &m->method_text);
    m->method = (uint8_t)http_method_of(v);
}

static void field_status(struct h2_stream *st, struct message *m, struct str v)
{
    unsigned status = 0;
    for (size_t i = 0; i < v.n && i < 4; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            status = 1000;
        status = status * 10 + (unsigned)(v.p[i] - '0');
    }
    /* 101 has no meaning in HTTP/2 (RFC 9113 §8.6). */
    st->malformed = v.n != 3 || status < 100 || status > 999 || status == 101;
    m->status = (uint16_t)status;
}

static uint16_t seen_of(unsigned name)
{
    switch (name) {
    case HPACK_METHOD:
        return SEEN_METHOD;
    case HPACK_PATH:
        return SEEN_PATH;
    case HPACK_SCHEME:
        return SEEN_SCHEME;
    case HPACK_AUTHORITY:
        return SEEN_AUTHORITY;
    case HPACK_STATUS:
        return SEEN_STATUS;
    default:
        return SEEN_PROTOCOL;
    }
}

/* RFC 9113 §8.3: those of the kind of message only, each once, before all others. */
static bool pseudo_in_place(const struct h2_stream *st, uint16_t seen)
{
    if (st->seen & (seen | SEEN_FIELDS) || (seen == SEEN_STATUS) != (st->h2->role == H2_CLIENT))
        return false;
    return seen != SEEN_PROTOCOL || st->h2->settings.connect_protocol;
}

static void pseudo_field(struct h2_stream *st, struct message *m, uint16_t note, struct str v)
{
    uint16_t seen = seen_of(note & H2_NAME);
    if (!pseudo_in_place(st, seen)) {
        st->malformed = true;
        return;
    }
    st->seen |= seen;
    switch (seen) {
    case SEEN_PATH:
        field_path(st, m, v, note & H2_ODD);
        break;
    case SEEN_METHOD:
        field_method(st, m, v);
        break;
    case SEEN_AUTHORITY:
        keep(st, m, v, &m->authority);
        break;
    case SEEN_STATUS:
        field_status(st, m, v);
        break;
    case SEEN_SCHEME:
        if (note & H2_ODD)
            bad(st, REASON_BAD_REQUEST, "the scheme is neither http nor https");
        break;
    default:
        if (str_ieq(v, STR("websocket")))
            st->seen |= SEEN_WEBSOCKET;
        break;
    }
}

/* ---- others ---- */

/* False: the field says nothing, and is left out. */
static bool content_length(struct h2_stream *st, struct message *m, struct str v)
{
    bool again = st->seen & SEEN_LENGTH;
    st->seen |= SEEN_LENGTH;
    if (again || !str_to_u64(v, &m->content_length))
        st->malformed = true;
    if (m->is_request)
        return true;
    /* RFC 9110 §8.6: none may have one, but a 204 that says "0" is met with. */
    if (m->status < 200 || (m->status == 204 && m->content_length != 0))
        st->malformed = true;
    return m->status != 204 && !(st->asked_websocket && m->status < 300);
}

static void other_field(struct h2_stream *st, struct message *m, const struct hpack_got *f)
{
    struct str v = value_of(f);
    st->seen |= SEEN_FIELDS;
    switch ((enum field_id)(f->note & H2_NAME)) {
    case FIELD_CONTENT_LENGTH:
        if (!content_length(st, m, v))
            return;
        break;
    case FIELD_HOST:
        if (!m->is_request)
            break;
        st->malformed |= st->seen & SEEN_HOST || v.n == 0 || f->note & H2_ODD;
        st->seen |= SEEN_HOST;
        break;
    case FIELD_TE:
        m->te_trailers = 1; /* nothing else is let through (RFC 9113 §8.2.2) */
        break;
    case FIELD_EXPECT:
        if (m->is_request && !str_ieq(v, STR("100-continue")))
            bad(st, REASON_EXPECTATION_FAILED, "only 100-continue can be expected");
        else
            m->expect_continue = 1;
        break;
    case FIELD_X_REQUEST_DEADLINE:
        m->has_deadline |= m->is_request != 0;
        break;
    case FIELD_COOKIE:
        st->n_cookies++;
        break;
    case FIELD_CONTENT_TYPE:
        m->grpc = m->is_request && grpc_is_content_type(v);
        break;
    default:
        if (f->note & H2_ODD && m->is_request)
            bad(st, REASON_BAD_REQUEST, "a field name has an underscore in place of a dash");
        break;
    }
    if (st->bad == REASON_NONE && !st->malformed)
        add(st, m, f);
}

/* Beyond what every stream has room for: the field adds to what the connection's requests hold. */
static void count_held(struct h2_stream *st, size_t bytes)
{
    struct h2 *h = st->h2;
    if (h->role != H2_SERVER)
        return;
    if (!st->head_done)
        bytes = st->field_bytes > MESSAGE_ROOM_BYTES
                    ? st->field_bytes - MESSAGE_ROOM_BYTES - st->head_bytes
                    : 0;
    h->head_bytes += bytes;
    st->head_bytes += (uint32_t)bytes;
}

void h2_head_field(struct h2_stream *st, const struct hpack_got *f)
{
    struct message *m = st->head_done ? st->trailers : st->head;
    const struct h2_in *in = &st->h2->in;
    uint32_t bytes = f->name_len + f->value_len + FIELD_OVERHEAD;

    st->malformed |= f->note & H2_MALFORMED || (st->head_done && f->note & H2_PSEUDO);
    if (st->malformed)
        return;
    /* Counted before anything is kept, crumbs of cookies too: a small block on the wire can name a
     * large entry of the table many times. */
    st->n_fields++;
    st->field_bytes += bytes;
    if (st->n_fields > in->most_fields || st->field_bytes > in->most_field_bytes ||
        f->name_len > UINT16_MAX) {
        bad(st, REASON_HEADERS_TOO_LARGE, "the fields are too large or too many");
        return;
    }
    if (!m || st->bad != REASON_NONE)
        return;
    count_held(st, bytes);
    if (f->note & H2_PSEUDO)
        pseudo_field(st, m, f->note, value_of(f));
    else if (!st->head_done)
        other_field(st, m, f);
    else if (!field_forbidden_in_trailer((struct str){f->line, f->name_len},
                                         (enum field_id)(f->note & H2_NAME)))
        add(st, m, f);
}

/* ---- the whole head ---- */

/* Crumbs become one field again (RFC 9113 §8.2.3), where the first one stands: "; " is shorter than
 * what stood between two lines, so nothing is overtaken, where the lines follow each other. */
static bool joined_in_place(struct message *m)
{
    uint32_t first = m->n_fields, end = 0;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct field *c = &m->fields[i];
        if (c->id != FIELD_COOKIE)
            continue;
        if (first < i && c->name != end)
            return false;
        end = c->value + c->value_len + 2;
        first = first < i ? first : i;
    }
    if (first == m->n_fields)
        return true; /* there is none */
    struct field *all = &m->fields[first];
    uint32_t kept = first + 1;
    for (uint32_t i = first + 1; i < m->n_fields; i++) {
        struct field c = m->fields[i];
        if (c.id != FIELD_COOKIE) {
            m->fields[kept++] = c;
            continue;
        }
        memcpy(m->buf + all->value + all->value_len, "; ", 2);
        memmove(m->buf + all->value + all->value_len + 2, m->buf + c.value, c.value_len);
        all->value_len += 2 + c.value_len;
        all->no_index |= c.no_index;
    }
    memcpy(m->buf + all->value + all->value_len, "\r\n", 2);
    m->n_fields = (uint16_t)kept;
    return true;
}

/* Others stand between them: a new line behind all. */
static void join_behind(struct h2_stream *st, struct message *m)
{
    size_t n = 0;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        if (m->fields[i].id == FIELD_COOKIE)
            n += m->fields[i].value_len + 2u;
    }
    char *room = message_reserve(m, sizeof("cookie: ") + n + 2), *to = room;
    if (!room) {
        bad(st, REASON_OUT_OF_MEMORY, NULL);
        return;
    }
    struct field f = {.name = m->len, .value = m->len + 8, .name_len = 6, .id = FIELD_COOKIE};
    memcpy(to, "cookie: ", 8);
    to += 8;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct field *c = &m->fields[i];
        if (c->id != FIELD_COOKIE) {
            m->fields[kept++] = *c;
            continue;
        }
        if (to != room + 8) {
            memcpy(to, "; ", 2);
            to += 2;
        }
        memcpy(to, m->buf + c->value, c->value_len);
        to += c->value_len;
        f.no_index |= c->no_index;
    }
    f.value_len = (uint32_t)(to - room) - 8;
    memcpy(to, "\r\n", 2);
    m->len += (uint32_t)(to - room) + 2;
    m->n_fields = (uint16_t)kept;
    if (message_add_slice(m, f) < 0)
        bad(st, REASON_OUT_OF_MEMORY, NULL);
}

/* One authority, whichever field carried it (RFC 9113 §8.3.1). */
static void check_authority(struct h2_stream *st, struct message *m)
{
    const struct field *host = message_find(m, FIELD_HOST);
    struct str authority = message_str(m, m->authority);
    if (!(st->seen & SEEN_AUTHORITY) && host) {
        m->authority = (struct text){host->value, host->value_len};
        authority = field_value(m, host);
    } else if (host && !str_ieq(field_value(m, host), authority)) {
        bad(st, REASON_BAD_REQUEST, "Host is not :authority");
        return;
    }
    if (!http_authority_valid(authority))
        bad(st, REASON_BAD_REQUEST, authority.n ? ":authority is not valid" : "Host is missing");
}

static void check_target(struct h2_stream *st, struct message *m)
{
    struct str path = message_str(m, m->path);
    if (m->method == METHOD_TRACE || m->method == METHOD_CONNECT) {
        bad(st, REASON_METHOD_NOT_ALLOWED, "CONNECT and TRACE are not served");
    } else if (str_eq(path, STR("*")) && m->method == METHOD_OPTIONS && !m->has_query) {
        m->asterisk = 1;
    } else if (path.n == 0 || path.p[0] != '/') {
        bad(st, REASON_BAD_REQUEST, "the target is not a path");
    }
}

/* RFC 9113 §8.3.1, §8.5; RFC 8441 §4. */
static bool has_pseudo_fields(const struct h2_stream *st, const struct message *m)
{
    uint16_t seen = st->seen;
    struct str path = message_str(m, m->path);
    if (m->method == METHOD_CONNECT && !(seen & SEEN_PROTOCOL))
        return (seen & SEEN_AUTHORITY) && !(seen & (SEEN_SCHEME | SEEN_PATH));
    if ((seen & SEEN_TARGET) != SEEN_TARGET || !(seen & (SEEN_AUTHORITY | SEEN_HOST)))
        return false;
    if ((seen & SEEN_PROTOCOL) && (m->method != METHOD_CONNECT || !(seen & SEEN_AUTHORITY)))
        return false;
    return path.p[0] == '/' ||
           (m->method == METHOD_OPTIONS && !m->has_query && str_eq(path, STR("*")));
}

static void finish_request(struct h2_stream *st, struct message *m, bool end)
{
    st->has_length = st->seen & SEEN_LENGTH;
    st->length_left = st->has_length ? m->content_length : 0;
    st->malformed = !has_pseudo_fields(st, m) || (end && st->length_left > 0);
    if (st->malformed)
        return;
    if (st->seen & SEEN_WEBSOCKET) {
        if (websocket_from_connect(m, STR("websocket")) < 0)
            bad(st, REASON_OUT_OF_MEMORY, NULL);
        check_target(st, m);
        check_authority(st, m);
        return;
    }
    if (st->seen & SEEN_PROTOCOL) {
        bad(st, REASON_METHOD_NOT_ALLOWED, "no protocol but websocket is served");
        return;
    }
    check_target(st, m);
    check_authority(st, m);
    m->body = end ? BODY_NONE : (st->seen & SEEN_LENGTH) ? BODY_LENGTH : BODY_CHUNKED;
    /* "Content-Length: 0" and an end that comes later, as HTTP/1 has it. */
    if (end && (st->seen & SEEN_LENGTH))
        m->body = BODY_LENGTH;
}

static void finish_response(struct h2_stream *st, struct message *m, bool end)
{
    bool interim = m->status < 200, none = st->bodiless || m->status == 204 || m->status == 304;
    st->has_length = !interim && (none || st->seen & SEEN_LENGTH);
    if (st->asked_websocket && m->status < 300)
        st->has_length = none; /* 2xx to CONNECT: a tunnel */
    st->length_left = st->has_length && !none ? m->content_length : 0;
    st->malformed = !(st->seen & SEEN_STATUS) || (end && (interim || st->length_left > 0));
    if (st->malformed)
        return;
    if (st->asked_websocket && !interim && !end) {
        if (websocket_from_ok(m) < 0)
            bad(st, REASON_OUT_OF_MEMORY, NULL);
        if (m->websocket)
            return;
    }
    if (interim)
        m->content_length = 0;
    m->body = interim || end ? BODY_NONE : (st->seen & SEEN_LENGTH) ? BODY_LENGTH : BODY_CHUNKED;
}

enum reason h2_head_finish(struct h2_stream *st, bool end)
{
    struct message *m = st->head;
    m->http2 = 1;
    m->version_minor = 1;
    if (st->malformed)
        return REASON_NONE;
    if (st->bad == REASON_NONE && m->is_request)
        finish_request(st, m, end);
    else if (st->bad == REASON_NONE)
        finish_response(st, m, end);
    if (st->bad == REASON_NONE && !st->malformed && st->n_cookies > 1 && !joined_in_place(m))
        join_behind(st, m);
    return st->bad;
}
