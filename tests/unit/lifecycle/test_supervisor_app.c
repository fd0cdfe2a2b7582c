/* test_supervisor_app.c - the application as the supervisor's child: when it starts, who ends it,
 * who is told, and what sluice exits with. */
#include "supervised.h"

/* Says so, and ends with 7, when it gets SIGTERM. */
static const char orderly[] = "trap 'echo app term; exit 7' TERM; echo app up $$; "
                              "while :; do sleep 1000 & wait; done";
static const char stubborn[] = "trap '' TERM; echo app up $$; while :; do sleep 1000; done";

static struct run *run_with_app(const char *script)
{
    (void)setenv("TEST_APP", script, 1);
    struct run *r = run_start("serve");
    (void)unsetenv("TEST_APP");
    return r;
}

struct notice {
    unsigned kind, released;
    int pid, status, pidfd, ended;
};

static struct notice expect_notice(struct run *r)
{
    struct notice n = {0};
    char rest[256];
    assert_non_null(expect(r, "notice ", rest, sizeof(rest)));
    assert_int_equal(6, sscanf(rest, "kind=%u pid=%d status=%d released=%u pidfd=%d ended=%d",
                               &n.kind, &n.pid, &n.status, &n.released, &n.pidfd, &n.ended));
    return n;
}

/* Its pid; and what it says of itself has been read. */
static int expect_up(struct run *r)
{
    char line[256];
    int up = 0, pid = 0;
    struct notice n = {0};
    /* The application and the serving process write in either order. */
    while (up == 0 || n.kind == 0) {
        assert_non_null(expect(r, "", line, sizeof(line)));
        (void)sscanf(line, "app up %d", &up);
        (void)sscanf(line, "notice kind=%u pid=%d status=%d released=%u pidfd=%d", &n.kind, &pid,
                     &n.status, &n.released, &n.pidfd);
    }
    assert_int_equal(n.kind, CHANNEL_APP_STARTED);
    assert_int_equal(n.pidfd, 1);
    assert_int_equal(pid, up);
    return pid;
}

static bool is_gone(int pid)
{
    usec_t until = clock_mono() + PATIENCE_MS * USEC_PER_MSEC;
    while (kill(pid, 0) == 0 && clock_mono() < until)
        (void)poll(NULL, 0, 1);
    return kill(pid, 0) < 0 && errno == ESRCH;
}

static void test_ends_behind_the_serving_process(void **state)
{
    (void)state;
    struct run *r = run_with_app(orderly);
    (void)expect_start(r);
    int pid = expect_up(r);
    (void)kill(r->pid, SIGTERM);
    expect_line(r, "signal 15"); /* the serving process alone */
    expect_line(r, "app term");
    expect_line(r, "exited with 7");
    /* It ended because it was told to: that is a clean end. */
    assert_int_equal(0, run_exit_code(r));
    assert_true(is_gone(pid));
}

static void test_released(void **state)
{
    (void)state;
    struct run *r = run_with_app(orderly);
    (void)expect_start(r);
    int pid = expect_up(r);
    assert_int_equal(0, answer(order(r->port, 'T'), NULL));
    expect_line(r, "app term");
    struct notice n = expect_notice(r);
    assert_int_equal(n.kind, CHANNEL_APP_ENDED);
    assert_int_equal(n.pid, pid);
    assert_int_equal(n.released, 1);
    assert_true(WIFEXITED(n.status) && WEXITSTATUS(n.status) == 7);
    /* Nothing ends by that alone. */
    assert_true(answer(order(r->port, 'p'), NULL) > 0);
    run_end(r);
}

static void ends_by_itself(const char *script, int status, int code)
{
    struct run *r = run_with_app(script);
    (void)expect_start(r);
    struct notice n = expect_notice(r);
    if (n.kind == CHANNEL_APP_STARTED)
        n = expect_notice(r);
    assert_int_equal(n.kind, CHANNEL_APP_ENDED);
    assert_int_equal(n.released, 0);
    assert_int_equal(n.status, status);
    assert_int_equal(-1, answer(order(r->port, '0'), NULL));
    assert_int_equal(code, run_exit_code(r));
}

