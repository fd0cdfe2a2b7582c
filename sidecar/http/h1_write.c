/* h1_write.c - HTTP/1.1 heads, chunks and trailers to bytes.
 *
 * The exact room for the fields is counted first, reserved once, and then filled without looking
 * back. Fields that already lie in the message's buffer as they are to be sent, one behind the
 * other, which is how the parser and message_add() leave them, are copied in runs. */
#include "http/h1_write.h"

#include <errno.h>

#define BIT(id) ((uint64_t)1 << (id))

/* Written from struct h1_framing, never from fields. */
static const uint64_t never_response = BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TRANSFER_ENCODING) |
                                       BIT(FIELD_CONNECTION) | BIT(FIELD_TE);
static const uint64_t never_request = BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TRANSFER_ENCODING) |
                                      BIT(FIELD_CONNECTION) | BIT(FIELD_TE) | BIT(FIELD_HOST);

/* More than all that write_framing() and the fixed parts of a first line can need. */
enum { FIXED_MAX = 256 };

static inline char *put(char *to, const void *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}

#define PUT(to, literal) put((to), (literal), sizeof(literal) - 1)

static inline char *put_text(char *to, const struct message *m, struct text t)
{
    return put(to, m->buf + t.off, t.len);
}

static char *put_u64(char *to, uint64_t v)
{
    char digits[20];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return put(to, digits + i, sizeof(digits) - i);
}

static inline bool skipped(const struct field *f, uint64_t never)
{
    return f->dropped || (never & BIT(f->id));
}

static size_t fields_bytes(const struct message *m, uint64_t never)
{
    size_t n = 0;
    for (unsigned i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        if (!skipped(f, never))
            n += (size_t)f->name_len + f->value_len + 4;
    }
    return n;
}

static inline bool is_pair(const char *p, const char *pair)
{
    return memcmp(p, pair, 2) == 0;
}

/* Do the field's bytes stand in the buffer as "name: value" CRLF? */
static inline bool as_sent(const struct message *m, const struct field *f)
{
    size_t end = (size_t)f->value + f->value_len;
    return f->value == f->name + f->name_len + 2 && end + 2 <= m->len &&
           is_pair(m->buf + f->value - 2, ": ") && is_pair(m->buf + end, "\r\n");
}

static char *put_fields(char *to, const struct message *m, uint64_t never)
{
    if (m->n_fields == 0)
        return to; /* and there may be no array */
    const struct field *f = m->fields, *end = f + m->n_fields;
    while (f < end) {
        if (skipped(f, never)) {
            f++;
        } else if (as_sent(m, f)) {
            uint32_t from = f->name, behind;
            do {
                behind = f->value + f->value_len + 2;
                f++;
            } while (f < end && f->name == behind && !skipped(f, never) && as_sent(m, f));
            to = put(to, m->buf + from, behind - from);
        } else {
            to = put(to, m->buf + f->name, f->name_len);
            to = PUT(to, ": ");
            to = put(to, m->buf + f->value, f->value_len);
            to = PUT(to, "\r\n");
            f++;
        }
    }
    return to;
}

static char *put_connection(char *to, const struct h1_framing *f)
{
    if (f->te_trailers)
        to = PUT(to, "TE: trailers\r\n");
    to = PUT(to, "Connection: ");
    if (f->connection_close)
        to = PUT(to, "close, ");
    else if (f->connection_keep_alive)
        to = PUT(to, "keep-alive, ");
    if (f->upgrade)
        to = PUT(to, "upgrade, ");
    if (f->te_trailers)
        to = PUT(to, "TE, ");
    return PUT(to - 2, "\r\n");
}

/* The framing fields and the empty line. */
static char *put_framing(char *to, const struct h1_framing *f)
{
    if (f->body == BODY_LENGTH || (f->body == BODY_NONE && f->declare_length)) {
        to = PUT(to, "Content-Length: ");
        to = put_u64(to, f->content_length);
        to = PUT(to, "\r\n");
    } else if (f->body == BODY_CHUNKED) {
        to = PUT(to, "Transfer-Encoding: chunked\r\n");
    }
    if (f->connection_close || f->connection_keep_alive || f->upgrade || f->te_trailers)
        to = put_connection(to, f);
    return PUT(to, "\r\n");
}

int h1_write_request(struct buf_pool *pool, struct buf *b, const struct message *m,
                     const struct h1_framing *f)
{
    CHECK_OBJ(m, MESSAGE_MAGIC);
    size_t n = FIXED_MAX + (size_t)m->method_text.len + m->path.len + m->query.len +
               m->authority.len + fields_bytes(m, never_request);
    char *begin = buf_reserve(pool, b, n), *to = begin;
    if (!begin)
        return -ENOMEM;
    to = put_text(to, m, m->method_text);
    to = PUT(to, " ");
    to = put_text(to, m, m->path);
    if (m->has_query) {
        to = PUT(to, "?");
        to = put_text(to, m, m->query);
    }
    to = PUT(to, " HTTP/1.1\r\nHost: ");
    to = put_text(to, m, m->authority);
    to = PUT(to, "\r\n");
    to = put_fields(to, m, never_request);
    to = put_framing(to, f);
    CHECK((size_t)(to - begin) <= n);
    buf_commit(b, (size_t)(to - begin));
    return 0;
}

