/* h2_write.c - from a message to the fields of an HTTP/2 header block (RFC 9113 §8).
 *
 * As with HTTP/1, framing is never copied from a message: Content-Length is written from what the
 * message says of its body. A block owns its bytes: it is encoded when its frame goes out, and the
 * message may be gone by then. They are the message's, in one copy, and what is written anew. */
#include "http/h2_parts.h"

#include "base/mem.h"
#include "http/websocket_handshake.h"

enum { PSEUDO_AND_WRITTEN = 8, NUMBER_MAX = 20 };

/* :path can be had from where the message has it. */
static bool target_is_whole(const struct message *m)
{
    uint32_t mark = m->path.off + m->path.len;
    return !m->has_query || (m->query.off == mark + 1 && m->buf[mark] == '?');
}

static struct h2_block *block_new(struct h2 *h, const struct message *m)
{
    CHECK_OBJ(m, MESSAGE_MAGIC);
    size_t n = (size_t)m->n_fields + PSEUDO_AND_WRITTEN;
    size_t target = target_is_whole(m) ? 0 : (size_t)m->path.len + 1 + m->query.len;
    struct h2_block *b =
        heap_cache_alloc(&h->bufs->small, sizeof(*b) + n * sizeof(b->fields[0]) + m->len + target +
                                              NUMBER_MAX + sizeof("https"));
    if (!b)
        return NULL;
    b->n = 0;
    b->most = HPACK_UPDATES_MAX;
    b->buf = (char *)&b->fields[n];
    b->text = b->buf + m->len;
    memcpy(b->buf, m->buf, m->len);
    list_push_back(&h->blocks, &b->link);
    return b;
}

void h2_block_free(struct h2 *h, struct h2_block *b)
{
    if (!b)
        return;
    list_remove(&b->link);
    heap_cache_put(&h->bufs->small, b);
}

static struct str copy(struct h2_block *b, struct str s)
{
    char *to = b->text;
    if (s.n > 0)
        memcpy(to, s.p, s.n);
    b->text += s.n;
    return (struct str){to, s.n};
}

static struct str in_block(const struct h2_block *b, struct text t)
{
    return (struct str){b->buf + t.off, t.len};
}

/* Name and value stay where they are: literals, or the block's. */
static inline void put_as(struct h2_block *b, uint8_t name_id, enum hpack_how how, struct str name,
                          struct str value)
{
    struct hpack_field *f = &b->fields[b->n++];
    f->name = name.p;
    f->value = value.p;
    f->value_len = (uint32_t)value.n;
    f->name_len = (uint16_t)name.n;
    f->name_id = name_id;
    f->how = (uint8_t)how;
    b->most += hpack_most(f);
}

static void put(struct h2_block *b, uint8_t name_id, struct str name, struct str value)
{
    put_as(b, name_id, hpack_how_of(name_id, value.n), name, value);
}

/* About this connection only, or written anew. */
static bool skipped(const struct message *m, const struct field *f)
{
    if (m->websocket && websocket_field_is_h1(f))
        return true;
    switch ((enum field_id)f->id) {
    case FIELD_HOST:
    case FIELD_CONTENT_LENGTH:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_UPGRADE:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_TE:
        return true;
    default:
        return f->dropped;
    }
}

/* Fields that we know, and the static table, too. */
static const uint8_t static_names[FIELD_ID_COUNT] = {
    [FIELD_PROXY_AUTHENTICATE] = 48,
    [FIELD_PROXY_AUTHORIZATION] = 49,
    [FIELD_EXPECT] = 35,
    [FIELD_VIA] = 60,
    [FIELD_AUTHORIZATION] = 23,
    [FIELD_COOKIE] = 32,
    [FIELD_SET_COOKIE] = 55,
    [FIELD_CONTENT_TYPE] = 31,
    [FIELD_CONTENT_ENCODING] = 26,
    [FIELD_CONTENT_RANGE] = 30,
    [FIELD_CACHE_CONTROL] = 24,
    [FIELD_MAX_FORWARDS] = 47,
    [FIELD_DATE] = 33,
    [FIELD_SERVER] = 54,
    [FIELD_RETRY_AFTER] = 53,
    [FIELD_USER_AGENT] = 58,
};

static const struct str known_names[FIELD_ID_COUNT] = {
#define X(id, lower) [FIELD_##id] = {lower, sizeof(lower) - 1},
    FIELD_TABLE(X)
#undef X
};

/* Another in each message: in the table it would only push out what comes again. */
static bool is_unique(uint8_t id)
{
    return id == FIELD_TRACEPARENT || id == FIELD_X_REQUEST_ID || id == FIELD_GRPC_TIMEOUT ||
           id == FIELD_X_REQUEST_DEADLINE;
}

