/* app_process.c - a process that is known by its name. */
#include "lifecycle/app_process.h"

#include "base/check.h"
#include "base/clock.h"
#include "lifecycle/proc_stat.h"

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

enum { TRIES = 3 };

uint64_t app_process_ticks(void)
{
    struct timespec t;
    long hz = sysconf(_SC_CLK_TCK);
    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    uint64_t rate = hz > 0 ? (uint64_t)hz : 100;
    return (uint64_t)t.tv_sec * rate + (uint64_t)t.tv_nsec * rate / 1000000000u;
}

static bool has_name(pid_t pid, const struct proc_stat *f, const char *name)
{
    char path[48], file[PATH_MAX];
    if (strncmp(f->comm, name, PROC_COMM_MAX) == 0)
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
        struct proc_stat f;
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        if (*end != '\0' || pid <= 0 || pid == getpid() || pid == getppid() ||
            proc_stat_read("/proc", (pid_t)pid, &f) < 0 || f.state == 'Z' || f.state == 'X' ||
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
        struct proc_stat f;
        int rc = find(name, before, &p);
        if (rc < 0)
            return rc;
        int fd = pidfd_open(p.pid, 0);
        if (fd < 0 && errno != ESRCH)
            return -errno;
        if (fd < 0)
            continue;
        if (proc_stat_read("/proc", p.pid, &f) == 0 && f.start == p.start) {
            *ret = p;
            return fd;
        }
        (void)close(fd);
    }
    return -ESRCH;
}
