/* transport.h - how a connection's bytes get to the wire: one ops table for plain and TLS. */
#ifndef SLUICE_IO_TRANSPORT_H
#define SLUICE_IO_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct transport;

struct transport_ops {
    /* > 0 bytes, 0 the peer's orderly end, -EAGAIN nothing now, -ECONNABORTED an end that anybody
     * on the way could have made (TLS: FIN without close_notify; what only the end delimits is
     * cut), other -errno broken. */
    ssize_t (*read)(struct transport *t, void *p, size_t n);
    /* >= 0 bytes taken, -EAGAIN none now, other -errno broken. What was not taken comes first, and
     * unchanged, in the next call (it may be elsewhere, and more behind it): a part of it may have
     * been encrypted already. */
    ssize_t (*writev)(struct transport *t, const struct iovec *iov, int n);
    /* Our orderly end (close_notify, FIN), once all bytes are taken; reading goes on. 0, or
     * -EAGAIN: again when it can be written. */
    int (*shutdown_write)(struct transport *t);
    /* Frees its state and the fd. Not an orderly end: a peer that reads until the end sees a cut.
     */
    void (*close)(struct transport *t);
    /* What comes before the first byte: 0 done, -EAGAIN (wants_write says what for), other -errno
     * broken. NULL: nothing does. */
    int (*handshake)(struct transport *t);
    /* Bytes (or an end) have been taken from the socket and wait inside, where no poll sees them.
     * NULL: never. */
    bool (*pending)(const struct transport *t);
};

struct transport {
    const struct transport_ops *ops;
    void *state; /* of the ops; NULL for plain */
    int fd;
    bool wants_write; /* the handshake, or the last read, goes on when it can be written */
    bool wants_read;  /* the last write goes on when it can be read */
};

void transport_plain(struct transport *t, int fd);

#endif
