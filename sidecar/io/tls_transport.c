/* tls_transport.c - TLS as a transport: the handshake, reading, writing, the end.
 *
 * OpenSSL's error queue is the thread's: it is empty whenever one of its functions is called here,
 * and emptied before what looked at it returns. */
#include "base/mem.h"
#include "io/tls_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECORD_MAX = 16 * 1024 };

static struct tls_state *of(const struct transport *t)
{
    struct tls_state *st = t->state;
    CHECK_OBJ(st, TLS_STATE_MAGIC);
    return st;
}

struct tls_state *tls_state_of(const SSL *ssl)
{
    struct tls_wire *w = BIO_get_data(SSL_get_rbio(ssl));
    struct tls_state *st = CONTAINER_OF(w, struct tls_state, wire);
    CHECK_OBJ(st, TLS_STATE_MAGIC);
    return st;
}

static void clear_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* Nothing goes on after this: what it returns is what each further call returns. A failed write may
 * have been an alert's, so it counts last. */
static int broken(struct tls_state *st)
{
    int err = EPROTO;
    if (st->wire.recv_error)
        err = st->wire.recv_error;
    else if (st->wire.eof)
        err = ECONNABORTED;
    else if (ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE)
        err = ENOMEM;
    else if (ERR_peek_error() == 0 && st->wire.send_error)
        err = st->wire.send_error;
    ERR_clear_error();
    st->broken = true;
    return -err;
}

/* --- the handshake --- */

static int handshake_failed(struct tls_state *st)
{
    tls_failure_note(st);
    int r = broken(st);
    return r == -ECONNABORTED || r == -EPIPE ? -ECONNRESET : r;
}

/* A session is resumed without looking at certificates: who has expired since does not get in. */
static bool still_valid(struct tls_state *st)
{
    X509 *cert = SSL_session_reused(st->ssl) ? SSL_get0_peer_certificate(st->ssl) : NULL;
    if (!cert || st->context->insecure)
        return true;
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
        st->verify = X509_V_ERR_CERT_HAS_EXPIRED;
    return st->verify == X509_V_OK;
}

static int tls_handshake(struct transport *t)
{
    struct tls_state *st = of(t);
    if (st->broken)
        return -EPROTO;
    clear_errors();
    st->wire.may_recv = true;
    t->wants_write = false;
    int r = SSL_do_handshake(st->ssl);
    if (r != 1) {
        int e = SSL_get_error(st->ssl, r);
        if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
            t->wants_write = e == SSL_ERROR_WANT_WRITE;
            clear_errors();
            return -EAGAIN;
        }
        return handshake_failed(st);
    }
    clear_errors();
    if (!still_valid(st))
        return handshake_failed(st);
    st->handshaken = true;
    free(st->name);
    st->name = NULL;
    return 0;
}

/* --- reading --- */

static ssize_t set_end(struct tls_state *st, ssize_t end)
{
    st->has_end = true;
    st->end = end;
    return end;
}

/* After the handshake failed, or the peer broke a record: what still comes is thrown away, so that
 * closing does not become a reset that overtakes our alert. */
