/* tls_bio.c - OpenSSL's way to the socket: no signal, no call that is known to bring nothing.
 *
 * OpenSSL reads ahead, so one recv() brings what its buffer holds. When that was less than asked
 * for, the socket is empty: asking again would cost a call for each request, so the answer is
 * EAGAIN without one. The poll is level-triggered, and tells when there is more. */
#include "io/tls_parts.h"

#include <errno.h>
#include <openssl/bio.h>
#include <sys/socket.h>

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static int wire_read(BIO *b, char *p, size_t n, size_t *ret)
{
    struct tls_wire *w = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    *ret = 0;
    if (w->may_recv) {
        ssize_t got;
        do
            got = recv(w->fd, p, n, 0);
        while (got < 0 && errno == EINTR);
        if (got > 0) {
            *ret = (size_t)got;
            w->may_recv = (size_t)got == n;
            w->starved = false;
            return 1;
        }
        if (got == 0) {
            w->eof = true;
            return 0;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            w->recv_error = errno;
            return 0;
        }
        w->may_recv = false;
    }
    w->starved = true;
    BIO_set_retry_read(b);
    return 0;
}

/* A segment of its own would wake the peer for what it does not wait for. A ticket (TLS 1.3) goes
 * with what is sent next, or by itself after 200 ms. */
static bool more_follows(const struct tls_wire *w)
{
    const struct tls_state *st = CONTAINER_OF(w, struct tls_state, wire);
    return w->more || (!st->handshaken && SSL_get_state(st->ssl) == TLS_ST_SW_SESSION_TICKET &&
                       SSL_version(st->ssl) == TLS1_3_VERSION);
}

static int wire_write(BIO *b, const char *p, size_t n, size_t *ret)
{
    struct tls_wire *w = BIO_get_data(b);
    int flags = MSG_NOSIGNAL | (more_follows(w) ? MSG_MORE : 0);
    ssize_t put;
    BIO_clear_retry_flags(b);
    *ret = 0;
    do
        put = send(w->fd, p, n, flags);
    while (put < 0 && errno == EINTR);
    if (put >= 0) {
        *ret = (size_t)put;
        return 1;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        BIO_set_retry_write(b);
    else
        w->send_error = errno;
    return 0;
}

static long wire_ctrl(BIO *b, int cmd, long num, void *p)
{
    const struct tls_wire *w = BIO_get_data(b);
    (void)num;
    (void)p;
    switch (cmd) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return w && w->eof;
    default:
        return 0;
    }
}

static void make_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    if (m && BIO_meth_set_read_ex(m, wire_read) == 1 && BIO_meth_set_write_ex(m, wire_write) == 1 &&
        BIO_meth_set_ctrl(m, wire_ctrl) == 1)
        method = m;
    else
        BIO_meth_free(m);
}

BIO *tls_bio_new(struct tls_wire *w)
{
    (void)pthread_once(&method_once, make_method);
    BIO *b = method ? BIO_new(method) : NULL;
    if (b) {
        BIO_set_data(b, w);
        BIO_set_init(b, 1);
    }
    return b;
}
