/* websocket.c - where the frames of a WebSocket begin and end. */
#include "http/websocket.h"

#include "base/check.h"
#include "base/mem.h"

enum {
    FIN = 0x80,
    OPCODE = 0x0f,
    CONTROL = 0x08, /* the bit of the opcode */
    MASK = 0x80,
    LENGTH = 0x7f,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
};

void websocket_reader_init(struct websocket_reader *r, bool masked)
{
    *r = (struct websocket_reader){.masked = masked};
}

void websocket_reader_free(struct websocket_reader *r)
{
    free(r->held);
    r->held = NULL;
}

void websocket_reader_extensions(struct websocket_reader *r, struct str extensions)
{
    struct str item;
    while (str_list_next(&extensions, &item)) {
        const char *end = memchr(item.p, ';', item.n);
        struct str name = str_trim((struct str){item.p, end ? (size_t)(end - item.p) : item.n});
        if (str_ieq(name, STR("permessage-deflate")))
            r->rsv_first |= WEBSOCKET_RSV1;
        else
            r->rsv_any = WEBSOCKET_RSV;
    }
}

/* --- heads --- */

/* A frame's head, as far as it is there. */
struct head {
    uint8_t b0, b1;
    size_t len; /* of the head */
    uint64_t payload;
};

static bool is_control(uint8_t b0)
{
    return (b0 & CONTROL) != 0;
}

static size_t head_len(uint8_t b1)
{
    size_t n = (b1 & MASK) ? 2 + 4 : 2;
    if ((b1 & LENGTH) == LENGTH_16)
        return n + 2;
    return (b1 & LENGTH) == LENGTH_64 ? n + 8 : n;
}

static enum websocket_result bad(struct websocket_piece *ret, enum websocket_code code,
                                 const char *detail)
{
    ret->code = code;
    ret->detail = detail;
    return WEBSOCKET_BAD;
}

/* What the first two bytes say (RFC 6455 §5.2, §5.4, §5.5). NULL: it is all right. */
static const char *wrong(const struct websocket_reader *r, uint8_t b0, uint8_t b1)
{
    uint8_t opcode = b0 & OPCODE;
    uint8_t rsv = r->rsv_any;
    if (opcode == WEBSOCKET_TEXT || opcode == WEBSOCKET_BINARY)
        rsv |= r->rsv_first;
    if (b0 & WEBSOCKET_RSV & ~rsv)
        return "a reserved bit that no extension uses";
    if (!!(b1 & MASK) != r->masked)
        return r->masked ? "a client's frame without mask" : "a server's frame with a mask";
    if (is_control(b0)) {
        if (opcode > WEBSOCKET_PONG)
            return "an unknown opcode";
        if (!(b0 & FIN))
            return "a control frame in fragments";
        return (b1 & LENGTH) > WEBSOCKET_CONTROL_PAYLOAD_MAX ? "a control frame over 125 bytes"
                                                             : NULL;
    }
    if (opcode > WEBSOCKET_BINARY)
        return "an unknown opcode";
    if (opcode == WEBSOCKET_CONTINUATION)
        return r->in_message ? NULL : "a continuation of nothing";
    return r->in_message ? "a new message inside a fragmented one" : NULL;
}

