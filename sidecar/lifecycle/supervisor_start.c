/* supervisor_start.c - starting a serving process: its environment, its sockets, its channel. */
#include "lifecycle/supervisor_parts.h"

#include "base/log.h"
#include "base/mem.h"
#include "lifecycle/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { ENV_SLOTS = 9 };

/* The first three are our own, and go to a successor; the rest is for one process each. */
static const char *const own_variables[] = {
    "NOTIFY_SOCKET=",        "WATCHDOG_USEC=",   "WATCHDOG_PID=",           "LISTEN_FDS=",
    "LISTEN_PID=",           "LISTEN_FDNAMES=",  CHANNEL_ENV "=",           CHANNEL_DRAIN_ENV "=",
    CHANNEL_MANAGER_ENV "=", SUCCESSION_ENV "=", CHANNEL_ACTIVATED_ENV "=", CHANNEL_RESTART_ENV "=",
    CHANNEL_APP_ENV "="};

/* Its place in own_variables, or their number. */
static size_t own_variable(const char *v)
{
    size_t i = 0;
    while (i < ARRAY_LEN(own_variables) &&
           strncmp(v, own_variables[i], strlen(own_variables[i])) != 0)
        i++;
    return i;
}

int supervisor_build_environment(struct supervisor *s)
{
    size_t n = 0;
    while (environ[n])
        n++;
    s->env = mem_zalloc((n + ENV_SLOTS + 1) * sizeof(char *));
    if (!s->env)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        size_t own = own_variable(environ[i]);
        if (own == ARRAY_LEN(own_variables))
            s->env[s->n_env++] = environ[i];
        else if (own < ARRAY_LEN(s->manager_env))
            s->manager_env[own] = environ[i];
    }
    return 0;
}

void supervisor_fill_successor_environment(struct supervisor *s, int memfd)
{
    size_t o = s->n_env;
    for (size_t i = 0; i < ARRAY_LEN(s->manager_env); i++) {
        if (s->manager_env[i])
            s->env[o++] = s->manager_env[i];
    }
    (void)snprintf(s->succession, sizeof(s->succession), SUCCESSION_ENV "=%d %d", memfd,
                   (int)getpid());
    s->env[o++] = s->succession;
    s->env[o] = NULL;
}

static void fill_environment(struct supervisor *s, enum role role, const struct held_set *sockets)
{
    size_t o = s->n_env;
    size_t used = (size_t)snprintf(s->fdnames, sizeof(s->fdnames), "LISTEN_FDNAMES=");

    for (size_t i = 0; i < sockets->n; i++) {
        if (i > 0)
            s->fdnames[used++] = ':';
        used += inherited_encode_name(sockets->at[i].name, s->fdnames + used,
                                      sizeof(s->fdnames) - used);
    }
    s->fdnames[used] = '\0';
    size_t a = (size_t)snprintf(s->activated, sizeof(s->activated), CHANNEL_ACTIVATED_ENV "=");
    for (size_t i = 0; i < sockets->n; i++)
        s->activated[a++] = sockets->at[i].activated ? '1' : '0';
    s->activated[a] = '\0';
    s->env[o++] = s->activated;
    (void)snprintf(s->listen_fds, sizeof(s->listen_fds), "LISTEN_FDS=%zu", sockets->n);
    (void)snprintf(s->listen_pid, sizeof(s->listen_pid), "LISTEN_PID=%d", (int)getpid());
    (void)snprintf(s->channel_fd, sizeof(s->channel_fd), CHANNEL_ENV "=%zu", FD_FIRST + sockets->n);
    s->env[o++] = s->listen_fds;
    s->env[o++] = s->listen_pid;
    s->env[o++] = s->fdnames;
    s->env[o++] = s->channel_fd;
    if (notify_listens(&s->notify)) {
        (void)snprintf(s->manager, sizeof(s->manager), CHANNEL_MANAGER_ENV "=%" PRIu64,
                       s->notify.watchdog);
        s->env[o++] = s->manager;
    }
    if (s->state.drain_start != 0 && role == ROLE_SERVING) {
        (void)snprintf(s->drain, sizeof(s->drain), CHANNEL_DRAIN_ENV "=%" PRIu64 " %" PRIu64 " %s",
                       s->state.drain_start, s->state.drain_deadline, s->state.drain_trigger);
        s->env[o++] = s->drain;
    }
    if (s->state.ever_ready && role == ROLE_SERVING) {
        static char restart[] = CHANNEL_RESTART_ENV "=1";
        s->env[o++] = restart;
    }
    if (s->state.app.life != APP_NONE) {
        static char app[] = CHANNEL_APP_ENV "=1";
        s->env[o++] = app;
    }
    s->env[o] = NULL;
}

