/* demo_app_conn.c - a connection of the demo application: bytes, framing, timers.
 *
 * HTTP/1.1 as an ordinary server reads it: one read and one write a request where it is small. */
#include "demo_app_conn.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAX_HEAD_BYTES = 64 * 1024,
    MAX_OUT_BYTES = 256 * 1024, /* no more is read from a peer that does not read */
    LINGER_MS = 2000,
};

/* Timers: a wheel of 1 ms slots; a slot holds what is due there in any of its turns. */

static uint64_t now_ms(void)
{
    return clock_mono() / USEC_PER_MSEC;
}

void demo_conn_set_timer(struct app *a, struct app_conn *c, uint32_t ms)
{
    if (list_linked(&c->timer))
        list_remove(&c->timer);
    else if (a->n_timers++ == 0)
        a->wheel_ms = now_ms();
    a->now_ms = now_ms();
    c->due = a->now_ms + ms + 1;
    list_push_back(&a->wheel[c->due % APP_WHEEL_SLOTS], &c->timer);
}

static void demo_conn_clear_timer(struct app *a, struct app_conn *c)
{
    if (!list_linked(&c->timer))
        return;
    list_remove(&c->timer);
    a->n_timers--;
}

/* Output. */

size_t demo_conn_send_some(struct app_conn *c, const char *p, size_t n)
{
    if (buf_len(&c->out) > 0 || c->dead)
        return 0;
    ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0)
        return (size_t)sent;
    if (errno != EAGAIN && errno != EINTR)
        c->dead = true;
    return 0;
}

void demo_conn_send(struct app *a, struct app_conn *c, const char *p, size_t n)
{
    size_t sent = demo_conn_send_some(c, p, n);
    if (sent < n && !c->dead && buf_append(&a->pool, &c->out, p + sent, n - sent) < 0)
        c->dead = true;
}

void demo_conn_flush(struct app *a, struct app_conn *c)
{
    while (buf_len(&c->out) > 0 && !c->dead) {
        ssize_t sent =
            send(c->fd, buf_data(&c->out), buf_len(&c->out), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            c->dead = errno != EAGAIN && errno != EINTR;
            return;
        }
        buf_consume(&a->pool, &c->out, (size_t)sent);
    }
}

