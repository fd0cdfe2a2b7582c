/* supervisor.c - the first process: holds the sockets, starts the serving process again. */
#include "lifecycle/supervisor.h"

#include "base/log.h"
#include "lifecycle/supervisor_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RESTARTS_AT_ONCE = 5 };

#define SHORT_LIFE   USEC_PER_SEC
#define BACKOFF_MIN  (50 * USEC_PER_MSEC)
#define BACKOFF_MAX  (5 * USEC_PER_SEC)
#define SIGNAL_GRACE (2 * USEC_PER_SEC) /* how long SIGTERM and SIGINT wait for READY */
/* While it drains, the service manager is asked for this much time, this often. */
#define EXTEND_BY    (6 * USEC_PER_SEC)
#define EXTEND_EVERY (2 * USEC_PER_SEC)

struct serving *supervisor_find(struct supervisor *s, enum role role)
{
    for (size_t i = 0; i < PLACES; i++) {
        if (s->state.places[i].role == role)
            return &s->state.places[i];
    }
    return NULL;
}

size_t supervisor_count(const struct supervisor *s, enum role role)
{
    size_t n = 0;
    for (size_t i = 0; i < PLACES; i++)
        n += s->state.places[i].role == role;
    return n;
}

/* --- starting ---------------------------------------------------------------------------- */

/* Sets when the next one starts, after a life of that length that ended now. */
static void plan_restart(struct supervisor *s, usec_t lived, usec_t now)
{
    struct supervisor_state *st = &s->state;
    usec_t wait = 0;

    if (lived >= SHORT_LIFE)
        st->short_lives = 0;
    else
        st->short_lives++;
    if (st->short_lives > RESTARTS_AT_ONCE) {
        unsigned doublings = st->short_lives - RESTARTS_AT_ONCE - 1;
        wait = doublings < 7 ? min_u64(BACKOFF_MIN << doublings, BACKOFF_MAX) : BACKOFF_MAX;
    }
    st->next_start = now + wait;
}

static void start_serving(struct supervisor *s, usec_t now)
{
    struct supervisor_state *st = &s->state;

    if (!supervisor_launch(s, ROLE_SERVING, s->program_fd, &st->held)) {
        plan_restart(s, 0, now);
        return;
    }
    /* A signal to end still stands for the one that takes over. */
    if (st->terminating)
        st->pending |= SIG_TERM;
    if (st->pending & (SIG_TERM | SIG_INT))
        st->pending_since = now;
}

/* Who still drains has its own copies, and may; new connections are refused from here on. */
void supervisor_end(struct supervisor *s, int code)
{
    s->exit_code = code;
    upgrade_undo(s, "the serving process has ended", SIGUSR2);
    held_close_all(&s->state.held, NULL);
}

/* --- signals ----------------------------------------------------------------------------- */

/* Those to end, and to open the access log anew, are for all that run; SIGHUP is not for who
 * retires. */
static void forward_to(const struct serving *c, unsigned bits)
{
    if (c->role == ROLE_RETIRING)
        bits &= ~(unsigned)SIG_HUP;
    for (size_t i = 0; i < SUPERVISOR_FORWARDED; i++) {
        if (bits & supervisor_forwarded[i].bit)
            (void)kill(c->pid, supervisor_forwarded[i].number);
    }
}

static void forward_pending(struct supervisor *s)
{
    for (size_t i = 0; i < PLACES; i++) {
        const struct serving *c = &s->state.places[i];
        if (c->role == ROLE_SERVING || c->role == ROLE_RETIRING)
            forward_to(c, s->state.pending);
    }
    s->state.pending = 0;
    s->state.pending_since = 0;
}

/* Until who serves is ready, and it is certain who that is; SIGTERM and SIGINT wait only so long.
 */
static bool may_forward(struct supervisor *s, usec_t now)
{
    const struct serving *c = supervisor_find(s, ROLE_SERVING);

    if (s->state.pending == 0)
        return false;
    if (s->exit_code >= 0)
        return true; /* to those that still drain */
    if (!c || s->hand_over_by != 0)
        return false;
    if (s->state.pending_since != 0 && now >= s->state.pending_since + SIGNAL_GRACE)
        return true;
    return c->ready && !supervisor_find(s, ROLE_COMING);
}

static void take_end(struct supervisor *s, int number, usec_t now)
{
    struct supervisor_state *st = &s->state;

    st->terminating = true;
    st->upgrade_wanted = false;
    supervisor_tell_stopping(s);
    if (s->hand_over_by == 0)
        upgrade_undo(s, "it is to end", SIGUSR2);
    if (!supervisor_find(s, ROLE_SERVING) && !supervisor_drain_runs(s, now) && s->exit_code < 0) {
        log_info("%s while no serving process runs: exit", strsignal(number));
        supervisor_end(s, 0);
    } else if (s->exit_code >= 0 && number == SIGINT) {
        supervisor_app_hurry(s);
    }
    if (st->pending_since == 0)
        st->pending_since = now;
}

