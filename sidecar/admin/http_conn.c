/* http_conn.c - one connection of a control server.
 *
 * One pump moves it through its states: write what is there, then read and answer the next
 * request. http_reply() only appends; nothing is freed in a callback: a closed connection is
 * freed before the loop blocks again. */
#include "admin/http_conn.h"

#include "base/mem.h"
#include "http/path.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 4096,
    MAX_PIPELINED = 16384, /* bytes that wait behind a request */
};

#define LINGER_TIME USEC_PER_SEC /* for the peer to take our last answer and close */

/* --- a connection's end ------------------------------------------------------------------ */

static void conn_arm(struct http_conn *c, usec_t after)
{
    ev_timer_stop(c->server->loop, &c->timer);
    if (after == 0)
        return;
    ev_timer_set(&c->timer, (double)after / (double)USEC_PER_SEC, 0.);
    /* The loop's notion of now may be old when a handler took its time. */
    ev_now_update(c->server->loop);
    ev_timer_start(c->server->loop, &c->timer);
}

static void request_clear(struct http_conn *c)
{
    message_free(&c->msg);
    message_free(&c->trailers);
    message_free(&c->reply);
    buf_clear(&c->server->pool, &c->body);
}

static void request_init(struct http_conn *c)
{
    message_init(&c->msg, true);
    message_init(&c->trailers, false);
    message_init(&c->reply, false);
    h1_head_init(&c->head, &H1_LIMITS_DEFAULT, METHOD_OTHER);
    c->body_bytes = 0;
    c->continue_due = false;
}

void http_conn_free(struct http_conn *c)
{
    CHECK(c->state == CONN_DEAD && !ev_is_active(&c->timer));
    list_remove(&c->node);
    request_clear(c);
    c->magic = 0;
    free(c);
}

void http_conn_close(struct http_conn *c)
{
    struct http_server *s = c->server;
    bool handling = c->state == CONN_HANDLING;

    if (c->state == CONN_DEAD)
        return;
    c->state = CONN_DEAD;
    ev_io_stop(s->loop, &c->readable);
    ev_io_stop(s->loop, &c->writable);
    ev_timer_stop(s->loop, &c->timer);
    (void)close(c->fd);
    c->fd = -1;
    buf_clear(&s->pool, &c->in);
    buf_clear(&s->pool, &c->out);
    list_remove(&c->node);
    s->n_conns--;
    if (handling && !c->req.on_gone) {
        list_push_back(&s->orphans, &c->node);
    } else {
        list_push_back(&s->dead, &c->node);
        if (handling) {
            c->req.on_gone(&c->req);
            c->req.magic = 0;
        }
    }
    if (s->spare_fd < 0)
        s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    http_server_accept_resume(s);
}

static void conn_linger(struct http_conn *c)
{
    /* Nothing unread and the peer done: no reset can come of it. */
    if (c->eof || shutdown(c->fd, SHUT_WR) < 0) {
        http_conn_close(c);
        return;
    }
    c->state = CONN_LINGER;
    ev_io_start(c->server->loop, &c->readable);
    conn_arm(c, LINGER_TIME);
}

/* --- requests ---------------------------------------------------------------------------- */

static void conn_handle(struct http_conn *c)
{
    struct http_server *s = c->server;
    const struct http_server_options *o = &s->options;
    struct message *m = &c->msg;
    const char *detail = "";
    bool has_body = m->method != METHOD_GET && m->method != METHOD_HEAD;

    if (m->connection_close)
        c->last = true;
    if (!(o->flags & (HTTP_SERVER_UNIX | HTTP_SERVER_ANY_HOST)) &&
        !guard_host_allowed(message_str(m, m->authority), o->allowed_hosts, o->n_allowed_hosts)) {
        http_conn_refuse(c, 403, "host_not_allowed", "This Host is not known here.");
        return;
    }
    if (!m->asterisk && path_apply(m, PATH_NORMALISE, &detail) != REASON_NONE) {
        http_conn_refuse(c, 400, "bad_request", detail);
        return;
    }
    const struct field *authorization = message_find(m, FIELD_AUTHORIZATION);
    bool may_mutate =
        (o->flags & HTTP_SERVER_MUTATIONS) &&
        ((o->flags & HTTP_SERVER_UNIX) ||
         (authorization && guard_token_matches(&s->token, field_value(m, authorization))));
    c->req = (struct http_request){
        .magic = HTTP_REQUEST_MAGIC,
        .method = (enum http_method)m->method,
        .method_text = message_str(m, m->method_text),
        .path = message_str(m, m->path),
        .query = message_str(m, m->query),
        .body = has_body && buf_len(&c->body) > 0
                    ? (struct str){buf_data(&c->body), buf_len(&c->body)}
                    : STR_NONE,
        .may_mutate = may_mutate,
        .head = m,
        .conn = c,
    };
    c->state = CONN_HANDLING;
    conn_arm(c, 0);
    o->handler(&c->req, o->ctx);
}