void demo_conn_die(struct app_conn *c, bool reset)
{
    if (reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    c->dead = true;
}

void demo_conn_answered(struct app_conn *c)
{
    if (c->keep_alive) {
        if (c->state != APP_BODY) /* else an early answer: the body is read and dropped first */
            c->state = APP_HEAD;
        return;
    }
    /* Closing with unread bytes would reset the connection and could take the answer with it. */
    c->state = c->state == APP_BODY ? APP_LINGER : APP_HEAD;
    c->close_after = true;
}

/* Reading requests. */

static void read_field(struct app_request *r, struct str name, struct str value)
{
    struct str item;
    switch (name.p[0] | 0x20) {
    case 'c':
        if (str_ieq(name, STR("content-length"))) {
            r->has_length = str_to_u64(value, &r->content_length);
        } else if (str_ieq(name, STR("connection"))) {
            while (str_list_next(&value, &item)) {
                if (str_ieq(item, STR("close")))
                    r->keep_alive = false;
                else if (str_ieq(item, STR("keep-alive")))
                    r->keep_alive = true;
            }
        }
        break;
    case 't':
        if (str_ieq(name, STR("transfer-encoding")))
            r->chunked = str_ieq(value, STR("chunked"));
        break;
    case 'e':
        if (str_ieq(name, STR("expect")))
            r->expects_continue = str_ieq(value, STR("100-continue"));
        break;
    case 'i':
        if (str_ieq(name, STR("idempotency-key")))
            r->idempotency_key = value;
        break;
    case 'u':
        if (str_ieq(name, STR("upgrade")))
            r->upgrade_websocket = str_ieq(value, STR("websocket"));
        break;
    case 's':
        if (str_ieq(name, STR("sec-websocket-key")))
            r->websocket_key = value;
        break;
    default:
        break;
    }
}

/* The head is whole. A demo, not a guard: strict parsing is the proxy's business. */
static bool read_head(struct str head, struct app_request *r)
{
    *r = (struct app_request){.head = head};
    const char *p = head.p, *end = head.p + head.n;
    const char *eol = memchr(p, '\n', head.n);
    const char *target = memchr(p, ' ', (size_t)(eol - p));
    if (!target)
        return false;
    r->method = (struct str){p, (size_t)(target - p)};
    target++;
    const char *target_end = memchr(target, ' ', (size_t)(eol - target));
    if (!target_end || eol - target_end < 9 || memcmp(target_end + 1, "HTTP/1.", 7) != 0)
        return false;
    r->http10 = target_end[8] == '0';
    r->keep_alive = !r->http10;
    const char *query = memchr(target, '?', (size_t)(target_end - target));
    r->path = (struct str){target, (size_t)((query ? query : target_end) - target)};
    if (query)
        r->query = (struct str){query + 1, (size_t)(target_end - query - 1)};

    for (p = eol + 1; p < end; p = eol + 1) {
        eol = memchr(p, '\n', (size_t)(end - p));
        if (!eol || eol - p <= 1)
            break;
        const char *colon = memchr(p, ':', (size_t)(eol - p));
        if (!colon || colon == p)
            return false;
        read_field(r, (struct str){p, (size_t)(colon - p)},
                   str_trim((struct str){colon + 1, (size_t)(eol - colon - 2)}));
    }
    return true;
}

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = (char)(ch | 0x20);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Takes bytes of a chunked body; returns how many. The state tells what comes next. */
static size_t take_chunked(struct app *a, struct app_conn *c, const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && c->state == APP_BODY && !c->dead) {
        char ch = p[i];
        switch ((enum chunk_state)c->chunk) {
        case CHUNK_SIZE:
            if (hex_digit(ch) >= 0) {
                c->body_left = c->body_left << 4 | (uint64_t)hex_digit(ch);
                i++;
                break;
            }
            c->chunk = CHUNK_EXTENSION;
            /* fall through */
        case CHUNK_EXTENSION: {
            const char *eol = memchr(p + i, '\n', n - i);
            i = eol ? (size_t)(eol - p) + 1 : n;
            if (eol) {
                c->chunk = c->body_left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
                c->at_line_start = true;
            }
            break;
        }
        case CHUNK_DATA: {
            size_t take = (size_t)min_u64(c->body_left, n - i);
            answer_body_bytes(a, c, p + i, take);
            i += take;
            c->body_left -= take;
            if (c->body_left == 0)
                c->chunk = CHUNK_DATA_END;
            break;
        }
        case CHUNK_DATA_END:
            i++;
            if (ch == '\n')
                c->chunk = CHUNK_SIZE;
            break;
        case CHUNK_TRAILER:
            i++;
            if (ch == '\n' && c->at_line_start)
                answer_body_done(a, c);
            else if (ch != '\r')
                c->at_line_start = ch == '\n';
            break;
        }
    }
    return i;
}

/* One step with the n bytes at p; returns how many it took. 0: it waits for something. */
static size_t demo_conn_step(struct app *a, struct app_conn *c, const char *p, size_t n)
{
    switch ((enum app_state)c->state) {
    case APP_HEAD: {
        if (c->close_after)
            return n;
        if (p[0] == '\r' || p[0] == '\n')
            return 1;
        const char *empty = memmem(p, n, "\r\n\r\n", 4);
        if (!empty) {
            if (n > MAX_HEAD_BYTES)
                answer_bad_request(a, c);
            return n > MAX_HEAD_BYTES ? n : 0;
        }
        struct app_request r;
        struct str head = {p, (size_t)(empty - p) + 4};
        if (read_head(head, &r))
            answer_begin(a, c, &r);
        else
            answer_bad_request(a, c);
        return head.n;
    }
    case APP_BODY: {
        if (c->body_chunked)
            return take_chunked(a, c, p, n);
        size_t take = (size_t)min_u64(c->body_left, n);
        answer_body_bytes(a, c, p, take);
        c->body_left -= take;
        if (c->body_left == 0)
            answer_body_done(a, c);
        return take;
    }
    case APP_TUNNEL:
        demo_conn_send(a, c, p, n);
        return n;
    case APP_WEBSOCKET:
        return demo_websocket_step(a, c, p, n);
    case APP_LINGER:
        return n;
    case APP_TIMER:
    case APP_STREAM:
    case APP_HANG:
        return 0;
    }
    return 0;
}

