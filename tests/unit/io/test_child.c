/* test_child.c - commands beside us: how they end, what they have open, and that none is left. */
#include "io/child.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct run {
    struct loop loop;
    struct child child;
    int status, ends;
};

static void on_end(struct child *c, int status)
{
    struct run *r = CONTAINER_OF(c, struct run, child);
    r->status = status;
    r->ends++;
    loop_stop(&r->loop);
}

static void begin(struct run *r)
{
    *r = (struct run){0};
    assert_int_equal(loop_init(&r->loop), 0);
}

static void end(struct run *r)
{
    loop_free(&r->loop);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child, no zombie */
    assert_int_equal(errno, ECHILD);
}

static int shell(struct run *r, const char *script, int out)
{
    char *const command[] = {(char[]){"sh"}, (char[]){"-c"}, strdup(script), NULL};
    int rc = child_start(&r->child, &r->loop, command, NULL, out, on_end);
    free(command[2]);
    return rc;
}

static void test_exit_codes(UNUSED void **state)
{
    struct run r;
    begin(&r);
    for (int code = 0; code < 3; code++) {
        char script[] = "exit 0";
        script[5] = (char)('0' + code);
        assert_int_equal(shell(&r, script, -1), 0);
        assert_true(r.child.pid > 0);
        loop_run(&r.loop);
        assert_int_equal(r.ends, code + 1);
        assert_int_equal(WEXITSTATUS(r.status), code);
        assert_int_equal(r.child.pid, 0);
    }
    assert_int_equal(shell(&r, "kill -9 $$", -1), 0);
    loop_run(&r.loop);
    assert_true(WIFSIGNALED(r.status));
    assert_int_equal(WTERMSIG(r.status), SIGKILL);
    end(&r);
}

static void test_no_such_command(UNUSED void **state)
{
    char *const command[] = {(char[]){"/no/such/command"}, NULL};
    struct run r;
    begin(&r);
    assert_int_equal(child_start(&r.child, &r.loop, command, NULL, -1, on_end), -ENOENT);
    assert_int_equal(r.child.pid, 0);
    child_kill(&r.child); /* harmless */
    end(&r);
}

/* Both outputs, in the environment that it is given; and nothing of ours but the three. */
static void test_output(UNUSED void **state)
{
    char *const command[] = {(char[]){"sh"}, (char[]){"-c"},
                             (char[]){"echo $A$B; echo err >&2; ls /proc/self/fd | wc -l"}, NULL};
    char *const env[] = {(char[]){"A=one"}, (char[]){"PATH=/usr/bin:/bin"}, NULL};
    char text[64] = "";
    struct run r;
    int ends[2], other = open("/dev/null", O_RDONLY); /* not close-on-exec */
    begin(&r);
    assert_true(other >= 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(child_start(&r.child, &r.loop, command, env, ends[1], on_end), 0);
    assert_int_equal(close(ends[1]), 0);
    loop_run(&r.loop);
    for (ssize_t n, at = 0; (n = read(ends[0], text + at, sizeof(text) - 1 - (size_t)at)) > 0;)
        at += n;
    assert_string_equal(text, "one\nerr\n4\n"); /* the fourth is ls's own */
    (void)close(ends[0]);
    (void)close(other);
    end(&r);
}

static bool is_alive(pid_t pid)
{
    return kill(pid, 0) == 0;
}

/* What it has started goes with it, whether it ends or is killed. */
static void test_group(UNUSED void **state)
{
    for (int killed = 0; killed < 2; killed++) {
        char text[32] = "";
        struct run r;
        int ends[2];
        begin(&r);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(
            shell(&r, killed ? "sleep 1000 & echo $!; wait" : "sleep 1000 & echo $!", ends[1]), 0);
        assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
        pid_t inner = (pid_t)strtol(text, NULL, 10);
        pid_t outer = r.child.pid;
        if (killed) {
            child_kill(&r.child);
            assert_int_equal(r.child.pid, 0);
            /* It is reaped by the loop, when the kernel has ended it. */
            for (int i = 0; i < 1000 && !list_empty(&r.loop.killed); i++) {
                (void)ev_run(r.loop.ev, EVRUN_NOWAIT);
                (void)usleep(1000);
            }
            assert_true(list_empty(&r.loop.killed));
            assert_int_equal(r.ends, 0);
        } else {
            loop_run(&r.loop);
            assert_int_equal(r.ends, 1);
        }
        assert_false(is_alive(outer));
        /* Nobody's child now but init's, which may take its time to reap it: both its outputs are
         * closed when it is dead. */
        (void)close(ends[1]);
        assert_int_equal(read(ends[0], text, sizeof(text)), 0);
        assert_true(inner > 0);
        (void)close(ends[0]);
        end(&r);
    }
}

/* The loop goes before the kernel has ended it: it is forgotten, and nothing of ours is lost. */
static void test_forgotten(UNUSED void **state)
{
    struct run r;
    begin(&r);
    assert_int_equal(shell(&r, "sleep 1000", -1), 0);
    child_kill(&r.child);
    loop_free(&r.loop);
    (void)waitpid(-1, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_codes), cmocka_unit_test(test_no_such_command),
        cmocka_unit_test(test_output),     cmocka_unit_test(test_group),
        cmocka_unit_test(test_forgotten),
    };
    return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
