/* client.c - connections that send requests, and the verdict on each. */
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    PAUSE_MS = 10,      /* 1 to this after a refusal */
    FIN_WAIT_MS = 200,  /* for a peer that announced its close */
    IDLE_AT_ONCE = 200, /* connections of --idle that are being opened */
    /* A FIN that was on its way when a request was sent is seen in the next loop turn, or within
     * this time; one that comes later answers a request that the peer had taken. */
    CROSSED_FIN_USEC = 2000,
    CROSSED_FIN_TURN_USEC = 20000,
    /* A reset without a FIN: the peer closed before it had read the request. */
    CROSSED_RST_USEC = 1000000,
    CHECK_USEC = 100000, /* for time-outs */
};

static void conn_next(struct client *cl, struct conn *c);
static void conn_open(struct client *cl, struct conn *c);

/* Timers. */

static void conn_set_timer(struct client *cl, struct conn *c, uint64_t ms)
{
    if (list_linked(&c->timer))
        list_remove(&c->timer);
    else if (cl->n_timers++ == 0)
        cl->wheel_ms = cl->now / USEC_PER_MSEC;
    c->due_ms = cl->now / USEC_PER_MSEC + (ms > 0 ? ms : 1);
    list_push_back(&cl->wheel[c->due_ms % CLIENT_WHEEL_SLOTS], &c->timer);
}

static void conn_clear_timer(struct client *cl, struct conn *c)
{
    if (!list_linked(&c->timer))
        return;
    list_remove(&c->timer);
    cl->n_timers--;
}

static void conn_pause(struct client *cl, struct conn *c)
{
    cl->rng = cl->rng * 1664525u + 1013904223u;
    conn_set_timer(cl, c, 1 + (cl->rng >> 16) % PAUSE_MS);
}

/* Sockets. */

static void conn_arm(struct client *cl, struct conn *c, uint32_t want)
{
    if (want == c->interest)
        return;
    struct epoll_event ev = {.events = want, .data.ptr = c};
    (void)epoll_ctl(cl->epoll, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev);
    c->interest = want;
}

static void conn_close(struct client *cl, struct conn *c)
{
    conn_clear_timer(cl, c);
    list_remove(&c->ready);
    if (c->fd >= 0)
        (void)close(c->fd);
    response_free(&c->response);
    c->fd = -1;
    c->interest = 0;
    c->reused = false;
    c->state = CONN_CLOSED;
}

static bool has_request(const struct conn *c)
{
    return c->state == CONN_SENDING || c->state == CONN_READING;
}

static bool is_gone(int err)
{
    return err == ECONNRESET || err == EPIPE || err == ENOTCONN;
}

/* A connect did not come about. The request that it was for is still to be sent. */
static void connect_failed(struct client *cl, struct conn *c, int err)
{
    struct report *r = &cl->report;
    conn_close(cl, c);
    if (err == ECONNREFUSED || err == ENOENT)
        report_refused(r, &r->refused, cl->now);
    else if (err == ETIMEDOUT || err == EAGAIN) /* EAGAIN: a Unix socket's backlog is full */
        report_refused(r, &r->refused_timeout, cl->now);
    else if (is_gone(err))
        report_refused(r, &r->refused_reset, cl->now);
    else
        r->local_error++;
    conn_pause(cl, c);
}

/* The request that was sent on c is over. */
static void request_over(struct client *cl, struct conn *c)
{
    cl->in_flight--;
    c->started = 0;
}

static void request_failed(struct client *cl, struct conn *c, enum failure f)
{
    cl->report.failed[f]++;
    request_over(cl, c);
    conn_close(cl, c);
    conn_pause(cl, c);
}

/* No byte of an answer came on a connection that had served before. Did its close cross the
 * request, or was the request taken and dropped? */
static bool close_crossed(const struct client *cl, const struct conn *c, int err)
{
    usec_t since = cl->now - c->sent_at;
    if (c->in_pieces && since > CROSSED_FIN_TURN_USEC)
        return false;
    if (err != 0)
        return since <= CROSSED_RST_USEC;
    int reset = 0;
    socklen_t len = sizeof(reset);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &reset, &len) == 0 && reset != 0)
        return since <= CROSSED_RST_USEC; /* FIN first, then a reset for what we sent */
    return since <= CROSSED_FIN_USEC ||
           (cl->turn <= c->sent_turn + 1 && since <= CROSSED_FIN_TURN_USEC);
}

