/* message.c - one HTTP message's head, and the names of the fields that we know. */
#include "http/message.h"

#include "base/mem.h"

#include <errno.h>

/* One slot for each known name, by its length, first and last byte. Two names in one slot would
 * not compile (-Woverride-init); a unit test finds a name that is missing here. */
enum { SLOTS = 128 };
#define SLOT(n, first, last) (((n) + 11 * ((first) | 0x20) + 12 * ((last) | 0x20)) & (SLOTS - 1))

static const uint8_t slots[SLOTS] = {
    [SLOT(4, 'h', 't')] = FIELD_HOST,
    [SLOT(14, 'c', 'h')] = FIELD_CONTENT_LENGTH,
    [SLOT(17, 't', 'g')] = FIELD_TRANSFER_ENCODING,
    [SLOT(10, 'c', 'n')] = FIELD_CONNECTION,
    [SLOT(10, 'k', 'e')] = FIELD_KEEP_ALIVE,
    [SLOT(16, 'p', 'n')] = FIELD_PROXY_CONNECTION,
    [SLOT(18, 'p', 'e')] = FIELD_PROXY_AUTHENTICATE,
    [SLOT(19, 'p', 'n')] = FIELD_PROXY_AUTHORIZATION,
    [SLOT(2, 't', 'e')] = FIELD_TE,
    [SLOT(7, 't', 'r')] = FIELD_TRAILER,
    [SLOT(7, 'u', 'e')] = FIELD_UPGRADE,
    [SLOT(14, 'h', 's')] = FIELD_HTTP2_SETTINGS,
    [SLOT(6, 'e', 't')] = FIELD_EXPECT,
    [SLOT(3, 'v', 'a')] = FIELD_VIA,
    [SLOT(9, 'f', 'd')] = FIELD_FORWARDED,
    [SLOT(15, 'x', 'r')] = FIELD_X_FORWARDED_FOR,
    [SLOT(17, 'x', 'o')] = FIELD_X_FORWARDED_PROTO,
    [SLOT(16, 'x', 't')] = FIELD_X_FORWARDED_HOST,
    [SLOT(12, 'x', 'd')] = FIELD_X_REQUEST_ID,
    [SLOT(11, 't', 't')] = FIELD_TRACEPARENT,
    [SLOT(13, 'a', 'n')] = FIELD_AUTHORIZATION,
    [SLOT(6, 'c', 'e')] = FIELD_COOKIE,
    [SLOT(10, 's', 'e')] = FIELD_SET_COOKIE,
    [SLOT(12, 'c', 'e')] = FIELD_CONTENT_TYPE,
    [SLOT(16, 'c', 'g')] = FIELD_CONTENT_ENCODING,
    [SLOT(13, 'c', 'e')] = FIELD_CONTENT_RANGE,
    [SLOT(13, 'c', 'l')] = FIELD_CACHE_CONTROL,
    [SLOT(12, 'm', 's')] = FIELD_MAX_FORWARDS,
    [SLOT(4, 'd', 'e')] = FIELD_DATE,
    [SLOT(6, 's', 'r')] = FIELD_SERVER,
    [SLOT(11, 'r', 'r')] = FIELD_RETRY_AFTER,
    [SLOT(12, 'p', 's')] = FIELD_PROXY_STATUS,
    [SLOT(10, 'u', 't')] = FIELD_USER_AGENT,
    [SLOT(17, 's', 'y')] = FIELD_SEC_WEBSOCKET_KEY,
    [SLOT(20, 's', 't')] = FIELD_SEC_WEBSOCKET_ACCEPT,
    [SLOT(18, 'x', 'e')] = FIELD_X_REQUEST_DEADLINE,
    [SLOT(12, 'g', 't')] = FIELD_GRPC_TIMEOUT,
    [SLOT(11, 'g', 's')] = FIELD_GRPC_STATUS,
    [SLOT(12, 'g', 'e')] = FIELD_GRPC_MESSAGE,
};

