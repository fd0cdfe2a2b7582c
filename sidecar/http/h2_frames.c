/* h2_frames.c - what comes in, frame by frame, on its way to nghttp2.
 *
 * Header blocks do not go there: nghttp2 is given each HEADERS frame without its payload, and so
 * minds the order of frames and the streams' states; when it tells that the frame is whole, the
 * block is read here (hpack_decode.h). Where the payload is not all there, nghttp2 is told that
 * CONTINUATION follows, so that the stream begins, and its time runs, with the first byte.
 *
 * What nghttp2 passes over in silence is seen here, too: DATA on a stream that is closed, which is
 * a mistake, a stream above our last GOAWAY, whose client would wait for ever, and frames of
 * unknown types. */
#include "http/h2_parts.h"

#include "base/mem.h"

#include <errno.h>

enum { FRAME_MAX = 16384, PRIORITY_BYTES = 5 };

static ssize_t give(struct h2 *h, const void *p, size_t n)
{
    return nghttp2_session_mem_recv(h->session, p, n);
}

/* A frame of no payload, on the stream of the one that is read. */
static ssize_t give_empty(struct h2 *h, uint8_t type, uint8_t flags)
{
    uint32_t id = (uint32_t)h->in.id;
    const uint8_t head[H2_FRAME_HEAD] = {
        0,
        0,
        0,
        type,
        flags,
        (uint8_t)(id >> 24),
        (uint8_t)(id >> 16),
        (uint8_t)(id >> 8),
        (uint8_t)id,
    };
    return give(h, head, sizeof(head));
}

/* ---- header blocks ---- */

static bool on_field(void *user, const struct hpack_got *f)
{
    struct h2 *h = user;
    struct h2_stream *st = h->in.to;
    /* A block of a few KiB can name a large entry of the table thousands of times: far over the
     * limit it is no mistake any more, and the rest of it is not gone through. */
    h->guard.fields++;
    h->guard.fields_bytes += f->name_len + f->value_len;
    if (h->guard.fields > H2_FLOOD_TIMES * h->in.most_fields ||
        h->guard.fields_bytes > H2_FLOOD_TIMES * h->in.most_field_bytes) {
        h2_fail(h, H2_ENHANCE_YOUR_CALM, REASON_H2_HEADER_FLOOD);
        return false;
    }
    if (st)
        h2_head_field(st, f);
    return true;
}

void h2_read_block(struct h2 *h, struct h2_stream *st)
{
    static const struct hpack_sink sink = {h2_field_note, h2_static_notes, on_field};
    const struct h2_settings *s = &h->settings;
    if (!h->in.whole)
        return;
    h->in.whole = false;
    h->in.to = st;
    h->in.most_fields = st && st->max_fields > 0 ? st->max_fields : s->max_fields;
    h->in.most_field_bytes =
        st && st->max_field_bytes > 0 ? st->max_field_bytes : s->max_field_bytes;
    int rc = hpack_decode(&h->in.hpack, h->in.block, h->in.block_len, &sink, h);
    h->in.to = NULL;
    if (rc == -ENOMEM)
        h->no_memory = true;
    else if (rc == -EBADMSG)
        h2_fail(h, H2_COMPRESSION_ERROR, REASON_H2_PROTOCOL);
}

/* What is around the block in the payload of a HEADERS frame (RFC 9113 §6.2). Of the priority only
 * a mistake is looked at (§5.3.1). False: the connection has failed. */
static bool unwrap(struct h2 *h, const char **p, size_t *n)
{
    const unsigned char *at = (const unsigned char *)*p;
    size_t len = *n, pad = 0;
    if (h->in.flags & NGHTTP2_FLAG_PADDED) {
        if (len == 0) {
            h2_fail(h, H2_FRAME_SIZE_ERROR, REASON_H2_PROTOCOL);
            return false;
        }
        pad = *at++;
        len--;
    }
    if (h->in.flags & NGHTTP2_FLAG_PRIORITY) {
        if (len < PRIORITY_BYTES) {
            h2_fail(h, H2_FRAME_SIZE_ERROR, REASON_H2_PROTOCOL);
            return false;
        }
        uint32_t on = (at[0] & 0x7fu) << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        if (on == (uint32_t)h->in.id) {
            h2_fail(h, H2_PROTOCOL_ERROR, REASON_H2_PROTOCOL);
            return false;
        }
        at += PRIORITY_BYTES;
        len -= PRIORITY_BYTES;
    }
    if (pad > len) {
        h2_fail(h, H2_PROTOCOL_ERROR, REASON_H2_PROTOCOL);
        return false;
    }
    *p = (const char *)at;
    *n = len - pad;
    return true;
}