static void test_its_exit_code_is_ours(void **state)
{
    (void)state;
    ends_by_itself("exit 5", W_EXITCODE(5, 0), 5);
    ends_by_itself("exit 0", 0, 0);
    ends_by_itself("kill -9 $$", SIGKILL, 128 + SIGKILL);
}

static void test_not_found(void **state)
{
    (void)state;
    (void)setenv("TEST_APP_TOLD", "/nowhere/app", 1);
    struct run *r = run_start("serve");
    (void)unsetenv("TEST_APP_TOLD");
    (void)expect_start(r);
    expect_line(r, "cannot execute /nowhere/app: No such file");
    struct notice n = expect_notice(r);
    if (n.kind == CHANNEL_APP_STARTED)
        n = expect_notice(r);
    assert_int_equal(n.kind, CHANNEL_APP_ENDED);
    assert_int_equal(-1, answer(order(r->port, '0'), NULL));
    assert_int_equal(127, run_exit_code(r));
}

static void test_ignores_sigterm(void **state)
{
    (void)state;
    struct run *r = run_with_app(stubborn);
    (void)expect_start(r);
    int pid = expect_up(r);
    assert_int_equal(0, answer(order(r->port, 't'), NULL));
    expect_line(r, "has not ended by its deadline: killed");
    struct notice n = expect_notice(r);
    assert_int_equal(n.kind, CHANNEL_APP_ENDED);
    assert_int_equal(n.status, SIGKILL);
    assert_int_equal(n.released, 1);
    assert_true(is_gone(pid));
    run_end(r);
}

/* The serving process hangs in its drain: the deadline holds all the same. */
static void test_killed_at_the_deadline_by_the_supervisor(void **state)
{
    (void)state;
    struct run *r = run_with_app(stubborn);
    (void)expect_start(r);
    int pid = expect_up(r);
    assert_int_equal(0, answer(order(r->port, 'S'), NULL));
    expect_line(r, "has not ended by its deadline: killed");
    assert_true(is_gone(pid));
    run_end(r);
}

static void test_its_group_goes_with_it(void **state)
{
    (void)state;
    char rest[64];
    struct run *r = run_with_app("trap 'exit 0' TERM; "
                                 "sh -c 'trap \"\" TERM; echo grandchild $$; exec sleep 1000' & "
                                 "while :; do wait; done");
    (void)expect_start(r);
    assert_non_null(expect(r, "grandchild ", rest, sizeof(rest)));
    int grandchild = (int)strtol(rest, NULL, 10);
    assert_int_equal(0, kill(grandchild, 0));
    assert_int_equal(0, answer(order(r->port, 'T'), NULL));
    expect_line(r, "exited with 0");
    assert_true(is_gone(grandchild));
    run_end(r);
}

static void test_nothing_of_ours_leaks(void **state)
{
    (void)state;
    char rest[64];
    (void)setenv("SLUICE_SECRET_TOKEN", "x", 1);
    (void)setenv("APP_HAS_THIS", "1", 1);
    (void)setenv("NOTIFY_SOCKET", "/nowhere", 1);
    struct run *r =
        run_with_app("echo leaks $(env | grep -cE '^(SLUICE_|LISTEN_|NOTIFY_|WATCHDOG)') "
                     "$(env | grep -c ^APP_HAS_THIS) $(ls /proc/$$/fd | tr '\\n' ' '); "
                     "grep -E 'Sig(Blk|Ign)' /proc/self/status; sleep 1000");
    (void)unsetenv("SLUICE_SECRET_TOKEN");
    (void)unsetenv("APP_HAS_THIS");
    (void)unsetenv("NOTIFY_SOCKET");
    (void)expect_start(r);
    assert_non_null(expect(r, "leaks ", rest, sizeof(rest)));
    assert_string_equal(rest, "0 1 0 1 2 3"); /* 3: the pipe by which the shell reads this */
    assert_non_null(expect(r, "SigBlk:\t", rest, sizeof(rest)));
    assert_string_equal(rest, "0000000000000000");
    assert_non_null(expect(r, "SigIgn:\t", rest, sizeof(rest)));
    assert_true((strtoull(rest, NULL, 16) & (1ull << (SIGPIPE - 1))) == 0);
    run_end(r);
}