static void take_signal(struct supervisor *s, int number)
{
    unsigned bit = 0;

    for (size_t i = 0; i < SUPERVISOR_FORWARDED; i++) {
        if (supervisor_forwarded[i].number == number)
            bit = supervisor_forwarded[i].bit;
    }
    if (number == SIGUSR2)
        upgrade_ask(s);
    if (bit & (SIG_TERM | SIG_INT))
        take_end(s, number, clock_mono());
    s->state.pending |= bit;
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

static void replace_serving(struct supervisor *s, pid_t pid, const char *how, usec_t lived,
                            usec_t now)
{
    plan_restart(s, lived, now);
    log_error("serving process %d %s: another starts in %d ms with %zu sockets%s", (int)pid, how,
              (int)((s->state.next_start - now) / USEC_PER_MSEC), s->state.held.n,
              supervisor_drain_runs(s, now) ? " and goes on with the drain" : "");
}

static void serving_ended(struct supervisor *s, pid_t pid, int status, usec_t lived)
{
    usec_t now = clock_mono();
    bool exited = WIFEXITED(status), ever_ready = s->state.ever_ready;
    int code = exited ? WEXITSTATUS(status) : -1;
    char how[128];

    describe_end(status, lived, how, sizeof(how));
    s->exec_wanted = false; /* not to a program that dies */
    if (code == 0 || (!ever_ready && (code == 1 || code == 2))) {
        log_info("serving process %d %s", (int)pid, how);
        supervisor_end(s, code);
        return;
    }
    if (!ever_ready && code == EXEC_FAILED) {
        supervisor_end(s, EXIT_FAULT);
        return;
    }
    if (s->state.terminating && !supervisor_drain_runs(s, now)) {
        bool by_signal = !exited && (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT);
        int end = by_signal ? 0 : exited ? code : EXIT_FAULT;
        log_line(end == 0 ? LOG_INFO : LOG_ERROR,
                 "serving process %d %s; it was to end: exit with %d", (int)pid, how, end);
        supervisor_end(s, end);
        return;
    }
    replace_serving(s, pid, how, lived, now);
}

/* Its end of the channel has closed, and it had not said that it exits. The kernel tells of its
 * death only when all that it had open is closed; new connections need not wait for that. Where its
 * exit code counts, or an upgrade is under way, that is waited for. */
static void serving_lost(struct supervisor *s, struct serving *c)
{
    usec_t now = clock_mono();

    if (c->role != ROLE_SERVING || !c->ready || supervisor_find(s, ROLE_COMING) ||
        (s->state.terminating && !supervisor_drain_runs(s, now)))
        return;
    (void)kill(c->pid, SIGKILL); /* two must not serve, should it live */
    c->role = ROLE_DYING;
    s->exec_wanted = false;
    replace_serving(s, c->pid, "dies", now - c->started, now);
}

static void child_ended(struct supervisor *s, struct serving *c, int status)
{
    char how[128];
    usec_t lived = clock_mono() - c->started;
    pid_t pid = c->pid;

    /* What it said before it died still counts. */
    (void)supervisor_read_channel(s, c);
    describe_end(status, lived, how, sizeof(how));
    if (c->role == ROLE_COMING && !c->ready) {
        upgrade_undo(s, how, 0);
        supervisor_forget(c);
        return;
    }
    /* One that was ready has taken over: the old one has been told. So it has when that died. */
    if ((c->role == ROLE_COMING || c->role == ROLE_SERVING) && s->hand_over_by != 0)
        upgrade_take_over(s);
    if (c->role == ROLE_SERVING)
        upgrade_undo(s, "the serving process died", SIGUSR2);
    enum role role = (enum role)c->role;
    bool was_ready = c->ready;
    supervisor_forget(c);
    if (role == ROLE_SERVING)
        serving_ended(s, pid, status, lived);
    else if (role == ROLE_DYING)
        log_error("serving process %d %s", (int)pid, how);
    else if (!was_ready)
        log_info("process %d has ended, which was not to serve after all", (int)pid);
    else
        log_line(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? LOG_INFO : LOG_ERROR,
                 "retiring process %d %s", (int)pid, how);
}

/* Everything: as the first process of a container we are the parent of all orphans. */
static void reap(struct supervisor *s)
{
    for (;;) {
        int status;
        siginfo_t who = {0};
        if (waitid(P_ALL, 0, &who, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == EINTR)
            continue;
        if (who.si_pid <= 0)
            return;
        bool app = supervisor_app_dies(s, who.si_pid);
        pid_t pid = waitpid(who.si_pid, &status, WNOHANG);
        if (pid <= 0)
            return;
        if (app)
            supervisor_app_ended(s, status);
        for (size_t i = 0; i < PLACES; i++) {
            if (s->state.places[i].role != ROLE_NONE && s->state.places[i].pid == pid)
                child_ended(s, &s->state.places[i], status);
        }
    }
}

/* --- the loop ---------------------------------------------------------------------------- */

static void read_signals(struct supervisor *s)
{
    struct signalfd_siginfo info[16];
    ssize_t n;

    /* Who died first: a signal that came meanwhile is for the next one, or there is none. */
    reap(s);
    while ((n = read(s->signal_fd, info, sizeof(info))) > 0) {
        for (size_t i = 0; i < (size_t)n / sizeof(info[0]); i++)
            take_signal(s, (int)info[i].ssi_signo);
        reap(s);
    }
}

static bool can_start(struct supervisor *s)
{
    return s->exit_code < 0 && !supervisor_find(s, ROLE_SERVING) && supervisor_find(s, ROLE_NONE);
}

/* Not for a process that is over its time: that is for the service manager to end. */
static bool wants_extension(const struct supervisor *s, usec_t now)
{
    return notify_listens(&s->notify) && s->state.stopping &&
           (supervisor_drain_runs(s, now) || supervisor_count(s, ROLE_RETIRING) > 0 ||
            (supervisor_app_runs(s) && now < s->state.app.kill_at));
}

static void extend(struct supervisor *s, usec_t now)
{
    if (!wants_extension(s, now) || now < s->extend_at)
        return;
    (void)notify_send(&s->notify, "EXTEND_TIMEOUT_USEC=%" PRIu64 "\n", EXTEND_BY);
    s->extend_at = now + EXTEND_EVERY;
}

/* The next time at which something must be done without an event; USEC_NEVER: none. */
static usec_t next_time(struct supervisor *s)
{
    usec_t next = min_u64(upgrade_next_time(s), supervisor_app_next_time(s));
    if (can_start(s))
        next = min_u64(next, s->state.next_start);
    else if (s->state.pending != 0 && s->state.pending_since != 0 && s->hand_over_by == 0)
        next = min_u64(next, s->state.pending_since + SIGNAL_GRACE);
    return wants_extension(s, clock_mono()) ? min_u64(next, s->extend_at) : next;
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

static void wait_for_events(struct supervisor *s)
{
    struct pollfd fds[PLACES + 1];

    for (size_t i = 0; i < PLACES; i++) {
        const struct serving *c = &s->state.places[i];
        fds[i] = (struct pollfd){.fd = c->role != ROLE_NONE ? c->channel : -1, .events = POLLIN};
    }
    fds[PLACES] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
    if (poll(fds, PLACES + 1, poll_timeout(next_time(s))) < 0)
        return;
    for (size_t i = 0; i < PLACES; i++) {
        if (fds[i].revents != 0 && supervisor_read_channel(s, &s->state.places[i]))
            serving_lost(s, &s->state.places[i]);
    }
    if (fds[PLACES].revents != 0)
        read_signals(s);
}

static void supervise(struct supervisor *s)
{
    /* Who ended while we were another program. */
    reap(s);
    while (s->exit_code < 0 || supervisor_count(s, ROLE_NONE) < PLACES || supervisor_app_runs(s)) {
        usec_t now = clock_mono();
        if (can_start(s) && s->state.terminating && !supervisor_drain_runs(s, now)) {
            log_error("the drain's deadline passed while no serving process ran");
            supervisor_end(s, EXIT_FAULT);
            continue;
        }
        if (can_start(s) && now >= s->state.next_start)
            start_serving(s, now);
        if (may_forward(s, now))
            forward_pending(s);
        upgrade_step(s, now);
        supervisor_app_step(s, now);
        extend(s, now);
        if (s->exec_wanted && !supervisor_find(s, ROLE_DYING))
            succession_exec(s);
        wait_for_events(s);
    }
}

int supervisor_run(char *const argv[], char *const own[], char *const app[])
{
    static struct supervisor supervisor;
    struct supervisor *s = &supervisor;

    *s = (struct supervisor){.argv = argv,
                             .own = own,
                             .app_argv = app,
                             .app_by_option = app != NULL,
                             .signal_fd = -1,
                             .staged_program = -1,
                             .exit_code = -1};
    for (size_t i = 0; i < PLACES; i++)
        s->state.places[i].channel = -1;
    log_set_name("supervisor");
    int rc = supervisor_set_up(s);
    if (rc < 0) {
        log_error("cannot start: %s", strerror(-rc));
        return EXIT_FAULT;
    }
    if (rc == 1)
        log_info("upgrade: sluice %s supervises, pid %d", SLUICE_VERSION, (int)getpid());
    supervise(s);
    held_close_all(&s->state.held, NULL);
    (void)close(s->signal_fd);
    (void)close(s->program_fd);
    free(s->env);
    return supervisor_app_exit_code(s, s->exit_code);
}
