/* test_supervisor.c - real processes and sockets: this program is the serving process too.
 *
 * Started with --child it takes or binds the socket "http", says READY and obeys one letter a
 * connection; what happens to it, it prints. Standard output and error of the supervisor and of
 * its children come to the test as lines. Nothing here sleeps: each step waits for a line or for
 * an answer. */
#include "base/check.h"
#include "base/clock.h"
#include "lifecycle/channel.h"
#include "lifecycle/inherited.h"
#include "lifecycle/supervisor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

/* --- the serving process ----------------------------------------------------------------- */

static struct channel *channel;
static const char *unix_path;   /* NULL: TCP */
static unsigned activated_port; /* taken by address; 0: by name */

static int bind_tcp(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(fd, 64) == 0);
    return fd;
}

static int bind_unix(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0 && listen(fd, 64) == 0);
    return fd;
}

static unsigned port_of(int fd)
{
    struct sockaddr_in in = {0};
    socklen_t n = sizeof(in);
    (void)getsockname(fd, (struct sockaddr *)&in, &n);
    return in.sin_family == AF_INET ? ntohs(in.sin_port) : 0;
}

static void make_orphan(int answer)
{
    int gone[2];
    CHECK(pipe2(gone, O_CLOEXEC) == 0);
    pid_t middle = fork();
    if (middle == 0) {
        if (fork() == 0) {
            (void)dprintf(answer, "%d", (int)getpid());
            _exit(0);
        }
        _exit(0);
    }
    (void)waitpid(middle, NULL, 0);
}

static void fill_channel(int answer)
{
    int rc = 0, n = 0;
    char name[32];
    while (rc == 0 && n < 1000) {
        (void)snprintf(name, sizeof(name), "fill/%d:x", n);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        rc = channel_hold(channel, name, fd);
        (void)close(fd);
        n += rc == 0;
    }
    (void)dprintf(answer, "%d %d", n, rc);
}

/* The answer goes out before the deed, so that the client never sees a reset. */
static void obey(char letter, int answer, int *listener)
{
    usec_t now = clock_mono();

    switch (letter) {
    case 'p':
        (void)dprintf(answer, "%d", (int)getpid());
        break;
    case 'o':
        make_orphan(answer);
        break;
    case 'f':
        fill_channel(answer);
        break;
    case 'd': /* a drain with time left */
        (void)dprintf(answer, "%d",
                      channel_drain(channel, now, now + 60 * USEC_PER_SEC, "sig term"));
        break;
    case 'D': /* one whose time is over */
        (void)dprintf(answer, "%d", channel_drain(channel, now - 2, now - 1, "late"));
        break;
    case 'c': { /* closes the listener as a drain does */
        int rc = channel_drop(channel, "http");
        (void)close(*listener);
        *listener = -1;
        (void)dprintf(answer, "%d", rc);
        break;
    }
    case 'k':
        (void)close(answer);
        (void)raise(SIGKILL);
        break;
    default:
        (void)close(answer);
        exit(letter - '0');
    }
    (void)close(answer);
}

