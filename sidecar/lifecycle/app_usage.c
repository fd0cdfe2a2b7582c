/* app_usage.c - what the application takes. */
#include "lifecycle/app_usage.h"

#include "base/check.h"
#include "lifecycle/sock_diag.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/inet_diag.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHILDREN_BYTES = 4096, STATUS_BYTES = 2048, USERS = 4 };

/* A walk through the processes. */
struct walk {
    const struct app_usage_source *from;
    struct app_usage *into;
    pid_t pids[APP_USAGE_PROCESSES];
    uint32_t n;
    uid_t users[USERS];
    uint32_t n_users; /* whose processes we may not look into */
};

const char *usage_by_word(enum usage_by b)
{
    static const char *const words[] = {"nothing", "size", "list", "user"};
    return words[b];
}

void app_usage_source_init(struct app_usage_source *s)
{
    struct stat st;
    long page = sysconf(_SC_PAGESIZE);
    *s = (struct app_usage_source){.proc = "/proc",
                                   .sized = stat("/proc/self/fd", &st) == 0 && st.st_size > 0,
                                   .page_bytes = page > 0 ? (uint64_t)page : 4096};
}

static void add(uint64_t *to, uint64_t n)
{
    if (*to != LEAK_UNKNOWN)
        *to += n;
}

static void lost(uint64_t *value, int *error, int errnum)
{
    *value = LEAK_UNKNOWN;
    if (*error == 0)
        *error = errnum;
}

/* --- descriptors and sockets --- */

/* 1 or 0; -errno: it is not open. */
static int is_socket(int dir, const char *name)
{
    static const char prefix[] = "socket:[";
    char to[16];
    ssize_t n = readlinkat(dir, name, to, sizeof(to));
    if (n < 0)
        return -errno;
    return n > (ssize_t)sizeof(prefix) && memcmp(to, prefix, sizeof(prefix) - 1) == 0;
}

/* How many entries there are, up to APP_USAGE_FDS; of the first `most` is looked whether they are
 * sockets. */
static uint32_t list_fds(DIR *dir, uint32_t most, uint32_t *ret_sockets)
{
    uint32_t n = 0;
    rewinddir(dir);
    *ret_sockets = 0;
    for (struct dirent *e; n < APP_USAGE_FDS && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        if (n++ < most)
            *ret_sockets += is_socket(dirfd(dir), e->d_name) > 0;
    }
    return n;
}

/* `most` among the numbers below n, which is where nearly all are: the kernel gives the lowest that
 * is free. What the share of sockets among them comes to for n. */
static uint64_t estimate_sockets(DIR *dir, uint64_t n, uint32_t most)
{
    uint64_t open = 0, sockets = 0;
    for (uint32_t i = 0; i < most; i++) {
        char name[24];
        (void)snprintf(name, sizeof(name), "%llu", (unsigned long long)(n * i / most));
        int rc = is_socket(dirfd(dir), name);
        open += rc >= 0;
        sockets += rc > 0;
    }
    return open > 0 ? n * sockets / open : 0;
}

/* Another user's; the sockets of that user are counted behind the walk. */
static void take_user(struct walk *w, pid_t pid)
{
    char text[STATUS_BYTES];
    uid_t user;
    ssize_t n = proc_read(w->from->proc, pid, "status", text, sizeof(text));
    if (n < 0 || proc_status_uid(text, (size_t)n, &user) < 0 || user == geteuid() ||
        w->n_users == USERS) {
        lost(&w->into->value[LEAK_SOCKETS], &w->into->sockets_error, EACCES);
        return;
    }
    for (uint32_t i = 0; i < w->n_users; i++) {
        if (w->users[i] == user)
            return;
    }
    w->users[w->n_users++] = user;
}

/* `most`: descriptors that may be looked at. */
static void count_listed(struct walk *w, DIR *dir, bool sized, uint64_t n, uint32_t most)
{
    struct app_usage *u = w->into;
    uint32_t sockets;
    if (!sized) {
        n = list_fds(dir, 0, &sockets);
        add(&u->value[LEAK_FDS], n);
        u->fds_by = USAGE_BY_LIST;
    }
    u->sockets_by = USAGE_BY_LIST;
    if (n <= most) {
        (void)list_fds(dir, most, &sockets);
        add(&u->value[LEAK_SOCKETS], sockets);
    } else {
        add(&u->value[LEAK_SOCKETS], estimate_sockets(dir, n, most));
    }
}

