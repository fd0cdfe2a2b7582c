/* hop.c - what a message loses and gains at this hop (RFC 9110 §7.6, RFC 9112 §9).
 *
 * One pass over the fields decides what goes; what comes is written into one reservation, as
 * lines, so that the writer copies it in one piece. */
#include "http/hop.h"

#include <errno.h>

#define BIT(id) ((uint64_t)1 << (id))

/* Never forwarded: about this connection only, or written anew from what was understood. */
#define HOP_BY_HOP                                                                                 \
    (BIT(FIELD_CONNECTION) | BIT(FIELD_KEEP_ALIVE) | BIT(FIELD_PROXY_CONNECTION) |                 \
     BIT(FIELD_PROXY_AUTHENTICATE) | BIT(FIELD_PROXY_AUTHORIZATION) | BIT(FIELD_TE) |              \
     BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_HTTP2_SETTINGS))

/* What only a trusted peer may tell. */
#define FORWARDING                                                                                 \
    (BIT(FIELD_FORWARDED) | BIT(FIELD_X_FORWARDED_FOR) | BIT(FIELD_X_FORWARDED_PROTO) |            \
     BIT(FIELD_X_FORWARDED_HOST) | BIT(FIELD_X_REQUEST_ID))

/* Names in Connection that do not make a field go: it goes anyway, or another rule decides. */
#define NOT_BY_NAME (HOP_BY_HOP | BIT(FIELD_HOST) | BIT(FIELD_UPGRADE))

enum {
    TRACEPARENT_LEN = 55, /* 00-<32>-<16>-01 */
    UUID_LEN = 36,
};

static void drop_name(struct message *m, struct str name)
{
    enum field_id id = field_id_of(name);
    if (NOT_BY_NAME & BIT(id))
        return;
    for (unsigned i = 0; i < m->n_fields; i++) {
        struct field *f = &m->fields[i];
        if (f->id == id && (id != FIELD_OTHER || str_ieq(field_name(m, f), name)))
            f->dropped = 1;
    }
}

/* RFC 9110 §7.6.1. Rare, and so no part of the one pass. */
static void drop_connection_named(struct message *m)
{
    for (unsigned i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        if (f->id != FIELD_CONNECTION)
            continue;
        struct str list = field_value(m, f), item;
        while (str_list_next(&list, &item)) {
            if (!str_ieq(item, STR("close")))
                drop_name(m, item);
        }
    }
}

/* h2c never goes through: the upgrade would take the connection out of our hands. */
static bool names_h2c(struct str list)
{
    struct str item;
    while (str_list_next(&list, &item)) {
        if (str_ieq(item, STR("h2c")))
            return true;
    }
    return false;
}

static bool is_lower_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    }
    return true;
}

static bool is_all_zero(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '0')
            return false;
    }
    return true;
}

/* W3C Trace Context §3.2.2; versions above 00 may be longer. */
static bool traceparent_valid(struct str v)
{
    if (v.n < TRACEPARENT_LEN || v.p[2] != '-' || v.p[35] != '-' || v.p[52] != '-')
        return false;
    struct str version = {v.p, 2}, trace = {v.p + 3, 32}, parent = {v.p + 36, 16};
    struct str flags = {v.p + 53, 2};
    if (!is_lower_hex(version) || !is_lower_hex(trace) || !is_lower_hex(parent) ||
        !is_lower_hex(flags) || is_all_zero(trace) || is_all_zero(parent) ||
        str_eq(version, STR("ff")))
        return false;
    if (v.n == TRACEPARENT_LEN)
        return true;
    return !str_eq(version, STR("00")) && v.p[TRACEPARENT_LEN] == '-';
}

/* ---- writing what is added ---- */

static inline char *put(char *to, const void *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}

static inline char *put_str(char *to, struct str s)
{
    return s.n ? put(to, s.p, s.n) : to;
}

#define PUT(to, literal) put((to), (literal), sizeof(literal) - 1)

