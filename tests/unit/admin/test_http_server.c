/* test_http_server.c - the control server over real loopback sockets, in one thread.
 *
 * The client's side never blocks: each wait turns the server's loop until what was waited for is
 * there. */
#include "admin/guard.h"
#include "admin/http_server.h"
#include "base/check.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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

static void get_hello(struct http_request *req, void *ctx)
{
    (void)ctx;
    (void)http_reply_field(req, "X-Test", "yes");
    http_reply_text(req, 200, "hello");
}

static void get_echo(struct http_request *req, void *ctx)
{
    char name[32] = "-", text[160];
    (void)ctx;
    (void)http_query_get(req, "name", name, sizeof(name));
    int n = snprintf(text, sizeof(text), "%.*s|%s|%.*s|%.*s", STR_FMT(req->path), name,
                     STR_FMT(req->body), STR_FMT(http_request_field(req, "x-token")));
    http_reply(req, 200, "text/plain", text, (size_t)n);
}

static void on_gone(struct http_request *req)
{
    struct fixture *f = req->user;
    f->gone++;
    f->kept = NULL;
}

static void get_keep(struct http_request *req, void *ctx)
{
    struct fixture *f = ctx;
    f->kept = req;
    req->user = f;
    req->on_gone = on_gone;
}

static void get_keep_quiet(struct http_request *req, void *ctx)
{
    ((struct fixture *)ctx)->kept = req;
}

static void post_change(struct http_request *req, void *ctx)
{
    ((struct fixture *)ctx)->mutated++;
    http_reply(req, 204, NULL, NULL, 0);
}

static void get_big(struct http_request *req, void *ctx)
{
    http_reply(req, 200, "application/octet-stream", ((struct fixture *)ctx)->big, BIG);
}

static const struct http_route routes[] = {
    {"GET", "/v1/hello", get_hello, false},      {"GET", "/v1/keep", get_keep, false},
    {"GET", "/v1/quiet", get_keep_quiet, false}, {"GET", "/v1/big", get_big, false},
    {"POST", "/v1/change", post_change, true},   {"DELETE", "/v1/change", post_change, true},
    {"GET", "/v1/echo/*", get_echo, false},      {"POST", "/v1/echo/*", get_echo, false},
};

static void dispatch(struct http_request *req, void *ctx)
{
    http_dispatch(routes, ARRAY_LEN(routes), req, ctx);
}

static struct fixture *start(struct http_server_options o)
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

static void finish(struct fixture *f)
{
    f->server = http_server_free(f->server);
    ev_loop_destroy(f->loop);
    free(f->big);
    free(f);
}

/* --- the client ----------------------------------------------------------------------------- */

static int client(struct fixture *f)
{
    int fd = socket(f->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fd, (struct sockaddr *)&f->address, f->address_len) == 0);
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal((ssize_t)strlen(text), send(fd, text, strlen(text), MSG_NOSIGNAL));
}

static void turn(struct fixture *f)
{
    struct pollfd none = {.fd = -1};
    (void)ev_run(f->loop, EVRUN_NOWAIT);
    (void)poll(&none, 1, 0);
}

/* Reads into out until `until` is in it, or, with NULL, until the end. False when the connection
 * was reset, or nothing came in time. */
static bool get(struct fixture *f, int fd, const char *until, char *out, size_t cap)
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

static void assert_in(const char *text, const char *what)
{
    if (!text || !strstr(text, what))
        fail_msg("no \"%s\" in:\n%s", what, text ? text : "nothing");
}

#define END "Host: localhost\r\nConnection: close\r\n\r\n"

static const struct http_server_options tcp_options = {.flags = HTTP_SERVER_MUTATIONS};

static void wait_for_kept(struct fixture *f)
{
    usec_t limit = clock_mono() + PATIENCE * USEC_PER_SEC;
    while (!f->kept && clock_mono() < limit)
        turn(f);
    assert_non_null(f->kept);
}

static void wait_for_connections(struct fixture *f, size_t n)
{
    usec_t limit = clock_mono() + PATIENCE * USEC_PER_SEC;
    while (http_server_connections(f->server) != n && clock_mono() < limit)
        turn(f);
    assert_int_equal(n, http_server_connections(f->server));
}

/* --- tests ------------------------------------------------------------------------------- */

