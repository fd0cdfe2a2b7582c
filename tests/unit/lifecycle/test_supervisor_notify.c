/* test_supervisor_notify.c - what a service manager hears, message by message. */
#include "lifecycle/notify.h"
#include "supervised.h"

static int manager = -1;
static char path[64];

static int manager_open(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)state;
    (void)snprintf(path, sizeof(path), "@test-notify-%d", (int)getpid());
    memcpy(un.sun_path + 1, path + 1, strlen(path + 1));
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(0, bind(manager, (struct sockaddr *)&un,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))));
    (void)setenv("NOTIFY_SOCKET", path, 1);
    (void)setenv("WATCHDOG_USEC", "700000", 1);
    return 0;
}

static int manager_close(void **state)
{
    (void)state;
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    (void)close(manager);
    return 0;
}

/* The next message begins so; what follows it. */
static const char *hear(const char *what)
{
    static char text[512];
    struct pollfd p = {.fd = manager, .events = POLLIN};
    assert_true(poll(&p, 1, PATIENCE_MS) > 0);
    ssize_t n = recv(manager, text, sizeof(text) - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    if (strncmp(text, what, strlen(what)) != 0)
        fail_msg("heard \"%s\", not \"%s\"", text, what);
    return text + strlen(what);
}

static void hear_nothing_more(void)
{
    char byte;
    assert_int_equal(-1, recv(manager, &byte, 1, MSG_DONTWAIT));
}

static void test_reload(void **state)
{
    (void)state;
    struct run *r = run_start("serve");
    (void)expect_start(r);
    assert_string_equal("", hear("READY=1\n"));
    usec_t before = clock_mono();
    assert_int_equal(0, answer(order(r->port, 'r'), NULL));
    usec_t told = strtoull(hear("RELOADING=1\nMONOTONIC_USEC="), NULL, 10);
    assert_true(told >= before && told <= clock_mono());
    assert_int_equal(0, answer(order(r->port, 'R'), NULL));
    assert_string_equal("", hear("READY=1\n"));
    /* An end without a beginning is nothing. */
    assert_int_equal(0, answer(order(r->port, 'R'), NULL));
    /* A death in the middle does not leave the manager waiting. */
    assert_int_equal(0, answer(order(r->port, 'r'), NULL));
    (void)hear("RELOADING=1\n");
    assert_int_equal(-1, answer(order(r->port, 'k'), NULL));
    (void)expect_start(r);
    assert_string_equal("", hear("READY=1\n"));
    run_end(r);
    assert_string_equal("", hear("STOPPING=1\n"));
    hear_nothing_more();
}

static void test_an_upgrade_in_a_reload(void **state)
{
    (void)state;
    struct run *r = run_start("serve");
    (void)expect_start(r);
    (void)hear("READY=1\n");
    assert_int_equal(0, answer(order(r->port, 'r'), NULL));
    (void)hear("RELOADING=1\n");
    (void)kill(r->pid, SIGUSR2);
    (void)expect_start(r);
    expect_line(r, " supervises");
    assert_string_equal("", hear("READY=1\n"));
    /* The successor knows the manager, too. */
    assert_int_equal(0, answer(order(r->port, 'b'), NULL));
    (void)hear("WATCHDOG=1\n");
    run_end(r);
    (void)hear("STOPPING=1\n");
    (void)hear("EXTEND_TIMEOUT_USEC="); /* the old one drained still */
    hear_nothing_more();
}

static void test_status_and_beat(void **state)
{
    (void)state;
    int watchdog = 0;
    struct run *r = run_start("serve");
    (void)expect_start(r);
    (void)hear("READY=1\n");
    assert_int_equal(1, answer(order(r->port, 'w'), &watchdog));
    assert_int_equal(700000, watchdog);
    assert_int_equal(0, answer(order(r->port, 's'), NULL));
    assert_string_equal("\n", hear("STATUS=fine"));
    assert_int_equal(0, answer(order(r->port, 'b'), NULL));
    assert_string_equal("", hear("WATCHDOG=1\n"));
    /* Both go from first process to last. */
    (void)kill(r->pid, SIGTERM);
    (void)kill(r->pid, SIGTERM);
    (void)hear("STOPPING=1\n");
    assert_int_equal(0, run_exit_code(r));
    hear_nothing_more();
}

static void test_watchdog_of_another(void **state)
{
    (void)state;
    int watchdog = -1;
    (void)setenv("WATCHDOG_PID", "1", 1);
    struct run *r = run_start("serve");
    (void)expect_start(r);
    assert_int_equal(1, answer(order(r->port, 'w'), &watchdog));
    assert_int_equal(0, watchdog);
    run_end(r);
}

static void test_bad_settings(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "/", "@", "relative", "vsock:2:1"};
    char long_path[200];
    struct notify n;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        (void)setenv("NOTIFY_SOCKET", bad[i], 1);
        notify_init(&n);
        assert_false(notify_listens(&n));
        assert_int_equal(0, n.watchdog);
        assert_int_equal(0, notify_send(&n, "READY=1\n"));
    }
    memset(long_path, 'x', sizeof(long_path));
    long_path[0] = '/';
    long_path[sizeof(long_path) - 1] = '\0';
    (void)setenv("NOTIFY_SOCKET", long_path, 1);
    notify_init(&n);
    assert_false(notify_listens(&n));

    (void)setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
    (void)setenv("WATCHDOG_USEC", "1x", 1);
    notify_init(&n);
    assert_true(notify_listens(&n));
    assert_int_equal(0, n.watchdog);
    assert_int_equal(-ENOENT, notify_send(&n, "READY=1\n"));
    assert_int_equal(-EMSGSIZE, notify_send(&n, "STATUS=%600s\n", "long"));
}

int main(int argc, char **argv)
{
    int code;
    if (supervised_main(argc, argv, &code))
        return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reload, manager_open, manager_close),
        cmocka_unit_test_setup_teardown(test_an_upgrade_in_a_reload, manager_open, manager_close),
        cmocka_unit_test_setup_teardown(test_status_and_beat, manager_open, manager_close),
        cmocka_unit_test_setup_teardown(test_watchdog_of_another, manager_open, manager_close),
        cmocka_unit_test_setup_teardown(test_bad_settings, manager_open, manager_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
