/* supervisor_app.c - the application: a child of ours that outlives serving processes.
 *
 * Its group is what is killed, and it goes with its first process: when that has ended, whoever
 * releases what the application held may be sure that nobody of it works on. */
#include "lifecycle/supervisor_parts.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_FOUND = 127 }; /* as shells say it; EXEC_FAILED for a file that is not a program */

/* From its SIGTERM to its SIGKILL where no drain tells a deadline: the serving process was lost. */
#define LAST_GRACE (10 * USEC_PER_SEC)
/* It has ended, and no serving process gets ready to clean up behind it. */
#define CLEANUP_PATIENCE (30 * USEC_PER_SEC)

/* A signal has led to the drain that runs, or that has run: we exit behind it. */
static bool drain_ends_us(const struct supervisor *s)
{
    return s->state.drain_start != 0 && strstr(s->state.drain_trigger, "signal") != NULL;
}

static void describe(int status, char *out, size_t cap)
{
    if (WIFSIGNALED(status))
        (void)snprintf(out, cap, "was killed by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    else
        (void)snprintf(out, cap, "exited with %d", WEXITSTATUS(status));
}

/* --- who is told --- */

static void tell(struct supervisor *s, const struct serving *c)
{
    const struct supervised_app *a = &s->state.app;
    struct channel_notice n = {.pid = a->pid, .status = a->status, .released = a->released};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {&n, sizeof(n)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int fd = -1;

    if (c->channel < 0 || a->life == APP_NONE)
        return;
    n.kind = a->life == APP_RUNS ? CHANNEL_APP_STARTED : CHANNEL_APP_ENDED;
    if (a->life == APP_RUNS)
        fd = pidfd_open(a->pid, 0);
    if (fd >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        struct cmsghdr *m = CMSG_FIRSTHDR(&msg);
        m->cmsg_level = SOL_SOCKET;
        m->cmsg_type = SCM_RIGHTS;
        m->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(m), &fd, sizeof(fd));
    }
    if (sendmsg(c->channel, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EPIPE)
        log_error("serving process %d is not told of the application: %s", c->pid, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
}

static void tell_serving(struct supervisor *s)
{
    const struct serving *c = supervisor_find(s, ROLE_SERVING);
    if (c && c->ready)
        tell(s, c);
}

/* --- its start --- */

/* Every variable of ours stays here, a token among them. */
static void drop_own_variables(char **env, size_t n)
{
    static const char prefix[] = "SLUICE_";
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(env[i], prefix, sizeof(prefix) - 1) != 0)
            env[kept++] = env[i];
    }
    env[kept] = NULL;
}

static _Noreturn void child_main(struct supervisor *s, pid_t parent)
{
    /* Without us nobody would end it. We may have died before prctl(). */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXEC_FAILED);
    /* A terminal's Ctrl-C comes to us alone: it waits for the drain. */
    (void)setpgid(0, 0);
    supervisor_restore_signals(s);
    (void)close_range(FD_FIRST, UINT_MAX, CLOSE_RANGE_CLOEXEC);
    drop_own_variables(s->env, s->n_env);
    (void)execvpe(s->app_argv[0], s->app_argv, s->env);
    int error = errno;
    log_error("application: cannot execute %s: %s", s->app_argv[0], strerror(error));
    _exit(error == ENOENT ? NOT_FOUND : EXEC_FAILED);
}

static void start(struct supervisor *s)
{
    struct supervised_app *a = &s->state.app;
    pid_t us = getpid();

    *a = (struct supervised_app){.life = APP_RUNS, .started = clock_mono(), .kill_at = USEC_NEVER};
    pid_t pid = fork();
    if (pid == 0)
        child_main(s, us);
    if (pid < 0) {
        log_error("application: cannot fork: %s", strerror(errno));
        supervisor_app_ended(s, W_EXITCODE(EXEC_FAILED, 0));
        return;
    }
    (void)setpgid(pid, pid); /* both do it, so that it is done for both */
    a->pid = pid;
    log_info("application: %s starts as process %d", s->app_argv[0], (int)pid);
}

/* Its words are in s->app_text. False: there is none, or they are too many. */
static bool split_words(struct supervisor *s, size_t n)
{
    size_t words = 0;
    if (n == 0 || s->app_text[n - 1] != '\0' || s->app_text[0] == '\0')
        return false;
    for (size_t i = 0; i < n; i += strlen(s->app_text + i) + 1) {
        if (words == CHANNEL_APP_ARGS_MAX)
            return false;
        s->app_words[words++] = s->app_text + i;
    }
    s->app_words[words] = NULL;
    return true;
}

