/* app_process.c - a process that is known by its name. */
#include "lifecycle/app_process.h"

#include "base/check.h"
#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

enum { COMM_MAX = 15, TRIES = 3 };

struct found {
    char comm[COMM_MAX + 1];
    char state;
    uint64_t start;
};

uint64_t app_process_ticks(void)
{
    struct timespec t;
    long hz = sysconf(_SC_CLK_TCK);
    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    uint64_t rate = hz > 0 ? (uint64_t)hz : 100;
    return (uint64_t)t.tv_sec * rate + (uint64_t)t.tv_nsec * rate / 1000000000u;
}

/* "17 (name) S 1 ...": proc(5). The name may have spaces and parentheses in it. */
static bool read_stat(pid_t pid, struct found *ret)
{
    char path[48], text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        (void)close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    char *open_at = strchr(text, '('), *close_at = strrchr(text, ')');
    if (!open_at || !close_at || close_at < open_at)
        return false;
    *close_at = '\0';
    (void)snprintf(ret->comm, sizeof(ret->comm), "%s", open_at + 1);
    /* state is the 3rd field, starttime the 22nd */
    return sscanf(close_at + 1,
                  " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lu",
                  &ret->state, &ret->start) == 2;
}

static bool has_name(pid_t pid, const struct found *f, const char *name)
{
    char path[48], file[PATH_MAX];
    if (strncmp(f->comm, name, COMM_MAX) == 0)
        return true;
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(path, file, sizeof(file) - 1);
    if (n <= 0)
        return false; /* another user's */
    file[n] = '\0';
    char *deleted = strstr(file, " (deleted)");
    if (deleted)
        *deleted = '\0';
    const char *base = strrchr(file, '/');
    return base && strcmp(base + 1, name) == 0;
}

static int find(const char *name, uint64_t before, struct app_process *ret)
{
    DIR *dir = opendir("/proc");
    struct app_process best = {.start = UINT64_MAX};
    if (!dir)
        return -errno;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        struct found f;
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        if (*end != '\0' || pid <= 0 || pid == getpid() || pid == getppid() ||
            !read_stat((pid_t)pid, &f) || f.state == 'Z' || f.state == 'X' ||
            f.start >= best.start || (before > 0 && f.start >= before) ||
            !has_name((pid_t)pid, &f, name))
            continue;
        best = (struct app_process){.pid = (pid_t)pid, .start = f.start};
    }
    (void)closedir(dir);
    if (best.pid == 0)
        return -ESRCH;
    *ret = best;
    return 0;
}

int app_process_open(const char *name, uint64_t before, struct app_process *ret)
{
    for (int i = 0; i < TRIES; i++) {
        struct app_process p = {0};
        struct found f;
        int rc = find(name, before, &p);
        if (rc < 0)
            return rc;
        int fd = pidfd_open(p.pid, 0);
        if (fd < 0 && errno != ESRCH)
            return -errno;
        if (fd < 0)
            continue;
        if (read_stat(p.pid, &f) && f.start == p.start) {
            *ret = p;
            return fd;
        }
        (void)close(fd);
    }
    return -ESRCH;
}
