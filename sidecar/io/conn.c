/* conn.c - a transport in a loop, with the bytes that it could not send yet. */
#include "io/conn.h"

#include "io/socket.h"

#include <errno.h>

/* What the transport has inside is told as if the socket had become readable. */
static void feed_pending(struct conn *c)
{
    const struct transport *t = &c->transport;
    if (t->ops->pending && c->reading && c->stage == CONN_STANDS && t->ops->pending(t))
        ev_feed_event(c->loop->ev, &c->io, EV_READ);
}

/* A direction of TLS may have to wait for the other direction of the socket. */
static int wanted(const struct conn *c)
{
    const struct transport *t = &c->transport;
    if (c->stage != CONN_STANDS)
        return c->stage == CONN_CONNECTS || t->wants_write ? EV_WRITE : EV_READ;
    bool read = c->reading || (c->blocked && t->wants_read);
    bool write = (c->blocked && !t->wants_read) || (c->reading && t->wants_write);
    return (read ? EV_READ : 0) | (write ? EV_WRITE : 0);
}

static void update_interest(struct conn *c)
{
    int want = wanted(c);
    if (ev_is_active(&c->io)) {
        if ((c->io.events & (EV_READ | EV_WRITE)) == want)
            return;
        ev_io_stop(c->loop->ev, &c->io);
    }
    if (want) {
        ev_io_set(&c->io, c->transport.fd, want);
        ev_io_start(c->loop->ev, &c->io);
    }
    /* Stopping it has dropped what was pending for it. */
    if (c->error && !c->told)
        ev_feed_event(c->loop->ev, &c->io, EV_READ | EV_WRITE);
    else
        feed_pending(c);
}

static void end_writing(struct conn *c)
{
    c->ending = c->transport.ops->shutdown_write(&c->transport) == -EAGAIN;
    if (c->ending) {
        c->blocked = true;
        update_interest(c);
    }
}

static void on_writable(struct conn *c)
{
    c->blocked = false;
    if (buf_len(&c->out) > 0)
        conn_send(c, NULL, 0);
    else if (c->ending)
        end_writing(c);
    if (c->blocked || c->error)
        return;
    update_interest(c);
    c->ops->drained(c);
}

static int go_on_connecting(struct conn *c)
{
    int err = 0;
    if (c->stage == CONN_CONNECTS) {
        err = socket_connect_result(c->transport.fd);
        c->stage = CONN_SHAKES;
    }
    return err ? -err : c->transport.ops->handshake(&c->transport);
}

static void on_handshake(struct conn *c)
{
    int r = go_on_connecting(c);
    bool accepting = c->stage == CONN_ACCEPTS;
    if (r == -EAGAIN) {
        update_interest(c);
        return;
    }
    c->stage = CONN_STANDS;
    c->blocked = false;
    if (r < 0) {
        conn_break(c, -r);
        update_interest(c);
        return;
    }
    if (buf_len(&c->out) > 0)
        conn_send(c, NULL, 0);
    else if (c->shut)
        end_writing(c);
    update_interest(c);
    feed_pending(c);
    if (!accepting)
        c->ops->drained(c);
    else if (c->ops->ready)
        c->ops->ready(c);
}

static void on_events(struct conn *c, int events)
{
    if (c->error) {
        if (!c->told) {
            c->told = true;
            c->ops->failed(c, c->error);
        } else if ((events & EV_READ) && c->reading) {
            c->ops->readable(c);
        }
        return;
    }
    if ((events & EV_WRITE) && c->blocked) {
        on_writable(c);
        if (!c->open || c->error)
            return;
    }
    if ((events & EV_READ) && c->reading)
        c->ops->readable(c);
}

/* What TLS does besides. */
static void on_layered_events(struct conn *c, int events)
{
    const struct transport *t = &c->transport;
    int also = 0;
    if (c->stage != CONN_STANDS && !c->error) {
        on_handshake(c);
        return;
    }
    if ((events & EV_READ) && t->wants_read)
        also |= EV_WRITE;
    if ((events & EV_WRITE) && t->wants_write)
        also |= EV_READ;
    on_events(c, events | also);
    if (c->open) {
        update_interest(c);
        feed_pending(c);
    }
}