void supervisor_app_command(struct supervisor *s, struct serving *c, int fd)
{
    if (s->state.app.life != APP_NONE || s->app_by_option) {
        (void)close(fd); /* one that a crash or an upgrade has started says it, too */
        return;
    }
    ssize_t n = pread(fd, s->app_text, sizeof(s->app_text), 0);
    (void)close(fd);
    if (n < 0 || !split_words(s, (size_t)n)) {
        log_error("application: app.command cannot be taken over from process %d", c->pid);
        return;
    }
    s->app_argv = s->app_words;
    if (c->role == ROLE_SERVING && c->ready)
        supervisor_app_ready(s, c);
}

void supervisor_app_ready(struct supervisor *s, struct serving *c)
{
    if (s->state.app.life == APP_NONE && s->app_argv && s->exit_code < 0 && !s->state.terminating)
        start(s);
    tell(s, c);
}

/* --- its end --- */

static void kill_group(const struct supervised_app *a)
{
    if (a->pid > 0)
        (void)kill(-a->pid, SIGKILL);
}

void supervisor_app_release(struct supervisor *s, usec_t deadline)
{
    struct supervised_app *a = &s->state.app;
    if (a->life != APP_RUNS)
        return;
    a->kill_at = min_u64(a->kill_at, deadline);
    if (a->released)
        return;
    a->released = true;
    usec_t now = clock_mono();
    log_info("application: SIGTERM to process %d, %.1f s to end", a->pid,
             deadline > now ? (double)(deadline - now) / 1e6 : 0.);
    (void)kill(a->pid, SIGTERM);
}

void supervisor_app_hurry(struct supervisor *s)
{
    supervisor_app_release(s, clock_mono());
}

bool supervisor_app_dies(struct supervisor *s, pid_t pid)
{
    const struct supervised_app *a = &s->state.app;
    if (a->life != APP_RUNS || a->pid != pid)
        return false;
    /* While it is not reaped its number is nobody else's. */
    kill_group(a);
    return true;
}

void supervisor_app_ended(struct supervisor *s, int status)
{
    struct supervised_app *a = &s->state.app;
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    char how[96];

    a->life = APP_ENDED;
    a->status = status;
    a->ended = clock_mono();
    a->kill_at = USEC_NEVER;
    describe(status, how, sizeof(how));
    log_line(clean || a->released ? LOG_INFO : LOG_ERROR, "application: process %d %s after %.1f s",
             a->pid, how, (double)(a->ended - a->started) / 1e6);
    tell_serving(s);
}

void supervisor_app_step(struct supervisor *s, usec_t now)
{
    struct supervised_app *a = &s->state.app;

    if (a->life == APP_ENDED && !a->released && s->exit_code < 0 &&
        now >= a->ended + CLEANUP_PATIENCE) {
        const struct serving *c = supervisor_find(s, ROLE_SERVING);
        if (!c || !c->ready) {
            log_error("the application has ended, and no serving process cleans up behind it");
            supervisor_end(s, EXIT_FAULT);
        }
        return;
    }
    if (a->life != APP_RUNS || a->killed)
        return;
    if (drain_ends_us(s) && now >= s->state.drain_deadline)
        supervisor_app_release(s, s->state.drain_deadline);
    else if (s->exit_code >= 0 && !a->released)
        supervisor_app_release(s, drain_ends_us(s) ? s->state.drain_deadline : now + LAST_GRACE);
    if (now >= a->kill_at) {
        log_error("application: process %d has not ended by its deadline: killed", a->pid);
        kill_group(a);
        a->killed = true;
    }
}

usec_t supervisor_app_next_time(struct supervisor *s)
{
    const struct supervised_app *a = &s->state.app;
    if (a->life == APP_ENDED && !a->released && s->exit_code < 0) {
        const struct serving *c = supervisor_find(s, ROLE_SERVING);
        return c && c->ready ? USEC_NEVER : a->ended + CLEANUP_PATIENCE;
    }
    if (a->life != APP_RUNS || a->killed)
        return USEC_NEVER;
    return drain_ends_us(s) && !a->released ? min_u64(a->kill_at, s->state.drain_deadline)
                                            : a->kill_at;
}

int supervisor_app_exit_code(const struct supervisor *s, int code)
{
    const struct supervised_app *a = &s->state.app;
    if (a->life != APP_ENDED || a->released || code != 0)
        return code;
    return WIFSIGNALED(a->status) ? 128 + WTERMSIG(a->status) : WEXITSTATUS(a->status);
}
