/* h2.h - HTTP/2 (RFC 9113) from bytes and to bytes, in either role, by nghttp2.
 *
 * A codec: no I/O, no clock of its own, and nobody outside of h2*.c sees nghttp2. What comes in is
 * fed by h2_feed() and told by struct h2_ops; what goes out is collected by h2_pull(). From an op
 * everything may be called but these two and h2_free(): a call notes, or submits.
 *
 * Messages are those of message.h, and look as HTTP/1 would have brought them (version 1.1, method,
 * path, query, authority; Content-Length decides BODY_LENGTH, else BODY_CHUNKED, or BODY_NONE when
 * the head is the end), so that the rest of the proxy need not know what carried them. Requests
 * that would be read twice, or in two ways, on their way down to HTTP/1 never get out: they are
 * reset with PROTOCOL_ERROR, or told by ops->bad where the answer is an HTTP status. */
#ifndef SLUICE_HTTP_H2_H
#define SLUICE_HTTP_H2_H

#include "base/buf.h"
#include "base/list.h"
#include "base/outcome.h"
#include "http/h2_guard.h"
#include "http/h2_past.h"
#include "http/hpack.h"
#include "http/hpack_decode.h"
#include "http/message.h"

struct h2;
struct h2_stream;
struct nghttp2_session;

enum h2_role { H2_SERVER, H2_CLIENT };

/* RFC 9113 §7 */
enum h2_error {
    H2_NO_ERROR = 0x0,
    H2_PROTOCOL_ERROR = 0x1,
    H2_INTERNAL_ERROR = 0x2,
    H2_FLOW_CONTROL_ERROR = 0x3,
    H2_SETTINGS_TIMEOUT = 0x4,
    H2_STREAM_CLOSED = 0x5,
    H2_FRAME_SIZE_ERROR = 0x6,
    H2_REFUSED_STREAM = 0x7,
    H2_CANCEL = 0x8,
    H2_COMPRESSION_ERROR = 0x9,
    H2_CONNECT_ERROR = 0xa,
    H2_ENHANCE_YOUR_CALM = 0xb,
    H2_INADEQUATE_SECURITY = 0xc,
    H2_HTTP_1_1_REQUIRED = 0xd,
};

/* The client's first bytes (RFC 9113 §3.4). */
#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
enum { H2_PREFACE_LEN = 24, H2_FRAME_HEAD = 9 };

struct h2_settings {
    uint32_t max_concurrent_streams; /* that the peer may have open; default 100 */
    uint32_t stream_window;          /* bytes a stream may send ahead of what is credited; 64 KiB */
    uint32_t connection_window;      /* bytes of all streams on the wire; 1 MiB */
    uint32_t max_field_bytes;        /* of a head, with 32 a field (RFC 9113 §6.5.2); 32 KiB */
    uint32_t max_fields;             /* of a head, cookie crumbs counted; 100 */
    bool connect_protocol;           /* server: offer extended CONNECT (RFC 8441 §3) */
};

#define H2_SETTINGS_DEFAULT                                                                        \
    ((struct h2_settings){100, 64 * 1024, 1024 * 1024, 32 * 1024, 100, true})

/* Bytes of its body that a stream keeps before it asks for no more (h2_stream.blocked), and of a
 * connection that h2_pull() makes before the transport has taken them. */
enum { H2_STREAM_KEEPS = 16 * 1024, H2_PULL_MOST = 128 * 1024 };

/* What the heads of a connection's requests come to is limited by what it has sent, because HPACK
 * makes much of few bytes: so many times as much, but one full head at least, and so many full ones
 * and a share for each stream at most. See h2_crowded(). */
enum { H2_HEAD_TIMES = 4, H2_FULL_HEADS = 4, H2_HEAD_SHARE = 4 * 1024 };

/* One stream; a member of what its owner has for it. */
struct h2_stream {
    int32_t id;    /* 0: not on the wire (yet, or any more) */
    struct h2 *h2; /* NULL: closed, nothing more is told or may be asked */
    struct list link;
    struct message *head;     /* where what comes is written: request or response. The owner's; set
                               * by it, and valid until it is told the head */
    struct message *trailers; /* the owner's; NULL: trailers are dropped */
    /* Of what comes, counted as in h2_settings; the owner's. 0: the settings' */
    uint32_t max_field_bytes, max_fields;
    struct buf out;  /* of its body, not yet in frames */
    bool blocked;    /* out is over H2_STREAM_KEEPS: writable comes */
    bool recv_ended; /* END_STREAM has come */
    bool send_ended; /* ours was given (it may still wait behind `out`) */
    uint64_t sent;   /* body bytes that have gone into frames */
    /* The codec's own. */
    bool deferred; /* the session waits for us to say that there is more */
    bool head_done, left, peer_reset, self_reset, end_sent, bodiless, asked_websocket;
    bool refused;   /* `bad` was told of its head: what comes is discarded */
    bool had_empty; /* DATA of no bytes, which the guard lets pass once */
    bool end_out;   /* END_STREAM has gone out */
    bool malformed; /* to be reset with PROTOCOL_ERROR */
    bool has_length;
    uint64_t length_left; /* has_length: bytes that must still come (RFC 9113 §8.1.1) */
    uint16_t seen;
    enum reason bad;
    const char *bad_detail;
    uint32_t field_bytes, n_fields, n_cookies;
    uint32_t head_bytes; /* of its request, counted in h2->head_bytes */
    uint32_t held;       /* received, not yet credited */
    struct message *own_trailers;
    struct list ready; /* on h2->ready: writable is to be told */
};