struct known {
    char lower[24];
    char usual[24]; /* X-Request-Id */
    size_t n;
};

/* The usual spelling differs from "capital after each dash" in a few names only; they are short
 * and safe enough to be derived once, here, by hand. */
#define KNOWN(id, name, spelling) [FIELD_##id] = {name, spelling, sizeof(name) - 1}

static const struct known known[FIELD_ID_COUNT] = {
    KNOWN(HOST, "host", "Host"),
    KNOWN(CONTENT_LENGTH, "content-length", "Content-Length"),
    KNOWN(TRANSFER_ENCODING, "transfer-encoding", "Transfer-Encoding"),
    KNOWN(CONNECTION, "connection", "Connection"),
    KNOWN(KEEP_ALIVE, "keep-alive", "Keep-Alive"),
    KNOWN(PROXY_CONNECTION, "proxy-connection", "Proxy-Connection"),
    KNOWN(PROXY_AUTHENTICATE, "proxy-authenticate", "Proxy-Authenticate"),
    KNOWN(PROXY_AUTHORIZATION, "proxy-authorization", "Proxy-Authorization"),
    KNOWN(TE, "te", "TE"),
    KNOWN(TRAILER, "trailer", "Trailer"),
    KNOWN(UPGRADE, "upgrade", "Upgrade"),
    KNOWN(HTTP2_SETTINGS, "http2-settings", "HTTP2-Settings"),
    KNOWN(EXPECT, "expect", "Expect"),
    KNOWN(VIA, "via", "Via"),
    KNOWN(FORWARDED, "forwarded", "Forwarded"),
    KNOWN(X_FORWARDED_FOR, "x-forwarded-for", "X-Forwarded-For"),
    KNOWN(X_FORWARDED_PROTO, "x-forwarded-proto", "X-Forwarded-Proto"),
    KNOWN(X_FORWARDED_HOST, "x-forwarded-host", "X-Forwarded-Host"),
    KNOWN(X_REQUEST_ID, "x-request-id", "X-Request-Id"),
    KNOWN(TRACEPARENT, "traceparent", "traceparent"),
    KNOWN(AUTHORIZATION, "authorization", "Authorization"),
    KNOWN(COOKIE, "cookie", "Cookie"),
    KNOWN(SET_COOKIE, "set-cookie", "Set-Cookie"),
    KNOWN(CONTENT_TYPE, "content-type", "Content-Type"),
    KNOWN(CONTENT_ENCODING, "content-encoding", "Content-Encoding"),
    KNOWN(CONTENT_RANGE, "content-range", "Content-Range"),
    KNOWN(CACHE_CONTROL, "cache-control", "Cache-Control"),
    KNOWN(MAX_FORWARDS, "max-forwards", "Max-Forwards"),
    KNOWN(DATE, "date", "Date"),
    KNOWN(SERVER, "server", "Server"),
    KNOWN(RETRY_AFTER, "retry-after", "Retry-After"),
    KNOWN(PROXY_STATUS, "proxy-status", "Proxy-Status"),
    KNOWN(USER_AGENT, "user-agent", "User-Agent"),
    KNOWN(SEC_WEBSOCKET_KEY, "sec-websocket-key", "Sec-WebSocket-Key"),
    KNOWN(SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept", "Sec-WebSocket-Accept"),
    KNOWN(X_REQUEST_DEADLINE, "x-request-deadline", "X-Request-Deadline"),
    KNOWN(GRPC_TIMEOUT, "grpc-timeout", "grpc-timeout"),
    KNOWN(GRPC_STATUS, "grpc-status", "grpc-status"),
    KNOWN(GRPC_MESSAGE, "grpc-message", "grpc-message"),
};

/* Where the lower-case name has a letter (bit 0x40), the other may have its capital: exact, no
 * other byte becomes that letter. */
static inline bool same8(const char *p, const char *lower)
{
    uint64_t a, b;
    memcpy(&a, p, 8);
    memcpy(&b, lower, 8);
    return (a | ((b & 0x4040404040404040u) >> 1)) == b;
}

static inline bool same4(const char *p, const char *lower)
{
    uint32_t a, b;
    memcpy(&a, p, 4);
    memcpy(&b, lower, 4);
    return (a | ((b & 0x40404040u) >> 1)) == b;
}

static bool same_name(const char *p, const char *lower, size_t n)
{
    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8) {
            if (!same8(p + i, lower + i))
                return false;
        }
        return same8(p + n - 8, lower + n - 8);
    }
    if (n >= 4)
        return same4(p, lower) && same4(p + n - 4, lower + n - 4);
    return str_ieq((struct str){p, n}, (struct str){lower, n});
}

