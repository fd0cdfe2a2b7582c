/* transport.c - the plain transport: a socket. */
#include "io/transport.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t plain_read(struct transport *t, void *p, size_t n)
{
    for (;;) {
        ssize_t got = recv(t->fd, p, n, 0);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
}

static ssize_t plain_writev(struct transport *t, const struct iovec *iov, int n)
{
    for (;;) {
        ssize_t put;
        if (n == 1) {
            put = send(t->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
        } else {
            struct msghdr m = {.msg_iov = (struct iovec *)(void *)iov, .msg_iovlen = (size_t)n};
            put = sendmsg(t->fd, &m, MSG_NOSIGNAL);
        }
        if (put >= 0)
            return put;
        if (errno != EINTR)
            return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
}

static int plain_shutdown_write(struct transport *t)
{
    (void)shutdown(t->fd, SHUT_WR);
    return 0;
}

static void plain_close(struct transport *t)
{
    (void)close(t->fd);
    t->fd = -1;
}

static const struct transport_ops plain_ops = {
    .read = plain_read,
    .writev = plain_writev,
    .shutdown_write = plain_shutdown_write,
    .close = plain_close,
};

void transport_plain(struct transport *t, int fd)
{
    *t = (struct transport){.ops = &plain_ops, .fd = fd};
}
