/* supervised.h - real processes and sockets: the test's program is supervisor and serving process
 * too.
 *
 * Started with --child it takes or binds the socket "http", says READY and obeys one letter a
 * connection; what happens to it, it prints. Standard output and error of the supervisor and of
 * its children come to the test as lines. Nothing here sleeps: each step waits for a line or for
 * an answer. */
#ifndef TESTS_SUPERVISED_H
#define TESTS_SUPERVISED_H

#include "base/check.h"
#include "base/clock.h"
#include "lifecycle/channel.h"
#include "lifecycle/inherited.h"
#include "lifecycle/supervisor.h"
#include "lifecycle/supervisor_parts.h"

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

static inline int bind_tcp(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(fd, 64) == 0);
    return fd;
}

static inline int bind_unix(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0 && listen(fd, 64) == 0);
    return fd;
}

static inline unsigned port_of(int fd)
{
    struct sockaddr_in in = {0};
    socklen_t n = sizeof(in);
    (void)getsockname(fd, (struct sockaddr *)&in, &n);
    return in.sin_family == AF_INET ? ntohs(in.sin_port) : 0;
}

static inline void make_orphan(int answer)
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

static inline void fill_channel(int answer)
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
static inline void obey(char letter, int answer, int *listener)
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
    case 'r': /* a reload begins */
        (void)dprintf(answer, "%d", channel_reloading(channel, true));
        break;
    case 'R': /* and ends */
        (void)dprintf(answer, "%d", channel_reloading(channel, false));
        break;
    case 'b':
        (void)dprintf(answer, "%d", channel_beat(channel));
        break;
    case 's': /* two lines would be two variables */
        (void)dprintf(answer, "%d", channel_status(channel, "fine\nREADY=0"));
        break;
    case 'w': /* what the service manager wants */
        (void)dprintf(answer, "%d %d", channel_manager_listens(channel),
                      (int)channel_watchdog(channel));
        break;
    case 'T': /* the application's SIGTERM */
        (void)dprintf(answer, "%d", channel_app_release(channel, now + 60 * USEC_PER_SEC));
        break;
    case 't': /* with little time for its end */
        (void)dprintf(answer, "%d", channel_app_release(channel, now + 50 * USEC_PER_MSEC));
        break;
    case 'S': /* a drain that a signal has begun, with little time */
        (void)dprintf(answer, "%d",
                      channel_drain(channel, now, now + 300 * USEC_PER_MSEC, "signal"));
        break;
    case 'x': /* as one that the kernel is taking down, and is not done with */
        (void)close_range(FD_FIRST, UINT_MAX, 0);
        for (;;)
            (void)pause();
    case 'e': /* exits by itself, but not yet */
        (void)dprintf(answer, "0");
        (void)close(answer);
        channel = channel_free(channel);
        (void)!read(STDIN_FILENO, &letter, 1);
        exit(0);
    case 'k':
        (void)close(answer);
        (void)raise(SIGKILL);
        break;
    default:
        (void)close(answer);
        (void)channel_free(channel);
        exit(letter - '0');
    }
    (void)close(answer);
}

