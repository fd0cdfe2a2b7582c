/* supervisor.c - the first process: holds the sockets, starts the serving process again. */
#include "lifecycle/supervisor.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "lifecycle/held.h"
#include "lifecycle/inherited.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    FD_FIRST = 3, /* where LISTEN_FDS begins */
    /* Our own fds live above what a child's sockets are placed on, so that placing them never
     * overwrites one. */
    FD_BASE = FD_FIRST + CHANNEL_MAX_HELD + 2,
    RESTARTS_AT_ONCE = 5,
    EXIT_FAULT = 3,
    EXEC_FAILED = 126,
    ENV_SLOTS = 5,
};

#define SHORT_LIFE   USEC_PER_SEC
#define BACKOFF_MIN  (50 * USEC_PER_MSEC)
#define BACKOFF_MAX  (5 * USEC_PER_SEC)
#define SIGNAL_GRACE (2 * USEC_PER_SEC) /* how long SIGTERM and SIGINT wait for READY */

enum { SIG_HUP = 1, SIG_USR1 = 2, SIG_INT = 4, SIG_TERM = 8 };

static const struct {
    int number;
    unsigned bit;
} forwarded[] = {{SIGHUP, SIG_HUP}, {SIGUSR1, SIG_USR1}, {SIGINT, SIG_INT}, {SIGTERM, SIG_TERM}};

struct supervisor {
    const char *program;
    char *const *argv;
    sigset_t mask; /* as it was before us */
    int signal_fd;

    struct held_set held;

    pid_t child;          /* 0: none alive */
    int channel;          /* -1: none */
    bool ready;           /* this child said READY */
    bool ever_ready;      /* some child did */
    usec_t started;       /* of the child that is or was last */
    usec_t next_start;    /* while there is no child */
    unsigned short_lives; /* in a row */

    unsigned pending;     /* SIG_* bits that wait for READY */
    usec_t pending_since; /* of SIG_TERM or SIG_INT; 0: none */
    bool terminating;     /* SIGTERM or SIGINT has come */

    usec_t drain_start, drain_deadline; /* drain_start 0: no drain */
    char drain_trigger[CHANNEL_NAME_MAX];

    int exit_code; /* -1: goes on */

    char **env; /* the environment, then ENV_SLOTS places and NULL */
    size_t n_env;
    char listen_fds[32], listen_pid[32], channel_fd[32], drain[192];
    char fdnames[sizeof("LISTEN_FDNAMES=") + CHANNEL_MAX_HELD * (CHANNEL_NAME_MAX * 3 + 1)];
};

/* --- the service manager: sd_notify(3) without its library ------------------------------- */

static void notify(const char *what)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(to.sun_path))
        return;
    size_t n = strlen(path);
    memcpy(to.sun_path, path, n);
    if (path[0] == '@')
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, what, strlen(what), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&to,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    (void)close(fd);
}

/* Socket activation: what we were started with. */
static void held_inherit(struct supervisor *s)
{
    while (inherited_left() > 0) {
        char name[CHANNEL_NAME_MAX];
        (void)snprintf(name, sizeof(name), "%s", inherited_left_name(0));
        int fd = inherited_take(name);
        int rc = fd < 0 ? fd : held_add(&s->held, name, fd, FD_BASE, false);
        if (rc < 0)
            log_error("inherited socket %s is lost: %s", name, strerror(-rc));
    }
}

/* --- starting ---------------------------------------------------------------------------- */

static const char *const own_variables[] = {
    "LISTEN_FDS=",    "LISTEN_PID=",   "LISTEN_FDNAMES=",
    "NOTIFY_SOCKET=", CHANNEL_ENV "=", CHANNEL_DRAIN_ENV "="};

static bool is_own_variable(const char *v)
{
    for (size_t i = 0; i < ARRAY_LEN(own_variables); i++) {
        if (strncmp(v, own_variables[i], strlen(own_variables[i])) == 0)
            return true;
    }
    return false;
}

/* The one allocation. */
static int build_environment(struct supervisor *s)
{
    size_t n = 0;
    while (environ[n])
        n++;
    s->env = mem_zalloc((n + ENV_SLOTS + 1) * sizeof(char *));
    if (!s->env)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (!is_own_variable(environ[i]))
            s->env[s->n_env++] = environ[i];
    }
    return 0;
}