enum field_id field_id_of(struct str name)
{
    if (name.n < 2)
        return FIELD_OTHER;
    unsigned first = (unsigned char)name.p[0], last = (unsigned char)name.p[name.n - 1];
    unsigned id = slots[SLOT((unsigned)name.n, first, last)];
    if (known[id].n != name.n || !same_name(name.p, known[id].lower, name.n))
        return FIELD_OTHER;
    return (enum field_id)id;
}

enum http_method http_method_of(struct str name)
{
    const char *p = name.p;
    switch (name.n) {
    case 3:
        if (memcmp(p, "GET", 3) == 0)
            return METHOD_GET;
        return memcmp(p, "PUT", 3) == 0 ? METHOD_PUT : METHOD_OTHER;
    case 4:
        if (memcmp(p, "POST", 4) == 0)
            return METHOD_POST;
        return memcmp(p, "HEAD", 4) == 0 ? METHOD_HEAD : METHOD_OTHER;
    case 5:
        if (memcmp(p, "PATCH", 5) == 0)
            return METHOD_PATCH;
        return memcmp(p, "TRACE", 5) == 0 ? METHOD_TRACE : METHOD_OTHER;
    case 6:
        return memcmp(p, "DELETE", 6) == 0 ? METHOD_DELETE : METHOD_OTHER;
    case 7:
        if (memcmp(p, "OPTIONS", 7) == 0)
            return METHOD_OPTIONS;
        return memcmp(p, "CONNECT", 7) == 0 ? METHOD_CONNECT : METHOD_OTHER;
    default:
        return METHOD_OTHER;
    }
}

/* What a message without memory points to. */
static char nothing[1];

enum { FIRST_BYTES = 256, FIRST_FIELDS = 8 }; /* without a room */

static bool owns_buf(const struct message *m)
{
    return m->buf != nothing && !m->buf_roomed;
}

static bool owns_fields(const struct message *m)
{
    return m->fields && !m->fields_roomed;
}

void message_init_in(struct message *m, bool is_request, struct message_room *room)
{
    *m = (struct message){
        .magic = MESSAGE_MAGIC,
        .is_request = is_request,
        .version_minor = 1,
        .buf_roomed = room != NULL,
        .fields_roomed = room != NULL,
        .room = room,
        .cap = room ? MESSAGE_ROOM_BYTES : 0,
        .cap_fields = room ? MESSAGE_ROOM_FIELDS : 0,
        .buf = room ? room->buf : nothing,
        .fields = room ? room->fields : NULL,
    };
}

void message_init(struct message *m, bool is_request)
{
    message_init_in(m, is_request, NULL);
}

void message_free(struct message *m)
{
    CHECK_OBJ(m, MESSAGE_MAGIC);
    if (owns_buf(m))
        free(m->buf);
    if (owns_fields(m))
        free(m->fields);
    if (m->shrunk)
        free(m->room);
    m->magic = 0;
    m->buf = NULL;
    m->fields = NULL;
}

void message_clear(struct message *m)
{
    struct message_room *room = m->shrunk ? NULL : m->room;
    bool is_request = m->is_request;
    message_free(m);
    message_init_in(m, is_request, room);
}