/* What the peer did. The owner may release the stream (h2_forget, h2_reset) in any of them. */
struct h2_ops {
    /* Server: a request begins. Gives the stream to fill, with `head` set to an empty message;
     * NULL: it is refused (REFUSED_STREAM: the client may send it again). */
    struct h2_stream *(*begin)(struct h2 *h);
    /* The request's, or the final response's head is whole; st->recv_ended says whether more comes.
     */
    void (*head)(struct h2_stream *st);
    /* Client: an interim response is in st->head, which is empty again afterwards. */
    void (*interim)(struct h2_stream *st);
    /* Body bytes; credited by h2_credit() when the other side has taken them. */
    void (*body)(struct h2_stream *st, const char *p, size_t n);
    /* END_STREAM behind a body; trailers, if any, are in st->trailers. Not after a head that was
     * the end. */
    void (*end)(struct h2_stream *st);
    /* The message cannot be taken. A request is to be answered with that reason's status (its head
     * may be half there), counts as not ended, and what follows is discarded; a response is
     * upstream_protocol's or upstream_headers_too_large's, and its stream is to be reset. */
    void (*bad)(struct h2_stream *st, enum reason reason, const char *detail);
    /* The stream is at its end on the wire and st is the owner's alone (st->h2 is NULL): the peer
     * reset it, or we did for its faults (`ours`), or both directions are ended (H2_NO_ERROR). For
     * a client `unprocessed` says that the server did not look at it (REFUSED_STREAM, or above
     * GOAWAY's last stream: RFC 9113 §8.7): it may go elsewhere whatever its method. */
    void (*closed)(struct h2_stream *st, enum h2_error code, bool ours, bool unprocessed);
    /* out is at most half full again, after `blocked`. Told from h2_pull(). */
    void (*writable)(struct h2_stream *st);
    /* Client: the server takes no new streams; streams above last are told by `closed`. Or: it
     * allows another number of streams now. May be NULL. */
    void (*goaway)(struct h2 *h, enum h2_error code);
    void (*settings)(struct h2 *h);
    /* The ACK of h2_ping(). May be NULL. */
    void (*ping_acked)(struct h2 *h);
};

/* What comes in, as far as it was read (h2_frames.c). */
struct h2_in {
    struct hpack_decoder hpack;
    uint32_t left; /* bytes of the frame's payload, or of the preface, that are still to come */
    uint8_t type, flags, head_len; /* head_len: of the next frame's head, in `head` */
    bool is_block;                 /* the payload is a part of a header block */
    bool open;                     /* CONTINUATION must follow, on open_id */
    bool whole;                    /* block is to be read */
    int32_t id, open_id;
    const char *block;
    size_t block_len;
    struct h2_stream *to;                   /* whose block is being read; NULL: nobody's */
    uint32_t most_fields, most_field_bytes; /* that are allowed in it */
    char *kept;                             /* a block that comes in pieces; NULL: none */
    uint32_t kept_len, kept_cap, kept_from; /* kept_from: where the frame's part begins */
    char head[H2_FRAME_HEAD];
};

struct h2 {
    struct nghttp2_session *session;
    const struct h2_ops *ops;
    struct buf_pool *bufs;
    struct h2_settings settings;
    struct h2_guard guard;
    struct list streams; /* h2_stream.link: open ones, oldest first */
    uint32_t n_streams;
    uint64_t received;   /* server: bytes, of all kinds */
    uint64_t head_bytes; /* server: of fields that the owner holds for `streams`, counted as in
                          * h2_settings, beyond what a message_room has for each */
    uint32_t peer_max_streams;  /* client: what the server allows at once */
    bool peer_connect_protocol; /* client: the server takes extended CONNECT */
    bool peer_settings;         /* its first SETTINGS have come */
    bool goaway_received;
    bool goaway_final; /* ours, with the last id: later streams are refused */
    bool final_waits;  /* for the end of h2_feed() */
    enum h2_error final_code;
    int32_t last_id; /* of ours */
    enum h2_role role;
    enum h2_error failure;   /* with h2_feed()'s -EPROTO: what our GOAWAY says */
    enum reason failure_why; /* a guard's word, for metrics; REASON_NONE: plain protocol error */
    /* The codec's own. */
    bool feeding, pulling, no_memory;
    void *frame_map; /* the session's buffer for a frame, in pages of its own */
    size_t frame_map_bytes;
    struct h2_stream *last;   /* that was looked up; NULL: none */
    struct hpack hpack;       /* of what we send */
    struct list blocks;       /* heads that wait to be sent (h2_parts.h) */
    bool head_made;           /* the HEADERS frame that nghttp2 is at has gone out already */
    int32_t refuse_id;        /* of the frame being read: above our last GOAWAY */
    bool pings_behind_notice; /* our first GOAWAY waits to go out, the PING behind it */
    struct h2_in in;
    struct h2_past past;    /* server: the peer's streams that are gone */
    uint32_t own_resets;    /* submitted by the owner, not yet sent */
    uint32_t ping_credit;   /* PINGs: by them receivers of bodies measure the way (gRPC does) */
    uint32_t window_credit; /* WINDOW_UPDATEs that what we sent explains */
    struct list ready;
    struct buf *to;
    size_t most;
    usec_t now;
};

