/* watch_places.c - the places of the file system on which paths' meaning depends, by inotify. */
#include "config/watch_places.h"

#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LINKS_MAX = 40, /* as the kernel's MAXSYMLINKS */
    READS_MAX = 64, /* a turn: a busy directory does not hold the loop */
    CHANGED = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB,
    GONE = IN_DELETE_SELF | IN_MOVE_SELF,
};

/* ---- the table ---- */

static bool place_there(const struct watch_places *p, int wd, const char *name)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const struct watch_place *it = &p->items[i];
        if (it->wd == wd && (name ? it->name && strcmp(it->name, name) == 0 : !it->name))
            return true;
    }
    return false;
}

static int place_add(struct watch_places *p, int wd, const char *name)
{
    if (place_there(p, wd, name)) /* paths share what they begin with */
        return 0;
    if (p->n == p->cap) {
        uint32_t cap = p->cap ? p->cap * 2 : 16;
        void *items = mem_realloc(p->items, cap * sizeof(*p->items));
        if (!items)
            return -ENOMEM;
        p->items = items;
        p->cap = cap;
    }
    char *copy = name ? mem_strndup(str_of(name)) : NULL;
    if (name && !copy)
        return -ENOMEM;
    p->items[p->n++] = (struct watch_place){.wd = wd, .name = copy};
    return 0;
}

static bool place_known(const struct watch_places *p, int wd)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->items[i].wd == wd)
            return true;
    }
    return false;
}

static void places_clear(struct watch_places *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        free(p->items[i].name);
    free(p->items);
    p->items = NULL;
    p->n = p->cap = 0;
}

int watch_places_open(struct watch_places *p)
{
    *p = (struct watch_places){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    return p->fd < 0 ? -errno : 0;
}

void watch_places_close(struct watch_places *p)
{
    places_clear(p);
    if (p->fd >= 0)
        (void)close(p->fd);
    p->fd = -1;
}

/* ---- the walk ---- */

struct walk {
    struct watch_places *new;
    char at[PATH_MAX];   /* the directory so far, without a link; "": the root */
    char rest[PATH_MAX]; /* what follows; begins with no slash */
    unsigned links;
    int error; /* the first: the walk goes on as far as it can */
};

static void watch(struct walk *w, const char *path, uint32_t mask, const char *name)
{
    int wd = inotify_add_watch(w->new->fd, path, mask | IN_MASK_ADD);
    int rc = wd < 0 ? -errno : place_add(w->new, wd, name);

    /* What has gone meanwhile shows in the lstat() that follows. A directory that may be searched
     * but not read, and a file that may not be read, cannot be watched themselves. */
    if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR && (name || rc != -EACCES) && w->error == 0)
        w->error = rc;
}

/* Moves the first component of `rest` to out (NAME_MAX + 1 bytes). */
static int take_component(struct walk *w, char *out)
{
    size_t n = strcspn(w->rest, "/");
    size_t skip = n + strspn(w->rest + n, "/");

    if (n > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(out, w->rest, n);
    out[n] = '\0';
    memmove(w->rest, w->rest + skip, strlen(w->rest + skip) + 1);
    return 0;
}

/* The link's target takes its place in front of what follows. */
static int follow(struct walk *w, const char *link)
{
    char target[PATH_MAX], all[PATH_MAX];
    ssize_t n = readlink(link, target, sizeof(target) - 1);

    if (n < 0)
        return errno == ENOENT || errno == EINVAL ? 0 : -errno; /* replaced: an event is there */
    target[n] = '\0';
    if (++w->links > LINKS_MAX) /* the reader says so; each link that could be changed is watched */
        return 0;
    const char *begin = target;
    if (target[0] == '/') {
        w->at[0] = '\0';
        begin += strspn(target, "/");
    }
    int len = snprintf(all, sizeof(all), "%s/%s", begin, w->rest);
    if (len < 0 || (size_t)len >= sizeof(all))
        return -ENAMETOOLONG;
    size_t skip = strspn(all, "/"); /* a link to / */
    memcpy(w->rest, all + skip, (size_t)len - skip + 1);
    return 1;
}

/* One component further: 1; the end: 0; or -errno. */
static int step(struct walk *w)
{
    char name[NAME_MAX + 1], path[PATH_MAX];
    const char *dir = w->at[0] ? w->at : "/";
    struct stat st;
    int rc = take_component(w, name);

    if (rc < 0)
        return rc;
    if (name[0] == '\0' || strcmp(name, ".") == 0)
        return w->rest[0] != '\0';
    int len = snprintf(path, sizeof(path), "%s/%s", w->at, name);
    if (len < 0 || (size_t)len >= sizeof(path))
        return -ENAMETOOLONG;
    if (w->at[0])
        watch(w, dir, GONE | IN_ONLYDIR, NULL);
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        watch(w, dir, CHANGED | IN_ONLYDIR, name);
        if (lstat(path, &st) < 0) /* again: what came before the watch is not told */
            return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    }
    if (S_ISLNK(st.st_mode))
        return follow(w, path);
    if (S_ISREG(st.st_mode))
        watch(w, path, IN_CLOSE_WRITE | IN_DONT_FOLLOW, NULL);
    if (!S_ISDIR(st.st_mode))
        return 0;
    memcpy(w->at, path, (size_t)len + 1);
    return w->rest[0] != '\0';
}

static int walk_begin(struct walk *w, const char *path)
{
    if (path[0] != '/') {
        if (!getcwd(w->at, sizeof(w->at)))
            return -errno;
        if (strcmp(w->at, "/") == 0)
            w->at[0] = '\0';
    }
    path += strspn(path, "/");
    size_t n = strlen(path);
    if (n >= sizeof(w->rest))
        return -ENAMETOOLONG;
    memcpy(w->rest, path, n + 1);
    return 0;
}

/* 0, or the first error: the walk goes on as far as it can. */
static int walk_one(struct watch_places *new, const char *path)
{
    struct walk w = {.new = new};
    int rc = walk_begin(&w, path);

    if (rc == 0) {
        do
            rc = step(&w);
        while (rc > 0);
    }
    return rc < 0 ? rc : w.error;
}

int watch_places_walk(struct watch_places *p, const char *const *paths, uint32_t n)
{
    struct watch_places new = {.fd = p->fd};
    int rc = 0;

    for (uint32_t i = 0; i < n; i++) {
        int one = walk_one(&new, paths[i]);
        rc = rc < 0 ? rc : one;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        if (!place_known(&new, p->items[i].wd))
            (void)inotify_rm_watch(p->fd, p->items[i].wd);
    }
    places_clear(p);
    *p = new;
    return rc;
}

/* ---- events ---- */

static bool concerns(const struct watch_places *p, const struct inotify_event *e)
{
    if (e->mask & IN_Q_OVERFLOW)
        return true;
    if (e->mask & IN_IGNORED) /* a watch that we, or the end of what it watched, took away */
        return false;
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->items[i].wd != e->wd)
            continue;
        if (e->len == 0 || (p->items[i].name && strcmp(p->items[i].name, e->name) == 0))
            return true;
    }
    return false;
}

bool watch_places_read(struct watch_places *p)
{
    _Alignas(struct inotify_event) char events[8192];
    bool found = false;

    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = read(p->fd, events, sizeof(events));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(events + at);
            found = concerns(p, e) || found;
            at += (ssize_t)(sizeof(*e) + e->len);
        }
    }
    return found;
}
