/* cgroup_memory.c - finding the group's files, and reading them. */
#include "io/cgroup_memory.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/proc_text.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LEVELS_MAX = 4,             /* ours, and those above it that have a limit, nearest first */
    FILE_MAX_BYTES = 16384,     /* memory.stat has some 2 KiB */
    MOUNTS_MAX_BYTES = 1 << 20, /* mountinfo of a busy host */
    CACHE_EVERY = 4, /* reads: memory.stat has the kernel add up what its processors have counted */
};

struct level {
    int used, limit, stat; /* -1: not there */
    uint64_t cache;        /* inactive file pages, when last read */
    unsigned reads;
};

struct cgroup_memory {
    enum cgroup_version version;
    uint32_t n_levels;
    struct level levels[LEVELS_MAX];
    int pressure; /* -1: not there */
};

struct names {
    const char *used, *limit, *inactive;
};

static const struct names names[] = {
    [CGROUP_V1] = {"memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"},
    [CGROUP_V2] = {"memory.current", "memory.max", "inactive_file"},
};

/* --- reading --- */

static bool read_number(int fd, uint64_t *ret)
{
    char text[64];
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text), 0);
    return n > 0 && proc_text_number((struct str){text, (size_t)n}, ret);
}

static void look_at_cache(struct level *l, enum cgroup_version v)
{
    char text[FILE_MAX_BYTES];
    ssize_t n = l->stat < 0 ? -1 : pread(l->stat, text, sizeof(text), 0);
    if (n <= 0 ||
        !proc_text_stat((struct str){text, (size_t)n}, str_of(names[v].inactive), &l->cache))
        l->cache = 0;
}

static bool level_usage(struct level *l, enum cgroup_version v, struct cgroup_usage *ret)
{
    if (!read_number(l->limit, &ret->limit) || ret->limit == UINT64_MAX || ret->limit == 0 ||
        !read_number(l->used, &ret->used))
        return false;
    if (l->reads++ % CACHE_EVERY == 0 || ret->used > ret->limit / 2)
        look_at_cache(l, v);
    ret->used -= min_u64(l->cache, ret->used);
    return true;
}

static double share(const struct cgroup_usage *u)
{
    return (double)u->used / (double)u->limit;
}

bool cgroup_memory_usage(struct cgroup_memory *m, struct cgroup_usage *ret)
{
    bool found = false;
    for (uint32_t i = 0; i < m->n_levels; i++) {
        struct cgroup_usage u = {0};
        if (level_usage(&m->levels[i], m->version, &u) && (!found || share(&u) > share(ret))) {
            *ret = u;
            found = true;
        }
    }
    return found;
}

bool cgroup_memory_pressure(struct cgroup_memory *m, uint32_t *ret_some, uint32_t *ret_full)
{
    char text[512];
    ssize_t n = m->pressure < 0 ? -1 : pread(m->pressure, text, sizeof(text), 0);
    if (n <= 0)
        return false;
    struct str s = {text, (size_t)n};
    return proc_text_pressure(s, STR("some"), ret_some) &&
           proc_text_pressure(s, STR("full"), ret_full);
}

/* --- finding --- */

static int open_in(const char *directory, const char *name)
{
    char path[2 * PROC_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", directory, name);
    return n < 0 || (size_t)n >= sizeof(path) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
}

/* A file, to be freed; NULL: it is not there. What is behind MOUNTS_MAX_BYTES is not looked at. */
static char *slurp(const char *root, const char *name, size_t *ret_n)
{
    int fd = open_in(root, name);
    char *text = fd < 0 ? NULL : mem_alloc(MOUNTS_MAX_BYTES);
    size_t n = 0;
    ssize_t r = 1;
    while (text && r > 0 && n < MOUNTS_MAX_BYTES) { /* the kernel gives it in pieces */
        r = read(fd, text + n, MOUNTS_MAX_BYTES - n);
        n += r > 0 ? (size_t)r : 0;
    }
    if (fd >= 0)
        (void)close(fd);
    *ret_n = n;
    return text;
}

static void level_close(struct level *l)
{
    int fds[] = {l->used, l->limit, l->stat};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0)
            (void)close(fds[i]);
    }
}