/* The peer ended the connection: err 0 is a FIN. */
static void conn_broken(struct client *cl, struct conn *c, int err)
{
    struct report *r = &cl->report;
    if (c->state == CONN_CONNECTING) {
        connect_failed(cl, c, err ? err : ECONNRESET);
    } else if (!has_request(c)) {
        if (c->state == CONN_READY)
            ++*(err ? &r->idle_reset : &r->idle_closed);
        bool was_load = c->role == ROLE_LOAD;
        bool timer = list_linked(&c->timer) && c->state == CONN_READY; /* thinking */
        uint64_t due = c->due_ms;
        conn_close(cl, c);
        if (was_load && timer) {
            uint64_t now = cl->now / USEC_PER_MSEC;
            conn_set_timer(cl, c, due > now ? due - now : 1);
        } else if (was_load) {
            conn_next(cl, c);
        }
    } else if (c->got_bytes) {
        request_failed(cl, c, err ? FAILURE_RESET_IN_RESPONSE : FAILURE_TRUNCATED);
    } else if (!c->reused) {
        request_failed(cl, c, err ? FAILURE_RESET_FRESH : FAILURE_CLOSED_FRESH);
    } else if (close_crossed(cl, c, err)) {
        r->crossed++;
        r->crossed_by_reset += err != 0;
        request_over(cl, c);
        conn_close(cl, c);
        conn_next(cl, c);
    } else {
        request_failed(cl, c, FAILURE_UNANSWERED);
    }
}

/* What comes after a whole answer. */
static void conn_answered(struct client *cl, struct conn *c, bool fin_seen)
{
    const struct options *o = cl->o;
    bool last = o->close || c->sent < c->request->n || (!o->tcp && c->response.close);
    c->reused = true;
    request_over(cl, c);
    if (c->role == ROLE_IDLE && c->state == CONN_READING && !last)
        cl->idle_served++;
    if (last && !fin_seen && c->sent == c->request->n && !cl->stopping) {
        if (o->tcp)
            (void)shutdown(c->fd, SHUT_WR);
        c->state = CONN_AWAIT_FIN;
        conn_arm(cl, c, EPOLLIN);
        conn_set_timer(cl, c, FIN_WAIT_MS);
        return;
    }
    if (last) {
        conn_close(cl, c);
    } else {
        c->state = CONN_READY;
        conn_arm(cl, c, EPOLLIN);
    }
    if (c->role != ROLE_LOAD) {
        if (c->role == ROLE_STUCK && c->fd >= 0)
            conn_close(cl, c); /* somebody answered: nothing more to hold */
        return;
    }
    if (o->think > 0 && !cl->stopping)
        conn_set_timer(cl, c, o->think / USEC_PER_MSEC);
    else
        conn_next(cl, c);
}

static void conn_whole(struct client *cl, struct conn *c, bool fin_seen)
{
    cl->now = clock_mono();
    usec_t latency = cl->now - c->started;
    if (cl->o->tcp)
        report_echo(&cl->report, latency, cl->now);
    else
        report_answer(&cl->report, &c->response, c->method, latency, cl->now);
    conn_answered(cl, c, fin_seen);
}

/* --tcp: the bytes that come back are those that were sent. */
static enum response_result echo_feed(struct conn *c, const char *p, size_t n)
{
    if (n > c->sent - c->echoed || memcmp(c->request->bytes + c->echoed, p, n) != 0)
        return RESPONSE_BAD;
    c->echoed += n;
    return c->echoed == c->request->n ? RESPONSE_DONE : RESPONSE_MORE;
}

static void conn_read(struct client *cl, struct conn *c, uint32_t events)
{
    for (;;) {
        ssize_t n = recv(c->fd, cl->in, CLIENT_READ_BYTES, MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                conn_broken(cl, c, errno);
            return;
        }
        if (n == 0) {
            if (has_request(c) && c->got_bytes && !cl->o->tcp &&
                response_whole_at_eof(&c->response))
                conn_whole(cl, c, true);
            else
                conn_broken(cl, c, 0);
            return;
        }
        cl->report.bytes_in += (uint64_t)n;
        if (!has_request(c)) { /* bytes that nobody asked for, mostly a 408 before a close */
            if (c->state != CONN_AWAIT_FIN)
                conn_broken(cl, c, 0);
            return;
        }
        c->got_bytes = true;
        size_t taken = (size_t)n;
        enum response_result result = cl->o->tcp
                                          ? echo_feed(c, cl->in, (size_t)n)
                                          : response_feed(&c->response, cl->in, (size_t)n, &taken);
        if (result == RESPONSE_BAD || taken < (size_t)n) {
            request_failed(cl, c, FAILURE_MALFORMED);
            return;
        }
        if (result == RESPONSE_DONE) {
            conn_whole(cl, c, (events & EPOLLRDHUP) != 0);
            return;
        }
        if (n < CLIENT_READ_BYTES)
            return;
    }
}