static void test_outlives_the_serving_process(void **state)
{
    (void)state;
    struct run *r = run_with_app(orderly);
    struct started first = expect_start(r);
    int pid = expect_up(r);
    assert_int_equal(0, kill(first.pid, SIGKILL));
    struct started second = expect_start(r);
    assert_true(second.pid != first.pid);
    struct notice n = expect_notice(r);
    assert_int_equal(n.kind, CHANNEL_APP_STARTED);
    assert_int_equal(n.pid, pid);
    assert_int_equal(n.pidfd, 1);
    assert_int_equal(n.ended, 0);
    assert_int_equal(0, kill(pid, SIGKILL));
    n = expect_notice(r);
    assert_int_equal(n.kind, CHANNEL_APP_ENDED);
    assert_int_equal(n.status, SIGKILL);
    assert_int_equal(-1, answer(order(r->port, '0'), NULL));
    assert_int_equal(128 + SIGKILL, run_exit_code(r));
}

static void test_ends_while_nobody_serves(void **state)
{
    (void)state;
    struct run *r = run_with_app(orderly);
    (void)expect_start(r);
    int pid = expect_up(r), status;
    assert_int_equal(0, kill(r->pid, SIGSTOP));
    assert_int_equal(r->pid, waitpid(r->pid, &status, WUNTRACED));
    assert_int_equal(0, kill(r->child, SIGKILL));
    assert_int_equal(0, kill(pid, SIGKILL));
    assert_int_equal(0, kill(r->pid, SIGCONT));
    (void)expect_start(r);
    struct notice n = expect_notice(r);
    if (n.kind == CHANNEL_APP_STARTED) /* reaped a moment later */
        n = expect_notice(r);
    assert_int_equal(n.kind, CHANNEL_APP_ENDED);
    assert_int_equal(n.pid, pid);
    assert_int_equal(-1, answer(order(r->port, '0'), NULL));
    assert_int_equal(128 + SIGKILL, run_exit_code(r));
}

/* The new supervisor, by exec in the old one's place, is still its parent. */
static void test_outlives_an_upgrade(void **state)
{
    (void)state;
    (void)setenv("TEST_APP", orderly, 1);
    struct run *r = run_program("/proc/self/exe", "serve", -1, NULL);
    (void)unsetenv("TEST_APP");
    struct started first = expect_start(r);
    int pid = expect_up(r);
    (void)kill(r->pid, SIGUSR2);
    struct started second = expect_start(r);
    assert_true(second.pid != first.pid);
    struct notice n;
    char line[256];
    bool supervises = false;
    memset(&n, 0, sizeof(n));
    while (!supervises || n.kind == 0) {
        assert_non_null(expect(r, "", line, sizeof(line)));
        supervises = supervises || strstr(line, "supervises, pid");
        (void)sscanf(line, "notice kind=%u pid=%d", &n.kind, &n.pid);
    }
    assert_int_equal(n.kind, CHANNEL_APP_STARTED);
    assert_int_equal(n.pid, pid);
    assert_int_equal(0, kill(pid, SIGKILL));
    n = expect_notice(r);
    assert_int_equal(n.kind, CHANNEL_APP_ENDED);
    assert_int_equal(n.status, SIGKILL);
    /* The old serving process has nothing left to do. */
    assert_int_equal(0, kill(first.pid, SIGTERM));
    assert_int_equal(-1, answer(order(r->port, '0'), NULL));
    assert_int_equal(128 + SIGKILL, run_exit_code(r));
}

int main(int argc, char **argv)
{
    int code;
    if (supervised_main(argc, argv, &code))
        return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_behind_the_serving_process),
        cmocka_unit_test(test_released),
        cmocka_unit_test(test_its_exit_code_is_ours),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_ignores_sigterm),
        cmocka_unit_test(test_killed_at_the_deadline_by_the_supervisor),
        cmocka_unit_test(test_its_group_goes_with_it),
        cmocka_unit_test(test_nothing_of_ours_leaks),
        cmocka_unit_test(test_outlives_the_serving_process),
        cmocka_unit_test(test_ends_while_nobody_serves),
        cmocka_unit_test(test_outlives_an_upgrade),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