static void fill_environment(struct supervisor *s)
{
    size_t o = s->n_env;
    size_t used = (size_t)snprintf(s->fdnames, sizeof(s->fdnames), "LISTEN_FDNAMES=");

    for (size_t i = 0; i < s->held.n; i++) {
        if (i > 0)
            s->fdnames[used++] = ':';
        used +=
            inherited_encode_name(s->held.at[i].name, s->fdnames + used, sizeof(s->fdnames) - used);
    }
    s->fdnames[used] = '\0';
    (void)snprintf(s->listen_fds, sizeof(s->listen_fds), "LISTEN_FDS=%zu", s->held.n);
    (void)snprintf(s->listen_pid, sizeof(s->listen_pid), "LISTEN_PID=%d", (int)getpid());
    (void)snprintf(s->channel_fd, sizeof(s->channel_fd), CHANNEL_ENV "=%zu", FD_FIRST + s->held.n);
    s->env[o++] = s->listen_fds;
    s->env[o++] = s->listen_pid;
    s->env[o++] = s->fdnames;
    s->env[o++] = s->channel_fd;
    if (s->drain_start != 0) {
        (void)snprintf(s->drain, sizeof(s->drain), CHANNEL_DRAIN_ENV "=%" PRIu64 " %" PRIu64 " %s",
                       s->drain_start, s->drain_deadline, s->drain_trigger);
        s->env[o++] = s->drain;
    }
    s->env[o] = NULL;
}

static _Noreturn void child_main(struct supervisor *s, pid_t parent, int channel)
{
    /* Without us nobody holds its sockets: it drains. We may have died before prctl(). */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXEC_FAILED);
    /* A terminal's Ctrl-C comes to us alone, and is forwarded once. */
    (void)setpgid(0, 0);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &s->mask, NULL);

    (void)close_range(FD_FIRST, UINT_MAX, CLOSE_RANGE_CLOEXEC);
    fill_environment(s);
    int to = FD_FIRST;
    for (size_t i = 0; i < s->held.n; i++) {
        if (dup2(s->held.at[i].fd, to++) < 0)
            _exit(EXEC_FAILED);
    }
    if (dup2(channel, to) < 0)
        _exit(EXEC_FAILED);
    (void)execve(s->program, s->argv, s->env);
    log_error("cannot execute %s: %s", s->program, strerror(errno));
    _exit(EXEC_FAILED);
}

/* Sets when the next one starts, after a life that ended now. */
static void plan_restart(struct supervisor *s, usec_t now)
{
    usec_t wait = 0;

    if (now - s->started >= SHORT_LIFE)
        s->short_lives = 0;
    else
        s->short_lives++;
    if (s->short_lives > RESTARTS_AT_ONCE) {
        unsigned doublings = s->short_lives - RESTARTS_AT_ONCE - 1;
        wait = doublings < 7 ? min_u64(BACKOFF_MIN << doublings, BACKOFF_MAX) : BACKOFF_MAX;
    }
    s->next_start = now + wait;
}

/* A socketpair whose ends are above FD_BASE. */
static int channel_pair(int ret[2])
{
    int low[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, low) < 0)
        return -errno;
    ret[0] = held_fd_above(low[0], FD_BASE);
    ret[1] = held_fd_above(low[1], FD_BASE);
    if (ret[0] >= 0 && ret[1] >= 0)
        return 0;
    int rc = ret[0] < 0 ? ret[0] : ret[1];
    for (int i = 0; i < 2; i++) {
        if (ret[i] >= 0)
            (void)close(ret[i]);
    }
    return rc;
}

static void start_child(struct supervisor *s)
{
    int pair[2] = {-1, -1};
    pid_t us = getpid();

    s->started = clock_mono();
    s->ready = false;
    int rc = channel_pair(pair);
    if (rc < 0) {
        log_error("cannot make a channel: %s", strerror(-rc));
        plan_restart(s, s->started);
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        child_main(s, us, pair[1]);
    (void)close(pair[1]);
    if (pid < 0) {
        log_error("cannot fork: %s", strerror(errno));
        (void)close(pair[0]);
        plan_restart(s, s->started);
        return;
    }
    s->child = pid;
    s->channel = pair[0];
    /* A signal to end still stands for the one that takes over. */
    if (s->terminating)
        s->pending |= SIG_TERM;
    if (s->pending & (SIG_TERM | SIG_INT))
        s->pending_since = s->started;
}

/* --- signals ----------------------------------------------------------------------------- */

static void forward_pending(struct supervisor *s)
{
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
        if (s->pending & forwarded[i].bit)
            (void)kill(s->child, forwarded[i].number);
    }
    s->pending = 0;
    s->pending_since = 0;
}

static bool drain_runs(const struct supervisor *s, usec_t now)
{
    return s->drain_start != 0 && now < s->drain_deadline;
}

