/* side.h - one end of a stream, whatever protocol it speaks.
 *
 * A stream has two: where the request comes from (downstream) and where it goes (upstream). Each
 * is a member of what speaks the protocol: an HTTP/1 connection has one side, an HTTP/2
 * connection one for each of its streams. Calls go from the stream to a side; what a side has to
 * tell, it tells by stream_on_*(). No side frees itself inside a call. */
#ifndef SLUICE_PROXY_SIDE_H
#define SLUICE_PROXY_SIDE_H

#include "base/outcome.h"
#include "http/message.h"

struct side;
struct stream;
struct upstream_conn;

/* How the body behind a head goes out. */
enum side_end {
    SIDE_MORE, /* a body follows */
    SIDE_END,  /* the message ends with its head */
};

struct side_ops {
    /* A request's or a final response's head. Sent with the first body bytes, or by flush. A
     * request with m->websocket comes with SIDE_MORE: a tunnel may follow, or nothing. */
    void (*head)(struct side *s, const struct message *m, enum side_end end);
    /* An interim response (1xx). */
    void (*interim)(struct side *s, const struct message *m);
    /* Takes all the bytes: sends them, or keeps what the kernel does not take; the caller heeds
     * `blocked` and brings no more then. */
    void (*body)(struct side *s, const char *p, size_t n);
    /* The end of the message (or of our direction of a tunnel); trailers may be NULL. */
    void (*end)(struct side *s, const struct message *trailers);
    /* Sends what head and end left. Once at the end of each callback. */
    void (*flush)(struct side *s);
    /* Upstream: nothing that head(), end() and body() were given is left in our memory. */
    bool (*gone_out)(const struct side *s);
    /* Takes back a response of which nothing has reached the kernel; false when some has. */
    bool (*recall)(struct side *s);
    /* n body bytes that this side delivered have been taken by the other one. */
    void (*credit)(struct side *s, size_t n);
    /* From now on bytes pass raw both ways (after a 101). */
    void (*tunnel)(struct side *s);
    /* Upstream: the connection that carries it. */
    struct upstream_conn *(*carrier)(struct side *s);
    /* The stream lets go of this side: `clean` when the message exchange is complete in both
     * directions, so that the connection can carry another; else it is closed in the way that
     * tells the peer that it was cut. The side calls the stream no more. */
    void (*release)(struct side *s, bool clean, enum reason reason);
};

struct side {
    const struct side_ops *ops;
    struct stream *stream; /* NULL: none */
    bool blocked;          /* takes no more now; stream_on_writable() comes */
    bool ended;            /* end() was called, or head() with SIDE_END */
};

#endif