static uint64_t big_endian(const char *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

/* Reads the head at p, whose n bytes are all there is of it so far. WEBSOCKET_MORE: it is not
 * whole. */
static inline enum websocket_result read_head(const struct websocket_reader *r,
                                              uint64_t max_payload, const char *p, size_t n,
                                              struct head *h, struct websocket_piece *ret)
{
    if (n < 2)
        return WEBSOCKET_MORE;
    h->b0 = (uint8_t)p[0];
    h->b1 = (uint8_t)p[1];
    const char *what = wrong(r, h->b0, h->b1);
    if (what)
        return bad(ret, WEBSOCKET_PROTOCOL_ERROR, what);
    h->len = head_len(h->b1);
    if (n < h->len)
        return WEBSOCKET_MORE;
    uint64_t length = h->b1 & LENGTH;
    if (length == LENGTH_16) {
        length = big_endian(p + 2, 2);
        if (length < LENGTH_16)
            return bad(ret, WEBSOCKET_PROTOCOL_ERROR, "a length that is not the shortest form");
    } else if (length == LENGTH_64) {
        length = big_endian(p + 2, 8);
        if (length <= UINT16_MAX)
            return bad(ret, WEBSOCKET_PROTOCOL_ERROR, "a length that is not the shortest form");
        if (length > INT64_MAX)
            return bad(ret, WEBSOCKET_PROTOCOL_ERROR, "a length of 2^63 or more");
    }
    if (max_payload > 0 && length > max_payload)
        return bad(ret, WEBSOCKET_TOO_BIG, "a frame over the limit");
    h->payload = length;
    return WEBSOCKET_DATA;
}

/* --- frames --- */

static inline void end_frame(struct websocket_reader *r)
{
    r->in_message = !r->final;
    r->messages += r->final;
}

static inline void begin_data(struct websocket_reader *r, const struct head *h)
{
    r->final = (h->b0 & FIN) != 0;
    r->in_message = true;
    r->left = h->payload;
    if (r->left == 0)
        end_frame(r);
}

static bool stops(const struct websocket_reader *r)
{
    return r->stop != WEBSOCKET_STOP_NEVER && r->left == 0 &&
           (r->stop == WEBSOCKET_STOP_AT_FRAME || !r->in_message);
}

/* The whole control frame is at ret->p. */
static enum websocket_result control(struct websocket_reader *r, const struct head *h,
                                     struct websocket_piece *ret)
{
    const char *payload = ret->p + h->len;
    ret->n = h->len + h->payload;
    ret->opcode = h->b0 & OPCODE;
    ret->payload_len = (uint8_t)h->payload;
    for (size_t i = 0; i < WEBSOCKET_PEEK && i < h->payload; i++)
        ret->payload[i] =
            (uint8_t)payload[i] ^ (r->masked ? (uint8_t)ret->p[2 + i % 4] : (uint8_t)0);
    r->controls++;
    return WEBSOCKET_CONTROL;
}

/* Bytes that are not a whole head, or a whole control frame, go to those that are kept until they
 * are. */
static enum websocket_result read_held(struct websocket_reader *r, uint64_t max_payload,
                                       const char *p, size_t n, size_t *ret_taken,
                                       struct websocket_piece *ret)
{
    size_t at = 0;
    if (!r->held && !(r->held = mem_alloc(WEBSOCKET_CONTROL_MAX)))
        return bad(ret, WEBSOCKET_INTERNAL_ERROR, NULL);
    for (;;) {
        struct head h = {0};
        enum websocket_result got = read_head(r, max_payload, r->held, r->n_held, &h, ret);
        if (got == WEBSOCKET_BAD)
            return got;
        size_t need = h.len > 0 ? h.len : 2;
        if (got == WEBSOCKET_DATA && is_control(h.b0))
            need += h.payload;
        if (got == WEBSOCKET_DATA && r->n_held == need) {
            r->n_held = 0;
            *ret_taken = at;
            ret->p = r->held;
            if (is_control(h.b0))
                return control(r, &h, ret);
            begin_data(r, &h);
            ret->n = need;
            return WEBSOCKET_DATA;
        }
        CHECK(need > r->n_held && need <= WEBSOCKET_CONTROL_MAX);
        size_t step = need - r->n_held < n - at ? need - r->n_held : n - at;
        if (step == 0) {
            *ret_taken = n;
            return WEBSOCKET_MORE;
        }
        memcpy(r->held + r->n_held, p + at, step);
        r->n_held = (uint8_t)(r->n_held + step);
        at += step;
    }
}

enum websocket_result websocket_read(struct websocket_reader *r, uint64_t max_payload,
                                     const char *p, size_t n, size_t *ret_taken,
                                     struct websocket_piece *ret)
{
    size_t at = 0;
    *ret_taken = 0;
    *ret = (struct websocket_piece){.p = p};
    if (r->n_held > 0)
        return read_held(r, max_payload, p, n, ret_taken, ret);
    if (r->held)
        websocket_reader_free(r); /* few need it, and seldom: an idle one holds no room for it */
    while (at < n) {
        if (r->left > 0) {
            uint64_t step = r->left < n - at ? r->left : n - at;
            at += (size_t)step;
            r->left -= step;
            if (r->left > 0)
                break;
            end_frame(r);
        } else {
            struct head h = {0};
            enum websocket_result got = read_head(r, max_payload, p + at, n - at, &h, ret);
            bool whole =
                got == WEBSOCKET_DATA && (!is_control(h.b0) || h.payload <= n - at - h.len);
            if (at > 0 && (!whole || is_control(h.b0)))
                break; /* first what is in front of it */
            if (got == WEBSOCKET_BAD)
                return got;
            if (!whole)
                return read_held(r, max_payload, p, n, ret_taken, ret);
            if (is_control(h.b0)) {
                (void)control(r, &h, ret);
                *ret_taken = ret->n;
                return WEBSOCKET_CONTROL;
            }
            at += h.len;
            begin_data(r, &h);
        }
        if (stops(r))
            break;
    }
    *ret_taken = ret->n = at;
    return WEBSOCKET_DATA;
}

/* --- control frames of ours --- */

enum websocket_code websocket_close_code(const struct websocket_piece *close)
{
    if (close->payload_len < 2)
        return WEBSOCKET_NO_CODE;
    return (enum websocket_code)(close->payload[0] << 8 | close->payload[1]);
}

size_t websocket_write_control(char out[WEBSOCKET_CONTROL_MAX], enum websocket_opcode opcode,
                               const void *payload, size_t n, const uint8_t *mask)
{
    CHECK(n <= WEBSOCKET_CONTROL_PAYLOAD_MAX);
    size_t at = 2;
    out[0] = (char)(FIN | opcode);
    out[1] = (char)(n | (mask ? MASK : 0));
    if (mask) {
        memcpy(out + at, mask, 4);
        at += 4;
    }
    if (n > 0)
        memcpy(out + at, payload, n);
    for (size_t i = 0; mask && i < n; i++)
        out[at + i] = (char)((uint8_t)out[at + i] ^ mask[i % 4]);
    return at + n;
}

size_t websocket_write_close(char out[WEBSOCKET_CONTROL_MAX], enum websocket_code code,
                             struct str reason, const uint8_t *mask)
{
    char payload[WEBSOCKET_CONTROL_PAYLOAD_MAX];
    CHECK(reason.n <= sizeof(payload) - 2);
    payload[0] = (char)(code >> 8);
    payload[1] = (char)(code & 0xff);
    if (reason.n > 0)
        memcpy(payload + 2, reason.p, reason.n);
    return websocket_write_control(out, WEBSOCKET_CLOSE, payload, 2 + reason.n, mask);
}