static void take_signal(struct supervisor *s, int number)
{
    unsigned bit = 0;

    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
        if (forwarded[i].number == number)
            bit = forwarded[i].bit;
    }
    if (bit == 0) {
        if (number != SIGCHLD)
            log_warn("signal %d (%s) is not used", number, strsignal(number));
        return;
    }
    if (bit & (SIG_TERM | SIG_INT)) {
        s->terminating = true;
        notify("STOPPING=1\n");
        if (s->child == 0 && !drain_runs(s, clock_mono())) {
            log_info("%s while no serving process runs: exit", strsignal(number));
            s->exit_code = 0;
            return;
        }
        if (s->pending_since == 0)
            s->pending_since = clock_mono();
    }
    s->pending |= bit;
}

/* --- the channel ------------------------------------------------------------------------- */

static void take_message(struct supervisor *s, const struct channel_message *m, int fd)
{
    struct channel_answer answer = {.sequence = m->sequence};
    char text[64];

    switch ((enum channel_kind)m->kind) {
    case CHANNEL_HOLD:
        answer.result =
            fd < 0 || m->name[0] == '\0' ? -EINVAL : held_add(&s->held, m->name, fd, FD_BASE, true);
        if (fd >= 0 && m->name[0] != '\0')
            fd = -1;
        break;
    case CHANNEL_DROP:
        answer.result = held_drop(&s->held, m->name);
        break;
    case CHANNEL_READY:
        s->ready = s->ever_ready = true;
        notify("READY=1\n");
        break;
    case CHANNEL_DRAIN:
        s->drain_start = m->start;
        s->drain_deadline = m->deadline;
        memcpy(s->drain_trigger, m->name, sizeof(s->drain_trigger));
        if (s->terminating && m->deadline > m->start) {
            (void)snprintf(text, sizeof(text), "EXTEND_TIMEOUT_USEC=%" PRIu64 "\n",
                           m->deadline - m->start + USEC_PER_SEC);
            notify(text);
        }
        break;
    case CHANNEL_STATUS: {
        char line[CHANNEL_TEXT_MAX + 16];
        (void)snprintf(line, sizeof(line), "STATUS=%s\n", m->text);
        notify(line);
        break;
    }
    default:
        log_warn("message %u from the serving process is not known", (unsigned)m->kind);
        break;
    }
    if (fd >= 0)
        (void)close(fd);
    if (m->kind == CHANNEL_HOLD || m->kind == CHANNEL_DROP)
        (void)send(s->channel, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The first fd of a message; what is more is closed. */
static int message_fd(struct msghdr *msg)
{
    int fd = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
            int got;
            memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
            if (fd < 0)
                fd = got;
            else
                (void)close(got);
        }
    }
    return fd;
}

static void read_channel(struct supervisor *s)
{
    while (s->channel >= 0) {
        struct channel_message m;
        union {
            char bytes[CMSG_SPACE(4 * sizeof(int))];
            struct cmsghdr align;
        } control;
        struct iovec iov = {&m, sizeof(m)};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};

        ssize_t n = recvmsg(s->channel, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            (void)close(s->channel);
            s->channel = -1;
            return;
        }
        int fd = message_fd(&msg);
        if (n == sizeof(m)) {
            m.name[sizeof(m.name) - 1] = '\0';
            m.text[sizeof(m.text) - 1] = '\0';
            take_message(s, &m, fd);
        } else if (fd >= 0) {
            (void)close(fd);
        }
    }
}

/* --- its end ----------------------------------------------------------------------------- */

static void describe_end(int status, usec_t lived, char *out, size_t cap)
{
    int ms = (int)min_u64(lived / USEC_PER_MSEC, INT_MAX);
    if (WIFSIGNALED(status))
        (void)snprintf(out, cap, "was killed by signal %d (%s) after %d.%03d s", WTERMSIG(status),
                       strsignal(WTERMSIG(status)), ms / 1000, ms % 1000);
    else
        (void)snprintf(out, cap, "exited with %d after %d.%03d s", WEXITSTATUS(status), ms / 1000,
                       ms % 1000);
}