int h1_write_response(struct buf_pool *pool, struct buf *b, const struct message *m,
                      const struct h1_framing *f)
{
    CHECK_OBJ(m, MESSAGE_MAGIC);
    CHECK(m->status >= 100 && m->status <= 999);
    struct str phrase = m->reason.len ? message_str(m, m->reason) : http_status_phrase(m->status);
    size_t n = FIXED_MAX + phrase.n + fields_bytes(m, never_response);
    char *begin = buf_reserve(pool, b, n), *to = begin;
    if (!begin)
        return -ENOMEM;
    to = PUT(to, "HTTP/1.1 ");
    to[0] = (char)('0' + m->status / 100);
    to[1] = (char)('0' + m->status / 10 % 10);
    to[2] = (char)('0' + m->status % 10);
    to[3] = ' ';
    to = put(to + 4, phrase.p, phrase.n);
    to = PUT(to, "\r\n");
    to = put_fields(to, m, never_response);
    to = put_framing(to, f);
    CHECK((size_t)(to - begin) <= n);
    buf_commit(b, (size_t)(to - begin));
    return 0;
}

size_t h1_write_chunk_head(char *out, uint64_t n)
{
    CHECK(n > 0);
    size_t digits = (size_t)(67 - __builtin_clzll(n)) / 4;
    for (size_t i = digits; i-- > 0; n >>= 4)
        out[i] = "0123456789abcdef"[n & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}

int h1_write_last_chunk(struct buf_pool *pool, struct buf *b, const struct message *trailers)
{
    size_t n = 5 + (trailers ? fields_bytes(trailers, never_request) : 0);
    char *begin = buf_reserve(pool, b, n), *to = begin;
    if (!begin)
        return -ENOMEM;
    to = PUT(to, "0\r\n");
    if (trailers)
        to = put_fields(to, trailers, never_request);
    to = PUT(to, "\r\n");
    CHECK((size_t)(to - begin) <= n);
    buf_commit(b, (size_t)(to - begin));
    return 0;
}

/* The registered ones (IANA HTTP Status Code Registry). */
struct str http_status_phrase(unsigned status)
{
    switch (status) {
#define S(code, text)                                                                              \
    case code:                                                                                     \
        return STR(text)
        S(100, "Continue");
        S(101, "Switching Protocols");
        S(102, "Processing");
        S(103, "Early Hints");
        S(200, "OK");
        S(201, "Created");
        S(202, "Accepted");
        S(203, "Non-Authoritative Information");
        S(204, "No Content");
        S(205, "Reset Content");
        S(206, "Partial Content");
        S(207, "Multi-Status");
        S(208, "Already Reported");
        S(226, "IM Used");
        S(300, "Multiple Choices");
        S(301, "Moved Permanently");
        S(302, "Found");
        S(303, "See Other");
        S(304, "Not Modified");
        S(305, "Use Proxy");
        S(307, "Temporary Redirect");
        S(308, "Permanent Redirect");
        S(400, "Bad Request");
        S(401, "Unauthorized");
        S(402, "Payment Required");
        S(403, "Forbidden");
        S(404, "Not Found");
        S(405, "Method Not Allowed");
        S(406, "Not Acceptable");
        S(407, "Proxy Authentication Required");
        S(408, "Request Timeout");
        S(409, "Conflict");
        S(410, "Gone");
        S(411, "Length Required");
        S(412, "Precondition Failed");
        S(413, "Content Too Large");
        S(414, "URI Too Long");
        S(415, "Unsupported Media Type");
        S(416, "Range Not Satisfiable");
        S(417, "Expectation Failed");
        S(421, "Misdirected Request");
        S(422, "Unprocessable Content");
        S(423, "Locked");
        S(424, "Failed Dependency");
        S(425, "Too Early");
        S(426, "Upgrade Required");
        S(428, "Precondition Required");
        S(429, "Too Many Requests");
        S(431, "Request Header Fields Too Large");
        S(451, "Unavailable For Legal Reasons");
        S(500, "Internal Server Error");
        S(501, "Not Implemented");
        S(502, "Bad Gateway");
        S(503, "Service Unavailable");
        S(504, "Gateway Timeout");
        S(505, "HTTP Version Not Supported");
        S(506, "Variant Also Negotiates");
        S(507, "Insufficient Storage");
        S(508, "Loop Detected");
        S(510, "Not Extended");
        S(511, "Network Authentication Required");
#undef S
    default:
        return STR("");
    }
}
