/* upgrade.c - a new program takes over from the old one, and no socket closes in between.
 *
 *   1. A process of the new file is started with copies of all held sockets (`staged`). What it
 *      holds and drops changes the copies only: an upgrade that fails is undone by closing them.
 *   2. It says READY: both serve. The old one gets SIGUSR2.
 *   3. The old one answers that it retires, and the new one has taken over; or that a drain runs,
 *      and then it is the new one that retires: it may have accepted connections by now, so it is
 *      not killed. An old one that does not answer is stuck, and is not waited for.
 *   4. The supervisor executes the new file in its own place (succession.c). */
#include "lifecycle/supervisor_parts.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_GRACE (2 * USEC_PER_SEC)
/* A retiring process says when it will have ended; until it has, and behind that. */
#define RETIRE_UNKNOWN (60 * USEC_PER_SEC)
#define RETIRE_GRACE   (5 * USEC_PER_SEC)

usec_t upgrade_ready_patience = 30 * USEC_PER_SEC;

void upgrade_ask(struct supervisor *s)
{
    struct supervisor_state *st = &s->state;
    struct serving *serving = supervisor_find(s, ROLE_SERVING);

    if (st->terminating || st->drain_start != 0 || s->exit_code >= 0) {
        log_warn("upgrade refused: a drain runs, or a call of /prestop is held");
    } else if (supervisor_count(s, ROLE_RETIRING) >= RETIRING_MAX) {
        log_warn("upgrade refused: %d earlier serving processes still drain", RETIRING_MAX);
    } else if (supervisor_find(s, ROLE_COMING)) {
        log_info("upgrade: one is under way; another follows it");
        st->upgrade_wanted = true;
    } else {
        if (!serving || !serving->ready)
            log_info("upgrade: waits until the serving process is ready");
        st->upgrade_wanted = true;
    }
}

static void close_program(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static int open_program(const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    return fd < 0 ? -errno : held_fd_above(fd, supervisor_fd_base());
}

static void start(struct supervisor *s, usec_t now)
{
    /* From here on this file, whatever the path leads to next. */
    int fd = open_program(s->state.path);
    if (fd < 0) {
        log_error("upgrade failed: cannot open %s: %s; nothing has changed", s->state.path,
                  strerror(-fd));
        return;
    }
    int rc = held_copy(&s->state.held, &s->staged, supervisor_fd_base());
    if (rc < 0) {
        log_error("upgrade failed: cannot copy the sockets: %s; nothing has changed",
                  strerror(-rc));
        close_program(&fd);
        return;
    }
    s->staged_program = fd;
    s->hand_over_by = 0;
    struct serving *c = supervisor_launch(s, ROLE_COMING, fd, &s->staged);
    if (!c) {
        log_error("upgrade failed: no process; nothing has changed");
        held_close_all(&s->staged, &s->state.held);
        close_program(&s->staged_program);
        return;
    }
    c->kill_at = now + upgrade_ready_patience;
    log_info("upgrade: %s starts as process %d", s->state.path, c->pid);
}

static void kill_late(struct supervisor *s, usec_t now)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct serving *c = &s->state.places[i];
        if (c->role == ROLE_NONE || now < c->kill_at)
            continue;
        if (c->role == ROLE_COMING) {
            upgrade_undo(s, "it was not ready in time", SIGKILL);
            continue;
        }
        log_error("serving process %d has not ended by its deadline: killed", c->pid);
        (void)kill(c->pid, SIGKILL);
        c->kill_at = USEC_NEVER;
    }
}

void upgrade_step(struct supervisor *s, usec_t now)
{
    struct serving *serving = supervisor_find(s, ROLE_SERVING);

    kill_late(s, now);
    if (s->hand_over_by != 0 && now >= s->hand_over_by) {
        log_warn("upgrade: process %d does not answer", serving ? serving->pid : 0);
        upgrade_take_over(s);
    }
    if (s->state.upgrade_wanted && serving && serving->ready && !s->exec_wanted &&
        !supervisor_find(s, ROLE_COMING) && supervisor_find(s, ROLE_NONE)) {
        s->state.upgrade_wanted = false;
        start(s, now);
    }
}

