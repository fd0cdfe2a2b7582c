/* test_app_usage.c - what a process of ours takes is what is told of it; and of one that we may not
 * look into, what may be told. */
#include "lifecycle/app_usage.h"

#include "base/check.h"
#include "lifecycle/sock_diag.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { THEM = 59321, US = 59322 }; /* users that nobody else is */

#ifdef __SANITIZE_THREAD__
enum { OWN_THREADS = 2 }; /* TSan has one of its own in each process */
#else
enum { OWN_THREADS = 1 };
#endif

/* What a child does before it says that it has; its pipes are two descriptors. */
struct todo {
    uid_t user; /* 0: ours */
    int fds, sockets, listeners, children;
    size_t bytes;
};

static void act(const struct todo *t, int ready)
{
    if (t->user != 0 && (setgid(t->user) < 0 || setuid(t->user) < 0))
        _exit(1);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user's would be forgotten */
    for (int i = 0; i < t->fds; i++)
        (void)open("/dev/null", O_RDONLY);
    for (int i = 0; i < t->sockets; i++)
        (void)socket(AF_UNIX, SOCK_STREAM, 0);
    for (int i = 0; i < t->listeners; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 1) < 0)
            _exit(1);
    }
    char *memory = t->bytes > 0 ? malloc(t->bytes) : NULL;
    if (memory)
        memset(memory, 1, t->bytes);
    for (int i = 0; i < t->children; i++) {
        if (fork() == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            (void)write(ready, "x", 1);
            for (;;)
                (void)pause();
        }
    }
    (void)write(ready, "x", 1);
    for (;;)
        (void)pause();
}