/* Our own is kept in any case: a limit may come. */
static void add_level(struct cgroup_memory *m, const char *directory)
{
    const struct names *n = &names[m->version];
    struct level l = {.used = open_in(directory, n->used),
                      .limit = open_in(directory, n->limit),
                      .stat = open_in(directory, "memory.stat")};
    uint64_t limit;
    bool limited = read_number(l.limit, &limit) && limit != UINT64_MAX;
    if (m->n_levels < LEVELS_MAX && l.limit >= 0 && (m->n_levels == 0 || limited))
        m->levels[m->n_levels++] = l;
    else
        level_close(&l);
}

/* What of the path is below the mounted part. Where that is another part (a container that sees the
 * host's /proc), the mount itself is as near as we can get. */
static struct str below_mount(struct str path, const char *mounted)
{
    size_t n = strcmp(mounted, "/") == 0 ? 0 : strlen(mounted);
    bool inside = path.n >= n && memcmp(path.p, mounted, n) == 0 &&
                  (path.n == n || path.p[n] == '/') && !memmem(path.p, path.n, "/..", 3);
    if (!inside)
        return STR_NONE;
    path = (struct str){path.p + n, path.n - n};
    return str_eq(path, STR("/")) ? STR_NONE : path;
}

/* From ours up to the mount. */
static void add_levels(struct cgroup_memory *m, const char *root, const char *point,
                       struct str path)
{
    char directory[2 * PROC_PATH_MAX];
    int head = snprintf(directory, sizeof(directory), "%s%s", root, point);
    if (head < 0 || (size_t)head + path.n >= sizeof(directory))
        return;
    if (path.n > 0)
        memcpy(directory + head, path.p, path.n);
    directory[(size_t)head + path.n] = '\0';
    for (;;) {
        add_level(m, directory);
        char *last = strrchr(directory + head, '/');
        if (!last || strlen(directory) <= (size_t)head)
            return;
        *last = '\0';
    }
}

/* The directory that a mount has of us, without the path in it; false: there is none. */
static bool locate(struct str groups, struct str mounts, enum cgroup_version v, char *point,
                   struct str *ret_path)
{
    char mounted[PROC_PATH_MAX];
    struct str path;
    if (!proc_text_cgroup(groups, v, &path) || !proc_text_mount(mounts, v, mounted, point))
        return false;
    *ret_path = below_mount(path, mounted);
    if (strcmp(point, "/") == 0)
        point[0] = '\0';
    return true;
}

static void find(struct cgroup_memory *m, const char *root, struct str groups, struct str mounts)
{
    char point[PROC_PATH_MAX], directory[2 * PROC_PATH_MAX];
    struct str path;
    if (locate(groups, mounts, CGROUP_V1, point, &path))
        add_levels(m, root, point, path);
    if (!locate(groups, mounts, CGROUP_V2, point, &path))
        return;
    /* Version 2 tells of its groups' pressure where version 1 has the memory. */
    int n = snprintf(directory, sizeof(directory), "%s%s%.*s", root, point, STR_FMT(path));
    m->pressure =
        n > 0 && (size_t)n < sizeof(directory) ? open_in(directory, "memory.pressure") : -1;
    if (m->n_levels == 0) {
        m->version = CGROUP_V2;
        add_levels(m, root, point, path);
    }
}

struct cgroup_memory *cgroup_memory_open(const char *root)
{
    struct cgroup_memory *m = mem_zalloc(sizeof(*m));
    size_t n_groups = 0, n_mounts = 0;
    if (!m)
        return NULL;
    m->pressure = -1;
    m->version = CGROUP_V1;
    char *groups = slurp(root, "proc/self/cgroup", &n_groups);
    char *mounts = groups ? slurp(root, "proc/self/mountinfo", &n_mounts) : NULL;
    if (mounts)
        find(m, root, (struct str){groups, n_groups}, (struct str){mounts, n_mounts});
    free(groups);
    free(mounts);
    if (m->pressure < 0)
        m->pressure = open_in(root, "proc/pressure/memory");
    return m;
}

struct cgroup_memory *cgroup_memory_free(struct cgroup_memory *m)
{
    if (!m)
        return NULL;
    for (uint32_t i = 0; i < m->n_levels; i++)
        level_close(&m->levels[i]);
    if (m->pressure >= 0)
        (void)close(m->pressure);
    free(m);
    return NULL;
}
