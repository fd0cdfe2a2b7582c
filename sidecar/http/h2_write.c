/* h2_write.c - from a message to the fields of an HTTP/2 header block (RFC 9113 §8).
 *
 * As with HTTP/1, framing is never copied from a message: Content-Length is written from what the
 * message says of its body. nghttp2 makes names lower-case as it copies them. */
#include "http/h2_parts.h"

#include "base/mem.h"
#include "http/websocket_handshake.h"

static nghttp2_nv *put(nghttp2_nv *nv, struct str name, struct str value)
{
    *nv = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.p,
        .value = (uint8_t *)(uintptr_t)value.p,
        .namelen = name.n,
        .valuelen = value.n,
        .flags = NGHTTP2_NV_FLAG_NONE,
    };
    return nv + 1;
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

/* Another in each message: in the table it would only push out what comes again. */
static bool is_unique(const struct field *f)
{
    return f->id == FIELD_TRACEPARENT || f->id == FIELD_X_REQUEST_ID || f->id == FIELD_GRPC_TIMEOUT;
}

static nghttp2_nv *put_fields(nghttp2_nv *nv, const struct message *m)
{
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        if (skipped(m, f))
            continue;
        nv = put(nv, field_name(m, f), field_value(m, f));
        if (is_unique(f))
            nv[-1].flags = NGHTTP2_NV_FLAG_NO_INDEX;
    }
    return nv;
}

static nghttp2_nv *put_length(nghttp2_nv *nv, uint64_t length, char *number)
{
    char *end = number + 20, *p = end;
    do
        *--p = (char)('0' + length % 10);
    while ((length /= 10) > 0);
    return put(nv, STR("content-length"), (struct str){p, (size_t)(end - p)});
}

nghttp2_nv *h2_nv_alloc(const struct message *m, nghttp2_nv *small, size_t n_small)
{
    size_t n = (size_t)m->n_fields + H2_NV_EXTRA;
    return n <= n_small ? small : mem_alloc(n * sizeof(nghttp2_nv));
}

size_t h2_nv_request(nghttp2_nv *nv, const struct message *m, struct str path, struct str scheme,
                     bool end, char *number)
{
    nghttp2_nv *at = nv;
    CHECK_OBJ(m, MESSAGE_MAGIC);
    /* RFC 8441 §4: a WebSocket by extended CONNECT; its key has no meaning here. */
    at = put(at, STR(":method"), m->websocket ? STR("CONNECT") : message_str(m, m->method_text));
    if (m->websocket)
        at = put(at, STR(":protocol"), STR("websocket"));
    at = put(at, STR(":scheme"), scheme);
    if (m->authority.len > 0) /* HTTP/1.0 may have none (RFC 9113 §8.3.1) */
        at = put(at, STR(":authority"), message_str(m, m->authority));
    at = put(at, STR(":path"), path);
    at = put_fields(at, m);
    if (m->te_trailers)
        at = put(at, STR("te"), STR("trailers"));
    bool may_carry =
        m->method == METHOD_POST || m->method == METHOD_PUT || m->method == METHOD_PATCH;
    if (m->body == BODY_LENGTH || (end && may_carry && m->body == BODY_NONE))
        at = put_length(at, m->body == BODY_LENGTH ? m->content_length : 0, number);
    return (size_t)(at - nv);
}

size_t h2_nv_response(nghttp2_nv *nv, const struct message *m, bool end, bool to_head, char *number)
{
    nghttp2_nv *at = nv;
    unsigned status = m->status == 101 ? 200 : m->status; /* RFC 8441 §5 */
    CHECK_OBJ(m, MESSAGE_MAGIC);
    number[21] = (char)('0' + status / 100);
    number[22] = (char)('0' + status / 10 % 10);
    number[23] = (char)('0' + status % 10);
    at = put(at, STR(":status"), (struct str){number + 21, 3});
    at = put_fields(at, m);
    if (m->status < 200 || status == 204)
        return (size_t)(at - nv);
    /* HEAD and 304 repeat a declared length. */
    bool declared = m->body == BODY_LENGTH;
    for (uint32_t i = 0; end && !declared && i < m->n_fields; i++)
        declared = m->fields[i].id == FIELD_CONTENT_LENGTH;
    if (declared && (!end || to_head || status == 304 || m->content_length == 0))
        at = put_length(at, m->content_length, number);
    return (size_t)(at - nv);
}

size_t h2_nv_trailers(nghttp2_nv *nv, const struct message *m)
{
    return (size_t)(put_fields(nv, m) - nv);
}