/* nghttp2 does not tell of a frame that it ignores: the block is read all the same, for what it
 * does to the table. */
static ssize_t give_block(struct h2 *h, uint8_t type, const char *p, size_t n)
{
    h->in.block = p;
    h->in.block_len = n;
    h->in.whole = true;
    uint8_t end = type == NGHTTP2_HEADERS ? h->in.flags & NGHTTP2_FLAG_END_STREAM : 0;
    ssize_t rv = give_empty(h, type, NGHTTP2_FLAG_END_HEADERS | end);
    if (rv >= 0 && h->failure_why == REASON_NONE)
        h2_read_block(h, NULL);
    h->in.whole = false;
    return rv;
}

/* A stream that is refused is known to nghttp2 only now, and so its reset is taken. */
static void refuse(struct h2 *h)
{
    if (h->refuse_id == 0)
        return;
    if (nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, h->refuse_id,
                                  NGHTTP2_REFUSED_STREAM) == 0)
        h->own_resets++;
    h->refuse_id = 0;
}

static bool keep(struct h2 *h, const char *p, size_t n)
{
    struct h2_in *in = &h->in;
    if (in->kept_len + n > in->kept_cap) {
        size_t cap = 2 * (in->kept_len + n);
        char *kept = mem_realloc(in->kept, cap);
        if (!kept)
            return false;
        in->kept = kept;
        in->kept_cap = (uint32_t)cap;
    }
    memcpy(in->kept + in->kept_len, p, n);
    in->kept_len += (uint32_t)n;
    return true;
}

/* Of a block that comes in pieces the payload of one frame is all there. */
static ssize_t end_piece(struct h2 *h)
{
    struct h2_in *in = &h->in;
    const char *p = in->kept ? in->kept + in->kept_from : "";
    size_t n = in->kept_len - in->kept_from;
    if (in->type == NGHTTP2_HEADERS) {
        if (!unwrap(h, &p, &n))
            return 0;
        if (n > 0)
            memmove(in->kept + in->kept_from, p, n);
        in->kept_len = in->kept_from + (uint32_t)n;
    }
    in->kept_from = in->kept_len;
    in->is_block = false;
    if (!(in->flags & NGHTTP2_FLAG_END_HEADERS))
        return 0;
    ssize_t rv = give_block(h, NGHTTP2_CONTINUATION, in->kept ? in->kept : "", in->kept_len);
    free(in->kept);
    in->kept = NULL;
    in->kept_len = in->kept_cap = in->kept_from = 0;
    in->open = false;
    return rv;
}

/* `here` bytes of the payload are there. *ret_used: of them, those that were read. */
static ssize_t begin_block(struct h2 *h, const char *p, size_t here, size_t *ret_used)
{
    struct h2_in *in = &h->in;
    ssize_t rv = 0;
    bool first = in->type == NGHTTP2_HEADERS;
    *ret_used = 0;
    if (first)
        h->guard.fields = h->guard.fields_bytes = 0;
    h->guard.continuations = first ? 0 : h->guard.continuations + 1;
    h->guard.headers_bytes = first ? in->left : h->guard.headers_bytes + in->left;
    if (in->left > FRAME_MAX)
        h2_fail(h, H2_FRAME_SIZE_ERROR, REASON_H2_PROTOCOL);
    else if (h->guard.continuations > H2_CONTINUATIONS_MAX ||
             h->guard.headers_bytes > H2_HEADER_BLOCK_MAX)
        h2_fail(h, H2_ENHANCE_YOUR_CALM, REASON_H2_HEADER_FLOOD);
    if (h->failure_why != REASON_NONE)
        return 0;
    if (first && in->left <= here && (in->flags & NGHTTP2_FLAG_END_HEADERS)) {
        size_t n = *ret_used = in->left;
        in->left = 0;
        if (unwrap(h, &p, &n))
            rv = give_block(h, NGHTTP2_HEADERS, p, n);
    } else {
        in->is_block = in->open = true;
        if (first)
            rv = give_empty(h, NGHTTP2_HEADERS, in->flags & NGHTTP2_FLAG_END_STREAM);
    }
    refuse(h);
    return rv;
}

/* ---- frames ---- */