static pid_t begin(const struct todo *t)
{
    int ready[2];
    char c;
    CHECK(pipe2(ready, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0)
        act(t, ready[1]);
    (void)close(ready[1]);
    for (int i = 0; i <= t->children; i++)
        assert_int_equal(read(ready[0], &c, 1), 1);
    (void)close(ready[0]);
    return pid;
}

static void end(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static struct app_usage usage_of(const struct app_usage_source *from, const struct todo *t)
{
    struct app_usage u;
    pid_t pid = begin(t);
    int rc = app_usage_read(from, pid, &u);
    end(pid);
    assert_int_equal(rc, 0);
    return u;
}

static void test_growth(UNUSED void **state)
{
    struct app_usage_source from;
    app_usage_source_init(&from);
    for (int sized = 0; sized <= from.sized; sized++) {
        struct app_usage_source s = from;
        s.sized = sized;
        struct app_usage little = usage_of(&s, &(struct todo){0});
        struct app_usage much =
            usage_of(&s, &(struct todo){.fds = 30, .sockets = 20, .bytes = 64 << 20});
        assert_int_equal(much.value[LEAK_FDS] - little.value[LEAK_FDS], 50);
        assert_int_equal(much.value[LEAK_SOCKETS] - little.value[LEAK_SOCKETS], 20);
        assert_true(much.value[LEAK_RSS] - little.value[LEAK_RSS] > 60 << 20);
        assert_int_equal(much.value[LEAK_THREADS], OWN_THREADS);
        assert_int_equal(much.fds_by, sized ? USAGE_BY_SIZE : USAGE_BY_LIST);
        assert_int_equal(much.sockets_by, USAGE_BY_LIST);
        assert_int_equal(much.processes, 1);
        assert_string_equal(much.name, "test_app_usage");
    }
}

/* Not all of them are looked at: the share of those that are stands for the others. */
static void test_many(UNUSED void **state)
{
    struct app_usage_source from;
    app_usage_source_init(&from);
    struct todo t = {.sockets = 3000};
    struct app_usage u = usage_of(&from, &t);
    if (u.value[LEAK_FDS] < 3000)
        skip(); /* a limit of descriptors */
    assert_in_range(u.value[LEAK_SOCKETS], 2500, 3100);
}

static void test_children_count(UNUSED void **state)
{
    struct app_usage_source from;
    app_usage_source_init(&from);
    struct app_usage one = usage_of(&from, &(struct todo){.fds = 10});
    struct app_usage four = usage_of(&from, &(struct todo){.fds = 10, .children = 3});
    if (four.processes == 1)
        skip(); /* a kernel without CONFIG_PROC_CHILDREN */
    assert_int_equal(four.processes, 4);
    assert_int_equal(four.value[LEAK_THREADS], 4 * OWN_THREADS);
    assert_int_equal(four.value[LEAK_FDS], 4 * one.value[LEAK_FDS]);
    assert_false(four.more);
    struct app_usage all = usage_of(&from, &(struct todo){.children = APP_USAGE_PROCESSES + 5});
    assert_int_equal(all.processes, APP_USAGE_PROCESSES);
    assert_true(all.more);
}

static void test_nobody_there(UNUSED void **state)
{
    struct app_usage_source from;
    struct app_usage u;
    app_usage_source_init(&from);
    pid_t pid = begin(&(struct todo){0});
    (void)kill(pid, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(app_usage_read(&from, pid, &u), -ESRCH); /* a zombie */
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(app_usage_read(&from, pid, &u) < 0);
}

/* What an unprivileged sluice sees of an application of another user, and of one that is its own
 * user's and may not be looked into. */
static void look_as_another(pid_t theirs, pid_t ours, struct app_usage *out)
{
    struct app_usage_source from;
    if (setgid(US) < 0 || setuid(US) < 0)
        _exit(1);
    app_usage_source_init(&from);
    if (app_usage_read(&from, theirs, &out[0]) < 0 || app_usage_read(&from, ours, &out[1]) < 0)
        _exit(2);
    from.sized = false; /* a kernel before 6.2 */
    _exit(app_usage_read(&from, theirs, &out[2]) < 0 ? 3 : 0);
}

static void test_another_user(UNUSED void **state)
{
    struct app_usage_source from;
    int status;
    app_usage_source_init(&from);
    if (geteuid() != 0) {
        print_message("skipped: processes of other users take root\n");
        skip();
    }
    struct app_usage *out =
        mmap(NULL, 3 * sizeof(*out), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(out != MAP_FAILED);
    pid_t theirs = begin(&(struct todo){.user = THEM, .fds = 30, .listeners = 5});
    pid_t ours = begin(&(struct todo){.user = US, .listeners = 2});
    pid_t looker = fork();
    if (looker == 0)
        look_as_another(theirs, ours, out);
    assert_int_equal(waitpid(looker, &status, 0), looker);
    end(theirs);
    end(ours);
    assert_int_equal(status, 0);
    /* By size where the kernel has it, and not at all where not. */
    if (from.sized) {
        assert_true(out[0].value[LEAK_FDS] >= 35);
        assert_int_equal(out[0].fds_by, USAGE_BY_SIZE);
    }
    assert_int_equal(out[2].value[LEAK_FDS], LEAK_UNKNOWN);
    assert_int_equal(out[2].fds_error, EACCES);
    assert_int_equal(out[0].value[LEAK_THREADS], OWN_THREADS);
    assert_true(out[0].value[LEAK_RSS] > 0);
    assert_int_equal(out[0].sockets_by, USAGE_BY_USER);
    assert_int_equal(out[0].value[LEAK_SOCKETS], 5);
    /* setuid() made it one that may not be looked into: whose its sockets are cannot be told. */
    assert_int_equal(out[1].value[LEAK_SOCKETS], LEAK_UNKNOWN);
    assert_int_equal(out[1].sockets_error, EACCES);
    assert_true(out[1].value[LEAK_RSS] > 0);
    (void)munmap(out, 3 * sizeof(*out));
}

/* --- answers of sock_diag --- */

static bool count(void *ctx, const struct inet_diag_msg *m)
{
    int *n = ctx;
    (void)m;
    return ++*n < 2;
}

static void test_answers(UNUSED void **state)
{
    struct part {
        struct nlmsghdr head;
        struct inet_diag_msg body;
    } part[3];
    int n = 0;
    bool enough = false;
    memset(part, 0, sizeof(part));
    for (size_t i = 0; i < ARRAY_LEN(part); i++)
        part[i].head =
            (struct nlmsghdr){.nlmsg_len = sizeof(part[i]), .nlmsg_type = SOCK_DIAG_BY_FAMILY};
    assert_int_equal(sock_diag_read(part, sizeof(part[0]), count, &n, &enough), 1);
    assert_int_equal(n, 1);
    assert_false(enough);
    assert_int_equal(sock_diag_read(part, sizeof(part), count, &n, &enough), 1);
    assert_int_equal(n, 2);
    assert_true(enough);
    n = 0;
    enough = false;
    part[1].head.nlmsg_type = NLMSG_DONE;
    assert_int_equal(sock_diag_read(part, sizeof(part), count, &n, &enough), 0);
    assert_int_equal(n, 1);
    part[1].head.nlmsg_type = NLMSG_ERROR;
    assert_int_equal(sock_diag_read(part, sizeof(part), count, &n, &enough), -EPROTO);
    part[0].head.nlmsg_len = sizeof(part[0].head) + 4;
    assert_int_equal(sock_diag_read(part, sizeof(part), count, &n, &enough), -EPROTO);
    part[0].head.nlmsg_len = 3; /* no message at all: nothing more is read */
    n = 0;
    enough = false;
    assert_int_equal(sock_diag_read(part, sizeof(part), count, &n, &enough), 1);
    part[0].head.nlmsg_len = UINT32_MAX;
    assert_int_equal(sock_diag_read(part, sizeof(part), count, &n, &enough), 1);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth),         cmocka_unit_test(test_many),
        cmocka_unit_test(test_children_count), cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_another_user),   cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