void supervisor_restore_signals(const struct supervisor *s)
{
    sigset_t set;
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigemptyset(&set);
    for (int n = 1; n <= 64; n++) {
        if (s->state.mask & (uint64_t)1 << (n - 1))
            (void)sigaddset(&set, n);
    }
    (void)sigprocmask(SIG_SETMASK, &set, NULL);
}

static _Noreturn void child_main(struct supervisor *s, enum role role, int program_fd,
                                 const struct held_set *sockets, pid_t parent, int channel)
{
    /* Without us nobody holds its sockets: it drains. We may have died before prctl(). */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXEC_FAILED);
    /* A terminal's Ctrl-C comes to us alone, and is forwarded once. */
    (void)setpgid(0, 0);
    supervisor_restore_signals(s);

    (void)close_range(FD_FIRST, UINT_MAX, CLOSE_RANGE_CLOEXEC);
    fill_environment(s, role, sockets);
    int to = FD_FIRST;
    for (size_t i = 0; i < sockets->n; i++) {
        if (dup2(sockets->at[i].fd, to++) < 0)
            _exit(EXEC_FAILED);
    }
    if (dup2(channel, to) < 0)
        _exit(EXEC_FAILED);
    (void)execveat(program_fd, "", s->argv, s->env, AT_EMPTY_PATH);
    log_error("cannot execute %s: %s", s->state.path, strerror(errno));
    _exit(EXEC_FAILED);
}

/* A socketpair whose ends are above supervisor_fd_base(). */
static int channel_pair(int ret[2])
{
    int low[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, low) < 0)
        return -errno;
    ret[0] = held_fd_above(low[0], supervisor_fd_base());
    ret[1] = held_fd_above(low[1], supervisor_fd_base());
    if (ret[0] >= 0 && ret[1] >= 0)
        return 0;
    int rc = ret[0] < 0 ? ret[0] : ret[1];
    for (int i = 0; i < 2; i++) {
        if (ret[i] >= 0)
            (void)close(ret[i]);
    }
    return rc;
}

struct serving *supervisor_launch(struct supervisor *s, enum role role, int program_fd,
                                  const struct held_set *sockets)
{
    int pair[2] = {-1, -1};
    pid_t us = getpid();
    struct serving *c = supervisor_find(s, ROLE_NONE);

    CHECK(c);
    int rc = channel_pair(pair);
    if (rc < 0) {
        log_error("cannot make a channel: %s", strerror(-rc));
        return NULL;
    }
    pid_t pid = fork();
    if (pid == 0)
        child_main(s, role, program_fd, sockets, us, pair[1]);
    rc = errno;
    (void)close(pair[1]);
    if (pid < 0) {
        log_error("cannot fork: %s", strerror(rc));
        (void)close(pair[0]);
        return NULL;
    }
    *c = (struct serving){.role = role,
                          .pid = pid,
                          .channel = pair[0],
                          .started = clock_mono(),
                          .kill_at = USEC_NEVER};
    return c;
}

void supervisor_forget(struct serving *c)
{
    if (c->channel >= 0)
        (void)close(c->channel);
    *c = (struct serving){.channel = -1};
}
