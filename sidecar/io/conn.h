/* conn.h - a transport in a loop, with the bytes that it could not send yet.
 *
 * Writing never fails towards the caller: what the kernel does not take is kept in `out` and sent
 * when it can be, and a broken connection is told by ops->failed, from the loop, never from inside
 * a write. The reading interest stays on while all goes well: no epoll_ctl on the steady path. */
#ifndef SLUICE_IO_CONN_H
#define SLUICE_IO_CONN_H

#include "io/loop.h"
#include "io/transport.h"

#include <stdint.h>

struct conn;

struct conn_ops {
    void (*readable)(struct conn *c);
    /* All that was kept is sent, after a time in which it could not be. */
    void (*drained)(struct conn *c);
    /* A write failed; err is the errno. Called once. What was read before is still readable. */
    void (*failed)(struct conn *c, int err);
    /* On the accepting side: the handshake is done, what it agreed on can be asked for. Not told
     * where the transport has none. May be NULL. */
    void (*ready)(struct conn *c);
};

/* What a transport's handshake makes of the beginning; `blocked` until it is over. */
enum conn_stage {
    CONN_STANDS,   /* or has no handshake */
    CONN_CONNECTS, /* connect() first */
    CONN_SHAKES,   /* on the connecting side */
    CONN_ACCEPTS,
};

struct conn {
    struct ev_io io;
    struct transport transport;
    const struct conn_ops *ops;
    struct loop *loop;
    struct buf out; /* built by codecs, sent by conn_flush() */
    int error;      /* errno of the write that broke it; 0: none */
    bool blocked;   /* the kernel takes no more: `out` waits for it */
    bool told;      /* ops->failed was called */
    bool reading;   /* the read interest is on */
    bool shut;      /* our direction is ended, or will be when `out` is sent */
    bool open;
    bool ending;   /* the transport's end waits until it can be written */
    uint8_t stage; /* enum conn_stage */
};

/* Takes fd over; reading begins at once unless `connecting`, when ops->drained tells that the
 * connection is made or has failed (socket_connect_result()). */
void conn_open(struct conn *c, struct loop *l, int fd, const struct conn_ops *ops, bool connecting);
/* The same over any transport. Its handshake comes first, driven by the loop; what is sent
 * meanwhile is kept. Who is `connecting` is told ops->drained when it is done, who accepts
 * ops->ready; either is told ops->failed instead, with the errno of connect() or of the handshake
 * (transport_ops.handshake). Without end if the peer is silent: the owner has a time for it. */
void conn_open_transport(struct conn *c, struct loop *l, struct transport t,
                         const struct conn_ops *ops, bool connecting);

/* As transport_ops.read. */
ssize_t conn_read(struct conn *c, void *p, size_t n);
/* True when bytes (or an end) wait to be read. */
bool conn_has_unread(const struct conn *c);
void conn_read_stop(struct conn *c);
void conn_read_start(struct conn *c);

/* Sends `out` and then p[0..n) in one call; keeps what was not taken. The bytes are the caller's
 * again when it returns. */
void conn_send(struct conn *c, const void *p, size_t n);
static inline void conn_flush(struct conn *c)
{
    if (c->out.len > c->out.off)
        conn_send(c, NULL, 0);
}
/* Marks it broken from outside (no memory for a head), to be told as a failed write is. */
void conn_break(struct conn *c, int err);
/* Ends our direction after what is in `out`. */
void conn_shutdown(struct conn *c);
/* Closes the fd now; harmless when closed. The struct's memory is the owner's. */
void conn_close(struct conn *c);

#endif
