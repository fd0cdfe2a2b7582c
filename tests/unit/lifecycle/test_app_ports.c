/* test_app_ports.c - does one of the application's ports refuse? Over real sockets. */
#include "lifecycle/app_ports.h"

#include "base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

static struct address address_of(int fd)
{
    struct address a = {.len = sizeof(a.u)};
    CHECK(getsockname(fd, &a.u.sa, &a.len) == 0);
    return a;
}

static int listen_on(struct address *a)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    CHECK(bind(fd, &a->u.sa, a->len) == 0 && listen(fd, 1) == 0);
    *a = address_of(fd);
    return fd;
}

static struct address loopback(void)
{
    struct address a = {.len = sizeof(a.u.in)};
    a.u.in.sin_family = AF_INET;
    a.u.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void test_none(UNUSED void **state)
{
    struct app_ports p = {0};
    assert_int_equal(app_ports_ask(&p), PRESTOP_PORT_UNKNOWN);
}

static void test_any_that_refuses(UNUSED void **state)
{
    struct app_ports p = {0};
    struct address a = loopback(), b = loopback();
    int first = listen_on(&a), second = listen_on(&b);
    app_ports_add(&p, &a, false);
    app_ports_add(&p, &b, false);
    app_ports_add(&p, &a, false); /* it has that */
    assert_int_equal(p.n, 2);
    assert_int_equal(app_ports_ask(&p), PRESTOP_PORT_ACCEPTS);
    (void)close(second);
    assert_int_equal(app_ports_ask(&p), PRESTOP_PORT_REFUSES);
    second = listen_on(&b);
    assert_int_equal(app_ports_ask(&p), PRESTOP_PORT_ACCEPTS);
    (void)close(first);
    (void)close(second);
}

/* Nobody answers there, and it says nothing. */
static void test_a_full_backlog_is_a_listener(UNUSED void **state)
{
    struct app_ports p = {0};
    struct address a = loopback();
    int fd = listen_on(&a), clients[8];
    app_ports_add(&p, &a, false);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(clients[i], &a.u.sa, a.len);
    }
    assert_int_equal(app_ports_ask(&p), PRESTOP_PORT_ACCEPTS);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        (void)close(clients[i]);
    (void)close(fd);
}

static void test_only_ours_and_only_those_that_accept(UNUSED void **state)
{
    struct app_ports p = {0};
    struct address a = loopback(), away;
    const char *why;
    int fd = listen_on(&a);
    (void)close(fd);
    app_ports_add(&p, &a, false);
    assert_int_equal(p.n, 0);
    app_ports_add(&p, &a, true);
    assert_int_equal(p.n, 1);
    assert_int_equal(address_parse(STR("192.0.2.1:80"), &away, &why), 0);
    app_ports_add(&p, &away, true);
    assert_int_equal(p.n, 1);
    for (int i = 0; i < 2 * APP_PORTS_MAX; i++) {
        a.u.in.sin_port = htons((uint16_t)(1 + i));
        app_ports_add(&p, &a, true);
    }
    assert_int_equal(p.n, APP_PORTS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_any_that_refuses),
        cmocka_unit_test(test_a_full_backlog_is_a_listener),
        cmocka_unit_test(test_only_ours_and_only_those_that_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
