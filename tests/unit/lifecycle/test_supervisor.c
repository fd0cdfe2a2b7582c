/* test_supervisor.c - deaths, signals and drains: who is started again, and who is told what. */
#include "supervised.h"

static void test_restart_keeps_backlog(void **state)
{
    (void)state;
    usec_t best = USEC_NEVER;
    struct run *r = run_start("serve");
    struct started first = expect_start(r);
    assert_int_equal(first.taken, 0);
    assert_int_equal(first.pid, answer(order(r->port, 'p'), NULL));

    for (int i = 0; i < 4; i++) {
        pid_t before = r->child;
        /* While the supervisor stands still nobody but it has the socket open. */
        assert_int_equal(0, kill(r->pid, SIGSTOP));
        int status;
        assert_int_equal(r->pid, waitpid(r->pid, &status, WUNTRACED));
        assert_int_equal(0, kill(before, SIGKILL));
        int fd = order(r->port, 'p');
        usec_t from = clock_mono();
        assert_int_equal(0, kill(r->pid, SIGCONT));
        int pid = answer(fd, NULL);
        best = min_u64(best, clock_mono() - from);
        expect_line(r, "another starts in 0 ms");
        struct started s = expect_start(r);
        assert_int_equal(s.pid, pid);
        assert_true(s.pid != before);
        assert_int_equal(s.taken, 1);
        assert_int_equal(s.left, 0);
        assert_int_equal(s.port, first.port);
    }
    print_message("served again %" PRIu64 " us after the death (best of 4)\n", best);
    assert_true(best < 50 * USEC_PER_MSEC);
    run_end(r);
}

static void test_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(0, run_exit_code(run_start("exit0")));
    assert_int_equal(1, run_exit_code(run_start("exit1")));
    assert_int_equal(2, run_exit_code(run_start("exit2")));

    /* After READY a fault is a reason to start again, 1 and 2 too; 0 is the end. */
    struct run *r = run_start("serve");
    (void)expect_start(r);
    for (char code = '1'; code <= '3'; code++) {
        assert_int_equal(-1, answer(order(r->port, code), NULL));
        (void)expect_start(r);
    }
    assert_int_equal(-1, answer(order(r->port, '0'), NULL));
    assert_int_equal(0, run_exit_code(r));
}

/* The kernel may take long to close what it had open. */
static void test_one_that_dies_is_not_waited_for(void **state)
{
    (void)state;
    struct run *r = run_start("serve");
    (void)expect_start(r);
    assert_true(answer(order(r->port, 'p'), NULL) > 0);
    assert_int_equal(-1, answer(order(r->port, 'x'), NULL));
    expect_line(r, "dies: another starts in 0 ms");
    /* It can serve no more, whatever has become of it. */
    expect_both(r, "start pid=", "was killed by signal 9");
    assert_true(answer(order(r->port, 'p'), NULL) > 0);
    run_end(r);
}

static void test_one_that_exits_is_waited_for(void **state)
{
    (void)state;
    struct run *r = run_start("serve");
    (void)expect_start(r);
    assert_int_equal(0, answer(order(r->port, 'e'), NULL));
    assert_int_equal(1, write(r->in, "g", 1));
    assert_int_equal(0, run_exit_code(r));
}

static void test_backoff(void **state)
{
    (void)state;
    static const unsigned pause_ms[] = {0, 0, 0, 0, 0, 50, 100, 200, 400};
    usec_t at[ARRAY_LEN(pause_ms)];
    char rest[256], line[64];
    struct run *r = run_start("crash");

    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        assert_non_null(expect(r, "life ", rest, sizeof(rest)));
        at[i] = strtoull(rest, NULL, 10);
        (void)snprintf(line, sizeof(line), "another starts in %u ms", pause_ms[i]);
        expect_line(r, line);
    }
    for (size_t i = 1; i < ARRAY_LEN(at); i++)
        assert_true(at[i] - at[i - 1] >= pause_ms[i - 1] * USEC_PER_MSEC);
    /* While none is alive: SIGTERM starts no other. */
    (void)kill(r->pid, SIGTERM);
    assert_int_equal(0, run_exit_code(r));
}