/* Sends what is left of the request; the first byte of a request counts it as sent. */
static void conn_write(struct client *cl, struct conn *c)
{
    while (c->sent < c->request->n) {
        ssize_t n = send(c->fd, c->request->bytes + c->sent, c->request->n - c->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            c->in_pieces = c->in_pieces || c->sent > 0;
            conn_arm(cl, c, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
            return;
        }
        if (n < 0) {
            int err = errno;
            if (c->state == CONN_CONNECTING) {
                connect_failed(cl, c, err);
            } else if (c->sent > 0) { /* an early answer may be here: it decides */
                c->state = CONN_READING;
                conn_arm(cl, c, EPOLLIN | EPOLLRDHUP);
            } else {
                conn_broken(cl, c, err);
            }
            return;
        }
        if (c->state == CONN_CONNECTING) {
            c->state = CONN_SENDING;
            cl->report.connects++;
            cl->report.sent++;
            cl->in_flight++;
            c->sent_at = cl->now;
            c->sent_turn = cl->turn;
        }
        c->sent += (size_t)n;
        cl->report.bytes_out += (uint64_t)n;
    }
    c->state = CONN_READING;
    conn_arm(cl, c, EPOLLIN | EPOLLRDHUP);
}

static void put_number(struct client *cl, const struct request *r)
{
    uint64_t n = cl->next_number++ % cl->o->numbers;
    for (size_t i = LOAD_DIGITS; i-- > 0; n /= 10)
        r->bytes[r->number_at + i] = (char)('0' + n % 10);
}

/* Chooses the request and starts to send it on the open (or opening) connection. */
static void conn_request(struct client *cl, struct conn *c)
{
    const struct options *o = cl->o;
    if (c->role == ROLE_STUCK) {
        c->request = &o->stuck_request;
    } else {
        c->method = o->n_methods > 1 ? (uint8_t)(cl->next_method++ % o->n_methods) : 0;
        c->request = &o->request[c->method];
    }
    if (c->request->number_at > 0)
        put_number(cl, c->request);
    response_begin(&c->response, c->request->is_head);
    c->sent = c->echoed = 0;
    c->got_bytes = c->in_pieces = false;
    c->sent_at = cl->now;
    c->sent_turn = cl->turn;
    if (!c->started)
        c->started = cl->now;
    if (c->state != CONN_CONNECTING) {
        c->state = CONN_SENDING;
        cl->report.sent++;
        cl->in_flight++;
    }
    conn_write(cl, c);
}

static void conn_open(struct client *cl, struct conn *c)
{
    const struct options *o = cl->o;
    int on = 1;
    c->fd = socket(o->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        connect_failed(cl, c, errno);
        return;
    }
    if (!o->is_unix)
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->connect_at = cl->now;
    c->state = CONN_CONNECTING;
    if (connect(c->fd, (const struct sockaddr *)&o->address, o->address_len) < 0 &&
        errno != EINPROGRESS) {
        connect_failed(cl, c, errno);
        return;
    }
    conn_request(cl, c); /* on loopback the handshake is over by now */
}

/* How many requests --rate wants to have been started by now. */
static uint64_t rate_due(const struct client *cl)
{
    return (uint64_t)((double)(cl->now - cl->report.start) / 1e6 * cl->o->rate) + 1;
}

/* The connection is free: the next request, when there is one for it. */
static void conn_next(struct client *cl, struct conn *c)
{
    const struct options *o = cl->o;
    if (cl->stopping || (o->requests > 0 && cl->report.sent >= o->requests)) {
        conn_close(cl, c);
        return;
    }
    if (c->role == ROLE_IDLE && c->reused)
        return;
    if (o->rate > 0 && c->role == ROLE_LOAD && !c->started) {
        if (cl->rate_started >= rate_due(cl)) {
            if (!list_linked(&c->ready))
                list_push_back(&cl->ready, &c->ready);
            return;
        }
        c->started = cl->report.start + (usec_t)((double)cl->rate_started++ / o->rate * 1e6);
    }
    list_remove(&c->ready);
    if (c->fd < 0)
        conn_open(cl, c);
    else
        conn_request(cl, c);
}

void client_event(struct client *cl, struct conn *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (c->state == CONN_CONNECTING) {
        int err = 0;
        socklen_t len = sizeof(err);
        if ((events & (EPOLLERR | EPOLLHUP)) &&
            getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0)
            connect_failed(cl, c, err ? err : ECONNRESET);
        else if (events & EPOLLOUT)
            conn_write(cl, c);
        return;
    }
    if (c->state == CONN_AWAIT_FIN) {
        conn_close(cl, c);
        if (c->role == ROLE_LOAD && cl->o->think > 0 && !cl->stopping)
            conn_set_timer(cl, c, cl->o->think / USEC_PER_MSEC);
        else if (c->role == ROLE_LOAD)
            conn_next(cl, c);
        return;
    }
    if ((events & EPOLLOUT) && c->state == CONN_SENDING)
        conn_write(cl, c);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) && c->fd >= 0)
        conn_read(cl, c, events);
}