char *message_grow(struct message *m, size_t n)
{
    size_t cap = m->cap ? m->cap : FIRST_BYTES;
    if (n > UINT32_MAX / 4)
        return NULL;
    while (cap < m->len + n)
        cap *= 2;
    if (cap > UINT32_MAX / 2)
        return NULL;
    char *p;
    if (owns_buf(m)) {
        p = mem_realloc(m->buf, cap);
    } else {
        p = mem_alloc(cap);
        if (p && m->len > 0)
            memcpy(p, m->buf, m->len);
    }
    if (!p)
        return NULL;
    m->buf = p;
    m->buf_roomed = 0;
    m->cap = (uint32_t)cap;
    return p + m->len;
}

/* A slice of our own buffer is still good after the buffer has moved. */
struct aliased {
    struct str s;
    size_t off;
    bool own;
};

static struct aliased alias_note(const struct message *m, struct str s)
{
    uintptr_t p = (uintptr_t)s.p, buf = (uintptr_t)m->buf;
    bool own = s.n > 0 && p >= buf && p < buf + m->len;
    return (struct aliased){s, own ? p - buf : 0, own};
}

static const char *alias_get(const struct message *m, const struct aliased *a)
{
    return a->own ? m->buf + a->off : a->s.p;
}

int message_append(struct message *m, const void *p, size_t n, struct text *ret)
{
    struct aliased a = alias_note(m, (struct str){p, n});
    char *to = message_reserve(m, n);
    if (!to)
        return -ENOMEM;
    if (n > 0)
        memcpy(to, alias_get(m, &a), n);
    if (ret)
        *ret = (struct text){m->len, (uint32_t)n};
    m->len += (uint32_t)n;
    return 0;
}

static int grow_fields(struct message *m)
{
    if (m->cap_fields > UINT16_MAX / 2)
        return -ENOMEM;
    size_t cap = m->cap_fields ? (size_t)m->cap_fields * 2 : FIRST_FIELDS;
    struct field *p;
    if (owns_fields(m)) {
        p = mem_realloc(m->fields, cap * sizeof(*p));
    } else {
        p = mem_alloc(cap * sizeof(*p));
        if (p && m->n_fields > 0)
            memcpy(p, m->fields, m->n_fields * sizeof(*p));
    }
    if (!p)
        return -ENOMEM;
    m->fields = p;
    m->fields_roomed = 0;
    m->cap_fields = (uint16_t)cap;
    return 0;
}

/* --- leaving the room --- */

static bool stays(const struct field *f, uint64_t ids)
{
    return f->id != FIELD_OTHER && (ids >> f->id & 1);
}

static struct text move_text(const struct message *m, struct text t, char *buf, uint32_t *at,
                             uint32_t most)
{
    t.len = t.len < most ? t.len : most;
    struct text moved = {*at, t.len};
    if (t.len > 0)
        memcpy(buf + *at, m->buf + t.off, t.len);
    *at += t.len;
    return moved;
}

static size_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

int message_shrink(struct message *m, uint64_t ids, uint32_t most)
{
    size_t n = least(m->method_text.len, most) + least(m->path.len, most) +
               least(m->query.len, most) + least(m->authority.len, most);
    size_t values = 0;
    uint16_t n_fields = 0;
    uint32_t at = 0;
    unsigned first = m->n_fields;
    for (; first > 0; first--) {
        const struct field *f = &m->fields[first - 1];
        if (!stays(f, ids))
            continue;
        if (values + f->value_len + sizeof(*f) > most)
            break;
        values += f->value_len + sizeof(*f);
        n += f->value_len;
        n_fields++;
    }
    struct field *fields = mem_alloc(n_fields * sizeof(*fields) + n + 1); /* and the bytes */
    if (!fields)
        return -ENOMEM;
    struct message old = *m;
    char *buf = (char *)(fields + n_fields);
    m->method_text = move_text(&old, m->method_text, buf, &at, most);
    m->path = move_text(&old, m->path, buf, &at, most);
    m->query = move_text(&old, m->query, buf, &at, most);
    m->authority = move_text(&old, m->authority, buf, &at, most);
    m->reason = (struct text){0};
    m->n_fields = 0;
    for (unsigned i = first; i < old.n_fields; i++) {
        struct field f = old.fields[i];
        if (!stays(&f, ids))
            continue;
        struct text value = move_text(&old, (struct text){f.value, f.value_len}, buf, &at, most);
        f.name = f.name_len = 0;
        f.value = value.off;
        fields[m->n_fields++] = f;
    }
    message_free(&old);
    m->room = fields;
    m->shrunk = m->buf_roomed = m->fields_roomed = 1;
    m->buf = buf;
    m->len = m->cap = at;
    m->fields = fields;
    m->cap_fields = n_fields;
    return 0;
}