static void test_get(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    const char *a = ask(f, "GET /v1/hello HTTP/1.1\r\n" END);
    assert_int_equal(0, strncmp(a, "HTTP/1.1 200 OK\r\n", 17));
    assert_in(a, "Content-Length: 5\r\n");
    assert_in(a, "X-Test: yes\r\n");
    assert_in(a, "Cache-Control: no-store\r\n");
    assert_in(a, "Connection: close\r\n");
    assert_in(a, "\r\n\r\nhello");

    a = ask(f, "HEAD /v1/hello HTTP/1.1\r\n" END);
    assert_in(a, "Content-Length: 5\r\n");
    assert_string_equal(strstr(a, "\r\n\r\n"), "\r\n\r\n");

    a = ask(f, "GET /v1/x/%2e%2e/echo/a?name=%41+b HTTP/1.1\r\nX-Token: t\r\n" END);
    assert_in(a, "/v1/echo/a|A b||t");
    a = ask(f, "GET /nothing HTTP/1.1\r\n" END);
    assert_in(a, "HTTP/1.1 404 Not Found\r\n");
    assert_in(a, "Content-Type: application/problem+json\r\n");
    assert_in(a, "\"code\":\"not_found\"");
    a = ask(f, "POST /v1/hello HTTP/1.1\r\nContent-Length: 0\r\n" END);
    assert_in(a, "HTTP/1.1 405");
    assert_in(a, "Allow: GET, HEAD\r\n");
    a = ask(f, "GET /v1/change HTTP/1.1\r\n" END);
    assert_in(a, "Allow: POST, DELETE\r\n");
    /* HTTP/1.0: closes by itself */
    a = ask(f, "GET /v1/hello HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert_in(a, "hello");
    finish(f);
}

static void test_bodies(void **state)
{
    (void)state;
    struct http_server_options o = tcp_options;
    char out[4096];
    o.max_body = 8;
    struct fixture *f = start(o);
    assert_in(ask(f, "POST /v1/echo/ HTTP/1.1\r\nContent-Length: 8\r\n" END "12345678"),
              "|-|12345678|");
    assert_in(ask(f, "POST /v1/echo/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END
                     "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
              "|-|abcde|");
    assert_in(ask(f, "POST /v1/echo/ HTTP/1.1\r\nContent-Length: 9\r\n" END "123456789"),
              "HTTP/1.1 413");
    assert_in(ask(f, "POST /v1/echo/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END
                     "9\r\n123456789\r\n0\r\n\r\n"),
              "HTTP/1.1 413");
    /* Of GET it is read and not looked at. */
    assert_in(ask(f, "GET /v1/echo/ HTTP/1.1\r\nContent-Length: 4\r\n" END "1234"), "|-||");
    assert_in(ask(f, "GET /v1/echo/ HTTP/1.1\r\nContent-Length: 40\r\n" END), "HTTP/1.1 413");

    int fd = client(f);
    put(fd, "POST /v1/echo/ HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" END);
    assert_true(get(f, fd, "HTTP/1.1 100 Continue\r\n\r\n", out, sizeof(out)));
    put(fd, "hi");
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    assert_in(out, "|-|hi|");
    (void)close(fd);
    finish(f);
}

static void test_any_cut(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    const char *text = "POST /v1/echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
                       "GET /v1/hello HTTP/1.1\r\n" END;
    char out[4096];
    int fd = client(f);
    for (const char *p = text; *p; p++) {
        char one[2] = {*p, '\0'};
        put(fd, one);
        turn(f);
    }
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    assert_in(out, "/v1/echo/x|-|abc|");
    assert_in(out, "hello");
    (void)close(fd);
    finish(f);
}

static void test_pipelined_in_order(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    char out[8192];
    int fd = client(f);
    put(fd, "GET /v1/hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
            "GET /v1/keep HTTP/1.1\r\nHost: localhost\r\n\r\n"
            "GET /v1/echo/z HTTP/1.1\r\n" END);
    wait_for_kept(f);
    assert_true(get(f, fd, "hello", out, sizeof(out)));
    assert_null(strstr(out, "/v1/echo/z"));
    struct http_request *req = f->kept;
    f->kept = NULL;
    http_reply_text(req, 200, "late");
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    const char *late = strstr(out, "late");
    assert_non_null(late);
    assert_in(late, "/v1/echo/z");
    assert_int_equal(0, f->gone);
    (void)close(fd);

    /* Who sends all and half-closes gets all that can be answered at once. */
    fd = client(f);
    put(fd, "GET /v1/hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
            "GET /v1/echo/y HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (void)shutdown(fd, SHUT_WR);
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    assert_in(out, "hello");
    assert_in(out, "/v1/echo/y");
    (void)close(fd);
    finish(f);
}

/* One end of a connection whose request another process has read. */
static int adopted(struct fixture *f, enum http_method method)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    f->kept = http_server_adopt(f->server, fds[1], method);
    CHECK(f->kept && http_request_fd(f->kept) == fds[1]);
    f->kept->user = f;
    f->kept->on_gone = on_gone;
    return fds[0];
}

static void test_adopted(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    char out[8192];
    for (int head = 0; head < 2; head++) {
        int fd = adopted(f, head ? METHOD_HEAD : METHOD_GET);
        turn(f);
        assert_true(recv(fd, out, sizeof(out), MSG_DONTWAIT) < 0 && errno == EAGAIN);
        put(fd, "GET /v1/hello HTTP/1.1\r\n" END); /* it is not read any more */
        turn(f);
        f->kept->on_gone = NULL;
        http_reply_text(f->kept, 200, "late");
        assert_true(get(f, fd, NULL, out, sizeof(out)));
        assert_true(strncmp(out, "HTTP/1.1 200 ", 13) == 0);
        assert_in(out, "Content-Length: 4\r\n");
        assert_in(out, "Connection: close\r\n");
        assert_string_equal(strstr(out, "\r\n\r\n") + 4, head ? "" : "late");
        assert_null(strstr(out, "hello"));
        (void)close(fd);
        wait_for_connections(f, 0);
    }
    int fd = adopted(f, METHOD_GET);
    (void)close(fd);
    wait_for_connections(f, 0);
    assert_int_equal(1, f->gone);
    finish(f);
}

static void test_client_goes(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    usec_t limit = clock_mono() + PATIENCE * USEC_PER_SEC;
    int fd = client(f);
    put(fd, "GET /v1/keep HTTP/1.1\r\n" END);
    wait_for_kept(f);
    (void)close(fd);
    while (f->gone == 0 && clock_mono() < limit)
        turn(f);
    assert_int_equal(1, f->gone);

    /* A handler that does not care may reply all the same. */
    fd = client(f);
    put(fd, "GET /v1/quiet HTTP/1.1\r\n" END);
    wait_for_kept(f);
    (void)close(fd);
    wait_for_connections(f, 0);
    (void)http_reply_field(f->kept, "X-Nobody", "sees");
    http_reply_text(f->kept, 200, "to nobody");
    turn(f);

    /* The server's end is told too; one of these has on_gone, one has not. */
    f->kept = NULL;
    int a = client(f), b = client(f);
    put(a, "GET /v1/quiet HTTP/1.1\r\n" END);
    wait_for_kept(f);
    f->kept = NULL;
    put(b, "GET /v1/keep HTTP/1.1\r\n" END);
    wait_for_kept(f);
    f->server = http_server_free(f->server);
    assert_int_equal(2, f->gone);
    (void)close(a);
    (void)close(b);
    finish(f);
}

static void test_host_guard(void **state)
{
    (void)state;
    const struct str allowed[] = {STR("sluice.internal")};
    struct http_server_options o = {.allowed_hosts = allowed, .n_allowed_hosts = 1};
    struct fixture *f = start(o);
    static const struct {
        const char *host;
        bool ok;
    } cases[] = {
        {"localhost", true},
        {"LOCALHOST:15900", true},
        {"127.0.0.1:1", true},
        {"[::1]:15900", true},
        {"10.1.2.3", true},
        {"sluice.internal:80", true},
        {"evil.example", false},
        {"localhost.evil.example", false},
        {"127.0.0.1.evil.example:15900", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char request[256];
        (void)snprintf(request, sizeof(request),
                       "GET /v1/hello HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                       cases[i].host);
        assert_in(ask(f, request), cases[i].ok ? "HTTP/1.1 200" : "HTTP/1.1 403");
    }
    assert_false(guard_host_allowed(STR(""), allowed, 1));
    assert_false(guard_host_allowed(STR("[::1"), allowed, 1));
    finish(f);

    o.flags = HTTP_SERVER_ANY_HOST;
    f = start(o);
    assert_in(ask(f, "GET /v1/hello HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
              "HTTP/1.1 200");
    finish(f);
}

static void write_file(const char *path, const char *text)
{
    char other[80];
    (void)snprintf(other, sizeof(other), "%s.new", path);
    int fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
    CHECK(rename(other, path) == 0);
}

static void test_mutations(void **state)
{
    (void)state;
    char path[64];
    (void)snprintf(path, sizeof(path), "/tmp/test_http_server.%d", (int)getpid());
    (void)unlink(path);
    struct fixture *f = start(tcp_options);
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\n" END), "HTTP/1.1 403");
    finish(f);

    struct http_server_options o = tcp_options;
    o.token_file = path;
    f = start(o);
    /* No file, no token; and an empty one fits nothing. */
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Bearer \r\n" END), "HTTP/1.1 401");
    write_file(path, "\n");
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Bearer x\r\n" END),
              "WWW-Authenticate: Bearer");
    write_file(path, "secret\n");
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Bearer secre\r\n" END), " 401");
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Basic secret\r\n" END), " 401");
    assert_int_equal(0, f->mutated);
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: bearer secret\r\n" END), " 204");
    write_file(path, "rotated\n");
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Bearer secret\r\n" END), " 401");
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nAuthorization: Bearer rotated\r\n" END), " 204");
    assert_int_equal(2, f->mutated);
    finish(f);
    (void)unlink(path);

    o = (struct http_server_options){.flags = HTTP_SERVER_UNIX | HTTP_SERVER_MUTATIONS};
    f = start(o);
    assert_in(ask(f, "POST /v1/change HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n"), " 204");
    finish(f);
    assert_true(http_token_equal(STR("a"), STR("a")));
    assert_false(http_token_equal(STR(""), STR("")));
    assert_false(http_token_equal(STR("b"), STR("a")));
}

static void test_bad_requests(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    /* Bytes stay unread behind each: the answer must come whole, not be cut by a reset. */
    static const char *const bad[] = {
        "GET /v1/hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /v1/hello HTTP/1.1\r\n\r\n",
        "GET /v1/hello HTTP/1.1\r\n\r\nmore",
        "POST /v1/echo/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
        "\r\n0\r\n\r\n",
        "nonsense\r\n\r\n more and more and more",
        "GET /v1/%00 HTTP/1.1\r\n" END,
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char out[4096];
        int fd = client(f);
        put(fd, bad[i]);
        turn(f);
        put(fd, "and still more");
        (void)shutdown(fd, SHUT_WR);
        assert_true(get(f, fd, NULL, out, sizeof(out)));
        assert_in(out, "HTTP/1.1 400");
        assert_in(out, "Connection: close");
        assert_null(strstr(out, "hello"));
        (void)close(fd);
    }
    wait_for_connections(f, 0);
    finish(f);
}

static void test_times(void **state)
{
    (void)state;
    struct http_server_options o = tcp_options;
    char out[4096];
    o.header_time = 20 * USEC_PER_MSEC;
    o.idle_time = 30 * USEC_PER_MSEC;
    struct fixture *f = start(o);
    int fd = client(f);
    put(fd, "GET /v1/he");
    assert_true(get(f, fd, "HTTP/1.1 408", out, sizeof(out)));
    (void)close(fd);
    fd = client(f);
    put(fd, "POST /v1/echo/ HTTP/1.1\r\nContent-Length: 5\r\n" END "123");
    assert_true(get(f, fd, "HTTP/1.1 408", out, sizeof(out)));
    (void)close(fd);
    /* Idle: closed without a word. */
    fd = client(f);
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    assert_string_equal("", out);
    (void)close(fd);
    /* One that the handler keeps has all the time there is. */
    fd = client(f);
    put(fd, "GET /v1/keep HTTP/1.1\r\n" END);
    wait_for_kept(f);
    usec_t until = clock_mono() + 3 * o.idle_time;
    while (clock_mono() < until)
        turn(f);
    assert_int_equal(0, f->gone);
    http_reply_text(f->kept, 200, "at last");
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    assert_in(out, "at last");
    (void)close(fd);
    finish(f);
}

static void test_many_connections(void **state)
{
    (void)state;
    struct http_server_options o = tcp_options;
    char out[4096];
    o.max_connections = 2;
    struct fixture *f = start(o);
    int idle = client(f), busy = client(f);
    wait_for_connections(f, 2);
    put(busy, "GET /v1/keep HTTP/1.1\r\n" END);
    wait_for_kept(f);
    /* The idle one makes room... */
    assert_in(ask(f, "GET /v1/hello HTTP/1.1\r\n" END), "hello");
    assert_true(get(f, idle, NULL, out, sizeof(out)));
    /* ...a busy one does not: who comes then waits in the backlog. */
    int other = client(f);
    struct http_request *first = f->kept;
    f->kept = NULL;
    put(other, "GET /v1/keep HTTP/1.1\r\n" END);
    wait_for_kept(f);
    int third = client(f);
    put(third, "GET /v1/hello HTTP/1.1\r\n" END);
    for (int i = 0; i < 100; i++)
        turn(f);
    assert_int_equal(2, http_server_connections(f->server));
    assert_int_equal(-1, recv(third, out, sizeof(out), MSG_DONTWAIT));
    http_reply_text(first, 200, "done");
    assert_true(get(f, busy, NULL, out, sizeof(out)));
    (void)close(busy);
    assert_true(get(f, third, "hello", out, sizeof(out)));
    (void)close(third);
    /* One that becomes idle makes room too. */
    wait_for_connections(f, 1);
    first = f->kept;
    f->kept = NULL;
    busy = client(f);
    put(busy, "GET /v1/keep HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_for_kept(f);
    third = client(f);
    put(third, "GET /v1/hello HTTP/1.1\r\n" END);
    for (int i = 0; i < 100; i++)
        turn(f);
    http_reply_text(f->kept, 200, "idle now");
    assert_true(get(f, third, "hello", out, sizeof(out)));
    http_reply_text(first, 200, "done");
    (void)close(busy);
    (void)close(idle);
    (void)close(other);
    (void)close(third);
    finish(f);
}

static void test_big_reply(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    size_t total = 0;
    char block[65536];
    f->big = malloc(BIG);
    CHECK(f->big);
    memset(f->big, 'x', BIG);
    int fd = client(f);
    put(fd, "GET /v1/big HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/big HTTP/1.1\r\n" END);
    for (;;) {
        turn(f);
        ssize_t n = recv(fd, block, sizeof(block), MSG_DONTWAIT);
        if (n == 0)
            break;
        assert_true(n > 0 || errno == EAGAIN);
        if (n > 0)
            total += (size_t)n;
    }
    assert_true(total > 2 * (size_t)BIG && total < 2 * (size_t)BIG + 1024);
    (void)close(fd);
    finish(f);
}

static void test_stop(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    char out[4096];
    int idle = client(f), busy = client(f);
    put(busy, "GET /v1/keep HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_for_kept(f);
    wait_for_connections(f, 2);
    http_server_stop(f->server);
    assert_true(get(f, idle, NULL, out, sizeof(out)));
    http_reply_text(f->kept, 200, "the last");
    assert_true(get(f, busy, NULL, out, sizeof(out)));
    assert_in(out, "Connection: close");
    assert_in(out, "the last");
    int late = socket(f->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(-1, connect(late, (struct sockaddr *)&f->address, f->address_len));
    (void)close(late);
    (void)close(idle);
    (void)close(busy);
    finish(f);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    char out[4096];
    unsigned answered = 0;
    for (uint64_t nth = 1; nth <= 12; nth++) {
        int fd = client(f);
        mem_fail_at(nth, false);
        put(fd, "POST /v1/echo/m HTTP/1.1\r\nContent-Length: 2\r\n" END "hi");
        /* Answered, refused or closed; never worse. */
        (void)get(f, fd, NULL, out, sizeof(out));
        answered += strstr(out, "|-|hi|") != NULL;
        mem_fail_at(0, false);
        (void)close(fd);
        assert_in(ask(f, "GET /v1/hello HTTP/1.1\r\n" END), "hello");
    }
    assert_true(answered > 0);
    finish(f);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_any_cut),
        cmocka_unit_test(test_pipelined_in_order),
        cmocka_unit_test(test_adopted),
        cmocka_unit_test(test_client_goes),
        cmocka_unit_test(test_host_guard),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_many_connections),
        cmocka_unit_test(test_big_reply),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
