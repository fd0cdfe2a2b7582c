/* test_http_conn.c - connections of the control server: their times, how many, and whose end is
 * whose. */
#include "http_rig.h"

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

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),     cmocka_unit_test(test_many_connections),
        cmocka_unit_test(test_big_reply), cmocka_unit_test(test_stop),
        cmocka_unit_test(test_adopted),   cmocka_unit_test(test_client_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