/* Works through what was held back and the n new bytes at p, as far as it goes. */
static void demo_conn_drive(struct app *a, struct app_conn *c, const char *p, size_t n)
{
    bool held = buf_len(&c->held) > 0;
    if (held) {
        if (buf_append(&a->pool, &c->held, p, n) < 0) {
            c->dead = true;
            return;
        }
        p = buf_data(&c->held);
        n = buf_len(&c->held);
    }
    size_t at = 0;
    while (at < n && !c->dead) {
        size_t took = demo_conn_step(a, c, p + at, n - at);
        if (took == 0)
            break;
        at += took;
    }
    if (held)
        buf_consume(&a->pool, &c->held, at);
    else if (at < n && buf_append(&a->pool, &c->held, p + at, n - at) < 0)
        c->dead = true;
}

/* The end of a connection's event: frees it, or arms what it waits for. */
static void demo_conn_settle(struct app *a, struct app_conn *c)
{
    bool flushed = buf_len(&c->out) == 0;
    if (flushed && c->close_after && !c->dead) {
        if (c->state != APP_LINGER || c->peer_done) {
            c->dead = true;
        } else if (!list_linked(&c->timer)) {
            (void)shutdown(c->fd, SHUT_WR);
            demo_conn_set_timer(a, c, LINGER_MS);
        }
    }
    if (flushed && c->peer_done && c->state != APP_TIMER && c->state != APP_STREAM)
        c->dead = true;
    if (c->dead) {
        demo_conn_clear_timer(a, c);
        (void)close(c->fd);
        buf_clear(&a->pool, &c->held);
        buf_clear(&a->pool, &c->out);
        a->open--;
        free(c);
        return;
    }
    uint32_t want = 0;
    if (!c->peer_done && buf_len(&c->held) < MAX_HEAD_BYTES * 2 && buf_len(&c->out) < MAX_OUT_BYTES)
        want |= EPOLLIN;
    if (!flushed || c->state == APP_STREAM)
        want |= EPOLLOUT;
    if (want != c->interest) {
        struct epoll_event ev = {.events = want, .data.ptr = c};
        (void)epoll_ctl(a->epoll, EPOLL_CTL_MOD, c->fd, &ev);
        c->interest = want;
    }
}

void demo_conn_event(struct app *a, struct app_conn *c, uint32_t events)
{
    if (events & EPOLLERR)
        c->dead = true;
    if (!c->dead && (events & EPOLLOUT)) {
        demo_conn_flush(a, c);
        if (c->state == APP_STREAM && !c->dead)
            answer_stream(a, c);
        if (c->state == APP_HEAD && buf_len(&c->held) > 0 && !c->dead)
            demo_conn_drive(a, c, NULL, 0);
    }
    if (!c->dead && (events & (EPOLLIN | EPOLLHUP)) && !c->peer_done) {
        ssize_t n = recv(c->fd, a->in, APP_READ_BYTES, MSG_DONTWAIT);
        if (n > 0)
            demo_conn_drive(a, c, a->in, (size_t)n);
        else if (n == 0)
            c->peer_done = true;
        else if (errno != EAGAIN && errno != EINTR)
            c->dead = true;
        if (c->peer_done)
            c->keep_alive = false;
    }
    demo_conn_settle(a, c);
}

void app_fire_timers(struct app *a)
{
    if (a->n_timers == 0)
        return;
    a->now_ms = now_ms();
    if (a->now_ms - a->wheel_ms > APP_WHEEL_SLOTS)
        a->wheel_ms = a->now_ms - APP_WHEEL_SLOTS;
    while (a->wheel_ms < a->now_ms) {
        struct list *slot = &a->wheel[++a->wheel_ms % APP_WHEEL_SLOTS]; /* a timer may move it */
        LIST_FOREACH_SAFE (it, slot) {
            struct app_conn *c = LIST_ENTRY(it, struct app_conn, timer);
            if (c->due > a->now_ms)
                continue;
            demo_conn_clear_timer(a, c);
            if (c->state == APP_LINGER)
                c->dead = true;
            else
                answer_timer(a, c);
            if (!c->dead && c->state == APP_HEAD && buf_len(&c->held) > 0)
                demo_conn_drive(a, c, NULL, 0);
            demo_conn_settle(a, c);
        }
    }
}