static void test_signals(void **state)
{
    (void)state;
    struct run *r = run_start("serve");
    (void)expect_start(r);
    assert_true(answer(order(r->port, 'p'), NULL) > 0);
    (void)kill(r->pid, SIGHUP);
    expect_line(r, "signal 1");
    (void)kill(r->pid, SIGUSR1);
    expect_line(r, "signal 10");
    (void)kill(r->pid, SIGINT);
    expect_line(r, "signal 2");
    (void)kill(r->pid, SIGTERM);
    expect_line(r, "signal 15");
    assert_int_equal(0, run_exit_code(r));
}

static void test_signals_wait_for_ready(void **state)
{
    (void)state;
    struct run *r = run_start("late");
    expect_line(r, "waiting");
    (void)kill(r->pid, SIGHUP);
    (void)kill(r->pid, SIGUSR2); /* its line says that the signals before it were read */
    expect_line(r, "waits until the serving process is ready");
    assert_int_equal(1, write(r->in, "g", 1));
    (void)expect_start(r);
    /* And the upgrade comes behind them, to another one that is late: it may be heard first. */
    expect_both(r, "signal 1", "waiting");
    run_end(r);

    /* SIGTERM does not wait for ever. */
    r = run_start("never");
    expect_line(r, "waiting");
    (void)kill(r->pid, SIGTERM);
    assert_int_equal(0, run_exit_code(r));
}

static void test_reaps_orphans(void **state)
{
    (void)state;
    struct run *r = run_start("serve");
    (void)expect_start(r);
    int orphan = answer(order(r->port, 'o'), NULL);
    assert_true(orphan > 0);
    usec_t until = clock_mono() + PATIENCE_MS * USEC_PER_MSEC;
    while (kill(orphan, 0) == 0 && clock_mono() < until)
        (void)sched_yield();
    assert_int_equal(-1, kill(orphan, 0));
    assert_int_equal(ESRCH, errno);
    run_end(r);
}

static void test_drain_goes_on(void **state)
{
    (void)state;
    struct run *r = run_start("stay");
    assert_int_equal(0, expect_start(r).drain);
    assert_true(answer(order(r->port, 'p'), NULL) > 0);
    (void)kill(r->pid, SIGTERM);
    expect_line(r, "signal 15");
    assert_int_equal(0, answer(order(r->port, 'd'), NULL));
    (void)kill(r->child, SIGKILL);
    expect_line(r, "goes on with the drain");
    struct started s = expect_start(r);
    assert_int_equal(1, s.drain);
    assert_int_equal(1, s.taken);
    assert_string_equal("sig term", s.trigger);
    expect_line(r, "signal 15"); /* it is told again that it is to end */
    assert_int_equal(-1, answer(order(r->port, '0'), NULL));
    assert_int_equal(0, run_exit_code(r));
}

static void test_drain_is_over(void **state)
{
    (void)state;
    struct run *r = run_start("stay");
    (void)expect_start(r);
    assert_true(answer(order(r->port, 'p'), NULL) > 0);
    (void)kill(r->pid, SIGTERM);
    expect_line(r, "signal 15");
    assert_int_equal(0, answer(order(r->port, 'D'), NULL));
    (void)kill(r->child, SIGKILL);
    assert_int_equal(3, run_exit_code(r));
}

static void test_supervisor_dies(void **state)
{
    (void)state;
    struct run *r = run_start("serve");
    (void)expect_start(r);
    assert_true(answer(order(r->port, 'p'), NULL) > 0);
    (void)kill(r->pid, SIGKILL);
    expect_line(r, "signal 15");
    assert_int_equal(-SIGKILL, run_exit_code(r));
}

int main(int argc, char **argv)
{
    int code;
    if (supervised_main(argc, argv, &code))
        return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart_keeps_backlog),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_one_that_dies_is_not_waited_for),
        cmocka_unit_test(test_one_that_exits_is_waited_for),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_signals_wait_for_ready),
        cmocka_unit_test(test_reaps_orphans),
        cmocka_unit_test(test_drain_goes_on),
        cmocka_unit_test(test_drain_is_over),
        cmocka_unit_test(test_supervisor_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