static void put_fields(struct h2_block *b, const struct message *m)
{
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        if (skipped(m, f))
            continue;
        struct str value = {b->buf + f->value, f->value_len};
        if (f->id == FIELD_OTHER) {
            char *name = b->buf + f->name;
            for (uint32_t j = 0; j < f->name_len; j++)
                name[j] = ascii_lower(name[j]);
            struct str lower = {name, f->name_len};
            put(b, hpack_name_of(lower), lower, value);
        } else if (static_names[f->id]) {
            put(b, static_names[f->id], known_names[f->id], value);
        } else {
            put_as(b, (uint8_t)(HPACK_NAME_OWN + f->id),
                   is_unique(f->id) ? HPACK_NEVER : HPACK_INDEXED, known_names[f->id], value);
        }
        if (f->no_index)
            b->fields[b->n - 1].how = HPACK_NEVER;
    }
}

static void put_length(struct h2_block *b, uint64_t length)
{
    char number[NUMBER_MAX], *end = number + NUMBER_MAX, *p = end;
    do
        *--p = (char)('0' + length % 10);
    while ((length /= 10) > 0);
    put(b, HPACK_CONTENT_LENGTH, STR("content-length"),
        copy(b, (struct str){p, (size_t)(end - p)}));
}

/* Path and query in one piece, as :path has them. */
static void put_target(struct h2_block *b, const struct message *m)
{
    struct str target = in_block(b, m->path);
    if (!target_is_whole(m)) {
        target = copy(b, target);
        target.n += copy(b, STR("?")).n + copy(b, in_block(b, m->query)).n;
    } else if (m->has_query) {
        target.n += 1 + m->query.len;
    }
    put(b, HPACK_PATH, STR(":path"), target);
}

struct h2_block *h2_block_request(struct h2 *h, const struct message *m, struct str scheme,
                                  bool end)
{
    struct h2_block *b = block_new(h, m);
    if (!b)
        return NULL;
    /* RFC 8441 §4: a WebSocket by extended CONNECT; its key has no meaning here. */
    put(b, HPACK_METHOD, STR(":method"),
        m->websocket ? STR("CONNECT") : in_block(b, m->method_text));
    if (m->websocket)
        put(b, HPACK_NAME_OTHER, STR(":protocol"), STR("websocket"));
    put(b, HPACK_SCHEME, STR(":scheme"), copy(b, scheme));
    if (m->authority.len > 0) /* HTTP/1.0 may have none (RFC 9113 §8.3.1) */
        put(b, HPACK_AUTHORITY, STR(":authority"), in_block(b, m->authority));
    put_target(b, m);
    put_fields(b, m);
    if (m->te_trailers)
        put(b, HPACK_NAME_OTHER, STR("te"), STR("trailers"));
    bool may_carry =
        m->method == METHOD_POST || m->method == METHOD_PUT || m->method == METHOD_PATCH;
    if (m->body == BODY_LENGTH || (end && may_carry && m->body == BODY_NONE))
        put_length(b, m->body == BODY_LENGTH ? m->content_length : 0);
    return b;
}

struct h2_block *h2_block_response(struct h2 *h, const struct message *m, bool end, bool to_head)
{
    struct h2_block *b = block_new(h, m);
    if (!b)
        return NULL;
    unsigned status = m->status == 101 ? 200 : m->status; /* RFC 8441 §5 */
    char digits[] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                     (char)('0' + status % 10)};
    put(b, HPACK_STATUS, STR(":status"), copy(b, (struct str){digits, sizeof(digits)}));
    put_fields(b, m);
    if (m->status < 200 || status == 204)
        return b;
    /* HEAD and 304 repeat a declared length. */
    bool declared = m->body == BODY_LENGTH;
    for (uint32_t i = 0; end && !declared && i < m->n_fields; i++)
        declared = m->fields[i].id == FIELD_CONTENT_LENGTH;
    if (declared && (!end || to_head || status == 304 || m->content_length == 0))
        put_length(b, m->content_length);
    return b;
}

struct h2_block *h2_block_trailers(struct h2 *h, const struct message *m)
{
    struct h2_block *b = block_new(h, m);
    if (b)
        put_fields(b, m);
    return b;
}

/* ---- what nghttp2 is given ---- */

nghttp2_nv h2_block_nv(struct h2_block *b)
{
    memcpy(b->mark, "GET", sizeof("GET")); /* takes it the least work */
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t) ":method",
        .value = (uint8_t *)b->mark,
        .namelen = strlen(":method"),
        .valuelen = strlen("GET"),
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    };
}

struct h2_block *h2_block_of(const nghttp2_frame *frame)
{
    CHECK(frame->hd.type == NGHTTP2_HEADERS && frame->headers.nvlen == 1);
    char *block = (char *)frame->headers.nva[0].value - offsetof(struct h2_block, mark);
    return (struct h2_block *)(void *)block;
}
