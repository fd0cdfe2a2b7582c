/* http_rig.h - the control server over real loopback sockets, in one thread.
 *
 * The client's side never blocks: each wait turns the server's loop until what was waited for is
 * there. */
#ifndef SLUICE_TESTS_HTTP_RIG_H
#define SLUICE_TESTS_HTTP_RIG_H

#include "admin/http_server.h"
#include "base/check.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE = 20, BIG = 4 << 20 };

/* --- the server under test ---------------------------------------------------------------- */

struct fixture {
    struct ev_loop *loop;
    struct http_server *server;
    struct sockaddr_storage address;
    socklen_t address_len;
    struct http_request *kept;
    unsigned gone, mutated;
    char *big;
};

static inline void get_hello(struct http_request *req, void *ctx)
{
    (void)ctx;
    (void)http_reply_field(req, "X-Test", "yes");
    http_reply_text(req, 200, "hello");
}

static inline void get_echo(struct http_request *req, void *ctx)
{
    char name[32] = "-", text[160];
    (void)ctx;
    (void)http_query_get(req, "name", name, sizeof(name));
    int n = snprintf(text, sizeof(text), "%.*s|%s|%.*s|%.*s", STR_FMT(req->path), name,
                     STR_FMT(req->body), STR_FMT(http_request_field(req, "x-token")));
    http_reply(req, 200, "text/plain", text, (size_t)n);
}

static inline void on_gone(struct http_request *req)
{
    struct fixture *f = req->user;
    f->gone++;
    f->kept = NULL;
}

static inline void get_keep(struct http_request *req, void *ctx)
{
    struct fixture *f = ctx;
    f->kept = req;
    req->user = f;
    req->on_gone = on_gone;
}

static inline void get_keep_quiet(struct http_request *req, void *ctx)
{
    ((struct fixture *)ctx)->kept = req;
}

static inline void post_change(struct http_request *req, void *ctx)
{
    ((struct fixture *)ctx)->mutated++;
    http_reply(req, 204, NULL, NULL, 0);
}

static inline void get_big(struct http_request *req, void *ctx)
{
    http_reply(req, 200, "application/octet-stream", ((struct fixture *)ctx)->big, BIG);
}

static const struct http_route routes[] = {
    {"GET", "/v1/hello", get_hello, false},      {"GET", "/v1/keep", get_keep, false},
    {"GET", "/v1/quiet", get_keep_quiet, false}, {"GET", "/v1/big", get_big, false},
    {"POST", "/v1/change", post_change, true},   {"DELETE", "/v1/change", post_change, true},
    {"GET", "/v1/echo/*", get_echo, false},      {"POST", "/v1/echo/*", get_echo, false},
};

static inline void dispatch(struct http_request *req, void *ctx)
{
    http_dispatch(routes, ARRAY_LEN(routes), req, ctx);
}

static inline struct fixture *start(struct http_server_options o)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;

    CHECK(f);
    f->loop = ev_loop_new(EVFLAG_AUTO);
    f->address_len = sizeof(f->address);
    if (o.flags & HTTP_SERVER_UNIX) {
        sa_family_t family = AF_UNIX; /* the kernel picks an abstract name */
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        CHECK(bind(fd, (struct sockaddr *)&family, sizeof(family)) == 0);
    } else {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        CHECK(bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0);
    }
    CHECK(listen(fd, 64) == 0);
    (void)getsockname(fd, (struct sockaddr *)&f->address, &f->address_len);
    o.handler = dispatch;
    o.ctx = f;
    f->server = http_server_new(f->loop, fd, &o);
    CHECK(f->server);
    return f;
}

static inline void finish(struct fixture *f)
{
    f->server = http_server_free(f->server);
    ev_loop_destroy(f->loop);
    free(f->big);
    free(f);
}

/* --- the client ----------------------------------------------------------------------------- */

static inline int client(struct fixture *f)
{
    int fd = socket(f->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fd, (struct sockaddr *)&f->address, f->address_len) == 0);
    return fd;
}

static inline void put(int fd, const char *text)
{
    assert_int_equal((ssize_t)strlen(text), send(fd, text, strlen(text), MSG_NOSIGNAL));
}

static inline void turn(struct fixture *f)
{
    struct pollfd none = {.fd = -1};
    (void)ev_run(f->loop, EVRUN_NOWAIT);
    (void)poll(&none, 1, 0);
}

/* Reads into out until `until` is in it, or, with NULL, until the end. False when the connection
 * was reset, or nothing came in time. */
static inline bool get(struct fixture *f, int fd, const char *until, char *out, size_t cap)
{
    size_t n = 0;
    usec_t limit = clock_mono() + PATIENCE * USEC_PER_SEC;

    out[0] = '\0';
    while (clock_mono() < limit) {
        turn(f);
        ssize_t got = recv(fd, out + n, cap - 1 - n, MSG_DONTWAIT);
        if (got > 0) {
            n += (size_t)got;
            out[n] = '\0';
        }
        if (until && strstr(out, until))
            return true;
        if (got == 0)
            return !until;
        if (got < 0 && errno != EAGAIN)
            return false;
    }
    return false;
}

/* One request on its own connection, with the whole answer until the server closes. */
static const char *ask(struct fixture *f, const char *request)
{
    static char out[8192];
    int fd = client(f);
    put(fd, request);
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    (void)close(fd);
    return out;
}

static inline void assert_in(const char *text, const char *what)
{
    if (!text || !strstr(text, what))
        fail_msg("no \"%s\" in:\n%s", what, text ? text : "nothing");
}

#define END "Host: localhost\r\nConnection: close\r\n\r\n"

static const struct http_server_options tcp_options = {.flags = HTTP_SERVER_MUTATIONS};

static inline void wait_for_kept(struct fixture *f)
{
    usec_t limit = clock_mono() + PATIENCE * USEC_PER_SEC;
    while (!f->kept && clock_mono() < limit)
        turn(f);
    assert_non_null(f->kept);
}

static inline void wait_for_connections(struct fixture *f, size_t n)
{
    usec_t limit = clock_mono() + PATIENCE * USEC_PER_SEC;
    while (http_server_connections(f->server) != n && clock_mono() < limit)
        turn(f);
    assert_int_equal(n, http_server_connections(f->server));
}

#endif