/* 16 hex digits. Each nibble into a byte of its own, then 0-9 or a-f. */
static inline char *put_hex(char *to, uint64_t v)
{
    uint64_t halves[2] = {v >> 32, v & UINT32_MAX};
    for (int i = 0; i < 2; i++) {
        uint64_t x = halves[i];
        x = (x | x << 16) & 0x0000ffff0000ffffu;
        x = (x | x << 8) & 0x00ff00ff00ff00ffu;
        x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
        uint64_t letters = ((x + 0x0606060606060606u) >> 4) & 0x0101010101010101u;
        x += 0x3030303030303030u + letters * 39;
        x = __builtin_bswap64(x);
        to = put(to, &x, 8);
    }
    return to;
}

static char *put_uuid(char *to, struct rng *rng)
{
    char hex[32];
    uint64_t high = rng_next(rng), low = rng_next(rng);
    high = (high & ~(uint64_t)0xf000) | 0x4000;             /* version 4 */
    low = (low & ~((uint64_t)3 << 62)) | (uint64_t)2 << 62; /* RFC 9562 variant */
    (void)put_hex(put_hex(hex, high), low);
    to = put(to, hex, 8);
    *to++ = '-';
    to = put(to, hex + 8, 4);
    *to++ = '-';
    to = put(to, hex + 12, 4);
    *to++ = '-';
    to = put(to, hex + 16, 4);
    *to++ = '-';
    return put(to, hex + 20, 12);
}

static char *put_traceparent(char *to, struct rng *rng)
{
    uint64_t high = rng_next(rng), low = rng_next(rng) | 1, parent = rng_next(rng) | 1;
    to = PUT(to, "00-");
    to = put_hex(put_hex(to, high), low);
    *to++ = '-';
    to = put_hex(to, parent);
    return PUT(to, "-01");
}

/* Ends the line that was written at m->buf + m->len as name, ": " and value, and adds its field. */
static int end_field(struct message *m, enum field_id id, size_t name_len, char **to)
{
    size_t n = (size_t)(*to - m->buf) - m->len;
    struct field f = {
        .name = m->len,
        .value = m->len + (uint32_t)name_len + 2,
        .value_len = (uint32_t)(n - name_len - 2),
        .name_len = (uint16_t)name_len,
        .id = (uint8_t)id,
    };
    *to = PUT(*to, "\r\n");
    m->len = (uint32_t)(*to - m->buf);
    return message_add_slice(m, f);
}

#define BEGIN_FIELD(to, name)      PUT((to), name ": ")
#define END_FIELD(m, id, name, to) end_field((m), (id), sizeof(name) - 1, &(to))

static int add_via(struct message *m, struct str via, char **to)
{
    *to = BEGIN_FIELD(*to, "Via");
    /* As it was received (RFC 9110 §7.6.3). */
    *to = m->http2 ? PUT(*to, "2 ") : m->version_minor == 0 ? PUT(*to, "1.0 ") : PUT(*to, "1.1 ");
    *to = put_str(*to, via);
    return END_FIELD(m, FIELD_VIA, "Via", *to);
}

/* What the pass over a request's fields found that outlives it. */
struct found {
    size_t forwarded_for_bytes; /* of the values that a trusted peer sent, and their separators */
    unsigned n_forwarded_for, n_traceparent;
    bool forwarded, proto, host, request_id, upgrade, trace_ok, tracestate;
};

/* X-Forwarded-For as one field: what the trusted peer said, then the peer. The fields that it
 * came in stay, marked dropped, for hop_client_address(). */
static int add_forwarded_for(struct message *m, const struct hop_request *h,
                             const struct found *found, char **to)
{
    *to = BEGIN_FIELD(*to, "X-Forwarded-For");
    for (unsigned i = 0, left = found->n_forwarded_for; left > 0; i++) {
        struct field *f = &m->fields[i];
        if (f->id != FIELD_X_FORWARDED_FOR || f->dropped)
            continue;
        f->dropped = 1;
        left--;
        if (f->value_len == 0)
            continue;
        *to = put_str(*to, field_value(m, f));
        *to = PUT(*to, ", ");
    }
    *to = put_str(*to, h->peer);
    return END_FIELD(m, FIELD_X_FORWARDED_FOR, "X-Forwarded-For", *to);
}

