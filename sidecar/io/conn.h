/* conn.h - a transport in a loop, with the bytes that it could not send yet.
 *
 * Writing never fails towards the caller: what the kernel does not take is kept in `out` and sent
 * when it can be, and a broken connection is told by ops->failed, from the loop, never from inside
 * a write. The reading interest stays on while all goes well: no epoll_ctl on the steady path. */
#ifndef SLUICE_IO_CONN_H
#define SLUICE_IO_CONN_H

#include "io/loop.h"
#include "io/transport.h"

struct conn;

struct conn_ops {
    void (*readable)(struct conn *c);
    /* All that was kept is sent, after a time in which it could not be. */
    void (*drained)(struct conn *c);
    /* A write failed; err is the errno. Called once. What was read before is still readable. */
    void (*failed)(struct conn *c, int err);
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
};

/* Takes fd over; reading begins at once unless `connecting`, when ops->drained tells that the
 * connection stands (or ops->failed that it does not). */
void conn_open(struct conn *c, struct loop *l, int fd, const struct conn_ops *ops, bool connecting);

/* recv into p; as transport_ops.read. */
ssize_t conn_read(struct conn *c, void *p, size_t n);
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