static inline void say(const char *fmt, ...)
{
    char line[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    CHECK(n > 0 && write(STDOUT_FILENO, line, (size_t)n) == n);
}

static inline int listener_of_child(void)
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

static inline void tell_notices(void)
{
    struct channel_notice n;
    int fd;
    while (channel_next_notice(channel, &n, &fd) == 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        say("notice kind=%u pid=%d status=%d released=%u pidfd=%d ended=%d\n", n.kind, n.pid,
            n.status, n.released, fd >= 0, fd >= 0 && poll(&p, 1, 0) == 1);
        if (fd >= 0)
            (void)close(fd);
    }
}

static inline int serve(bool stays_on_term)
{
    int listener = listener_of_child();
    sigset_t set;

    (void)sigfillset(&set);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    (void)channel_ready(channel);
    const char *app = getenv("TEST_APP_TOLD");
    if (app)
        (void)channel_app(channel, app, strlen(app) + 1);
    for (;;) {
        struct pollfd p[3] = {{.fd = signals, .events = POLLIN},
                              {.fd = listener, .events = POLLIN},
                              {.fd = channel_fd(channel), .events = POLLIN}};
        (void)poll(p, 3, -1);
        if (p[2].revents)
            tell_notices();
        if (p[0].revents) {
            struct signalfd_siginfo info;
            (void)!read(signals, &info, sizeof(info));
            if (info.ssi_signo == SIGCHLD)
                continue;
            say("signal %u\n", info.ssi_signo);
            if (info.ssi_signo == SIGTERM && !stays_on_term)
                return 0;
            if (info.ssi_signo == SIGUSR2 && listener >= 0) {
                (void)close(listener);
                listener = -1;
                (void)channel_retire(channel, clock_mono() + 60 * USEC_PER_SEC);
            }
        }
        if (p[1].revents) {
            int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            char letter;
            if (fd >= 0 && read(fd, &letter, 1) == 1)
                obey(letter, fd, &listener);
        }
    }
}

/* "by:PATH": each one looks there for the mode that is its own. */
static inline const char *own_mode(const char *mode)
{
    static char text[32];
    if (strncmp(mode, "by:", 3) != 0)
        return mode;
    int fd = open(mode + 3, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    CHECK(n > 0);
    text[n] = '\0';
    (void)close(fd);
    return text;
}

static inline int child(const char *mode)
{
    mode = own_mode(mode);
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
    if (strcmp(mode, "thief") == 0) {
        int fd = bind_tcp();
        say("thief %d %d\n", channel_hold(channel, "http", fd), channel_drop(channel, "http"));
        return 1;
    }
    if (strcmp(mode, "never") == 0) {
        say("waiting\n");
        for (;;)
            (void)pause();
    }
    int code = serve(strcmp(mode, "stay") == 0);
    channel = channel_free(channel);
    return code;
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

static inline int supervise(char *mode)
{
    char self[] = "supervised", flag[] = "--child", own_flag[] = "--supervise";
    char *const argv[] = {self, flag, mode, NULL};
    char *const own[] = {self, own_flag, mode, NULL};
    if (getenv("TEST_PATIENCE_MS"))
        upgrade_ready_patience = strtoull(getenv("TEST_PATIENCE_MS"), NULL, 10) * USEC_PER_MSEC;
    char shell[] = "/bin/sh", option[] = "-c", *script = getenv("TEST_APP");
    char *const app[] = {shell, option, script, NULL};
    return supervisor_run(argv, own, script ? app : NULL);
}

/* program: a copy of this one to execute; NULL: none is executed. activation: a listening socket
 * that the supervisor is started with, -1 for none. */
static inline struct run *run_program(const char *program, const char *mode, int activation,
                                      const char *name)
{
    struct run *r = calloc(1, sizeof(*r));
    int out[2], in[2];
    char mode_copy[128];

    CHECK(r && pipe2(out, O_CLOEXEC) == 0 && pipe2(in, O_CLOEXEC) == 0);
    /* Room for all that is logged while the test waits for something else: nobody reads it then,
     * and the supervisor would wait, too. */
    CHECK(fcntl(out[1], F_SETPIPE_SZ, 1 << 20) > 0);
    (void)snprintf(mode_copy, sizeof(mode_copy), "%s", mode);
    r->pid = fork();
    if (r->pid == 0) {
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
        if (program) {
            (void)execl(program, program, "--supervise", mode_copy, (char *)NULL);
            _exit(127);
        }
        _exit(supervise(mode_copy));
    }
    (void)close(out[1]);
    (void)close(in[0]);
    r->out = out[0];
    r->in = in[1];
    return r;
}

static inline struct run *run_start_with(const char *mode, int activation, const char *name)
{
    return run_program(NULL, mode, activation, name);
}

static inline struct run *run_start(const char *mode)
{
    return run_start_with(mode, -1, NULL);
}

/* Waits for a line that has `what` in it, and returns what stands behind that; lines before it
 * are gone. NULL when the output ended. */
static inline const char *expect(struct run *r, const char *what, char *out, size_t cap)
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

static inline void expect_line(struct run *r, const char *what)
{
    char rest[256];
    if (!expect(r, what, rest, sizeof(rest)))
        fail_msg("no line \"%s\"", what);
}

/* In either order. */
static inline void expect_both(struct run *r, const char *a, const char *b)
{
    char line[256];
    bool got_a = false, got_b = false;
    while (!got_a || !got_b) {
        if (!expect(r, "", line, sizeof(line)))
            fail_msg("no line \"%s\"", got_a ? b : a);
        got_a = got_a || strstr(line, a);
        got_b = got_b || strstr(line, b);
    }
}

struct started {
    int pid, taken, hold, drain;
    unsigned port;
    size_t left;
    char trigger[64];
};

static inline struct started expect_start(struct run *r)
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

static inline int try_connect(unsigned port)
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

static inline int order(unsigned port, char letter)
{
    int fd = try_connect(port);
    assert_true(fd >= 0);
    assert_int_equal(1, send(fd, &letter, 1, MSG_NOSIGNAL));
    return fd;
}

/* The number that it answers; -1 when it closed without one. */
static inline int answer(int fd, int *ret_second)
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

static inline int run_exit_code(struct run *r)
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

static inline void run_end(struct run *r)
{
    (void)kill(r->pid, SIGTERM);
    assert_int_equal(0, run_exit_code(r));
}

/* In main(): is this process one of those? Then it has ended with *ret_code. */
static inline bool supervised_main(int argc, char **argv, int *ret_code)
{
    if (argc == 3 && strcmp(argv[1], "--child") == 0) {
        *ret_code = child(argv[2]);
        return true;
    }
    if (argc == 3 && strcmp(argv[1], "--supervise") == 0) {
        *ret_code = supervise(argv[2]);
        return true;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    return false;
}

#endif