static void child_ended(struct supervisor *s, int status)
{
    usec_t now = clock_mono();
    pid_t pid = s->child;
    bool exited = WIFEXITED(status);
    int code = exited ? WEXITSTATUS(status) : -1;
    char how[128];

    /* What it said before it died still counts. */
    read_channel(s);
    if (s->channel >= 0)
        (void)close(s->channel);
    s->channel = -1;
    s->child = 0;
    describe_end(status, now - s->started, how, sizeof(how));

    if (code == 0 || (!s->ever_ready && (code == 1 || code == 2))) {
        log_info("serving process %d %s", (int)pid, how);
        s->exit_code = code;
        return;
    }
    if (!s->ever_ready && code == EXEC_FAILED) {
        s->exit_code = EXIT_FAULT;
        return;
    }
    if (s->terminating && !drain_runs(s, now)) {
        bool by_signal = !exited && (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT);
        s->exit_code = by_signal ? 0 : exited ? code : EXIT_FAULT;
        log_line(s->exit_code == 0 ? LOG_INFO : LOG_ERROR,
                 "serving process %d %s; it was to end: exit with %d", (int)pid, how, s->exit_code);
        return;
    }
    plan_restart(s, now);
    log_error("serving process %d %s: another starts in %d ms with %zu sockets%s", (int)pid, how,
              (int)((s->next_start - now) / USEC_PER_MSEC), s->held.n,
              drain_runs(s, now) ? " and goes on with the drain" : "");
}

/* Everything: as the first process of a container we are the parent of all orphans. */
static void reap(struct supervisor *s)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid <= 0)
            return;
        if (pid == s->child)
            child_ended(s, status);
    }
}

/* --- the loop ---------------------------------------------------------------------------- */

static void read_signals(struct supervisor *s)
{
    struct signalfd_siginfo info[16];
    ssize_t n;

    /* Who died first: a signal that came meanwhile is for the next one, or there is none. */
    reap(s);
    while (s->exit_code < 0 && (n = read(s->signal_fd, info, sizeof(info))) > 0) {
        for (size_t i = 0; i < (size_t)n / sizeof(info[0]); i++)
            take_signal(s, (int)info[i].ssi_signo);
        reap(s);
    }
}

/* The next time at which something must be done without an event; USEC_NEVER: none. */
static usec_t next_time(const struct supervisor *s)
{
    if (s->child == 0)
        return s->next_start;
    return s->pending_since != 0 ? s->pending_since + SIGNAL_GRACE : USEC_NEVER;
}

static int poll_timeout(usec_t when)
{
    usec_t now = clock_mono();
    if (when == USEC_NEVER)
        return -1;
    if (when <= now)
        return 0;
    return (int)min_u64((when - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC, INT_MAX);
}

static void supervise(struct supervisor *s)
{
    while (s->exit_code < 0) {
        usec_t now = clock_mono();
        if (s->child == 0 && s->terminating && !drain_runs(s, now)) {
            log_error("the drain's deadline passed while no serving process ran");
            s->exit_code = EXIT_FAULT;
            break;
        }
        if (s->child == 0 && now >= s->next_start)
            start_child(s);
        if (s->child != 0 && s->pending != 0 && (s->ready || now >= next_time(s)))
            forward_pending(s);

        struct pollfd fds[2] = {{.fd = s->signal_fd, .events = POLLIN},
                                {.fd = s->channel, .events = POLLIN}};
        if (poll(fds, 2, poll_timeout(next_time(s))) < 0)
            continue;
        if (fds[1].revents != 0)
            read_channel(s);
        if (fds[0].revents != 0)
            read_signals(s);
    }
}

static int take_signals(struct supervisor *s)
{
    sigset_t ours;

    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGCHLD);
    (void)sigaddset(&ours, SIGUSR2);
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
        (void)sigaddset(&ours, forwarded[i].number);
    if (sigprocmask(SIG_BLOCK, &ours, &s->mask) < 0)
        return -errno;
    /* The child is to receive what we forward, whatever our own parent had blocked. */
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
        (void)sigdelset(&s->mask, forwarded[i].number);
    (void)signal(SIGPIPE, SIG_IGN);
    /* An ignored SIGCHLD, inherited, would reap behind our back. */
    (void)signal(SIGCHLD, SIG_DFL);
    int fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    s->signal_fd = held_fd_above(fd, FD_BASE);
    return s->signal_fd < 0 ? s->signal_fd : 0;
}

int supervisor_run_program(const char *program, char *const argv[])
{
    static struct supervisor supervisor;
    struct supervisor *s = &supervisor;

    *s = (struct supervisor){
        .program = program, .argv = argv, .channel = -1, .signal_fd = -1, .exit_code = -1};
    log_set_name("supervisor");
    int rc = take_signals(s);
    if (rc == 0)
        rc = build_environment(s);
    if (rc < 0) {
        log_error("cannot start: %s", strerror(-rc));
        return EXIT_FAULT;
    }
    held_inherit(s);
    supervise(s);
    held_close_all(&s->held);
    (void)close(s->signal_fd);
    free(s->env);
    return s->exit_code;
}

int supervisor_run(char *const argv[])
{
    return supervisor_run_program("/proc/self/exe", argv);
}
