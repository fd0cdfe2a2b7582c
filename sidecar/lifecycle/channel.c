/* channel.c - the serving process's line to its supervisor. */
#include "lifecycle/channel.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CHANNEL_MAGIC = 0x43484e21,
    /* Where it is kept. Of a killed process the kernel closes the highest descriptor first and
     * tells the parent last: an early end of the channel lets the supervisor start another process
     * before connections and inotify are closed, which takes 10 ms and more. What is open above
     * this place is closed before; a higher one would cost each process a larger table (8 bytes
     * each). */
    CHANNEL_PLACE = 4095,
    NOTICES_MAX = 8, /* that came while an answer was waited for; there are two kinds */
};

#define CHANNEL_PATIENCE USEC_PER_SEC

struct channel {
    uint32_t magic;
    uint32_t sequence;
    int fd;
    bool manager;
    usec_t watchdog;
    void (*on_notice)(void *ctx);
    void *on_notice_ctx;
    uint32_t n_notices;
    struct {
        struct channel_notice notice;
        int fd;
    } notices[NOTICES_MAX];
};

union from_supervisor {
    struct channel_answer answer;
    struct channel_notice notice;
};

/* Returns the new descriptor, with CLOEXEC; where there is none, the old. */
static int move_up(int fd)
{
    struct rlimit r;
    int place = CHANNEL_PLACE;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur <= (rlim_t)place)
        place = (int)r.rlim_cur - 1;
    int up = fcntl(fd, F_DUPFD_CLOEXEC, place);
    if (up < 0)
        return fd;
    (void)close(fd);
    return up;
}

struct channel *channel_open_from_env(void)
{
    const char *text = getenv(CHANNEL_ENV);
    uint64_t number;
    int type = 0;
    socklen_t n = sizeof(type);

    if (!text || !str_to_u64(str_of(text), &number) || number > INT32_MAX)
        return NULL;
    (void)unsetenv(CHANNEL_ENV);
    int fd = (int)number;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_SEQPACKET ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return NULL;
    struct channel *ch = mem_zalloc(sizeof(*ch));
    if (!ch)
        return NULL;
    ch->magic = CHANNEL_MAGIC;
    ch->fd = move_up(fd);
    text = getenv(CHANNEL_MANAGER_ENV);
    ch->manager = text && str_to_u64(str_of(text), &ch->watchdog);
    (void)unsetenv(CHANNEL_MANAGER_ENV);
    return ch;
}

/* Until fd is ready for events; 0, -ETIMEDOUT. */
static int wait_for(int fd, short events, usec_t until)
{
    for (;;) {
        usec_t now = clock_mono();
        struct pollfd p = {.fd = fd, .events = events};
        if (now >= until)
            return -ETIMEDOUT;
        int rc = poll(&p, 1, (int)((until - now) / USEC_PER_MSEC) + 1);
        if (rc > 0)
            return 0;
        if (rc < 0 && errno != EINTR)
            return -errno;
    }
}

