/* h1_body.c - where a message's body ends, and its payload (RFC 9112 §6, §7.1).
 *
 * Payload is handed on as slices of what was read: nothing is copied but trailers. */
#include "http/h1_parse.h"

enum {
    EXTENSION_MAX = 4096, /* bytes of chunk extensions in a message */
    SIZE_DIGITS_MAX = 16,
};

enum chunk_state {
    CHUNK_SIZE,      /* hex digits */
    CHUNK_SPACE,     /* behind the size: only ';' may follow */
    CHUNK_EXTENSION, /* to the CR */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER,
    CHUNK_FAILED,
};

void h1_body_init(struct h1_body *b, const struct message *m, struct h1_head *head)
{
    *b = (struct h1_body){
        .kind = m->body,
        .state = CHUNK_SIZE,
        .left = m->body == BODY_LENGTH ? m->content_length : 0,
        .trailer = head,
        .is_request = m->is_request,
    };
    b->done = b->kind == BODY_NONE || (b->kind == BODY_LENGTH && b->left == 0);
    if (b->kind == BODY_CHUNKED) {
        struct h1_limits limits = head->limits;
        h1_head_init(head, &limits, METHOD_OTHER);
        head->first_line_done = 1;
        head->is_trailer = 1;
    }
}

static enum h1_result bad_chunk(struct h1_body *b, const char *detail)
{
    b->state = CHUNK_FAILED;
    b->reason = b->is_request ? REASON_BAD_REQUEST : REASON_UPSTREAM_PROTOCOL;
    b->detail = detail;
    return H1_ERROR;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum h1_result chunk_size(struct h1_body *b, char c)
{
    int v = hex_value(c);
    if (v >= 0) {
        if (b->size_digits == SIZE_DIGITS_MAX)
            return bad_chunk(b, "a chunk size has more than 16 digits");
        b->size_digits++;
        b->left = b->left << 4 | (unsigned)v;
        return H1_MORE;
    }
    if (b->size_digits == 0)
        return bad_chunk(b, "a chunk has no size");
    if (c == '\r')
        b->state = CHUNK_SIZE_LF;
    else if (c == ';')
        b->state = CHUNK_EXTENSION;
    else if (c == ' ' || c == '\t')
        b->state = CHUNK_SPACE;
    else
        return bad_chunk(b, "a chunk size is not hexadecimal");
    return H1_MORE;
}

static enum h1_result chunk_extension(struct h1_body *b, char c)
{
    if (c == '\r' && b->state == CHUNK_EXTENSION) {
        b->state = CHUNK_SIZE_LF;
        return H1_MORE;
    }
    if (++b->extension_bytes > EXTENSION_MAX)
        return bad_chunk(b, "the chunk extensions are too large");
    if (b->state == CHUNK_SPACE) {
        if (c == ';')
            b->state = CHUNK_EXTENSION;
        else if (c != ' ' && c != '\t')
            return bad_chunk(b, "a chunk size is followed by space");
    } else if ((unsigned char)c < ' ' ? c != '\t' : c == 0x7f) {
        return bad_chunk(b, "a byte of a chunk extension is not allowed");
    }
    return H1_MORE;
}

/* One byte of what stands around the data. */
static enum h1_result chunk_frame(struct h1_body *b, struct message *trailers, char c)
{
    switch ((enum chunk_state)b->state) {
    case CHUNK_SIZE:
        return chunk_size(b, c);
    case CHUNK_SPACE:
    case CHUNK_EXTENSION:
        return chunk_extension(b, c);
    case CHUNK_SIZE_LF:
        if (c != '\n')
            return bad_chunk(b, "a chunk size does not end in CRLF");
        b->state = b->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        b->trailer->line_start = trailers->len;
        return H1_MORE;
    case CHUNK_DATA_CR:
        if (c != '\r')
            return bad_chunk(b, "a chunk is longer than its size");
        b->state = CHUNK_DATA_LF;
        return H1_MORE;
    case CHUNK_DATA_LF:
        if (c != '\n')
            return bad_chunk(b, "a chunk does not end in CRLF");
        b->state = CHUNK_SIZE;
        b->size_digits = 0;
        return H1_MORE;
    case CHUNK_DATA:
    case CHUNK_TRAILER:
    case CHUNK_FAILED:
        break;
    }
    CHECK(false);
    return H1_ERROR;
}

static enum h1_result trailer(struct h1_body *b, struct message *trailers, const char *in, size_t n,
                              size_t *ret_taken)
{
    enum h1_result r = h1_head_feed(b->trailer, trailers, in, n, ret_taken);
    if (r == H1_DONE)
        b->done = 1;
    if (r != H1_ERROR)
        return r;
    switch (b->trailer->reason) {
    case REASON_HEADERS_TOO_LARGE:
    case REASON_UPSTREAM_HEADERS_TOO_LARGE:
        (void)bad_chunk(b, b->trailer->detail);
        b->reason = b->is_request ? REASON_HEADERS_TOO_LARGE : REASON_UPSTREAM_HEADERS_TOO_LARGE;
        return H1_ERROR;
    case REASON_OUT_OF_MEMORY:
        (void)bad_chunk(b, b->trailer->detail);
        b->reason = REASON_OUT_OF_MEMORY;
        return H1_ERROR;
    default:
        return bad_chunk(b, b->trailer->detail);
    }
}

static enum h1_result chunked(struct h1_body *b, struct message *trailers, const char *in, size_t n,
                              size_t *ret_taken, struct str *ret_data)
{
    size_t i = 0;
    enum h1_result r = H1_MORE;
    while (i < n) {
        if (b->state == CHUNK_FAILED)
            return H1_ERROR;
        if (b->state == CHUNK_DATA) {
            size_t take = (size_t)min_u64(n - i, b->left);
            *ret_data = (struct str){in + i, take};
            b->left -= take;
            i += take;
            if (b->left == 0)
                b->state = CHUNK_DATA_CR;
            break;
        }
        if (b->state == CHUNK_TRAILER) {
            size_t taken;
            r = trailer(b, trailers, in + i, n - i, &taken);
            i += taken;
            break;
        }
        r = chunk_frame(b, trailers, in[i++]);
        if (r != H1_MORE)
            break;
    }
    *ret_taken = i;
    return r;
}

enum h1_result h1_body_feed(struct h1_body *b, struct message *trailers, const char *in, size_t n,
                            size_t *ret_taken, struct str *ret_data)
{
    *ret_taken = 0;
    *ret_data = (struct str){in, 0};
    if (b->done)
        return H1_DONE;
    switch ((enum body_kind)b->kind) {
    case BODY_LENGTH:
        *ret_data = (struct str){in, (size_t)min_u64(n, b->left)};
        *ret_taken = ret_data->n;
        b->left -= ret_data->n;
        b->done = b->left == 0;
        return b->done ? H1_DONE : H1_MORE;
    case BODY_CHUNKED:
        return chunked(b, trailers, in, n, ret_taken, ret_data);
    case BODY_CLOSE:
        *ret_data = (struct str){in, n};
        *ret_taken = n;
        return H1_MORE;
    case BODY_NONE:
        break;
    }
    return H1_DONE;
}