static void conn_bad(struct http_conn *c, enum reason reason, const char *detail)
{
    const struct reason_info *info = &reason_table[reason];
    c->last = true;
    http_conn_refuse(c, info->status ? info->status : 400, info->word,
                     detail ? detail : info->title);
}

/* Each returns false when it needs more bytes. */
static bool read_head(struct http_conn *c)
{
    struct http_server *s = c->server;
    size_t taken = 0;

    if (buf_len(&c->in) == 0)
        return false;
    enum h1_result r = h1_head_feed(&c->head, &c->msg, buf_data(&c->in), buf_len(&c->in), &taken);
    buf_consume(&s->pool, &c->in, taken);
    if (r == H1_ERROR) {
        conn_bad(c, c->head.reason, c->head.detail);
        return true;
    }
    if (r == H1_MORE) {
        if (c->state == CONN_IDLE && h1_head_begun(&c->head, &c->msg)) {
            c->state = CONN_HEAD;
            conn_arm(c, s->options.header_time);
        }
        return false;
    }
    if (c->msg.body == BODY_NONE || (c->msg.body == BODY_LENGTH && c->msg.content_length == 0)) {
        conn_handle(c);
        return true;
    }
    if (c->msg.body == BODY_LENGTH && c->msg.content_length > s->options.max_body) {
        c->last = true;
        http_conn_refuse(c, 413, "body_too_large", "The body is larger than is taken here.");
        return true;
    }
    h1_body_init(&c->framing, &c->msg, &c->head);
    c->state = CONN_BODY;
    c->continue_due = c->msg.expect_continue;
    conn_arm(c, s->options.idle_time);
    return true;
}

static bool read_body(struct http_conn *c)
{
    struct http_server *s = c->server;
    bool keep = c->msg.method != METHOD_GET && c->msg.method != METHOD_HEAD;

    while (buf_len(&c->in) > 0) {
        size_t taken = 0;
        struct str data = STR_NONE;
        c->continue_due = false;
        enum h1_result r = h1_body_feed(&c->framing, &c->trailers, buf_data(&c->in),
                                        buf_len(&c->in), &taken, &data);
        c->body_bytes += data.n;
        if (r == H1_ERROR) {
            conn_bad(c, c->framing.reason, c->framing.detail);
            return true;
        }
        if (c->body_bytes > s->options.max_body) {
            c->last = true;
            http_conn_refuse(c, 413, "body_too_large", "The body is larger than is taken here.");
            return true;
        }
        if (keep && buf_append(&s->pool, &c->body, data.p, data.n) < 0) {
            conn_bad(c, REASON_OUT_OF_MEMORY, NULL);
            return true;
        }
        buf_consume(&s->pool, &c->in, taken);
        if (r == H1_DONE) {
            conn_handle(c);
            return true;
        }
    }
    if (c->continue_due) {
        struct str go = STR("HTTP/1.1 100 Continue\r\n\r\n");
        c->continue_due = false;
        if (buf_append(&s->pool, &c->out, go.p, go.n) == 0)
            return true;
    }
    return false;
}

/* --- the pump ---------------------------------------------------------------------------- */

/* False when the peer takes no more for now, or the connection is gone. */
bool http_conn_flush(struct http_conn *c)
{
    struct http_server *s = c->server;

    while (buf_len(&c->out) > 0) {
        ssize_t n = send(c->fd, buf_data(&c->out), buf_len(&c->out), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            if (!ev_is_active(&c->writable)) {
                ev_io_start(s->loop, &c->writable);
                conn_arm(c, s->options.idle_time);
            }
            return false;
        }
        if (n < 0) {
            http_conn_close(c);
            return false;
        }
        buf_consume(&s->pool, &c->out, (size_t)n);
        if (ev_is_active(&c->writable))
            conn_arm(c, s->options.idle_time);
    }
    if (ev_is_active(&c->writable)) {
        ev_io_stop(s->loop, &c->writable);
        if (c->state == CONN_HANDLING)
            conn_arm(c, 0);
    }
    return true;
}

static void next_request(struct http_conn *c)
{
    struct http_server *s = c->server;

    request_clear(c);
    request_init(c);
    c->state = CONN_IDLE;
    list_remove(&c->node);
    list_push_back(&s->conns, &c->node);
    conn_arm(c, s->options.idle_time);
    http_server_accept_resume(s);
}