static void read_head(struct h2_in *in, const unsigned char *f)
{
    in->left = (uint32_t)f[0] << 16 | (uint32_t)f[1] << 8 | f[2];
    in->type = f[3];
    in->flags = f[4];
    in->id = (int32_t)((f[5] & 0x7fu) << 24 | (uint32_t)f[6] << 16 | (uint32_t)f[7] << 8 | f[8]);
    in->head_len = 0;
}

/* What nghttp2 would let pass. */
static void look_at(struct h2 *h)
{
    const struct h2_in *in = &h->in;
    if (in->type == NGHTTP2_PUSH_PROMISE) { /* which SETTINGS forbid a server, and §8.4 a client */
        h2_fail(h, H2_PROTOCOL_ERROR, REASON_H2_PROTOCOL);
    } else if (h->role == H2_CLIENT) {
        return;
    } else if (in->type > NGHTTP2_CONTINUATION) {
        if (!h2_guard_count(&h->guard, H2_ABUSE_PRIORITY, 1, h->now))
            h2_fail(h, H2_ENHANCE_YOUR_CALM, h2_abuse_reason(H2_ABUSE_PRIORITY));
    } else if (in->type == NGHTTP2_DATA) {
        if (in->id != 0 && !h2_stream_of(h, in->id))
            h2_look_back(h, in->id, false);
    } else if (in->type == NGHTTP2_HEADERS && h->goaway_final && (in->id & 1) &&
               in->id > h->last_id) {
        h->last_id = in->id; /* trailers of it are not refused once more */
        h->refuse_id = in->id;
    }
}

/* From a frame's first byte, or the rest of its head on. Returns the bytes that were read. */
static size_t begin_frame(struct h2 *h, const char *p, size_t n, ssize_t *ret_rv)
{
    struct h2_in *in = &h->in;
    const char *head = p;
    size_t used = min_u64(H2_FRAME_HEAD - in->head_len, n);
    bool cut = used < H2_FRAME_HEAD;
    if (cut) {
        memcpy(in->head + in->head_len, p, used);
        in->head_len = (uint8_t)(in->head_len + used);
        if (in->head_len < H2_FRAME_HEAD)
            return used;
        head = in->head;
    }
    read_head(in, (const unsigned char *)head);
    look_at(h);
    if (h->failure_why != REASON_NONE)
        return used;
    /* What comes between the parts of a block is left to nghttp2, which ends the connection. */
    bool is_block = in->open ? in->type == NGHTTP2_CONTINUATION && in->id == in->open_id
                             : in->type == NGHTTP2_HEADERS;
    if (is_block) {
        size_t more;
        in->open_id = in->id;
        *ret_rv = begin_block(h, p + used, n - used, &more);
        if (*ret_rv >= 0 && in->is_block && in->left == 0 && h->failure_why == REASON_NONE)
            *ret_rv = end_piece(h);
        return used + more;
    }
    if (cut) {
        *ret_rv = give(h, in->head, H2_FRAME_HEAD);
        return used;
    }
    size_t whole = min_u64(H2_FRAME_HEAD + (size_t)in->left, n);
    in->left -= (uint32_t)(whole - H2_FRAME_HEAD);
    *ret_rv = give(h, p, whole);
    return whole;
}

/* More of a payload, or of the preface. */
static size_t go_on(struct h2 *h, const char *p, size_t n, ssize_t *ret_rv)
{
    struct h2_in *in = &h->in;
    size_t some = min_u64(in->left, n);
    in->left -= (uint32_t)some;
    if (!in->is_block)
        *ret_rv = give(h, p, some);
    else if (!keep(h, p, some))
        *ret_rv = NGHTTP2_ERR_NOMEM;
    else if (in->left == 0)
        *ret_rv = end_piece(h);
    return some;
}

ssize_t h2_receive(struct h2 *h, const char *p, size_t n, size_t *ret_taken)
{
    size_t left = n;
    ssize_t rv = 0;
    while (left > 0 && rv >= 0 && h->failure_why == REASON_NONE) {
        /* Looked at before each frame; but a block that has begun must come to its end. */
        if (h->role == H2_SERVER && !h->in.open && h2_crowded(h)) {
            *ret_taken = n - left;
            return rv;
        }
        size_t used = h->in.left > 0 ? go_on(h, p, left, &rv) : begin_frame(h, p, left, &rv);
        p += used;
        left -= used;
        h->received += used;
    }
    return rv;
}

void h2_in_free(struct h2 *h)
{
    free(h->in.kept);
    h->in.kept = NULL;
    hpack_decoder_free(&h->in.hpack);
}
