/* supervisor_channel.c - what the serving processes say to their supervisor. */
#include "lifecycle/supervisor_parts.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool supervisor_drain_runs(const struct supervisor *s, usec_t now)
{
    return s->state.drain_start != 0 && now < s->state.drain_deadline;
}

void supervisor_tell_stopping(struct supervisor *s)
{
    if (!s->state.stopping)
        (void)notify_send(&s->notify, "STOPPING=1\n");
    s->state.stopping = true;
}

/* The set that it may change; NULL: none, its sockets are another's by now. */
static struct held_set *set_of(struct supervisor *s, const struct serving *c)
{
    switch ((enum role)c->role) {
    case ROLE_SERVING:
        return &s->state.held;
    case ROLE_COMING:
        return &s->staged;
    default:
        return NULL;
    }
}

/* Takes the fd. */
static int change_held(struct supervisor *s, struct serving *c, const struct channel_message *m,
                       int fd)
{
    struct held_set *set = set_of(s, c);
    int rc = -EPERM;

    if (m->kind == CHANNEL_DROP && set)
        rc = held_drop(set, m->name);
    if (m->kind == CHANNEL_HOLD && set && fd >= 0 && m->name[0] != '\0')
        return held_add(set, m->name, fd, supervisor_fd_base(), true);
    if (m->kind == CHANNEL_HOLD && set)
        rc = -EINVAL;
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

static void take_change(struct supervisor *s, struct serving *c, const struct channel_message *m,
                        int fd)
{
    struct channel_answer answer = {.sequence = m->sequence};

    answer.result = change_held(s, c, m, fd);
    (void)send(c->channel, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (answer.result == 0 && c->role == ROLE_SERVING && supervisor_find(s, ROLE_COMING)) {
        /* The newcomer was given other sockets, and may have read another configuration. */
        upgrade_undo(s,
                     "its sockets, the configuration or an operator's word changed meanwhile; it "
                     "is started again",
                     SIGUSR2);
        s->state.upgrade_wanted = true;
    }
}

static void take_ready(struct supervisor *s, struct serving *c, const struct channel_message *m)
{
    c->ready = true;
    if (c->role == ROLE_COMING) {
        upgrade_ready(s, c, (uint32_t)m->start);
        return;
    }
    s->state.ever_ready = true;
    /* It ends a reload that died in the middle, too. */
    s->state.reloading = false;
    (void)notify_send(&s->notify, "READY=1\n");
    supervisor_app_ready(s, c);
}

static void take_drain(struct supervisor *s, const struct channel_message *m)
{
    struct supervisor_state *st = &s->state;

    st->drain_start = m->start;
    st->drain_deadline = m->deadline;
    memcpy(st->drain_trigger, m->name, sizeof(st->drain_trigger));
    upgrade_undo(s, "a drain began", SIGUSR2);
    s->extend_at = 0;
    /* Somebody has told the serving process itself: it exits behind this drain. */
    if (strcmp(m->name, "signal") == 0)
        supervisor_tell_stopping(s);
}

static void take_reloading(struct supervisor *s, bool now)
{
    if (now)
        (void)notify_send(&s->notify, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n", clock_mono());
    else if (s->state.reloading)
        (void)notify_send(&s->notify, "READY=1\n");
    s->state.reloading = now;
}

/* What only the one that serves may say; while none does, the last to go speak for the whole. */
static bool speaks_for_all(struct supervisor *s, const struct serving *c)
{
    return c->role == ROLE_SERVING || (c->role == ROLE_RETIRING && s->exit_code >= 0);
}

static void take_message(struct supervisor *s, struct serving *c, const struct channel_message *m,
                         int fd)
{
    if (m->kind == CHANNEL_HOLD || m->kind == CHANNEL_DROP) {
        take_change(s, c, m, fd);
        return;
    }
    if (m->kind == CHANNEL_APP && fd >= 0) {
        supervisor_app_command(s, c, fd);
        return;
    }
    if (fd >= 0)
        (void)close(fd);
    switch (m->kind) {
    case CHANNEL_READY:
        take_ready(s, c, m);
        break;
    case CHANNEL_DRAIN:
        if (c->role == ROLE_SERVING)
            take_drain(s, m);
        break;
    case CHANNEL_STATUS:
        if (speaks_for_all(s, c))
            (void)notify_send(&s->notify, "STATUS=%s\n", m->text);
        break;
    case CHANNEL_RETIRE:
        upgrade_retires(s, c, m->deadline);
        break;
    case CHANNEL_RELOADING:
        if (c->role == ROLE_SERVING)
            take_reloading(s, m->start != 0);
        break;
    case CHANNEL_BEAT:
        if (speaks_for_all(s, c))
            (void)notify_send(&s->notify, "WATCHDOG=1\n");
        break;
    case CHANNEL_APP_RELEASE:
        if (c->role == ROLE_SERVING)
            supervisor_app_release(s, m->deadline);
        break;
    case CHANNEL_END:
        (void)close(c->channel);
        c->channel = -1;
        break;
    default: /* a newer program's */
        log_debug("message %u from serving process %d is not known", (unsigned)m->kind, c->pid);
        break;
    }
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

bool supervisor_read_channel(struct supervisor *s, struct serving *c)
{
    while (c->channel >= 0) {
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

        ssize_t n = recvmsg(c->channel, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        /* ECONNRESET, once: it closed with something of ours unread. What it said before stands
         * behind that. */
        if (n < 0 && (errno == EINTR || errno == ECONNRESET))
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n <= 0) {
            (void)close(c->channel);
            c->channel = -1;
            return true;
        }
        int fd = message_fd(&msg);
        if (n == sizeof(m)) {
            m.name[sizeof(m.name) - 1] = '\0';
            m.text[sizeof(m.text) - 1] = '\0';
            take_message(s, c, &m, fd);
        } else if (fd >= 0) {
            (void)close(fd);
        }
    }
    return false;
}
