/* succession.c - the supervisor executes another program in its own place.
 *
 * The pid stays, and with it the children, what they may be waited for, and what the service
 * manager and the container's runtime know. Sockets and channels stay open; the rest goes over in
 * a sealed memfd. Signals are blocked all along and stay pending over an exec; the signalfd is made
 * anew. */
#include "lifecycle/supervisor_parts.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    STATE_MAGIC = 0x534c5350,
    SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
};

/* Where these change, SUPERVISOR_STATE_VERSION must. */
_Static_assert(sizeof(struct serving) == 32, "the layout of state version 2");
_Static_assert(sizeof(struct supervised_app) == 48, "the layout of state version 2");
_Static_assert(sizeof(struct held) == 120, "the layout of state version 2");
_Static_assert(sizeof(struct supervisor_state) == 35368, "the layout of state version 2");

static struct supervisor_state passed_on; /* as it stands in the memfd */

static void set_cloexec(struct supervisor *s, bool cloexec)
{
    held_set_cloexec(&s->state.held, cloexec);
    for (size_t i = 0; i < PLACES; i++) {
        if (s->state.places[i].role != ROLE_NONE && s->state.places[i].channel >= 0)
            (void)fcntl(s->state.places[i].channel, F_SETFD, cloexec ? FD_CLOEXEC : 0);
    }
}

/* Open behind an exec. */
static int sealed_memfd(const void *bytes, size_t size)
{
    int low = memfd_create("sluice-supervisor", MFD_ALLOW_SEALING);
    if (low < 0)
        return -errno;
    int fd = held_fd_above(low, supervisor_fd_base());
    if (fd < 0)
        return fd;
    ssize_t n = write(fd, bytes, size);
    if (n == (ssize_t)size && fcntl(fd, F_ADD_SEALS, SEALS) == 0 && fcntl(fd, F_SETFD, 0) == 0)
        return fd;
    int rc = n >= 0 && n < (ssize_t)size ? -EIO : -errno;
    (void)close(fd);
    return rc;
}

void succession_exec(struct supervisor *s)
{
    s->exec_wanted = false;
    passed_on = s->state;
    passed_on.magic = STATE_MAGIC;
    passed_on.version = SUPERVISOR_STATE_VERSION;
    passed_on.size = sizeof(passed_on);
    int fd = sealed_memfd(&passed_on, sizeof(passed_on));
    if (fd < 0) {
        log_error("upgrade: the supervisor stays the old one: no memfd: %s", strerror(-fd));
        return;
    }
    supervisor_fill_successor_environment(s, fd);
    set_cloexec(s, false);
    (void)execveat(s->program_fd, "", s->own, s->env, AT_EMPTY_PATH);
    int error = errno;
    set_cloexec(s, true);
    (void)close(fd);
    log_error("upgrade: the supervisor stays the old one: cannot execute %s: %s", s->state.path,
              strerror(error));
}

static int read_state(int fd, struct supervisor_state *state)
{
    struct stat st;
    if (fcntl(fd, F_GET_SEALS) != SEALS || fstat(fd, &st) < 0)
        return -EBADF;
    if (st.st_size != (off_t)sizeof(*state) ||
        pread(fd, state, sizeof(*state), 0) != (ssize_t)sizeof(*state))
        return -EPROTO;
    if (state->magic != STATE_MAGIC || state->version != SUPERVISOR_STATE_VERSION ||
        state->size != sizeof(*state) || state->held.n > CHANNEL_MAX_HELD)
        return -EPROTO;
    return 1;
}

/* "fd pid": of our own process, or it is not meant for us. */
static int memfd_from_env(void)
{
    const char *text = getenv(SUCCESSION_ENV);
    size_t n = text ? strcspn(text, " ") : 0;
    uint64_t fd, pid;

    if (!text || text[n] == '\0' || !str_to_u64((struct str){text, n}, &fd) || fd > INT_MAX ||
        !str_to_u64(str_of(text + n + 1), &pid) || pid != (uint64_t)getpid())
        return -1;
    return (int)fd;
}

int succession_take(struct supervisor *s)
{
    int fd = memfd_from_env();

    (void)unsetenv(SUCCESSION_ENV);
    if (fd < 0)
        return 0;
    int rc = read_state(fd, &passed_on);
    if (rc < 0)
        return rc;
    (void)close(fd);
    s->state = passed_on;
    set_cloexec(s, true);
    return 1;
}