/* Sends nothing yet: the preface and SETTINGS come with the first h2_pull(). 0 or -ENOMEM. */
int h2_init(struct h2 *h, enum h2_role role, const struct h2_settings *s, const struct h2_ops *ops,
            struct buf_pool *bufs);
/* Streams that are still there are closed silently (no op is called; their st->h2 is NULL). */
void h2_free(struct h2 *h);

/* Bytes from the peer. 0; -EPROTO: the connection ends with h->failure (pull, send, close);
 * -ENOMEM: close. `now` is for the guard's rates. A server takes less than n (*ret_taken) when it
 * is crowded: the rest is to be fed when it is no more. */
int h2_feed(struct h2 *h, const char *p, size_t n, usec_t now, size_t *ret_taken);
/* Server: the heads that the owner holds come to too much for what the client has sent. It has to
 * pass some of them on, and to say so (h2_head_gone), before more is read: the client waits, and no
 * request is refused. */
bool h2_crowded(const struct h2 *h);
/* The owner holds st's head and trailers no more, or no more of them than fits in a room. */
void h2_head_gone(struct h2_stream *st);
/* Appends frames to `to`, until it holds `most` bytes or nothing is left. 0; -ENOMEM: close. */
int h2_pull(struct h2 *h, struct buf *to, size_t most);
/* h2_pull() has something to do. Cheap. */
bool h2_wants_pull(const struct h2 *h);
/* Nothing more is read or written: the connection can be closed when its bytes are sent. */
bool h2_done(const struct h2 *h);

/* Client: opens st with this request. `end` has no meaning for a WebSocket. `scheme` "http" or
 * "https". A request with m->websocket goes as an extended CONNECT (RFC 8441 §4). 0; -ENOMEM;
 * -EAGAIN: no stream is free, or the connection takes no new ones. Its trailers and response go
 * where st->trailers and st->head say. */
int h2_request(struct h2 *h, struct h2_stream *st, const struct message *m, struct str scheme,
               bool end);
/* Server: an interim, or the final response's head. A tunnel's 101 (m->websocket) goes as 200.
 * 0 or -ENOMEM (the next h2_pull() fails then). */
int h2_interim(struct h2_stream *st, const struct message *m);
int h2_respond(struct h2_stream *st, const struct message *m, bool end);
/* Takes all the bytes; heed st->blocked. 0 or -ENOMEM. */
int h2_send(struct h2_stream *st, const char *p, size_t n);
/* The end behind what was sent; trailers may be NULL. 0 or -ENOMEM. */
int h2_send_end(struct h2_stream *st, const struct message *trailers);
/* What h2_send() and h2_send_end() were given is forgotten: before the message's head was given. */
void h2_take_back(struct h2_stream *st);
/* n body bytes have been taken by who they were for: the stream's window opens again. The
 * connection's opens when bytes come in, so that a slow reader stalls its own stream only. */
void h2_credit(struct h2_stream *st, size_t n);
/* The owner drops the stream: RST_STREAM with this code (unless it is over on the wire), what it
 * had to send is forgotten, and st is the owner's alone: nothing more is told. Harmless when st->h2
 * is NULL. */
void h2_reset(struct h2_stream *st, enum h2_error code);
/* The owner needs nothing more of it, and its end has been given: what was sent goes out, what
 * comes is discarded; where the peer has not ended its direction then, RST_STREAM(NO_ERROR) follows
 * (RFC 9113 §8.1). Only `closed` is told, which may be from within. */
void h2_leave(struct h2_stream *st);

/* GOAWAY(2^31-1): no new streams please (RFC 9113 §6.8), and a PING behind it, by whose ACK the
 * peer has seen it: then h2_goaway_final(). */
void h2_goaway_notice(struct h2 *h);
/* GOAWAY with the last stream that was looked at: later ones get REFUSED_STREAM. */
void h2_goaway_final(struct h2 *h, enum h2_error code);
void h2_ping(struct h2 *h);

#endif