static ssize_t discard(struct tls_state *st, void *p, size_t n)
{
    ssize_t got = recv(st->wire.fd, p, n, 0);
    if (got > 0)
        return -EAGAIN;
    return got == 0 ? 0 : errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

/* > 0, or what SSL_read() had to say. */
static ssize_t read_once(struct transport *t, struct tls_state *st, char *p, size_t n)
{
    size_t got = 0;
    int r = SSL_read_ex(st->ssl, p, n, &got);
    if (st->renegotiated || st->flooded) {
        st->broken = true;
        clear_errors();
        return set_end(st, -EPROTO);
    }
    if (r == 1)
        return (ssize_t)got;
    switch (SSL_get_error(st->ssl, r)) {
    case SSL_ERROR_WANT_WRITE:
        t->wants_write = true;
        clear_errors();
        return -EAGAIN;
    case SSL_ERROR_WANT_READ:
        clear_errors();
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        clear_errors();
        return set_end(st, 0);
    default:
        return set_end(st, broken(st));
    }
}

/* What is inside is given before the socket is asked: a peer that sends without pause is read in
 * turns, like everybody. */
static ssize_t tls_read(struct transport *t, void *p, size_t n)
{
    struct tls_state *st = of(t);
    size_t got = 0;
    ssize_t r = -EAGAIN;
    if (st->has_end) {
        bool again = st->end_told;
        st->end_told = true;
        return again && st->broken && !st->wire.eof ? discard(st, p, n) : st->end;
    }
    if (st->broken || !st->handshaken)
        return discard(st, p, n);
    bool inside = SSL_has_pending(st->ssl) && !st->wire.starved;
    clear_errors();
    t->wants_write = false;
    st->wire.may_recv = !inside;
    while (got < n) {
        r = read_once(t, st, (char *)p + got, n - got);
        if (r == -EAGAIN && got == 0 && inside) {
            inside = false; /* half a record */
            st->wire.may_recv = true;
            continue;
        }
        if (r <= 0)
            break;
        got += (size_t)r;
        if (!SSL_has_pending(st->ssl) && !st->wire.may_recv)
            break;
    }
    if (st->has_buffer && !SSL_has_pending(st->ssl) && SSL_free_buffers(st->ssl) == 1)
        st->has_buffer = false;
    if (got > 0)
        return (ssize_t)got;
    st->end_told = st->has_end;
    return r;
}

static bool tls_pending(const struct transport *t)
{
    const struct tls_state *st = of(t);
    if (st->has_end)
        return !st->end_told;
    if (st->broken || !st->handshaken || t->wants_write)
        return false;
    return SSL_pending(st->ssl) > 0 || (!st->wire.starved && SSL_has_pending(st->ssl));
}

/* --- writing --- */

/* Where the bytes from `skip` on are. Small pieces are put together, so that a head and its body
 * are one record and one call. Returns how many; at most a record. */
static size_t gather(const struct iovec *iov, int n, size_t skip, char *room, const char **ret)
{
    size_t len = 0;
    for (int i = 0; i < n && len < RECORD_MAX; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        const char *p = (const char *)iov[i].iov_base + skip;
        size_t have = min_u64(iov[i].iov_len - skip, RECORD_MAX - len);
        skip = 0;
        if (len == 0 && (have == RECORD_MAX || i == n - 1)) {
            *ret = p;
            return have;
        }
        memcpy(room + len, p, have);
        len += have;
    }
    *ret = room;
    return len;
}

static ssize_t tls_writev(struct transport *t, const struct iovec *iov, int n)
{
    struct tls_state *st = of(t);
    char room[RECORD_MAX];
    const char *p = NULL;
    size_t done = 0, len;
    if (st->broken || st->closing)
        return -EPIPE;
    if (!st->handshaken)
        return -EAGAIN;
    clear_errors();
    t->wants_read = false;
    while ((len = gather(iov, n, done, room, &p)) > 0) {
        size_t put = 0;
        int r = SSL_write_ex(st->ssl, p, len, &put);
        if (r == 1) {
            done += put;
            continue;
        }
        int e = SSL_get_error(st->ssl, r);
        if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
            t->wants_read = e == SSL_ERROR_WANT_READ;
            clear_errors();
            return done > 0 ? (ssize_t)done : -EAGAIN;
        }
        /* Reading goes on: what the peer said before it closed may explain it. */
        int err = st->wire.send_error ? st->wire.send_error : EPROTO;
        st->wire.send_error = 0;
        ERR_clear_error();
        st->closing = true;
        return done > 0 ? (ssize_t)done : -err;
    }
    return (ssize_t)done;
}

/* --- the end --- */

static int tls_shutdown_write(struct transport *t)
{
    struct tls_state *st = of(t);
    if (st->handshaken && !st->broken && !st->closing) {
        clear_errors();
        st->wire.more = true; /* the FIN */
        int r = SSL_shutdown(st->ssl);
        int e = r < 0 ? SSL_get_error(st->ssl, r) : SSL_ERROR_NONE;
        clear_errors();
        if (e == SSL_ERROR_WANT_WRITE)
            return -EAGAIN;
        st->closing = true;
    }
    (void)shutdown(st->wire.fd, SHUT_WR);
    return 0;
}