/* fd -1: none. patience 0: does not wait. */
static int send_message(struct channel *ch, const struct channel_message *m, int fd,
                        usec_t patience)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)m, sizeof(*m)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    usec_t until = clock_mono() + patience;

    if (fd >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    while (sendmsg(ch->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return errno == ECONNRESET ? -EPIPE : -errno;
        int rc = patience > 0 ? wait_for(ch->fd, POLLOUT, until) : -EAGAIN;
        if (rc < 0)
            return rc;
    }
    return 0;
}

struct channel *channel_free(struct channel *ch)
{
    struct channel_message m = {.kind = CHANNEL_END};
    if (!ch)
        return NULL;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    (void)send_message(ch, &m, -1, CHANNEL_PATIENCE);
    for (uint32_t i = 0; i < ch->n_notices; i++) {
        if (ch->notices[i].fd >= 0)
            (void)close(ch->notices[i].fd);
    }
    (void)close(ch->fd);
    ch->magic = 0;
    free(ch);
    return NULL;
}

/* The next message of the supervisor, an answer or a notice; *ret_fd -1 when it came without one.
 * Its size, 0 at the end, or -errno. */
static ssize_t receive(struct channel *ch, union from_supervisor *ret, int *ret_fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {ret, sizeof(*ret)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    ssize_t n;

    *ret_fd = -1;
    do {
        n = recvmsg(ch->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
    return n;
}

/* For channel_next_notice(): it came in between. */
static void keep_notice(struct channel *ch, const struct channel_notice *n, int fd)
{
    if (ch->n_notices == NOTICES_MAX) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    ch->notices[ch->n_notices].notice = *n;
    ch->notices[ch->n_notices++].fd = fd;
    if (ch->on_notice)
        ch->on_notice(ch->on_notice_ctx);
}

/* Sends it and waits for its answer; those of earlier calls that gave up are skipped. */
static int exchange(struct channel *ch, struct channel_message *m, int fd)
{
    usec_t until = clock_mono() + CHANNEL_PATIENCE;

    m->sequence = ++ch->sequence;
    int rc = send_message(ch, m, fd, CHANNEL_PATIENCE);
    while (rc == 0) {
        union from_supervisor a;
        int got;
        ssize_t n = receive(ch, &a, &got);
        if (n == sizeof(a.answer) && a.answer.sequence == m->sequence)
            return a.answer.result;
        if (n == 0 || (n < 0 && n != -EAGAIN))
            return -EPIPE;
        if (n == sizeof(a.notice))
            keep_notice(ch, &a.notice, got);
        if (n < 0)
            rc = wait_for(ch->fd, POLLIN, until);
    }
    return rc;
}

static int name_into(struct channel_message *m, const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n >= sizeof(m->name))
        return -EINVAL;
    memcpy(m->name, name, n);
    return 0;
}

int channel_hold(struct channel *ch, const char *name, int fd)
{
    struct channel_message m = {.kind = CHANNEL_HOLD};
    if (!ch)
        return 0;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    int rc = name_into(&m, name);
    return rc < 0 ? rc : exchange(ch, &m, fd);
}

int channel_drop(struct channel *ch, const char *name)
{
    struct channel_message m = {.kind = CHANNEL_DROP};
    if (!ch)
        return 0;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    int rc = name_into(&m, name);
    return rc < 0 ? rc : exchange(ch, &m, -1);
}

int channel_ready(struct channel *ch)
{
    struct channel_message m = {.kind = CHANNEL_READY, .start = SUPERVISOR_STATE_VERSION};
    if (!ch)
        return 0;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    return send_message(ch, &m, -1, CHANNEL_PATIENCE);
}

int channel_retire(struct channel *ch, usec_t deadline)
{
    struct channel_message m = {.kind = CHANNEL_RETIRE, .deadline = deadline};
    if (!ch)
        return 0;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    return send_message(ch, &m, -1, CHANNEL_PATIENCE);
}

int channel_reloading(struct channel *ch, bool now)
{
    struct channel_message m = {.kind = CHANNEL_RELOADING, .start = now};
    if (!ch)
        return 0;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    return send_message(ch, &m, -1, CHANNEL_PATIENCE);
}

int channel_beat(struct channel *ch)
{
    struct channel_message m = {.kind = CHANNEL_BEAT};
    if (!ch)
        return 0;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    return send_message(ch, &m, -1, 0);
}

bool channel_manager_listens(const struct channel *ch)
{
    return ch && ch->manager;
}

usec_t channel_watchdog(const struct channel *ch)
{
    return ch ? ch->watchdog : 0;
}

int channel_drain(struct channel *ch, usec_t start, usec_t deadline, const char *trigger)
{
    struct channel_message m = {.kind = CHANNEL_DRAIN, .start = start, .deadline = deadline};
    if (!ch)
        return 0;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    (void)snprintf(m.name, CHANNEL_TRIGGER_MAX, "%s", trigger ? trigger : "");
    return send_message(ch, &m, -1, CHANNEL_PATIENCE);
}

int channel_status(struct channel *ch, const char *text)
{
    struct channel_message m = {.kind = CHANNEL_STATUS};
    if (!ch)
        return 0;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    /* One line: a second one would be another variable to the service manager. */
    size_t n = strcspn(text, "\n");
    (void)snprintf(m.text, sizeof(m.text), "%.*s", (int)min_u64(n, sizeof(m.text) - 1), text);
    return send_message(ch, &m, -1, 0);
}

int channel_app(struct channel *ch, const char *argv, size_t n)
{
    struct channel_message m = {.kind = CHANNEL_APP};
    if (!ch)
        return 0;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    if (n > CHANNEL_APP_TEXT_MAX)
        return -E2BIG;
    int fd = memfd_create("sluice-app", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = write(fd, argv, n) == (ssize_t)n ? 0 : -EIO;
    if (rc == 0)
        rc = send_message(ch, &m, fd, CHANNEL_PATIENCE);
    (void)close(fd);
    return rc;
}

int channel_app_release(struct channel *ch, usec_t deadline)
{
    struct channel_message m = {.kind = CHANNEL_APP_RELEASE, .deadline = deadline};
    if (!ch)
        return 0;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    return send_message(ch, &m, -1, CHANNEL_PATIENCE);
}

int channel_fd(const struct channel *ch)
{
    return ch ? ch->fd : -1;
}

void channel_on_notice(struct channel *ch, void (*fn)(void *ctx), void *ctx)
{
    if (!ch)
        return;
    ch->on_notice = fn;
    ch->on_notice_ctx = ctx;
}

int channel_next_notice(struct channel *ch, struct channel_notice *ret, int *ret_fd)
{
    union from_supervisor got;
    *ret_fd = -1;
    if (!ch)
        return -EAGAIN;
    CHECK_OBJ(ch, CHANNEL_MAGIC);
    if (ch->n_notices > 0) {
        *ret = ch->notices[0].notice;
        *ret_fd = ch->notices[0].fd;
        memmove(&ch->notices[0], &ch->notices[1], --ch->n_notices * sizeof(ch->notices[0]));
        return 0;
    }
    for (;;) {
        ssize_t n = receive(ch, &got, ret_fd);
        if (n == sizeof(got.notice)) {
            *ret = got.notice;
            return 0;
        }
        if (*ret_fd >= 0)
            (void)close(*ret_fd);
        *ret_fd = -1;
        if (n <= 0)
            return n == -EAGAIN ? -EAGAIN : -EPIPE;
    }
}

bool channel_runs_app(void)
{
    return getenv(CHANNEL_APP_ENV) != NULL;
}

bool channel_restarted(void)
{
    return getenv(CHANNEL_RESTART_ENV) != NULL;
}

bool channel_drain_state(usec_t *ret_start, usec_t *ret_deadline, char *ret_trigger, size_t cap)
{
    const char *text = getenv(CHANNEL_DRAIN_ENV);
    uint64_t start, deadline;

    if (!text)
        return false;
    size_t a = strcspn(text, " ");
    if (text[a] == '\0' || !str_to_u64((struct str){text, a}, &start) || start == 0)
        return false;
    text += a + 1;
    size_t b = strcspn(text, " ");
    if (!str_to_u64((struct str){text, b}, &deadline))
        return false;
    text += b;
    if (*text == ' ')
        text++;
    *ret_start = start;
    *ret_deadline = deadline;
    (void)snprintf(ret_trigger, cap, "%s", text);
    return true;
}
