/* test_supervisor_sockets.c - the sockets that the supervisor holds, and those that it was started
 * with. */
#include "supervised.h"

static void test_drop_closes(void **state)
{
    (void)state;
    struct run *r = run_start("serve");
    (void)expect_start(r);
    assert_int_equal(0, answer(order(r->port, 'c'), NULL));
    assert_int_equal(-ECONNREFUSED, try_connect(r->port));
    run_end(r);
}

static void test_holds_so_many(void **state)
{
    (void)state;
    int rc = 0;
    struct run *r = run_start("serve");
    (void)expect_start(r);
    assert_int_equal(CHANNEL_MAX_HELD - 1, answer(order(r->port, 'f'), &rc));
    assert_int_equal(-ENOSPC, rc);
    /* And all of them come down again, names with a ':' too. */
    assert_int_equal(-1, answer(order(r->port, 'k'), NULL));
    struct started s = expect_start(r);
    assert_int_equal(1, s.taken);
    assert_int_equal(CHANNEL_MAX_HELD - 1, s.left);
    run_end(r);
}

static void test_activation(void **state)
{
    (void)state;
    int fd = bind_tcp();
    unsigned port = port_of(fd);
    struct run *r = run_start_with("serve", fd, "http");
    (void)close(fd);
    struct started s = expect_start(r);
    assert_int_equal(1, s.taken);
    assert_int_equal(port, s.port);
    assert_int_equal(-1, answer(order(port, 'k'), NULL));
    s = expect_start(r);
    assert_int_equal(1, s.taken);
    assert_int_equal(port, s.port);
    run_end(r);
}

/* A unit that names nothing: taken by address, held under our own name, and only once. */
static void test_activation_by_address(void **state)
{
    (void)state;
    char mode[32];
    int fd = bind_tcp();
    unsigned port = port_of(fd);
    (void)snprintf(mode, sizeof(mode), "port:%u", port);
    struct run *r = run_start_with(mode, fd, "sluice.socket");
    (void)close(fd);
    struct started s = expect_start(r);
    assert_int_equal(1, s.taken);
    assert_int_equal(port, s.port);
    assert_int_equal(-1, answer(order(port, 'k'), NULL));
    s = expect_start(r);
    assert_int_equal(1, s.taken);
    assert_int_equal(0, s.left);
    assert_int_equal(0, answer(order(port, 'c'), NULL));
    assert_int_equal(-ECONNREFUSED, try_connect(port));
    run_end(r);
}

static void test_unix_paths(void **state)
{
    (void)state;
    char path[64], mode[80];
    struct stat st;
    (void)snprintf(path, sizeof(path), "/tmp/test_supervisor.%d", (int)getpid());
    (void)snprintf(mode, sizeof(mode), "unix:%s", path);
    (void)unlink(path);

    struct run *r = run_start(mode);
    (void)expect_start(r);
    assert_int_equal(0, lstat(path, &st));
    (void)kill(r->child, SIGKILL);
    assert_int_equal(1, expect_start(r).taken);
    assert_int_equal(0, lstat(path, &st));
    run_end(r);
    assert_int_equal(-1, lstat(path, &st));

    /* What the service manager has bound stays. */
    int fd = bind_unix(path);
    r = run_start_with("serve", fd, "http");
    (void)close(fd);
    assert_int_equal(1, expect_start(r).taken);
    run_end(r);
    assert_int_equal(0, lstat(path, &st));
    (void)unlink(path);
}

static void test_names(void **state)
{
    (void)state;
    char out[32];
    assert_int_equal(19, inherited_encode_name("http/127.0.0.1:80", out, sizeof(out)));
    assert_string_equal("http/127.0.0.1%3A80", out);
    assert_int_equal(0, inherited_encode_name("http/127.0.0.1:80", out, 10));
    assert_null(channel_open_from_env());
    assert_int_equal(0, channel_hold(NULL, "x", 0));
    assert_int_equal(0, channel_ready(NULL));
    assert_int_equal(-ENOENT, inherited_take("x"));
}

int main(int argc, char **argv)
{
    int code;
    if (supervised_main(argc, argv, &code))
        return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drop_closes), cmocka_unit_test(test_holds_so_many),
        cmocka_unit_test(test_activation),  cmocka_unit_test(test_activation_by_address),
        cmocka_unit_test(test_unix_paths),  cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
