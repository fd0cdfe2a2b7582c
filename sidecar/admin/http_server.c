/* http_server.c - a small HTTP/1.1 server for the control thread: its listening socket. */
#include "admin/http_conn.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_A_TURN = 32 };

#define ACCEPT_PAUSE (100 * USEC_PER_MSEC) /* when no fd is left */

/* Who goes for one more: NULL when all are at work. The list has the longest idle first. */
static struct http_conn *longest_idle(struct http_server *s)
{
    LIST_FOREACH (it, &s->conns) {
        struct http_conn *c = LIST_ENTRY(it, struct http_conn, node);
        if (c->state == CONN_IDLE && buf_len(&c->in) == 0)
            return c;
    }
    return NULL;
}

void http_server_accept_resume(struct http_server *s)
{
    if (s->fd >= 0 && !ev_is_active(&s->accept_again))
        ev_io_start(s->loop, &s->acceptable);
}

static int accept_one(struct http_server *s)
{
    int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE) && s->spare_fd >= 0) {
        /* The operator gets in even when the data path has eaten all fds. */
        (void)close(s->spare_fd);
        s->spare_fd = -1;
        fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    return fd < 0 ? -errno : fd;
}

static void on_acceptable(struct ev_loop *loop, ev_io *w, int events)
{
    struct http_server *s = w->data;
    (void)events;
    CHECK_OBJ(s, HTTP_SERVER_MAGIC);

    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct http_conn *leaves = NULL;
        if (s->n_conns >= s->options.max_connections) {
            leaves = longest_idle(s);
            if (!leaves) {
                ev_io_stop(loop, &s->acceptable);
                return;
            }
        }
        int fd = accept_one(s);
        if (fd == -EINTR || fd == -ECONNABORTED)
            continue;
        if (fd == -EAGAIN)
            return;
        if (fd < 0) {
            ev_io_stop(loop, &s->acceptable);
            ev_timer_set(&s->accept_again, (double)ACCEPT_PAUSE / (double)USEC_PER_SEC, 0.);
            ev_timer_start(loop, &s->accept_again);
            return;
        }
        if (leaves)
            http_conn_close(leaves);
        if (!http_conn_new(s, fd))
            (void)close(fd);
    }
}

static void on_accept_again(struct ev_loop *loop, ev_timer *w, int events)
{
    struct http_server *s = w->data;
    (void)loop;
    (void)events;
    CHECK_OBJ(s, HTTP_SERVER_MAGIC);
    http_server_accept_resume(s);
}

static void on_reap(struct ev_loop *loop, ev_prepare *w, int events)
{
    struct http_server *s = w->data;
    (void)loop;
    (void)events;
    CHECK_OBJ(s, HTTP_SERVER_MAGIC);
    while (!list_empty(&s->dead))
        http_conn_free(LIST_ENTRY(list_first(&s->dead), struct http_conn, node));
}

struct http_server *http_server_new(struct ev_loop *loop, int listen_fd,
                                    const struct http_server_options *options)
{
    struct http_server *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->magic = HTTP_SERVER_MAGIC;
    s->loop = loop;
    s->options = *options;
    if (s->options.max_connections == 0)
        s->options.max_connections = 64;
    if (s->options.max_body == 0)
        s->options.max_body = 64 << 10;
    if (s->options.header_time == 0)
        s->options.header_time = 5 * USEC_PER_SEC;
    if (s->options.idle_time == 0)
        s->options.idle_time = 30 * USEC_PER_SEC;
    guard_token_init(&s->token, s->options.token_file);
    s->fd = listen_fd;
    s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    list_init(&s->conns);
    list_init(&s->dead);
    list_init(&s->orphans);
    ev_io_init(&s->acceptable, on_acceptable, listen_fd, EV_READ);
    ev_init(&s->accept_again, on_accept_again);
    ev_prepare_init(&s->reaper, on_reap);
    s->acceptable.data = s->accept_again.data = s->reaper.data = s;
    ev_io_start(loop, &s->acceptable);
    ev_prepare_start(loop, &s->reaper);
    ev_unref(loop); /* the reaper alone keeps no loop running */
    return s;
}

void http_server_stop(struct http_server *s)
{
    CHECK_OBJ(s, HTTP_SERVER_MAGIC);
    if (s->fd >= 0) {
        ev_io_stop(s->loop, &s->acceptable);
        ev_timer_stop(s->loop, &s->accept_again);
        (void)close(s->fd);
        s->fd = -1;
    }
    LIST_FOREACH_SAFE (it, &s->conns) {
        struct http_conn *c = LIST_ENTRY(it, struct http_conn, node);
        if (c->state == CONN_IDLE && !c->pumping)
            http_conn_close(c);
        else
            c->last = true;
    }
}

struct http_server *http_server_free(struct http_server *s)
{
    if (!s)
        return NULL;
    CHECK_OBJ(s, HTTP_SERVER_MAGIC);
    CHECK(s->depth == 0);
    http_server_stop(s);
    while (!list_empty(&s->conns)) {
        struct http_conn *c = LIST_ENTRY(list_first(&s->conns), struct http_conn, node);
        if (c->state == CONN_REPLYING)
            (void)http_conn_flush(c);
        http_conn_close(c);
    }
    while (!list_empty(&s->orphans)) {
        struct list *first = list_first(&s->orphans);
        list_remove(first);
        list_push_back(&s->dead, first);
    }
    on_reap(s->loop, &s->reaper, 0);
    ev_ref(s->loop);
    ev_prepare_stop(s->loop, &s->reaper);
    buf_pool_free(&s->pool);
    if (s->spare_fd >= 0)
        (void)close(s->spare_fd);
    s->magic = 0;
    free(s);
    return NULL;
}

size_t http_server_connections(const struct http_server *s)
{
    return s->n_conns;
}
