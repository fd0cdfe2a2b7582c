/* test_conn.c - a connection over a socket pair: what is kept, what is told, and when. */
#include "io/conn.h"

#include "base/mem.h"
#include "io/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
    struct loop loop;
    struct conn conn;
    int peer;
    int readable, drained, failed, error;
    bool close_when_drained;
};

static struct fixture *of(struct conn *c)
{
    return CONTAINER_OF(c, struct fixture, conn);
}

static void on_readable(struct conn *c)
{
    of(c)->readable++;
}

static void on_drained(struct conn *c)
{
    of(c)->drained++;
    if (of(c)->close_when_drained)
        conn_close(c);
}

static void on_failed(struct conn *c, int err)
{
    of(c)->failed++;
    of(c)->error = err;
}

static const struct conn_ops ops = {
    .readable = on_readable, .drained = on_drained, .failed = on_failed};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    int fds[2];
    assert_non_null(f);
    assert_int_equal(loop_init(&f->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    f->peer = fds[1];
    conn_open(&f->conn, &f->loop, fds[0], &ops, false);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    conn_close(&f->conn);
    conn_close(&f->conn); /* harmless */
    if (f->peer >= 0)
        (void)close(f->peer);
    loop_free(&f->loop);
    free(f);
    return 0;
}

/* What has happened by now. */
static void turn(struct fixture *f)
{
    (void)ev_run(f->loop.ev, EVRUN_NOWAIT);
}

static size_t peer_read(struct fixture *f, size_t most)
{
    static char scratch[65536];
    size_t got = 0;
    while (got < most) {
        ssize_t n =
            recv(f->peer, scratch, most - got < sizeof(scratch) ? most - got : sizeof(scratch), 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

static bool peer_sees_end(struct fixture *f)
{
    char byte;
    return recv(f->peer, &byte, 1, 0) == 0;
}

static void peer_close(struct fixture *f)
{
    (void)close(f->peer);
    f->peer = -1;
}

/* Sends until the kernel takes no more; returns how much. */
static size_t fill(struct fixture *f)
{
    static const char block[16384];
    size_t sent = 0;
    while (!f->conn.blocked) {
        conn_send(&f->conn, block, sizeof(block));
        sent += sizeof(block);
    }
    assert_true(buf_len(&f->conn.out) > 0);
    return sent;
}

static void test_readable(void **state)
{
    struct fixture *f = *state;
    char got[8];
    turn(f);
    assert_int_equal(f->readable, 0);
    assert_int_equal(conn_read(&f->conn, got, sizeof(got)), -EAGAIN);
    assert_int_equal(send(f->peer, "abc", 3, 0), 3);
    turn(f);
    assert_int_equal(f->readable, 1);
    conn_read_stop(&f->conn);
    conn_read_stop(&f->conn);
    turn(f);
    assert_int_equal(f->readable, 1);
    conn_read_start(&f->conn);
    turn(f);
    assert_int_equal(f->readable, 2);
    assert_int_equal(conn_read(&f->conn, got, sizeof(got)), 3);
    peer_close(f);
    turn(f);
    assert_int_equal(f->readable, 3);
    assert_int_equal(conn_read(&f->conn, got, sizeof(got)), 0);
}

/* What was built in `out` goes first, in one call with what comes behind it. */
static void test_send(void **state)
{
    struct fixture *f = *state;
    char got[8] = "";
    assert_int_equal(buf_append(&f->loop.bufs, &f->conn.out, "ab", 2), 0);
    conn_send(&f->conn, "cd", 2);
    assert_int_equal(buf_len(&f->conn.out), 0);
    assert_int_equal(recv(f->peer, got, sizeof(got), 0), 4);
    assert_memory_equal(got, "abcd", 4);
    conn_flush(&f->conn); /* nothing to do */
    assert_int_equal(f->drained, 0);
}

static void test_blocked_and_drained(void **state)
{
    struct fixture *f = *state;
    size_t sent = fill(f);
    conn_send(&f->conn, "more", 4); /* kept behind the rest */
    sent += 4;
    turn(f);
    assert_int_equal(f->drained, 0);
    for (size_t got = 0; got < sent; turn(f)) {
        size_t n = peer_read(f, sent);
        assert_true(n > 0);
        got += n;
        assert_true(got <= sent);
    }
    assert_int_equal(f->drained, 1);
    assert_false(f->conn.blocked);
    assert_int_equal(buf_len(&f->conn.out), 0);
    turn(f);
    assert_int_equal(f->drained, 1);
}

static void test_closed_when_drained(void **state)
{
    struct fixture *f = *state;
    (void)fill(f);
    f->close_when_drained = true;
    assert_int_equal(send(f->peer, "x", 1, 0), 1);
    while (f->drained == 0) {
        (void)peer_read(f, SIZE_MAX);
        f->readable = 0;
        turn(f);
    }
    assert_int_equal(f->readable, 0); /* not behind the close, though bytes wait */
}

static void test_shutdown(void **state)
{
    struct fixture *f = *state;
    conn_shutdown(&f->conn);
    conn_shutdown(&f->conn);
    assert_true(peer_sees_end(f));
}

/* The end comes behind all that waits. */
static void test_shutdown_behind_bytes(void **state)
{
    struct fixture *f = *state;
    size_t sent = fill(f), got = 0;
    conn_shutdown(&f->conn);
    while (f->drained == 0) {
        got += peer_read(f, SIZE_MAX);
        turn(f);
    }
    got += peer_read(f, SIZE_MAX);
    assert_int_equal(got, sent);
    assert_true(peer_sees_end(f));
}

static void test_shutdown_behind_what_was_built(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(buf_append(&f->loop.bufs, &f->conn.out, "ab", 2), 0);
    conn_shutdown(&f->conn);
    assert_int_equal(peer_read(f, SIZE_MAX), 2);
    assert_true(peer_sees_end(f));
}

/* A write that fails is told later, once, with what was read before still there. */
static void test_write_fails(void **state)
{
    struct fixture *f = *state;
    char got[8];
    assert_int_equal(send(f->peer, "last", 4, 0), 4);
    peer_close(f);
    conn_send(&f->conn, "x", 1);
    assert_int_equal(f->failed, 0);
    assert_int_equal(f->conn.error, EPIPE);
    conn_send(&f->conn, "y", 1);
    assert_int_equal(buf_len(&f->conn.out), 0);
    turn(f);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->error, EPIPE);
    turn(f);
    assert_int_equal(f->failed, 1);
    assert_true(f->readable > 0);
    assert_int_equal(conn_read(&f->conn, got, sizeof(got)), 4);
}

static void test_broken_from_outside(void **state)
{
    struct fixture *f = *state;
    (void)fill(f);
    conn_break(&f->conn, ENOMEM);
    conn_break(&f->conn, EPIPE); /* the first counts */
    assert_int_equal(buf_len(&f->conn.out), 0);
    assert_int_equal(f->failed, 0);
    turn(f);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->error, ENOMEM);
    assert_int_equal(f->drained, 0);
}

/* Its reading is stopped or begun before the loop turns: libev forgets what was pending for a
 * watcher that is stopped. */
static void test_broken_and_then_paused(void **state)
{
    struct fixture *f = *state;
    conn_break(&f->conn, ENOMEM);
    conn_read_stop(&f->conn);
    turn(f);
    assert_int_equal(f->failed, 1);
}

static void test_broken_while_blocked_and_then_resumed(void **state)
{
    struct fixture *f = *state;
    conn_read_stop(&f->conn);
    (void)fill(f);
    conn_break(&f->conn, ENOMEM);
    conn_read_start(&f->conn);
    turn(f);
    assert_int_equal(f->failed, 1);
    turn(f);
    assert_int_equal(f->failed, 1);
}

static void test_closed_before_it_is_told(void **state)
{
    struct fixture *f = *state;
    conn_break(&f->conn, ENOMEM);
    conn_close(&f->conn);
    turn(f);
    assert_int_equal(f->failed, 0);
    conn_send(&f->conn, "x", 1);
    conn_shutdown(&f->conn);
    conn_read_start(&f->conn);
    conn_break(&f->conn, EPIPE);
    turn(f);
    assert_int_equal(f->failed + f->readable + f->drained, 0);
}

static void test_no_memory_to_keep(void **state)
{
    struct fixture *f = *state;
    (void)fill(f);
    mem_fail_at(1, true);
    static const char large[256 * 1024];
    conn_send(&f->conn, large, sizeof(large));
    mem_fail_at(0, false);
    assert_int_equal(f->conn.error, ENOMEM);
    turn(f);
    assert_int_equal(f->failed, 1);
}

/* A connection under way: nothing is read, and "drained" says that it stands. */
static void test_connecting(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    conn_close(&f->conn);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    (void)close(f->peer);
    f->peer = fds[1];
    assert_int_equal(send(f->peer, "x", 1, 0), 1);
    conn_open(&f->conn, &f->loop, fds[0], &ops, true);
    turn(f);
    assert_int_equal(f->drained, 1);
    assert_int_equal(f->readable, 0);
    assert_int_equal(socket_connect_result(f->conn.transport.fd), 0);
    conn_read_start(&f->conn);
    turn(f);
    assert_int_equal(f->readable, 1);
}

static void test_unread_and_unsent(void **state)
{
    struct fixture *f = *state;
    int fd = f->conn.transport.fd;
    assert_false(socket_has_unread(fd));
    assert_int_equal(send(f->peer, "x", 1, 0), 1);
    assert_true(socket_has_unread(fd));
    assert_int_equal(socket_unsent(fd), 0);
    conn_send(&f->conn, "abc", 3);
    assert_true(socket_unsent(fd) > 0);
    assert_int_equal(peer_read(f, SIZE_MAX), 3);
    assert_int_equal(socket_unsent(fd), 0);
    assert_int_equal(socket_unsent(-1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_readable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_send, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocked_and_drained, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_when_drained, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shutdown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shutdown_behind_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shutdown_behind_what_was_built, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_from_outside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_and_then_paused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_while_blocked_and_then_resumed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_closed_before_it_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory_to_keep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connecting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unread_and_unsent, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
