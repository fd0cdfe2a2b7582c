/* h2_head.c - from the fields of an HTTP/2 header block to a message (RFC 9113 §8).
 *
 * nghttp2 has checked before that names are lower-case tokens, that values hold no control
 * characters, that pseudo-fields come first and once, and that there are no connection-specific
 * fields. Here is what remains until the message can go on as HTTP/1 without a second reading. */
#include "http/authority.h"
#include "http/field_rules.h"
#include "http/grpc.h"
#include "http/h2_parts.h"
#include "http/websocket_handshake.h"

#include <errno.h>

enum { METHOD_MAX = 32, FIELD_OVERHEAD = 32 };

/* Bits of h2_stream.seen */
enum { SEEN_HOST = 1, SEEN_AUTHORITY = 2, SEEN_LENGTH = 4, SEEN_PROTOCOL = 8, SEEN_WEBSOCKET = 16 };

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

/* As a line, so that it can go on to HTTP/1 in one piece. */
static void add(struct h2_stream *st, struct message *m, struct str name, struct str value,
                enum field_id id)
{
    char *to = message_reserve(m, name.n + value.n + 4);
    if (!to) {
        bad(st, REASON_OUT_OF_MEMORY, NULL);
        return;
    }
    struct field f = {
        .name = m->len,
        .value = m->len + (uint32_t)name.n + 2,
        .value_len = (uint32_t)value.n,
        .name_len = (uint16_t)name.n,
        .id = (uint8_t)id,
    };
    memcpy(to, name.p, name.n);
    memcpy(to + name.n, ": ", 2);
    if (value.n > 0)
        memcpy(to + name.n + 2, value.p, value.n);
    memcpy(to + name.n + 2 + value.n, "\r\n", 2);
    m->len += (uint32_t)(name.n + value.n + 4);
    if (message_add_slice(m, f) < 0)
        bad(st, REASON_OUT_OF_MEMORY, NULL);
}

static void keep(struct h2_stream *st, struct message *m, struct str s, struct text *ret)
{
    if (message_append(m, s.p, s.n, ret) < 0)
        bad(st, REASON_OUT_OF_MEMORY, NULL);
}

/* ---- pseudo-fields ---- */

/* VCHAR without '#': what HTTP/1 would not carry, or would end at. */
static bool target_bytes_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return false;
    }
    return true;
}

static void field_path(struct h2_stream *st, struct message *m, struct str v)
{
    if (!target_bytes_ok(v)) {
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
    if (v.n != 3 || status < 100 || status > 999 || status == 101) {
        bad(st, REASON_BAD_REQUEST, "the status is not valid");
        return;
    }
    m->status = (uint16_t)status;
}

static void pseudo_field(struct h2_stream *st, struct message *m, struct str name, struct str v)
{
    if (str_eq(name, STR(":path"))) {
        field_path(st, m, v);
    } else if (str_eq(name, STR(":method"))) {
        field_method(st, m, v);
    } else if (str_eq(name, STR(":authority"))) {
        st->seen |= SEEN_AUTHORITY;
        keep(st, m, v, &m->authority);
    } else if (str_eq(name, STR(":status"))) {
        field_status(st, m, v);
    } else if (str_eq(name, STR(":scheme"))) {
        if (!str_ieq(v, STR("http")) && !str_ieq(v, STR("https")))
            bad(st, REASON_BAD_REQUEST, "the scheme is neither http nor https");
    } else if (str_eq(name, STR(":protocol"))) {
        st->seen |= SEEN_PROTOCOL;
        if (str_ieq(v, STR("websocket")))
            st->seen |= SEEN_WEBSOCKET;
    }
}

/* ---- others ---- */

static bool content_length(struct h2_stream *st, struct message *m, struct str v)
{
    if (st->seen & SEEN_LENGTH)
        return false;
    st->seen |= SEEN_LENGTH;
    return str_to_u64(v, &m->content_length);
}

static bool other_field(struct h2_stream *st, struct message *m, struct str name, struct str v)
{
    enum field_id id = field_id_of(name);
    switch (id) {
    case FIELD_CONTENT_LENGTH:
        if (!content_length(st, m, v))
            return false;
        break;
    case FIELD_HOST:
        if (!m->is_request)
            break;
        if (st->seen & SEEN_HOST)
            return false;
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
    case FIELD_COOKIE:
        st->n_cookies++;
        break;
    case FIELD_CONTENT_TYPE:
        m->grpc = m->is_request && grpc_is_content_type(v);
        break;
    default:
        if (id == FIELD_OTHER && m->is_request && memchr(name.p, '_', name.n) &&
            field_underscore_double(name))
            bad(st, REASON_BAD_REQUEST, "a field name has an underscore in place of a dash");
        break;
    }
    if (st->bad == REASON_NONE)
        add(st, m, name, v, id);
    return true;
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

bool h2_head_field(struct h2_stream *st, struct str name, struct str value)
{
    struct message *m = st->head_done ? st->trailers : st->head;

    /* Counted before anything is kept, crumbs of cookies too: a small block on the wire can name a
     * large entry of the table many times. */
    st->n_fields++;
    st->field_bytes += (uint32_t)(name.n + value.n) + FIELD_OVERHEAD;
    if (st->n_fields > h2_max_fields(st->h2, st) ||
        st->field_bytes > h2_max_field_bytes(st->h2, st) || name.n > UINT16_MAX) {
        bad(st, REASON_HEADERS_TOO_LARGE, "the fields are too large or too many");
        return true;
    }
    if (!m || st->bad != REASON_NONE)
        return true;
    count_held(st, name.n + value.n + FIELD_OVERHEAD);
    if (st->head_done) {
        enum field_id id = field_id_of(name);
        if (!field_forbidden_in_trailer(name, id))
            add(st, m, name, value, id);
        return true;
    }
    if (name.n > 0 && name.p[0] == ':') {
        pseudo_field(st, m, name, value);
        return true;
    }
    return other_field(st, m, name, value);
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

static void finish_request(struct h2_stream *st, struct message *m, bool end)
{
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
    bool interim = m->status < 200;
    if (m->status == 0 || (interim && end)) {
        bad(st, REASON_BAD_REQUEST, "the response is not complete");
        return;
    }
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
    if (st->bad == REASON_NONE && m->is_request)
        finish_request(st, m, end);
    else if (st->bad == REASON_NONE)
        finish_response(st, m, end);
    if (st->bad == REASON_NONE && st->n_cookies > 1 && !joined_in_place(m))
        join_behind(st, m);
    return st->bad;
}
