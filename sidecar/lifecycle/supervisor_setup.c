/* supervisor_setup.c - how the supervisor begins: signals, its program, what it was started with.
 */
#include "lifecycle/supervisor_parts.h"

#include "base/log.h"
#include "lifecycle/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <unistd.h>

const struct supervisor_signal supervisor_forwarded[SUPERVISOR_FORWARDED] = {
    {SIGHUP, SIG_HUP}, {SIGUSR1, SIG_USR1}, {SIGINT, SIG_INT}, {SIGTERM, SIG_TERM}};

int supervisor_fd_base(void)
{
    static int base;
    struct rlimit r;
    if (base == 0) {
        base = FD_FIRST + CHANNEL_MAX_HELD + HELD_ROOM;
        if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur / 2 < (rlim_t)base)
            base = (int)r.rlim_cur / 2;
    }
    return base;
}

/* Socket activation: what we were started with. */
static void held_inherit(struct supervisor *s)
{
    while (inherited_left() > 0) {
        char name[CHANNEL_NAME_MAX];
        (void)snprintf(name, sizeof(name), "%s", inherited_left_name(0));
        int fd = inherited_take(name);
        int rc = fd < 0 ? fd : held_add(&s->state.held, name, fd, supervisor_fd_base(), false);
        if (rc < 0)
            log_error("inherited socket %s is lost: %s", name, strerror(-rc));
    }
}

static uint64_t mask_bits(const sigset_t *set)
{
    uint64_t bits = 0;
    for (int n = 1; n <= 64; n++) {
        if (sigismember(set, n) == 1)
            bits |= (uint64_t)1 << (n - 1);
    }
    return bits;
}

static int take_signals(struct supervisor *s, bool successor)
{
    sigset_t ours, before;

    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGCHLD);
    (void)sigaddset(&ours, SIGUSR2);
    for (size_t i = 0; i < SUPERVISOR_FORWARDED; i++)
        (void)sigaddset(&ours, supervisor_forwarded[i].number);
    if (sigprocmask(SIG_BLOCK, &ours, &before) < 0)
        return -errno;
    /* The child is to receive what we send, whatever our own parent had blocked. */
    for (size_t i = 0; i < SUPERVISOR_FORWARDED; i++)
        (void)sigdelset(&before, supervisor_forwarded[i].number);
    (void)sigdelset(&before, SIGUSR2);
    if (!successor)
        s->state.mask = mask_bits(&before);
    (void)signal(SIGPIPE, SIG_IGN);
    /* An ignored SIGCHLD, inherited, would reap behind our back. */
    (void)signal(SIGCHLD, SIG_DFL);
    int fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    s->signal_fd = held_fd_above(fd, supervisor_fd_base());
    return s->signal_fd < 0 ? s->signal_fd : 0;
}

/* The path that we were started by, with the symbolic links that are in it, because an upgrade may
 * change those; where that is not known, the file itself. */
static void find_path(char path[PATH_MAX])
{
    static const char deleted[] = " (deleted)";
    const char *started_by = (const char *)getauxval(AT_EXECFN);
    struct stat a, b;
    char cwd[PATH_MAX];

    if (started_by && stat(started_by, &a) == 0 && stat("/proc/self/exe", &b) == 0 &&
        a.st_dev == b.st_dev && a.st_ino == b.st_ino && strncmp(started_by, "/proc/", 6) != 0) {
        int n = -1;
        if (started_by[0] == '/')
            n = snprintf(path, PATH_MAX, "%s", started_by);
        else if (getcwd(cwd, sizeof(cwd)))
            n = snprintf(path, PATH_MAX, "%s/%s", cwd, started_by);
        if (n > 0 && n < PATH_MAX)
            return;
    }
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    size_t len = strlen(path), tail = sizeof(deleted) - 1;
    if (len > tail && strcmp(path + len - tail, deleted) == 0)
        path[len - tail] = '\0';
}

int supervisor_set_up(struct supervisor *s)
{
    int successor = succession_take(s);
    if (successor < 0) {
        log_error("cannot take over from the earlier supervisor: %s", strerror(-successor));
        return successor;
    }
    int rc = take_signals(s, successor == 1);
    if (rc < 0)
        return rc;
    s->program_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    s->program_fd = s->program_fd < 0 ? -errno : held_fd_above(s->program_fd, supervisor_fd_base());
    if (s->program_fd < 0) {
        log_error("cannot open our own program: /proc must be mounted");
        return s->program_fd;
    }
    notify_init(&s->notify);
    if (!successor) {
        find_path(s->state.path);
        held_inherit(s);
    }
    rc = supervisor_build_environment(s);
    return rc < 0 ? rc : successor;
}
