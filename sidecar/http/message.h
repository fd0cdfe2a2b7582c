/* message.h - one HTTP message's head (or trailers), whatever protocol carried it.
 *
 * A message owns its bytes: fields are offsets into `buf`, which the message holds, never into a
 * connection's read buffer; so a message outlives the read that brought it, and h1 and h2 fill
 * the same struct. Small heads live in a room that the owner gives (message_room): no allocation on
 * the usual way, and no memory for what has no head any more. */
#ifndef SLUICE_HTTP_MESSAGE_H
#define SLUICE_HTTP_MESSAGE_H

#include "base/check.h"
#include "base/str.h"

enum {
    MESSAGE_MAGIC = 0x4d534721,
    MESSAGE_ROOM_BYTES = 1024,
    MESSAGE_ROOM_FIELDS = 24,
};

enum http_method {
    METHOD_OTHER, /* a valid token that has no special meaning to us */
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_PATCH,
    METHOD_OPTIONS,
    METHOD_TRACE,
    METHOD_CONNECT,
};

/* By its name, case-sensitive (RFC 9110 §9.1). */
enum http_method http_method_of(struct str name);

/* RFC 9110 §9.2.2 */
static inline bool method_is_idempotent(enum http_method m)
{
    return m == METHOD_GET || m == METHOD_HEAD || m == METHOD_PUT || m == METHOD_DELETE ||
           m == METHOD_OPTIONS || m == METHOD_TRACE;
}

/* Fields that sluice reads, writes or drops. X(id, lower-case name) */
#define FIELD_TABLE(X)                                                                             \
    X(HOST, "host")                                                                                \
    X(CONTENT_LENGTH, "content-length")                                                            \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                      \
    X(CONNECTION, "connection")                                                                    \
    X(KEEP_ALIVE, "keep-alive")                                                                    \
    X(PROXY_CONNECTION, "proxy-connection")                                                        \
    X(PROXY_AUTHENTICATE, "proxy-authenticate")                                                    \
    X(PROXY_AUTHORIZATION, "proxy-authorization")                                                  \
    X(TE, "te")                                                                                    \
    X(TRAILER, "trailer")                                                                          \
    X(UPGRADE, "upgrade")                                                                          \
    X(HTTP2_SETTINGS, "http2-settings")                                                            \
    X(EXPECT, "expect")                                                                            \
    X(VIA, "via")                                                                                  \
    X(FORWARDED, "forwarded")                                                                      \
    X(X_FORWARDED_FOR, "x-forwarded-for")                                                          \
    X(X_FORWARDED_PROTO, "x-forwarded-proto")                                                      \
    X(X_FORWARDED_HOST, "x-forwarded-host")                                                        \
    X(X_REQUEST_ID, "x-request-id")                                                                \
    X(TRACEPARENT, "traceparent")                                                                  \
    X(AUTHORIZATION, "authorization")                                                              \
    X(COOKIE, "cookie")                                                                            \
    X(SET_COOKIE, "set-cookie")                                                                    \
    X(CONTENT_TYPE, "content-type")                                                                \
    X(CONTENT_ENCODING, "content-encoding")                                                        \
    X(CONTENT_RANGE, "content-range")                                                              \
    X(CACHE_CONTROL, "cache-control")                                                              \
    X(MAX_FORWARDS, "max-forwards")                                                                \
    X(DATE, "date")                                                                                \
    X(SERVER, "server")                                                                            \
    X(RETRY_AFTER, "retry-after")                                                                  \
    X(PROXY_STATUS, "proxy-status")                                                                \
    X(USER_AGENT, "user-agent")                                                                    \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key")                                                      \
    X(SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept")                                                \
    X(X_REQUEST_DEADLINE, "x-request-deadline")                                                    \
    X(GRPC_TIMEOUT, "grpc-timeout")                                                                \
    X(GRPC_STATUS, "grpc-status")                                                                  \
    X(GRPC_MESSAGE, "grpc-message")

enum field_id {
    FIELD_OTHER,
#define X(id, name) FIELD_##id,
    FIELD_TABLE(X)
#undef X
        FIELD_ID_COUNT,
};

/* Case-insensitive; FIELD_OTHER for a name that is not in the table. */
enum field_id field_id_of(struct str name);

/* A slice of the message's own buffer, as an offset, because the buffer can move when it grows. */
struct text {
    uint32_t off, len;
};

struct field {
    uint32_t name;  /* offset in buf */
    uint32_t value; /* offset in buf; without OWS around it */
    uint32_t value_len;
    uint16_t name_len;
    uint8_t id;           /* enum field_id */
    uint8_t dropped : 1;  /* not forwarded */
    uint8_t no_index : 1; /* no hop behind may put it into a table either (RFC 7541 §7.1.3) */
};

enum body_kind {
    BODY_NONE,
    BODY_LENGTH,  /* content_length bytes */
    BODY_CHUNKED, /* unknown length, its end is marked (h1 chunked, h2 END_STREAM) */
    BODY_CLOSE,   /* response only: until the connection ends */
};

