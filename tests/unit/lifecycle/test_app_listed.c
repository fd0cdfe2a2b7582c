/* test_app_listed.c - sock_diag and /proc tell the same, over real sockets. */
#include "lifecycle/app_listed.h"

#include "base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static struct address address_from(const char *text)
{
    struct address a;
    const char *why;
    assert_int_equal(address_parse(str_of(text), &a, &why), 0);
    return a;
}

/* On a port of the kernel's choice, which *a is given. */
static int listen_on(struct address *a)
{
    a->u.in.sin_port = 0; /* of either family */
    int one = 1, fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (a->u.sa.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (fd < 0 || bind(fd, &a->u.sa, a->len) < 0) {
        if (fd >= 0)
            (void)close(fd);
        return -1; /* no IPv6 here */
    }
    CHECK(listen(fd, 1) == 0 && getsockname(fd, &a->u.sa, &a->len) == 0);
    return fd;
}

static struct address with_port_of(const char *ip, const struct address *other)
{
    struct address a = address_from(ip);
    if (a.u.sa.sa_family == AF_INET)
        a.u.in.sin_port = htons(address_port(other));
    else
        a.u.in6.sin6_port = htons(address_port(other));
    return a;
}

static void expect(bool listed, const struct address *at, uint32_t n)
{
    int rc = app_listed_by_diag(at, n);
    if (rc >= 0) /* else a kernel without it */
        assert_int_equal(rc, listed);
    assert_int_equal(app_listed_in_proc(at, n), listed);
    assert_int_equal(app_listed(at, n), listed);
}

static void test_itself_and_by_an_unspecified_address(UNUSED void **state)
{
    static const struct {
        const char *listens, *asked;
        bool listed;
    } t[] = {
        {"127.0.0.1:1", "127.0.0.1:1", true}, {"127.0.0.1:1", "127.0.0.2:1", false},
        {"0.0.0.0:1", "127.0.0.9:1", true},   {"0.0.0.0:1", "[::1]:1", false},
        {"[::1]:1", "[::1]:1", true},         {"[::1]:1", "127.0.0.1:1", false},
        {"[::]:1", "[::1]:1", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct address a = address_from(t[i].listens), asked[2];
        int fd = listen_on(&a);
        if (fd < 0)
            continue;
        asked[0] = asked[1] = with_port_of(t[i].asked, &a);
        expect(t[i].listed, &asked[0], 1);
        asked[0] = address_from("127.0.0.1:1"); /* not the first that is asked for */
        expect(t[i].listed, asked, 2);
        (void)close(fd);
        expect(false, asked, 2);
    }
}

/* Its answer comes in several messages, of which none is left for the next question. */
static void test_among_many(UNUSED void **state)
{
    enum { MANY = 300 };
    static int fds[MANY];
    struct address last = {0};
    for (int i = 0; i < MANY; i++) {
        last = address_from("127.0.0.1:1");
        fds[i] = listen_on(&last);
        assert_true(fds[i] >= 0);
        expect(true, &last, 1);
    }
    struct address nobody = with_port_of("127.0.0.77:1", &last);
    expect(false, &nobody, 1);
    for (int i = 0; i < MANY; i++)
        (void)close(fds[i]);
    expect(false, &last, 1);
}

static void test_connections_are_no_listeners(UNUSED void **state)
{
    struct address a = address_from("127.0.0.1:1");
    int fd = listen_on(&a), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, &a.u.sa, a.len), 0);
    int server = accept(fd, NULL, NULL);
    (void)close(fd);
    expect(false, &a, 1); /* one that it accepted lives on */
    (void)close(client);
    (void)close(server);
}

static void test_unix(UNUSED void **state)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "unix:/tmp/sluice-listed-%d", (int)getpid());
    struct address a = address_from(text);
    assert_false(app_listed(&a, 1));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &a.u.sa, a.len), 0);
    assert_false(app_listed(&a, 1)); /* bound only */
    assert_int_equal(listen(fd, 1), 0);
    assert_true(app_listed(&a, 1));
    assert_false(app_listed_in_proc(&a, 1));
    (void)close(fd);
    (void)unlink(a.u.un.sun_path);
    assert_false(app_listed(&a, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_itself_and_by_an_unspecified_address),
        cmocka_unit_test(test_among_many),
        cmocka_unit_test(test_connections_are_no_listeners),
        cmocka_unit_test(test_unix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
