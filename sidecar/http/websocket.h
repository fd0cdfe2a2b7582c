/* websocket.h - where the frames of a WebSocket begin and end (RFC 6455 §5), without a copy of
 * their payload or a look at it; and the control frames that a proxy adds.
 *
 * A codec: bytes in, pieces of the same bytes out. One reader follows one direction, cut wherever
 * the network cut it. Data frames come out as runs that lie in the input, several frames in one; a
 * control frame comes out whole, as it may have to be left out; and so does the head of a data
 * frame. What is not whole yet is kept (at most WEBSOCKET_CONTROL_MAX bytes), so that what has come
 * out always ends between two frames, or in a payload: there websocket_between_*() tell whether a
 * frame of our own may follow. */
#ifndef SLUICE_HTTP_WEBSOCKET_H
#define SLUICE_HTTP_WEBSOCKET_H

#include "base/str.h"

#include <stdint.h>

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0x0,
    WEBSOCKET_TEXT = 0x1,
    WEBSOCKET_BINARY = 0x2,
    WEBSOCKET_CLOSE = 0x8,
    WEBSOCKET_PING = 0x9,
    WEBSOCKET_PONG = 0xa,
};

/* Why it ends (RFC 6455 §7.4.1). The last two are never on the wire. */
enum websocket_code {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_POLICY_VIOLATION = 1008,
    WEBSOCKET_TOO_BIG = 1009,
    WEBSOCKET_INTERNAL_ERROR = 1011,
    WEBSOCKET_NO_CODE = 1005,  /* the Close frame was empty */
    WEBSOCKET_ABNORMAL = 1006, /* there was none */
};

enum {
    WEBSOCKET_CONTROL_PAYLOAD_MAX = 125,
    WEBSOCKET_CONTROL_MAX = 2 + 4 + WEBSOCKET_CONTROL_PAYLOAD_MAX, /* a whole control frame */
    WEBSOCKET_RSV1 = 0x40,
    WEBSOCKET_RSV = 0x70,
    WEBSOCKET_PEEK = 8, /* bytes of a control frame's payload that are shown */
};

/* After which boundary a run ends even where more data frames follow. */
enum websocket_stop { WEBSOCKET_STOP_NEVER, WEBSOCKET_STOP_AT_MESSAGE, WEBSOCKET_STOP_AT_FRAME };

struct websocket_reader {
    uint32_t messages; /* that have ended, modulo 2^32 */
    uint32_t controls; /* control frames that have come; likewise */
    uint64_t left;     /* of the data frame in hand */
    bool masked;       /* its sender is a client: frames are masked, else none is (§5.1) */
    uint8_t rsv_first; /* RSV bits that the first frame of a message may have (RFC 7692 §6) */
    uint8_t rsv_any;   /* those that any frame may have */
    uint8_t stop;      /* enum websocket_stop */
    bool in_message;   /* between two frames of a fragmented message, or in its last */
    bool final;        /* the data frame in hand has FIN */
    uint8_t n_held;
    char *held; /* WEBSOCKET_CONTROL_MAX bytes while n_held > 0, and after: ours; or NULL */
};

/* RSV bits as the extensions that the server agreed to use them (Sec-WebSocket-Extensions of its
 * answer, all fields; NULL names: none): permessage-deflate has RSV1 on a message's first frame.
 * What an unknown one does is not known: all bits are let through then. */
void websocket_reader_init(struct websocket_reader *r, bool masked);
void websocket_reader_free(struct websocket_reader *r);
void websocket_reader_extensions(struct websocket_reader *r, struct str extensions);

enum websocket_result {
    WEBSOCKET_MORE,    /* all of the input is taken, nothing comes out */
    WEBSOCKET_DATA,    /* bytes of data frames */
    WEBSOCKET_CONTROL, /* a whole control frame */
    WEBSOCKET_BAD,     /* the sender broke the protocol, or max_payload, or memory is short; nothing
                          may follow */
};

struct websocket_piece {
    const char *p; /* in the input, or in the reader until the next call */
    size_t n;
    /* WEBSOCKET_CONTROL: */
    uint8_t opcode;
    uint8_t payload_len;
    uint8_t payload[WEBSOCKET_PEEK]; /* the first of it, unmasked */
    /* WEBSOCKET_BAD: */
    enum websocket_code code;
    const char *detail; /* a literal */
};

/* Takes the next piece off the input: *ret_taken bytes of it. n > 0. A data frame may have
 * max_payload bytes; 0: what the protocol allows. */
enum websocket_result websocket_read(struct websocket_reader *r, uint64_t max_payload,
                                     const char *p, size_t n, size_t *ret_taken,
                                     struct websocket_piece *ret);

/* Of what has come out: is it at the end of a frame, of a message? */
static inline bool websocket_between_frames(const struct websocket_reader *r)
{
    return r->left == 0;
}

static inline bool websocket_between_messages(const struct websocket_reader *r)
{
    return r->left == 0 && !r->in_message;
}

/* Close: its code; WEBSOCKET_NO_CODE. */
enum websocket_code websocket_close_code(const struct websocket_piece *close);

/* A control frame of ours; n <= 125. With a mask (4 bytes, RFC 6455 §5.3) when it goes to a server,
 * NULL when to a client. Returns its length. */
size_t websocket_write_control(char out[WEBSOCKET_CONTROL_MAX], enum websocket_opcode opcode,
                               const void *payload, size_t n, const uint8_t *mask);
/* A Close frame; reason as UTF-8, at most 123 bytes. */
size_t websocket_write_close(char out[WEBSOCKET_CONTROL_MAX], enum websocket_code code,
                             struct str reason, const uint8_t *mask);

#endif