/* One step; false when there is nothing to do but wait. */
static bool conn_step(struct http_conn *c)
{
    if (!http_conn_flush(c))
        return false;
    switch (c->state) {
    case CONN_REPLYING:
        if (c->last) {
            conn_linger(c);
            return false;
        }
        next_request(c);
        return true;
    case CONN_IDLE:
    case CONN_HEAD:
        if (read_head(c))
            return true;
        break;
    case CONN_BODY:
        if (read_body(c))
            return true;
        break;
    case CONN_HANDLING:
    case CONN_LINGER:
    case CONN_DEAD:
        return false;
    }
    if (c->eof)
        http_conn_close(c);
    return false;
}

void http_conn_pump(struct http_conn *c)
{
    struct http_server *s = c->server;

    if (c->pumping)
        return;
    c->pumping = true;
    s->depth++;
    while (c->state != CONN_DEAD && conn_step(c))
        ;
    s->depth--;
    c->pumping = false;
    /* What could be answered at once has been; one who leaves does not wait for the rest. */
    if (c->eof && c->state == CONN_HANDLING)
        http_conn_close(c);
    /* Reading went on pause when too much was waiting. */
    if (c->state != CONN_DEAD && !c->eof && buf_len(&c->in) < MAX_PIPELINED)
        ev_io_start(s->loop, &c->readable);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct http_conn *c = w->data;
    char waste[READ_BYTES];
    (void)events;
    CHECK_OBJ(c, HTTP_CONN_MAGIC);

    bool linger = c->state == CONN_LINGER;
    char *to = linger ? waste : buf_reserve(&c->server->pool, &c->in, READ_BYTES);
    if (!to) {
        http_conn_close(c);
        return;
    }
    ssize_t n = recv(c->fd, to, READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (buf_len(&c->in) == 0)
            buf_clear(&c->server->pool, &c->in);
        return;
    }
    if (n < 0 || (n == 0 && linger)) {
        http_conn_close(c);
        return;
    }
    if (linger)
        return;
    if (n == 0) {
        c->eof = true;
        ev_io_stop(loop, &c->readable);
        if (buf_len(&c->in) == 0)
            buf_clear(&c->server->pool, &c->in);
    } else {
        buf_commit(&c->in, (size_t)n);
    }
    if (buf_len(&c->in) >= MAX_PIPELINED)
        ev_io_stop(loop, &c->readable);
    http_conn_pump(c);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int events)
{
    struct http_conn *c = w->data;
    (void)loop;
    (void)events;
    CHECK_OBJ(c, HTTP_CONN_MAGIC);
    http_conn_pump(c);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct http_conn *c = w->data;
    (void)loop;
    (void)events;
    CHECK_OBJ(c, HTTP_CONN_MAGIC);
    if ((c->state == CONN_HEAD || c->state == CONN_BODY) && buf_len(&c->out) == 0) {
        c->pumping = true;
        conn_bad(c, REASON_CLIENT_TIMEOUT, NULL);
        c->pumping = false;
        http_conn_pump(c);
    } else {
        http_conn_close(c);
    }
}

/* --- its beginning ----------------------------------------------------------------------- */

struct http_conn *http_conn_new(struct http_server *s, int fd)
{
    struct http_conn *c = mem_alloc(sizeof(*c));
    int on = 1;

    if (!c)
        return NULL;
    /* The messages' arrays need no clearing. */
    memset(c, 0, offsetof(struct http_conn, msg));
    c->req = (struct http_request){0};
    c->magic = HTTP_CONN_MAGIC;
    c->server = s;
    c->fd = fd;
    request_init(c);
    ev_io_init(&c->readable, on_readable, fd, EV_READ);
    ev_io_init(&c->writable, on_writable, fd, EV_WRITE);
    ev_init(&c->timer, on_timer);
    c->readable.data = c->writable.data = c->timer.data = c;
    if (!(s->options.flags & HTTP_SERVER_UNIX))
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    list_push_back(&s->conns, &c->node);
    s->n_conns++;
    ev_io_start(s->loop, &c->readable);
    conn_arm(c, s->options.idle_time);
    return c;
}

struct http_request *http_server_adopt(struct http_server *s, int fd, enum http_method method)
{
    struct http_conn *c = http_conn_new(s, fd);
    if (!c)
        return NULL;
    c->msg.method = (uint8_t)method;
    c->msg.version_minor = 1;
    c->last = true;
    c->req = (struct http_request){
        .magic = HTTP_REQUEST_MAGIC, .method = method, .head = &c->msg, .conn = c};
    c->state = CONN_HANDLING;
    conn_arm(c, 0);
    return &c->req;
}

int http_request_fd(const struct http_request *req)
{
    CHECK_OBJ(req, HTTP_REQUEST_MAGIC);
    return req->conn->fd;
}