static void say(const char *fmt, ...)
{
    char line[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    CHECK(n > 0 && write(STDOUT_FILENO, line, (size_t)n) == n);
}

static int listener_of_child(void)
{
    int fd = inherited_take("http");
    if (fd < 0 && activated_port != 0) {
        struct address a;
        const char *why;
        char text[32];
        (void)snprintf(text, sizeof(text), "127.0.0.1:%u", activated_port);
        CHECK(address_parse(str_of(text), &a, &why) == 0);
        fd = inherited_take_address(&a, NULL, 0);
    }
    bool taken = fd >= 0;
    if (!taken)
        fd = unix_path ? bind_unix(unix_path) : bind_tcp();
    int rc = channel_hold(channel, "http", fd);
    usec_t start = 0, deadline = 0;
    char trigger[64] = "-";
    (void)channel_drain_state(&start, &deadline, trigger, sizeof(trigger));
    say("start pid=%d port=%u taken=%d hold=%d left=%zu drain=%d trigger=%s\n", (int)getpid(),
        port_of(fd), taken, rc, inherited_left(), start != 0 && deadline > start, trigger);
    return fd;
}

static int serve(bool stays_on_term)
{
    int listener = listener_of_child();
    sigset_t set;

    (void)sigfillset(&set);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    (void)channel_ready(channel);
    for (;;) {
        struct pollfd p[2] = {{.fd = signals, .events = POLLIN},
                              {.fd = listener, .events = POLLIN}};
        (void)poll(p, 2, -1);
        if (p[0].revents) {
            struct signalfd_siginfo info;
            (void)!read(signals, &info, sizeof(info));
            if (info.ssi_signo == SIGCHLD)
                continue;
            say("signal %u\n", info.ssi_signo);
            if (info.ssi_signo == SIGTERM && !stays_on_term)
                return 0;
        }
        if (p[1].revents) {
            int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            char letter;
            if (fd >= 0 && read(fd, &letter, 1) == 1)
                obey(letter, fd, &listener);
        }
    }
}

static int child(const char *mode)
{
    if (strncmp(mode, "exit", 4) == 0)
        return mode[4] - '0';
    channel = channel_open_from_env();
    CHECK(channel);
    if (strncmp(mode, "unix:", 5) == 0)
        unix_path = mode + 5;
    if (strncmp(mode, "port:", 5) == 0)
        activated_port = (unsigned)strtoul(mode + 5, NULL, 10);
    if (strcmp(mode, "crash") == 0) {
        say("life %" PRIu64 "\n", clock_mono());
        (void)raise(SIGKILL);
    }
    if (strcmp(mode, "late") == 0) {
        char go;
        say("waiting\n");
        (void)!read(STDIN_FILENO, &go, 1);
    }
    if (strcmp(mode, "never") == 0) {
        say("waiting\n");
        for (;;)
            (void)pause();
    }
    return serve(strcmp(mode, "stay") == 0);
}

/* --- the test's side --------------------------------------------------------------------- */

struct run {
    pid_t pid;
    int out, in;
    unsigned port;
    pid_t child;
    char buf[8192]; /* what was printed and not looked at yet */
    size_t n;
};

/* activation: a listening socket that the supervisor is started with, -1 for none. */
static struct run *run_start_with(const char *mode, int activation, const char *name)
{
    struct run *r = calloc(1, sizeof(*r));
    int out[2], in[2];
    char mode_copy[128];

    CHECK(r && pipe2(out, O_CLOEXEC) == 0 && pipe2(in, O_CLOEXEC) == 0);
    (void)snprintf(mode_copy, sizeof(mode_copy), "%s", mode);
    r->pid = fork();
    if (r->pid == 0) {
        char self[] = "test_supervisor", flag[] = "--child";
        char *const argv[] = {self, flag, mode_copy, NULL};
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
        (void)dup2(out[1], STDOUT_FILENO);
        (void)dup2(out[1], STDERR_FILENO);
        (void)dup2(in[0], STDIN_FILENO);
        if (activation >= 0) {
            char pid[16];
            (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
            if (activation != 3)
                (void)dup2(activation, 3);
            else
                (void)fcntl(3, F_SETFD, 0);
            (void)setenv("LISTEN_PID", pid, 1);
            (void)setenv("LISTEN_FDS", "1", 1);
            (void)setenv("LISTEN_FDNAMES", name, 1);
        }
        _exit(supervisor_run(argv));
    }
    (void)close(out[1]);
    (void)close(in[0]);
    r->out = out[0];
    r->in = in[1];
    return r;
}

static struct run *run_start(const char *mode)
{
    return run_start_with(mode, -1, NULL);
}

/* Waits for a line that has `what` in it, and returns what stands behind that; lines before it
 * are gone. NULL when the output ended. */
static const char *expect(struct run *r, const char *what, char *out, size_t cap)
{
    usec_t until = clock_mono() + PATIENCE_MS * USEC_PER_MSEC;
    for (;;) {
        char *nl = memchr(r->buf, '\n', r->n);
        if (nl) {
            *nl = '\0';
            char *hit = strstr(r->buf, what);
            if (getenv("TEST_VERBOSE"))
                (void)fprintf(stderr, "  | %s\n", r->buf);
            if (hit)
                (void)snprintf(out, cap, "%s", hit + strlen(what));
            r->n -= (size_t)(nl + 1 - r->buf);
            memmove(r->buf, nl + 1, r->n);
            if (hit)
                return out;
            continue;
        }
        struct pollfd p = {.fd = r->out, .events = POLLIN};
        if (clock_mono() > until || poll(&p, 1, PATIENCE_MS) <= 0)
            return NULL;
        ssize_t n = read(r->out, r->buf + r->n, sizeof(r->buf) - r->n);
        if (n <= 0)
            return NULL;
        r->n += (size_t)n;
    }
}

static void expect_line(struct run *r, const char *what)
{
    char rest[256];
    if (!expect(r, what, rest, sizeof(rest)))
        fail_msg("no line \"%s\"", what);
}

struct started {
    int pid, taken, hold, drain;
    unsigned port;
    size_t left;
    char trigger[64];
};

static struct started expect_start(struct run *r)
{
    struct started s = {0};
    char rest[256];
    assert_non_null(expect(r, "start ", rest, sizeof(rest)));
    assert_int_equal(7, sscanf(rest,
                               "pid=%d port=%u taken=%d hold=%d left=%zu drain=%d trigger=%63[^\n]",
                               &s.pid, &s.port, &s.taken, &s.hold, &s.left, &s.drain, s.trigger));
    r->child = s.pid;
    r->port = s.port;
    assert_int_equal(s.hold, 0);
    return s;
}

static int try_connect(unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
        return fd;
    int rc = -errno;
    (void)close(fd);
    return rc;
}

static int order(unsigned port, char letter)
{
    int fd = try_connect(port);
    assert_true(fd >= 0);
    assert_int_equal(1, send(fd, &letter, 1, MSG_NOSIGNAL));
    return fd;
}

/* The number that it answers; -1 when it closed without one. */
static int answer(int fd, int *ret_second)
{
    char text[64];
    size_t n = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_true(poll(&p, 1, PATIENCE_MS) > 0);
        ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    text[n] = '\0';
    (void)close(fd);
    int a = -1, b = 0;
    (void)sscanf(text, "%d %d", &a, &b);
    if (ret_second)
        *ret_second = b;
    return a;
}

static int run_exit_code(struct run *r)
{
    int status = 0;
    char rest[8];
    /* The output ends with the last process that could write to it. */
    while (expect(r, "\n", rest, sizeof(rest)))
        ;
    assert_int_equal(r->pid, waitpid(r->pid, &status, 0));
    (void)close(r->out);
    (void)close(r->in);
    free(r);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void run_end(struct run *r)
{
    (void)kill(r->pid, SIGTERM);
    assert_int_equal(0, run_exit_code(r));
}

/* --- tests ------------------------------------------------------------------------------- */

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

static void test_backoff(void **state)
{
    (void)state;
    usec_t at[9];
    char rest[256];
    struct run *r = run_start("crash");

    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        assert_non_null(expect(r, "life ", rest, sizeof(rest)));
        at[i] = strtoull(rest, NULL, 10);
    }
    assert_true(at[6] - at[5] >= 50 * USEC_PER_MSEC);
    assert_true(at[7] - at[6] >= 100 * USEC_PER_MSEC);
    assert_true(at[8] - at[7] >= 200 * USEC_PER_MSEC);
    assert_true(at[5] - at[0] < at[8] - at[6]);
    /* While none is alive: SIGTERM starts no other. */
    expect_line(r, "starts in 400 ms");
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
    (void)kill(r->pid, SIGUSR2);
    expect_line(r, "is not used");
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
    expect_line(r, "is not used");
    assert_int_equal(1, write(r->in, "g", 1));
    (void)expect_start(r);
    expect_line(r, "signal 1");
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
    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return child(argv[2]);
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart_keeps_backlog),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_signals_wait_for_ready),
        cmocka_unit_test(test_reaps_orphans),
        cmocka_unit_test(test_drain_goes_on),
        cmocka_unit_test(test_drain_is_over),
        cmocka_unit_test(test_drop_closes),
        cmocka_unit_test(test_holds_so_many),
        cmocka_unit_test(test_activation),
        cmocka_unit_test(test_activation_by_address),
        cmocka_unit_test(test_unix_paths),
        cmocka_unit_test(test_supervisor_dies),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