static struct tls_state *state_free(struct tls_state *st)
{
    if (st->ssl) {
        /* Else SSL_free() takes a session that was not ended for one that must not be resumed. */
        if (!st->broken)
            SSL_set_shutdown(st->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(st->ssl);
        clear_errors();
    }
    (void)tls_context_unref(st->context);
    free(st->name);
    free(st->spiffe_id);
    free(st->subject);
    st->magic = 0;
    free(st);
    return NULL;
}

static void tls_close(struct transport *t)
{
    t->state = state_free(of(t));
    (void)close(t->fd);
    t->fd = -1;
}

static const struct transport_ops tls_ops = {
    .read = tls_read,
    .writev = tls_writev,
    .shutdown_write = tls_shutdown_write,
    .close = tls_close,
    .handshake = tls_handshake,
    .pending = tls_pending,
};

/* --- the beginning --- */

bool transport_is_tls(const struct transport *t)
{
    return t->ops == &tls_ops;
}

bool transport_tls_flooded(const struct transport *t)
{
    return transport_is_tls(t) && of(t)->flooded;
}

/* 0, -ENOMEM, -ENOKEY. */
static int state_new(int fd, struct tls_slot *slot, struct tls_state **ret)
{
    struct tls_context *c = tls_slot_get(slot);
    struct tls_state *st = c ? mem_zalloc(sizeof(*st)) : NULL;
    if (!st) {
        (void)tls_context_unref(c);
        return c ? -ENOMEM : -ENOKEY;
    }
    st->magic = TLS_STATE_MAGIC;
    st->context = c;
    st->wire = (struct tls_wire){.fd = fd};
    clear_errors();
    st->ssl = SSL_new(c->ctx[0]);
    BIO *b = st->ssl ? tls_bio_new(&st->wire) : NULL;
    if (!b) {
        ERR_clear_error();
        (void)state_free(st);
        return -ENOMEM;
    }
    SSL_set_bio(st->ssl, b, b);
    *ret = st;
    return 0;
}

static void fill(struct transport *t, int fd, struct tls_state *st)
{
    *t = (struct transport){.ops = &tls_ops, .state = st, .fd = fd};
}

int transport_tls_server(struct transport *t, int fd, struct tls_slot *slot)
{
    struct tls_state *st = NULL;
    int r = state_new(fd, slot, &st);
    if (r < 0)
        return r;
    SSL_set_accept_state(st->ssl);
    fill(t, fd, st);
    return 0;
}

static bool is_address(const char *name)
{
    unsigned char ip[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;
}

static uint64_t session_key(const char *name, const struct address *peer)
{
    uint64_t h = hash_bytes(HASH_BEGIN, str_of(name));
    h = hash_bytes(h, (struct str){(const char *)&peer->u, peer->len});
    return h ? h : 1;
}

static bool set_name(struct tls_state *st, struct str name)
{
    if (st->context->server_name.n > 0)
        name = st->context->server_name;
    st->name = mem_strndup(name);
    if (!st->name)
        return false;
    /* SNI carries no addresses (RFC 6066 §3). */
    return name.n == 0 || name.n > 255 || is_address(st->name) ||
           SSL_set_tlsext_host_name(st->ssl, st->name) == 1;
}

int transport_tls_client(struct transport *t, int fd, struct tls_slot *slot, struct str name,
                         const struct address *peer)
{
    struct tls_state *st = NULL;
    int r = state_new(fd, slot, &st);
    if (r < 0)
        return r;
    if (!set_name(st, name)) {
        ERR_clear_error();
        (void)state_free(st);
        return -ENOMEM;
    }
    SSL_set_connect_state(st->ssl);
    if (peer) {
        st->session_key = session_key(st->name, peer);
        SSL_SESSION *session = tls_sessions_get(&st->context->sessions, st->session_key);
        if (session)
            (void)SSL_set_session(st->ssl, session);
        SSL_SESSION_free(session);
        clear_errors();
    }
    fill(t, fd, st);
    return 0;
}