/* RFC 7239 §4, §6: an element of our own behind those of a trusted peer. */
static int add_forwarded(struct message *m, const struct hop_request *h, char **to)
{
    *to = BEGIN_FIELD(*to, "Forwarded");
    if (h->peer.n > 0 && memchr(h->peer.p, ':', h->peer.n)) {
        *to = PUT(*to, "for=\"[");
        *to = put_str(*to, h->peer);
        *to = PUT(*to, "]\"");
    } else if (h->peer.n == 0 || str_eq(h->peer, STR("unix"))) {
        *to = PUT(*to, "for=unknown");
    } else {
        *to = PUT(*to, "for=");
        *to = put_str(*to, h->peer);
    }
    *to = PUT(*to, ";proto=");
    *to = put_str(*to, h->scheme);
    return END_FIELD(m, FIELD_FORWARDED, "Forwarded", *to);
}

static int add_to_request(struct message *m, const struct hop_request *h, const struct found *found)
{
    enum { NAMES_AND_IDS = 320 };
    size_t n = NAMES_AND_IDS + h->via.n + 2 * h->peer.n + 2 * h->scheme.n + m->authority.len +
               found->forwarded_for_bytes;
    char *to = message_reserve(m, n);
    const char *begin = to;
    if (!to)
        return -ENOMEM;
    int r = add_forwarded_for(m, h, found, &to);
    if (r == 0 && !found->proto) {
        to = put_str(BEGIN_FIELD(to, "X-Forwarded-Proto"), h->scheme);
        r = END_FIELD(m, FIELD_X_FORWARDED_PROTO, "X-Forwarded-Proto", to);
    }
    if (r == 0 && !found->host && m->authority.len > 0) {
        to = put_str(BEGIN_FIELD(to, "X-Forwarded-Host"), message_str(m, m->authority));
        r = END_FIELD(m, FIELD_X_FORWARDED_HOST, "X-Forwarded-Host", to);
    }
    if (r == 0 && found->forwarded)
        r = add_forwarded(m, h, &to);
    if (r == 0 && !found->trace_ok) {
        to = put_traceparent(BEGIN_FIELD(to, "traceparent"), h->rng);
        r = END_FIELD(m, FIELD_TRACEPARENT, "traceparent", to);
    }
    if (r == 0 && !found->request_id) {
        to = put_uuid(BEGIN_FIELD(to, "X-Request-Id"), h->rng);
        r = END_FIELD(m, FIELD_X_REQUEST_ID, "X-Request-Id", to);
    }
    if (r == 0 && h->via.n > 0)
        r = add_via(m, h->via, &to);
    CHECK((size_t)(to - begin) <= n);
    return r;
}

/* ---- requests ---- */

static bool starts_with(struct str s, struct str lower)
{
    return s.n >= lower.n && str_ieq((struct str){s.p, lower.n}, lower);
}

/* A field that is not in the table. */
static void look_at_other(const struct message *m, struct field *f, bool trusted,
                          struct found *found)
{
    struct str name = field_name(m, f);
    char first = ascii_lower(name.n ? name.p[0] : '\0');
    if (first == 'x' && !trusted) {
        if (starts_with(name, STR("x-forwarded-")) || str_ieq(name, STR("x-real-ip")))
            f->dropped = 1;
    } else if (first == 't' && str_ieq(name, STR("tracestate"))) {
        found->tracestate = true;
    }
}

static void look_at(struct message *m, struct field *f, const struct hop_request *h,
                    struct found *found)
{
    switch (f->id) {
    case FIELD_OTHER:
        look_at_other(m, f, h->peer_trusted, found);
        break;
    case FIELD_X_FORWARDED_FOR:
        found->n_forwarded_for++;
        found->forwarded_for_bytes += f->value_len + 2;
        break;
    case FIELD_X_FORWARDED_PROTO:
        found->proto = true;
        break;
    case FIELD_X_FORWARDED_HOST:
        found->host = true;
        break;
    case FIELD_FORWARDED:
        found->forwarded = true;
        break;
    case FIELD_X_REQUEST_ID:
        f->dropped = found->request_id || f->value_len == 0;
        found->request_id |= !f->dropped;
        break;
    case FIELD_TRACEPARENT:
        found->n_traceparent++;
        found->trace_ok = found->n_traceparent == 1 && traceparent_valid(field_value(m, f));
        break;
    case FIELD_UPGRADE:
        f->dropped = names_h2c(field_value(m, f));
        found->upgrade |= !f->dropped;
        break;
    default:
        break;
    }
}

