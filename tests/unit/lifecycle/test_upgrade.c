/* test_upgrade.c - SIGUSR2: a new program takes over, or nothing changes. */
#include "supervised.h"

#include <sys/wait.h>

/* A copy of this program, and a file that says how the serving processes behave. */
struct stage {
    char directory[64], program[96], mode_file[96], by[112];
    struct run *r;
};

static void write_file(const char *path, const char *text, mode_t mode)
{
    char fresh[128];
    (void)snprintf(fresh, sizeof(fresh), "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_int_equal(strlen(text), write(fd, text, strlen(text)));
    (void)close(fd);
    assert_int_equal(0, rename(fresh, path));
}

static void copy_self(const char *to)
{
    char fresh[128], buf[65536];
    ssize_t n;
    (void)snprintf(fresh, sizeof(fresh), "%s.new", to);
    int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int out = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    while ((n = read(in, buf, sizeof(buf))) > 0)
        assert_int_equal(n, write(out, buf, (size_t)n));
    (void)close(in);
    (void)close(out);
    assert_int_equal(0, rename(fresh, to));
}

static int stage_set(void **state)
{
    struct stage *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    (void)snprintf(s->directory, sizeof(s->directory), "/tmp/test_upgrade-XXXXXX");
    assert_non_null(mkdtemp(s->directory));
    (void)snprintf(s->program, sizeof(s->program), "%s/program", s->directory);
    (void)snprintf(s->mode_file, sizeof(s->mode_file), "%s/mode", s->directory);
    (void)snprintf(s->by, sizeof(s->by), "by:%s", s->mode_file);
    copy_self(s->program);
    write_file(s->mode_file, "serve", 0644);
    s->r = run_program(s->program, s->by, -1, NULL);
    (void)expect_start(s->r);
    assert_int_equal(s->r->child, answer(order(s->r->port, 'p'), NULL));
    *state = s;
    return 0;
}

static int stage_strike(void **state)
{
    struct stage *s = *state;
    (void)unlink(s->program);
    (void)unlink(s->mode_file);
    (void)rmdir(s->directory);
    free(s);
    return 0;
}

static ino_t inode_of(const char *path)
{
    struct stat st;
    assert_int_equal(0, stat(path, &st));
    return st.st_ino;
}

static ino_t exe_of(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    return inode_of(path);
}

/* The next serving process, when the supervisor is the new program by then. */
static struct started upgrade(struct run *r)
{
    assert_int_equal(0, kill(r->pid, SIGUSR2));
    struct started s = expect_start(r);
    expect_line(r, "signal 12");
    expect_line(r, " supervises");
    return s;
}

static void test_takes_over(void **state)
{
    struct stage *s = *state;
    struct run *r = s->r;
    pid_t old = r->child;
    ino_t before = exe_of(r->pid);
    assert_int_equal(before, inode_of(s->program));
    copy_self(s->program);
    assert_true(before != inode_of(s->program));

    struct started next = upgrade(r);
    assert_int_equal(1, next.taken);
    assert_int_equal(inode_of(s->program), exe_of(next.pid));
    assert_int_equal(inode_of(s->program), exe_of(r->pid));
    assert_int_equal(before, exe_of(old));
    assert_int_equal(next.pid, answer(order(r->port, 'p'), NULL));

    /* The successor reaps what its predecessor had started, and it forwards. */
    assert_int_equal(0, kill(old, SIGTERM));
    expect_line(r, "retiring process");
    (void)kill(r->pid, SIGHUP);
    expect_line(r, "signal 1");
    /* What dies is started again, from the new file. */
    assert_int_equal(-1, answer(order(r->port, 'k'), NULL));
    next = expect_start(r);
    assert_int_equal(1, next.taken);
    assert_int_equal(inode_of(s->program), exe_of(next.pid));
    run_end(r);
}

static void test_without_a_new_file_it_is_a_restart(void **state)
{
    struct stage *s = *state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(1, upgrade(s->r).taken);
    run_end(s->r);
}

static void refused_with(struct run *r, const char *why)
{
    pid_t before = r->child;
    assert_int_equal(0, kill(r->pid, SIGUSR2));
    expect_line(r, why);
    assert_int_equal(before, answer(order(r->port, 'p'), NULL));
}

static void test_nothing_changes(void **state)
{
    struct stage *s = *state;
    ino_t before = exe_of(s->r->pid);

    write_file(s->program, "no program", 0644);
    refused_with(s->r, "nothing has changed"); /* EACCES */
    write_file(s->program, "no program", 0755);
    refused_with(s->r, "exited with 126");
    (void)unlink(s->program);
    refused_with(s->r, "No such file");
    copy_self(s->program);
    write_file(s->mode_file, "exit1", 0644);
    refused_with(s->r, "exited with 1 ");
    write_file(s->mode_file, "crash", 0644);
    refused_with(s->r, "killed by signal 9");
    /* It holds a socket of its own under a name that is held, and drops another, and dies. */
    write_file(s->mode_file, "thief", 0644);
    refused_with(s->r, "exited with 1 ");
    assert_int_equal(before, exe_of(s->r->pid));

    /* None of that stands in the way of the next one, or of a restart. */
    write_file(s->mode_file, "serve", 0644);
    assert_int_equal(-1, answer(order(s->r->port, 'k'), NULL));
    assert_int_equal(1, expect_start(s->r).taken);
    assert_int_equal(1, upgrade(s->r).taken);
    run_end(s->r);
}

static void test_one_that_hangs_is_killed(void **state)
{
    struct stage *s = *state;
    run_end(s->r);
    (void)setenv("TEST_PATIENCE_MS", "300", 1);
    s->r = run_program(s->program, s->by, -1, NULL);
    (void)unsetenv("TEST_PATIENCE_MS");
    (void)expect_start(s->r);
    assert_int_equal(s->r->child, answer(order(s->r->port, 'p'), NULL));
    write_file(s->mode_file, "never", 0644);
    refused_with(s->r, "not ready in time; nothing has changed");
    expect_line(s->r, "was not to serve after all");
    run_end(s->r);
}

static void test_a_link_is_followed_anew(void **state)
{
    struct stage *s = *state;
    char link_path[128], other[128];
    (void)snprintf(link_path, sizeof(link_path), "%s/link", s->directory);
    (void)snprintf(other, sizeof(other), "%s/other", s->directory);
    assert_int_equal(0, symlink("program", link_path));
    struct run *r = run_program(link_path, s->by, -1, NULL);
    (void)expect_start(r);
    assert_true(answer(order(r->port, 'p'), NULL) > 0);
    copy_self(other);
    (void)unlink(link_path);
    assert_int_equal(0, symlink("other", link_path));
    (void)upgrade(r);
    assert_int_equal(inode_of(other), exe_of(r->pid));
    /* And again, now that it was executed by descriptor. */
    (void)unlink(link_path);
    assert_int_equal(0, symlink("program", link_path));
    (void)upgrade(r);
    assert_int_equal(inode_of(s->program), exe_of(r->pid));
    run_end(r);
    (void)unlink(link_path);
    (void)unlink(other);
    run_end(s->r);
}

static void test_refused_while_it_drains(void **state)
{
    struct stage *s = *state;
    assert_int_equal(0, answer(order(s->r->port, 'd'), NULL));
    refused_with(s->r, "refused: a drain runs");
    run_end(s->r);
}

static void test_a_drain_ends_the_upgrade(void **state)
{
    struct stage *s = *state;
    write_file(s->mode_file, "never", 0644);
    (void)kill(s->r->pid, SIGUSR2);
    expect_line(s->r, "waiting");
    assert_int_equal(0, answer(order(s->r->port, 'd'), NULL));
    expect_line(s->r, "a drain began");
    expect_line(s->r, "was not to serve after all");
    run_end(s->r);
}

static void test_sigterm_ends_the_upgrade(void **state)
{
    struct stage *s = *state;
    write_file(s->mode_file, "never", 0644);
    (void)kill(s->r->pid, SIGUSR2);
    expect_line(s->r, "waiting");
    (void)kill(s->r->pid, SIGTERM);
    expect_line(s->r, "it is to end");
    expect_line(s->r, "signal 15");
    assert_int_equal(0, run_exit_code(s->r));
}

static void test_the_second_is_remembered_once(void **state)
{
    struct stage *s = *state;
    write_file(s->mode_file, "late", 0644);
    (void)kill(s->r->pid, SIGUSR2);
    expect_line(s->r, "waiting");
    for (int i = 0; i < 3; i++) {
        (void)kill(s->r->pid, SIGUSR2);
        expect_line(s->r, "another follows");
    }
    write_file(s->mode_file, "serve", 0644);
    assert_int_equal(1, write(s->r->in, "g", 1));
    pid_t first = expect_start(s->r).pid;
    expect_line(s->r, " supervises");
    /* It came over to the successor. */
    pid_t second = expect_start(s->r).pid;
    expect_line(s->r, " supervises");
    assert_true(first != second);
    assert_int_equal(second, answer(order(s->r->port, 'p'), NULL));
    run_end(s->r);
}

static void test_so_many_drain(void **state)
{
    struct stage *s = *state;
    for (int i = 0; i < 8; i++)
        (void)upgrade(s->r);
    refused_with(s->r, "refused: 8 earlier");
    /* All are told, and waited for. */
    (void)kill(s->r->pid, SIGTERM);
    for (int i = 0; i < 9; i++)
        expect_line(s->r, "signal 15");
    unsigned port = s->r->port;
    assert_int_equal(0, run_exit_code(s->r));
    assert_int_equal(-ECONNREFUSED, try_connect(port));
}

static void test_deaths_behind_an_upgrade(void **state)
{
    struct stage *s = *state;
    pid_t old = s->r->child;
    (void)upgrade(s->r);
    /* The retiring one's is told, and that is all. */
    (void)kill(old, SIGKILL);
    expect_line(s->r, "retiring process");
    assert_int_equal(s->r->child, answer(order(s->r->port, 'p'), NULL));
    /* The new one's is a death like any. */
    assert_int_equal(-1, answer(order(s->r->port, '3'), NULL));
    assert_int_equal(1, expect_start(s->r).taken);
    run_end(s->r);
}

static void test_the_old_one_dies_meanwhile(void **state)
{
    struct stage *s = *state;
    write_file(s->mode_file, "late", 0644);
    (void)kill(s->r->pid, SIGUSR2);
    expect_line(s->r, "waiting");
    write_file(s->mode_file, "serve", 0644);
    (void)kill(s->r->child, SIGKILL);
    expect_line(s->r, "the serving process died");
    assert_int_equal(1, expect_start(s->r).taken);
    run_end(s->r);
}

/* The sockets that the newcomer was given are not what they were. */
static void test_a_reload_meanwhile(void **state)
{
    struct stage *s = *state;
    write_file(s->mode_file, "late", 0644);
    (void)kill(s->r->pid, SIGUSR2);
    expect_line(s->r, "waiting");
    /* Each of these sockets undoes a newcomer; the one that has all of them is let go on. */
    assert_int_equal(CHANNEL_MAX_HELD - 1, answer(order(s->r->port, 'f'), NULL));
    expect_line(s->r, "the configuration or an operator's word changed meanwhile");
    assert_int_equal(8, write(s->r->in, "gggggggg", 8));
    struct started next;
    do {
        next = expect_start(s->r);
    } while (next.left != CHANNEL_MAX_HELD - 1);
    expect_line(s->r, " supervises");
    run_end(s->r);
}

static void test_stuck_one_is_not_waited_for(void **state)
{
    struct stage *s = *state;
    pid_t old = s->r->child;
    assert_int_equal(0, kill(old, SIGSTOP));
    (void)kill(s->r->pid, SIGUSR2);
    (void)expect_start(s->r);
    expect_line(s->r, "does not answer");
    expect_line(s->r, " supervises");
    assert_int_equal(0, kill(old, SIGKILL));
    expect_line(s->r, "retiring process");
    run_end(s->r);
}

int main(int argc, char **argv)
{
    int code;
    if (supervised_main(argc, argv, &code))
        return code;
#define ON_STAGE(test) cmocka_unit_test_setup_teardown(test, stage_set, stage_strike)
    const struct CMUnitTest tests[] = {
        ON_STAGE(test_takes_over),
        ON_STAGE(test_without_a_new_file_it_is_a_restart),
        ON_STAGE(test_nothing_changes),
        ON_STAGE(test_one_that_hangs_is_killed),
        ON_STAGE(test_a_link_is_followed_anew),
        ON_STAGE(test_refused_while_it_drains),
        ON_STAGE(test_a_drain_ends_the_upgrade),
        ON_STAGE(test_sigterm_ends_the_upgrade),
        ON_STAGE(test_the_second_is_remembered_once),
        ON_STAGE(test_so_many_drain),
        ON_STAGE(test_deaths_behind_an_upgrade),
        ON_STAGE(test_the_old_one_dies_meanwhile),
        ON_STAGE(test_a_reload_meanwhile),
        ON_STAGE(test_stuck_one_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