/* Where a head lies while it is small. */
struct message_room {
    char buf[MESSAGE_ROOM_BYTES];
    struct field fields[MESSAGE_ROOM_FIELDS];
};

struct message {
    uint32_t magic;
    uint8_t is_request;
    uint8_t version_minor;        /* HTTP/1.x */
    uint8_t method;               /* enum http_method */
    uint8_t body;                 /* enum body_kind */
    uint16_t status;              /* responses */
    uint8_t connection_close : 1; /* the sender's Connection: close (or 1.0 without keep-alive) */
    uint8_t connection_upgrade : 1;
    uint8_t connection_named : 1; /* Connection names fields besides close/keep-alive/upgrade */
    uint8_t expect_continue : 1;
    uint8_t te_trailers : 1;
    uint8_t has_query : 1; /* a '?' was there, even with nothing behind it */
    uint8_t asterisk : 1;  /* OPTIONS * */
    uint8_t http2 : 1;     /* it came by HTTP/2 (version_minor is 1 then, connection_* are unset) */
    /* A request for a WebSocket, or the answer that opens it, whatever carried it: looks as by
     * HTTP/1.1 (GET or 101, connection_upgrade, Upgrade; see websocket_handshake.h). */
    uint8_t websocket : 1;
    uint8_t has_deadline : 1;                  /* a request with X-Request-Deadline */
    uint8_t grpc : 1;                          /* a request with Content-Type application/grpc */
    uint8_t buf_roomed : 1, fields_roomed : 1; /* they lie in the room, and have not outgrown it */
    uint8_t shrunk : 1;                        /* the room is ours, of just its size */
    uint16_t n_fields, cap_fields;
    uint32_t len, cap;       /* of buf */
    uint64_t content_length; /* BODY_LENGTH; also what a HEAD response declared */
    struct text method_text;
    struct text path;      /* origin-form, '/' first; "*" when asterisk */
    struct text query;     /* without '?' */
    struct text authority; /* host[:port] as sent: Host or absolute-form; may be empty (1.0) */
    struct text reason;    /* responses; may be empty */
    char *buf;
    struct field *fields;
    void *room; /* the owner's (struct message_room), or of message_shrink(); NULL: none */
};

/* Ready to be filled; without a room it allocates at the first byte. */
void message_init(struct message *m, bool is_request);
void message_init_in(struct message *m, bool is_request, struct message_room *room);
/* Frees what outgrew the room; struct and room are the caller's. */
void message_free(struct message *m);
/* Empty again, in the same room. */
void message_clear(struct message *m);
/* Leaves the room: method, target and authority, and the fields of those ids (bits; dropped ones
 * too) move to one block of just their size, without the fields' names, which their ids tell. The
 * others go. A text keeps `most` bytes, and so do all fields together: the last of them, because
 * ours come last. 0, or -ENOMEM and nothing has changed. */
int message_shrink(struct message *m, uint64_t ids, uint32_t most);
/* It holds memory besides its room. */
static inline bool message_has_outgrown(const struct message *m)
{
    return m->room && !m->shrunk && !(m->buf_roomed && m->fields_roomed);
}

static inline struct str message_str(const struct message *m, struct text t)
{
    return (struct str){m->buf + t.off, t.len};
}

static inline struct str field_name(const struct message *m, const struct field *f)
{
    return (struct str){m->buf + f->name, f->name_len};
}

static inline struct str field_value(const struct message *m, const struct field *f)
{
    return (struct str){m->buf + f->value, f->value_len};
}

/* Appends raw bytes to buf, growing it (doubling). 0 or -ENOMEM. */
int message_append(struct message *m, const void *p, size_t n, struct text *ret);
/* Room for n bytes at m->buf + m->len (advance m->len yourself); NULL when memory is short. */
char *message_grow(struct message *m, size_t n);
static inline char *message_reserve(struct message *m, size_t n)
{
    return (size_t)m->cap - m->len >= n ? m->buf + m->len : message_grow(m, n);
}
/* Adds a field whose bytes are already in buf. 0 or -ENOMEM. */
int message_add_slice(struct message *m, struct field f);
/* Copies name and value into buf and adds them. 0 or -ENOMEM. */
int message_add(struct message *m, enum field_id id, struct str name, struct str value);
/* The same for a known field, under its usual spelling (X-Request-Id). */
int message_add_known(struct message *m, enum field_id id, struct str value);

/* First field that is not dropped; NULL when there is none. */
struct field *message_find(const struct message *m, enum field_id id);
struct field *message_find_name(const struct message *m, struct str name);
/* The value of the first field of that name; of a request's Host its authority, which by HTTP/2 is
 * no field. STR_NONE: there is none. */
struct str message_value(const struct message *m, struct str name);
/* Marks all fields of that id dropped; returns how many. */
unsigned message_drop(struct message *m, enum field_id id);

#endif