/* W3C Trace Context §3.2.2, §3.3: no tracestate without the traceparent that it came with. */
static void drop_trace(struct message *m, const struct found *found)
{
    if (found->n_traceparent > 0)
        (void)message_drop(m, FIELD_TRACEPARENT);
    for (unsigned i = 0; found->tracestate && i < m->n_fields; i++) {
        struct field *f = &m->fields[i];
        if (f->id == FIELD_OTHER && str_ieq(field_name(m, f), STR("tracestate")))
            f->dropped = 1;
    }
}

int hop_request(struct message *req, const struct hop_request *h)
{
    CHECK_OBJ(req, MESSAGE_MAGIC);
    struct found found = {0};
    uint64_t drop = HOP_BY_HOP | BIT(FIELD_HOST);
    if (!h->peer_trusted)
        drop |= FORWARDING;
    if (req->body != BODY_CHUNKED)
        drop |= BIT(FIELD_TRAILER);
    /* HTTP/1.0 cannot ask for these (RFC 9110 §7.8, §10.1.1); forwarded as 1.1 they would count. */
    if (req->version_minor == 0)
        drop |= BIT(FIELD_UPGRADE) | BIT(FIELD_EXPECT);
    if (!h->keep_upgrade || !req->connection_upgrade)
        drop |= BIT(FIELD_UPGRADE);
    if (req->connection_named)
        drop_connection_named(req);
    for (unsigned i = 0; i < req->n_fields; i++) {
        struct field *f = &req->fields[i];
        if (f->dropped)
            continue;
        if (drop & BIT(f->id))
            f->dropped = 1;
        else
            look_at(req, f, h, &found);
    }
    if (!found.upgrade)
        req->connection_upgrade = 0;
    if (!found.trace_ok)
        drop_trace(req, &found);
    return add_to_request(req, h, &found);
}

/* ---- responses ---- */

int hop_response(struct message *res, struct str via, bool keep_upgrade)
{
    CHECK_OBJ(res, MESSAGE_MAGIC);
    uint64_t drop = HOP_BY_HOP;
    if (res->body != BODY_CHUNKED)
        drop |= BIT(FIELD_TRAILER);
    if (!keep_upgrade)
        drop |= BIT(FIELD_UPGRADE);
    if (res->connection_named)
        drop_connection_named(res);
    for (unsigned i = 0; i < res->n_fields; i++) {
        struct field *f = &res->fields[i];
        if (drop & BIT(f->id))
            f->dropped = 1;
    }
    if (via.n == 0)
        return 0;
    char *to = message_reserve(res, via.n + 16);
    return to ? add_via(res, via, &to) : -ENOMEM;
}

/* ---- what was told ---- */

struct str hop_client_address(const struct message *req, struct str peer, uint32_t trusted_hops)
{
    if (trusted_hops == 0)
        return peer;
    /* Those that came with the request: hop_request() marks them dropped and adds its own. */
    bool hop_done = false;
    for (unsigned i = 0; i < req->n_fields; i++)
        hop_done |= req->fields[i].id == FIELD_X_FORWARDED_FOR && req->fields[i].dropped;
    uint32_t left = trusted_hops;
    for (unsigned i = req->n_fields; left > 0 && i-- > 0;) {
        const struct field *f = &req->fields[i];
        if (f->id != FIELD_X_FORWARDED_FOR || f->dropped != hop_done)
            continue;
        struct str v = field_value(req, f);
        while (v.n > 0) {
            const char *comma = memrchr(v.p, ',', v.n);
            size_t from = comma ? (size_t)(comma - v.p) + 1 : 0;
            struct str item = str_trim((struct str){v.p + from, v.n - from});
            v.n = comma ? from - 1 : 0;
            if (item.n > 0 && --left == 0)
                return item;
        }
    }
    return peer;
}

struct str hop_trace_id(const struct message *req)
{
    const struct field *f = message_find(req, FIELD_TRACEPARENT);
    if (!f || f->value_len < TRACEPARENT_LEN)
        return STR("");
    return (struct str){req->buf + f->value + 3, 32};
}