/* 0, or -ESRCH: it has ended meanwhile. */
static int count_fds(struct walk *w, pid_t pid, uint32_t most)
{
    struct app_usage *u = w->into;
    struct stat st;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%d/fd", w->from->proc, (int)pid);
    bool sized = w->from->sized && stat(path, &st) == 0;
    DIR *dir = opendir(path);
    int error = dir ? 0 : errno;
    if (error == ENOENT || error == ESRCH)
        return -ESRCH;
    if (sized) {
        add(&u->value[LEAK_FDS], (uint64_t)st.st_size);
        u->fds_by = USAGE_BY_SIZE;
    } else if (!dir) {
        lost(&u->value[LEAK_FDS], &u->fds_error, error);
    }
    if (dir) {
        count_listed(w, dir, sized, sized ? (uint64_t)st.st_size : 0, most);
        (void)closedir(dir);
    } else if (error == EACCES || error == EPERM) {
        take_user(w, pid);
    } else {
        lost(&u->value[LEAK_SOCKETS], &u->sockets_error, error);
    }
    return 0;
}

struct by_user {
    const struct walk *walk;
    uint32_t n;
};

/* Without an inode nobody has a descriptor of it any more. */
static bool is_of_user(void *ctx, const struct inet_diag_msg *m)
{
    struct by_user *b = ctx;
    for (uint32_t i = 0; i < b->walk->n_users && m->idiag_inode != 0; i++)
        b->n += m->idiag_uid == b->walk->users[i];
    return b->n < APP_USAGE_SOCKETS;
}

static void count_sockets_by_user(struct walk *w)
{
    struct by_user b = {w, 0};
    uint32_t all = (1u << (SOCK_DIAG_MAX + 1)) - 2;
    if (w->n_users == 0 || w->into->value[LEAK_SOCKETS] == LEAK_UNKNOWN)
        return;
    int rc = sock_diag_tcp(all & ~(1u << SOCK_DIAG_TIME_WAIT) & ~(1u << SOCK_DIAG_SYN_RECV),
                           is_of_user, &b);
    if (rc < 0) {
        lost(&w->into->value[LEAK_SOCKETS], &w->into->sockets_error, -rc);
        return;
    }
    add(&w->into->value[LEAK_SOCKETS], b.n);
    w->into->sockets_by = USAGE_BY_USER;
}

/* --- processes --- */

static void meet(struct walk *w, pid_t pid)
{
    if (pid == getpid() || pid == getppid())
        return;
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->pids[i] == pid)
            return; /* started by one that we read later; a number that came back */
    }
    if (w->n == APP_USAGE_PROCESSES)
        w->into->more = true;
    else
        w->pids[w->n++] = pid;
}

/* Those of the main thread: others have lists of their own, and there may be thousands. */
static void meet_children(struct walk *w, pid_t pid)
{
    char file[48], text[CHILDREN_BYTES];
    pid_t children[APP_USAGE_PROCESSES];
    (void)snprintf(file, sizeof(file), "task/%d/children", (int)pid);
    ssize_t bytes = proc_read(w->from->proc, pid, file, text, sizeof(text));
    uint32_t n =
        bytes > 0 ? proc_children_parse(text, (size_t)bytes, children, APP_USAGE_PROCESSES) : 0;
    w->into->more = w->into->more || n > APP_USAGE_PROCESSES;
    for (uint32_t i = 0; i < n && i < APP_USAGE_PROCESSES; i++)
        meet(w, children[i]);
}

static int take_process(struct walk *w, pid_t pid)
{
    struct app_usage *u = w->into;
    struct proc_stat s;
    int rc = proc_stat_read(w->from->proc, pid, &s);
    if (rc < 0)
        return rc;
    if (s.state == 'Z' || s.state == 'X')
        return -ESRCH;
    if (u->processes++ == 0) {
        memcpy(u->name, s.comm, sizeof(u->name));
        for (char *c = u->name; *c; c++)
            *c = *c < ' ' || *c > '~' || *c == '"' || *c == '\\' ? '?' : *c;
        u->start = s.start;
    }
    add(&u->value[LEAK_THREADS], s.threads);
    add(&u->value[LEAK_RSS],
        min_u64(s.rss_pages, LEAK_VALUE_MAX / w->from->page_bytes) * w->from->page_bytes);
    return 0;
}

int app_usage_read(const struct app_usage_source *s, pid_t pid, struct app_usage *ret)
{
    struct walk w = {.from = s, .into = ret};
    *ret = (struct app_usage){0};
    w.pids[w.n++] = pid;
    /* Grows as they are met. */
    for (uint32_t i = 0; i < w.n; i++) {
        int rc = take_process(&w, w.pids[i]);
        if (rc < 0 && i == 0)
            return rc;
        if (rc == 0)
            meet_children(&w, w.pids[i]);
        else
            w.pids[i] = 0;
    }
    for (uint32_t i = 0; i < w.n; i++) {
        int rc = w.pids[i] != 0 ? count_fds(&w, w.pids[i], APP_USAGE_LINKS / w.n) : 0;
        if (rc < 0 && i == 0)
            return rc;
    }
    count_sockets_by_user(&w);
    return 0;
}
