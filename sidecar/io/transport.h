/* transport.h - how a connection's bytes get to the wire: one ops table for plain and TLS. */
#ifndef SLUICE_IO_TRANSPORT_H
#define SLUICE_IO_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct transport;

struct transport_ops {
    /* > 0 bytes, 0 the peer's orderly end, -EAGAIN nothing now, other -errno broken. */
    ssize_t (*read)(struct transport *t, void *p, size_t n);
    /* >= 0 bytes taken, -EAGAIN none now, other -errno broken. */
    ssize_t (*writev)(struct transport *t, const struct iovec *iov, int n);
    /* Our orderly end (FIN, close_notify); reading goes on. */
    void (*shutdown_write)(struct transport *t);
    /* Frees its state and the fd. */
    void (*close)(struct transport *t);
    /* What comes before the first byte: 0 done, -EAGAIN (wants_write says what for), other -errno
     * broken. NULL: nothing does. */
    int (*handshake)(struct transport *t);
    /* Bytes have been taken from the socket and wait inside, where no poll sees them. NULL: never.
     */
    bool (*pending)(const struct transport *t);
};

struct transport {
    const struct transport_ops *ops;
    void *state; /* of the ops; NULL for plain */
    int fd;
    bool wants_write; /* the handshake waits until it can write, not read */
};

void transport_plain(struct transport *t, int fd);

#endif