static void on_io(struct ev_loop *ev, struct ev_io *w, int events)
{
    struct conn *c = CONTAINER_OF(w, struct conn, io);
    (void)ev;
    if (c->transport.state)
        on_layered_events(c, events);
    else
        on_events(c, events);
}

void conn_open_transport(struct conn *c, struct loop *l, struct transport t,
                         const struct conn_ops *ops, bool connecting)
{
    *c = (struct conn){.ops = ops, .loop = l, .transport = t, .open = true};
    ev_io_init(&c->io, on_io, t.fd, EV_READ);
    if (t.ops->handshake)
        c->stage = connecting ? CONN_CONNECTS : CONN_ACCEPTS;
    c->blocked = connecting || c->stage != CONN_STANDS;
    c->reading = !connecting;
    update_interest(c);
}

void conn_open(struct conn *c, struct loop *l, int fd, const struct conn_ops *ops, bool connecting)
{
    struct transport t;
    transport_plain(&t, fd);
    conn_open_transport(c, l, t, ops, connecting);
}

ssize_t conn_read(struct conn *c, void *p, size_t n)
{
    return c->transport.ops->read(&c->transport, p, n);
}

bool conn_has_unread(const struct conn *c)
{
    const struct transport *t = &c->transport;
    return (t->ops->pending && t->ops->pending(t)) || socket_has_unread(t->fd);
}

void conn_read_stop(struct conn *c)
{
    if (!c->reading)
        return;
    c->reading = false;
    update_interest(c);
}

void conn_read_start(struct conn *c)
{
    if (c->reading || !c->open)
        return;
    c->reading = true;
    update_interest(c);
    feed_pending(c);
}

void conn_break(struct conn *c, int err)
{
    if (c->error || !c->open)
        return;
    c->error = err;
    buf_clear(&c->loop->bufs, &c->out);
    /* Told from the loop, so that no caller of conn_send() finds its own object gone. */
    ev_feed_event(c->loop->ev, &c->io, EV_READ | EV_WRITE);
}

static void keep(struct conn *c, const char *p, size_t n)
{
    if (n > 0 && buf_append(&c->loop->bufs, &c->out, p, n) < 0)
        conn_break(c, ENOMEM);
}

void conn_send(struct conn *c, const void *p, size_t n)
{
    if (c->error || !c->open)
        return;
    if (c->blocked) {
        keep(c, p, n);
        return;
    }
    size_t held = buf_len(&c->out);
    struct iovec iov[2];
    int count = 0;
    if (held > 0)
        iov[count++] = (struct iovec){c->out.p + c->out.off, held};
    if (n > 0)
        iov[count++] = (struct iovec){(void *)(uintptr_t)p, n};
    if (count == 0)
        return;
    ssize_t put = c->transport.ops->writev(&c->transport, iov, count);
    if (put < 0) {
        if (put != -EAGAIN) {
            conn_break(c, (int)-put);
            return;
        }
        put = 0;
    }
    size_t from_out = (size_t)put < held ? (size_t)put : held;
    size_t from_p = (size_t)put - from_out;
    if (from_out > 0)
        buf_consume(&c->loop->bufs, &c->out, from_out);
    if (from_out < held || from_p < n) {
        if (n > from_p)
            keep(c, (const char *)p + from_p, n - from_p);
        c->blocked = true;
        update_interest(c);
        return;
    }
    if (c->shut)
        end_writing(c);
}

void conn_shutdown(struct conn *c)
{
    if (c->shut || !c->open)
        return;
    c->shut = true;
    if (buf_len(&c->out) == 0 && !c->blocked)
        end_writing(c);
    else
        conn_flush(c);
}

void conn_close(struct conn *c)
{
    if (!c->open)
        return;
    c->open = false;
    c->reading = false;
    ev_io_stop(c->loop->ev, &c->io);
    buf_clear(&c->loop->bufs, &c->out);
    c->transport.ops->close(&c->transport);
}