static void fire(struct client *cl, struct conn *c)
{
    conn_clear_timer(cl, c);
    if (c->state == CONN_AWAIT_FIN)
        conn_close(cl, c);
    if (c->role == ROLE_STUCK && c->response.status != 0)
        return;
    conn_next(cl, c);
}

static void fire_timers(struct client *cl)
{
    uint64_t now = cl->now / USEC_PER_MSEC;
    if (now - cl->wheel_ms > CLIENT_WHEEL_SLOTS)
        cl->wheel_ms = now - CLIENT_WHEEL_SLOTS;
    while (cl->n_timers > 0 && cl->wheel_ms < now) {
        struct list *slot = &cl->wheel[++cl->wheel_ms % CLIENT_WHEEL_SLOTS];
        LIST_FOREACH_SAFE (it, slot) {
            struct conn *c = LIST_ENTRY(it, struct conn, timer);
            if (c->due_ms <= now)
                fire(cl, c);
        }
    }
}

static void check_timeouts(struct client *cl)
{
    for (uint32_t i = 0; i < cl->n_conns; i++) {
        struct conn *c = &cl->conns[i];
        if (c->state == CONN_CONNECTING && cl->now - c->connect_at > cl->o->connect_timeout)
            connect_failed(cl, c, ETIMEDOUT);
        else if (has_request(c) && c->role != ROLE_STUCK && cl->now > c->sent_at &&
                 cl->now - c->sent_at > cl->o->timeout)
            request_failed(cl, c, FAILURE_TIMEOUT);
    }
}

/* Opens more of the idle connections as earlier ones are served. */
static void start_idle(struct client *cl)
{
    while (cl->idle_started < cl->o->idle && cl->idle_started < cl->idle_served + IDLE_AT_ONCE &&
           !cl->stopping)
        conn_next(cl, &cl->conns[cl->o->connections + cl->idle_started++]);
}

int client_tick(struct client *cl)
{
    const struct options *o = cl->o;
    cl->now = clock_mono();
    if (cl->n_timers > 0)
        fire_timers(cl);
    if (cl->now - cl->checked > CHECK_USEC) {
        cl->checked = cl->now;
        check_timeouts(cl);
    }
    if (cl->idle_started < o->idle)
        start_idle(cl);
    int sleep_ms = cl->n_timers > 0 ? 1 : 50;
    if (o->rate > 0 && !cl->stopping) {
        struct list *first;
        while (cl->rate_started < rate_due(cl) && (first = list_first(&cl->ready)) != NULL)
            conn_next(cl, LIST_ENTRY(first, struct conn, ready));
        sleep_ms = 1;
    }
    return sleep_ms;
}

int client_init(struct client *cl, const struct options *o)
{
    *cl = (struct client){.o = o, .epoll = epoll_create1(EPOLL_CLOEXEC), .rng = (uint32_t)getpid()};
    if (cl->epoll < 0)
        return -errno;
    cl->n_conns = o->connections + o->idle + o->stuck;
    cl->conns = calloc(cl->n_conns ? cl->n_conns : 1, sizeof(*cl->conns));
    cl->in = malloc(CLIENT_READ_BYTES);
    if (!cl->conns || !cl->in)
        return -ENOMEM;
    for (size_t i = 0; i < CLIENT_WHEEL_SLOTS; i++)
        list_init(&cl->wheel[i]);
    list_init(&cl->ready);
    for (uint32_t i = 0; i < cl->n_conns; i++) {
        cl->conns[i].fd = -1;
        cl->conns[i].role = i < o->connections             ? ROLE_LOAD
                            : i < o->connections + o->idle ? ROLE_IDLE
                                                           : ROLE_STUCK;
    }
    return 0;
}

void client_start(struct client *cl)
{
    cl->now = cl->report.start = cl->report.end = clock_mono();
    for (uint32_t i = 0; i < cl->n_conns; i++) {
        if (cl->conns[i].role != ROLE_IDLE)
            conn_next(cl, &cl->conns[i]);
    }
    start_idle(cl);
}

void client_stop(struct client *cl)
{
    cl->stopping = true;
    for (uint32_t i = 0; i < cl->n_conns; i++) {
        if (!has_request(&cl->conns[i]) || cl->conns[i].role == ROLE_STUCK) {
            if (has_request(&cl->conns[i])) {
                cl->report.unfinished++;
                cl->in_flight--;
            }
            conn_close(cl, &cl->conns[i]);
        }
    }
}

void client_end(struct client *cl)
{
    cl->report.unfinished += cl->in_flight;
    cl->in_flight = 0;
    for (uint32_t i = 0; i < cl->n_conns; i++)
        conn_close(cl, &cl->conns[i]);
}

void client_free(struct client *cl)
{
    free(cl->conns);
    free(cl->in);
    (void)close(cl->epoll);
}
