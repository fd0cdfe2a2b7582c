/* test_socket.c - what sockets are made with, and what is accepted has. */
#include "io/socket.h"

#include "base/check.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static struct address parsed(const char *text)
{
    struct address a;
    const char *why = NULL;
    assert_int_equal(address_parse(str_of(text), &a, &why), 0);
    return a;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* A listener on a port of the kernel's choice. */
static int listen_anywhere(struct address *ret)
{
    struct address any = parsed("127.0.0.1:1");
    any.u.in.sin_port = 0;
    int fd = socket_listen(&any, 8, 0);
    assert_true(fd >= 0);
    ret->len = sizeof(ret->u);
    assert_int_equal(getsockname(fd, &ret->u.sa, &ret->len), 0);
    return fd;
}

/* A client that rests for a minute is not cut by the kernel: times for clients are ours. */
static void test_accepted(UNUSED void **state)
{
    struct address a, peer;
    int fd = listen_anywhere(&a);
    assert_int_equal(socket_accept(fd, &peer), -EAGAIN);
    int up = socket_connect(&a);
    assert_true(up >= 0);
    int down = socket_accept(fd, &peer);
    assert_true(down >= 0);
    assert_int_equal(peer.u.sa.sa_family, AF_INET);
    assert_int_equal(option(down, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(down, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(down, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    (void)close(down);
    (void)close(up);
    (void)close(fd);
}

static void test_connected(UNUSED void **state)
{
    struct address a;
    int fd = listen_anywhere(&a);
    int up = socket_connect(&a);
    assert_true(up >= 0);
    assert_int_equal(socket_connect_result(up), 0);
    assert_int_equal(option(up, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(up, IPPROTO_TCP, TCP_USER_TIMEOUT), 10000);
    socket_keep_alive(up); /* it becomes a tunnel, whose peers may rest */
    assert_int_equal(option(up, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(up, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    (void)close(up);
    (void)close(fd);
}

static void test_in_use(UNUSED void **state)
{
    struct address a;
    int fd = listen_anywhere(&a);
    assert_int_equal(socket_listen(&a, 8, 0), -EADDRINUSE);
    (void)close(fd);
    fd = socket_listen(&a, 8, 0);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void test_unix(UNUSED void **state)
{
    char dir[] = "/tmp/sluice-socket-XXXXXX", text[64];
    struct stat st;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(text, sizeof(text), "unix:%s/s", dir);
    struct address a = parsed(text);
    assert_int_equal(socket_connect(&a), -ENOENT);
    int fd = socket_listen(&a, 8, 0600);
    assert_true(fd >= 0);
    assert_int_equal(stat(a.u.un.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(socket_listen(&a, 8, 0600), -EADDRINUSE); /* somebody listens */
    (void)close(fd);
    assert_int_equal(socket_connect(&a), -ECONNREFUSED);
    fd = socket_listen(&a, 8, 0660); /* a dead one's file */
    assert_true(fd >= 0);
    socket_keep_alive(fd);
    (void)close(fd);
    (void)unlink(a.u.un.sun_path);
    FILE *f = fopen(a.u.un.sun_path, "w");
    assert_non_null(f);
    (void)fclose(f);
    assert_int_equal(socket_listen(&a, 8, 0660), -EEXIST); /* not ours to take away */
    (void)unlink(a.u.un.sun_path);
    (void)rmdir(dir);
}

/* Who was let in before is there to be accepted; nobody new is. */
static void test_stop_syns(UNUSED void **state)
{
    struct address a, peer;
    int fd = listen_anywhere(&a);
    int early = socket_connect(&a);
    assert_int_equal(socket_connect_result(early), 0);
    socket_stop_syns(fd);
    int late = socket_connect(&a);
    int got = socket_accept(fd, &peer);
    assert_true(got >= 0);
    assert_int_equal(socket_accept(fd, &peer), -EAGAIN);
    (void)close(got);
    (void)close(late);
    (void)close(early);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),  cmocka_unit_test(test_connected),
        cmocka_unit_test(test_in_use),    cmocka_unit_test(test_unix),
        cmocka_unit_test(test_stop_syns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
