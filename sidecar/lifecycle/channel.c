/* channel.c - the serving process's line to its supervisor. */
#include "lifecycle/channel.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
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
};

#define CHANNEL_PATIENCE USEC_PER_SEC

struct channel {
    uint32_t magic;
    uint32_t sequence;
    int fd;
    bool manager;
    usec_t watchdog;
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
    (void)close(ch->fd);
    ch->magic = 0;
    free(ch);
    return NULL;
}

/* Sends it and waits for its answer; those of earlier calls that gave up are skipped. */
static int exchange(struct channel *ch, struct channel_message *m, int fd)
{
    usec_t until = clock_mono() + CHANNEL_PATIENCE;

    m->sequence = ++ch->sequence;
    int rc = send_message(ch, m, fd, CHANNEL_PATIENCE);
    while (rc == 0) {
        struct channel_answer a;
        ssize_t n = recv(ch->fd, &a, sizeof(a), MSG_DONTWAIT);
        if (n == sizeof(a) && a.sequence == m->sequence)
            return a.result;
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return -EPIPE;
        if (n < 0 && errno == EAGAIN)
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