int message_add_slice(struct message *m, struct field f)
{
    if (m->n_fields == m->cap_fields && grow_fields(m) < 0)
        return -ENOMEM;
    m->fields[m->n_fields++] = f;
    return 0;
}

/* As a line of HTTP/1.1, so that the writer can copy whole runs of fields at once. */
int message_add(struct message *m, enum field_id id, struct str name, struct str value)
{
    size_t n = name.n + value.n + 4;
    if (name.n > UINT16_MAX || value.n > UINT32_MAX / 4)
        return -ENOMEM;
    if (m->n_fields == m->cap_fields && grow_fields(m) < 0)
        return -ENOMEM;
    if ((size_t)m->cap - m->len < n) {
        struct aliased an = alias_note(m, name), av = alias_note(m, value);
        if (!message_grow(m, n))
            return -ENOMEM;
        name.p = alias_get(m, &an);
        value.p = alias_get(m, &av);
    }
    char *to = m->buf + m->len;
    if (name.n > 0)
        memcpy(to, name.p, name.n);
    to += name.n;
    *to++ = ':';
    *to++ = ' ';
    if (value.n > 0)
        memcpy(to, value.p, value.n);
    to += value.n;
    *to++ = '\r';
    *to = '\n';
    m->fields[m->n_fields++] = (struct field){
        .name = m->len,
        .value = m->len + (uint32_t)name.n + 2,
        .value_len = (uint32_t)value.n,
        .name_len = (uint16_t)name.n,
        .id = (uint8_t)id,
    };
    m->len += (uint32_t)n;
    return 0;
}

int message_add_known(struct message *m, enum field_id id, struct str value)
{
    CHECK(id > FIELD_OTHER && id < FIELD_ID_COUNT);
    return message_add(m, id, (struct str){known[id].usual, known[id].n}, value);
}

struct field *message_find(const struct message *m, enum field_id id)
{
    struct field *f = m->fields;
    for (unsigned left = m->n_fields; left > 0; left--, f++) {
        if (f->id == id && !f->dropped)
            return f;
    }
    return NULL;
}

struct field *message_find_name(const struct message *m, struct str name)
{
    enum field_id id = field_id_of(name);
    if (id != FIELD_OTHER)
        return message_find(m, id);
    struct field *f = m->fields;
    for (unsigned left = m->n_fields; left > 0; left--, f++) {
        if (f->name_len == name.n && f->id == FIELD_OTHER && !f->dropped &&
            str_ieq_bytes(m->buf + f->name, name.p, name.n))
            return f;
    }
    return NULL;
}

struct str message_value(const struct message *m, struct str name)
{
    const struct field *f;
    if (m->is_request && field_id_of(name) == FIELD_HOST)
        return m->authority.len > 0 ? message_str(m, m->authority) : STR_NONE;
    f = message_find_name(m, name);
    return f ? field_value(m, f) : STR_NONE;
}

unsigned message_drop(struct message *m, enum field_id id)
{
    unsigned n = 0;
    for (unsigned i = 0; i < m->n_fields; i++) {
        if (m->fields[i].id == id && !m->fields[i].dropped) {
            m->fields[i].dropped = 1;
            n++;
        }
    }
    return n;
}