usec_t upgrade_next_time(struct supervisor *s)
{
    usec_t next = s->hand_over_by != 0 ? s->hand_over_by : USEC_NEVER;
    for (size_t i = 0; i < PLACES; i++) {
        if (s->state.places[i].role != ROLE_NONE)
            next = min_u64(next, s->state.places[i].kill_at);
    }
    return next;
}

void upgrade_ready(struct supervisor *s, struct serving *c, uint32_t version)
{
    struct serving *old = supervisor_find(s, ROLE_SERVING);

    c->kill_at = USEC_NEVER;
    s->coming_version = version;
    if (!old) {
        upgrade_take_over(s);
        return;
    }
    /* What it said before that: perhaps that a drain began. */
    (void)supervisor_read_channel(s, old);
    if (c->role != ROLE_COMING)
        return;
    s->hand_over_by = clock_mono() + ANSWER_GRACE;
    (void)kill(old->pid, SIGUSR2);
}

void upgrade_take_over(struct supervisor *s)
{
    struct serving *new = supervisor_find(s, ROLE_COMING);
    struct serving *old = supervisor_find(s, ROLE_SERVING);

    CHECK(new);
    s->hand_over_by = 0;
    if (old) {
        old->role = ROLE_RETIRING;
        if (old->kill_at == USEC_NEVER)
            old->kill_at = clock_mono() + RETIRE_UNKNOWN;
    }
    new->role = ROLE_SERVING;
    new->kill_at = USEC_NEVER;
    held_close_all(&s->state.held, &s->staged);
    s->state.held = s->staged;
    s->staged.n = 0;
    close_program(&s->program_fd);
    s->program_fd = s->staged_program;
    s->staged_program = -1;
    s->state.short_lives = 0;
    if (s->state.reloading) {
        /* The old one's, which it will not tell the end of. */
        s->state.reloading = false;
        (void)notify_send(&s->notify, "READY=1\n");
    }
    log_info("upgrade: process %d serves, process %d retires", new->pid, old ? old->pid : 0);
    supervisor_app_ready(s, new);
    if (s->coming_version == SUPERVISOR_STATE_VERSION)
        s->exec_wanted = true;
    else
        log_warn("upgrade: the supervisor stays the old one: it hands over state version %d, the "
                 "new program takes %u",
                 SUPERVISOR_STATE_VERSION, (unsigned)s->coming_version);
}

void upgrade_retires(struct supervisor *s, struct serving *c, usec_t deadline)
{
    struct serving *new = supervisor_find(s, ROLE_COMING);
    usec_t now = clock_mono();

    if (c->role == ROLE_COMING)
        upgrade_undo(s, "it was told to retire", 0);
    c->kill_at = deadline + RETIRE_GRACE;
    if (c->role == ROLE_RETIRING)
        return;
    if (new &&new->ready) {
        upgrade_take_over(s);
        return;
    }
    /* Somebody has sent it SIGUSR2 himself, or its newcomer has gone. */
    c->role = ROLE_RETIRING;
    s->state.next_start = now;
    log_warn("serving process %d retires: another starts", c->pid);
}

void upgrade_undo(struct supervisor *s, const char *why, int number)
{
    struct serving *c = supervisor_find(s, ROLE_COMING);

    if (!c)
        return;
    log_error("upgrade failed: process %d: %s; nothing has changed", c->pid, why);
    c->role = ROLE_RETIRING;
    c->kill_at = clock_mono() + RETIRE_UNKNOWN;
    s->hand_over_by = 0;
    held_close_all(&s->staged, &s->state.held);
    close_program(&s->staged_program);
    if (number != 0)
        (void)kill(c->pid, number);
}
