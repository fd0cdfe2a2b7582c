/* watch_files.c - tells when any of several files may have changed. */
#include "config/watch_files.h"

#include "base/mem.h"
#include "config/scalar.h"
#include "config/watch_places.h"

#include <errno.h>
#include <sys/stat.h>

enum {
    WATCH_MAGIC = 0x57464c53,
    TELL_EVERY = 10, /* polls */
    BURST_MAX = 10,  /* x debounce */
};

/* Two looks that find the same have found the same text, nearly always. */
struct identity {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct watched {
    char *path;
    struct identity at;
};

struct files_watch {
    uint32_t magic;
    struct loop *loop;
    struct conf_reload conf;
    void (*news)(void *ctx, enum files_news how);
    void *ctx;

    uint32_t n;
    struct watched *files;
    struct watch_places places; /* fd -1: closed */
    struct ev_io events;
    bool incomplete; /* inotify does not tell everything: said once */

    struct timer rest;   /* on while something has changed and was not told yet */
    usec_t burst;        /* the first change; 0: none */
    enum files_news how; /* the surest of what was noted */
    struct timer poll;
    uint32_t polls;
};

static struct identity look(const char *file)
{
    struct stat st;
    if (stat(file, &st) < 0)
        return (struct identity){0};
    return (struct identity){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_identity(const struct identity *a, const struct identity *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           same_time(&a->mtime, &b->mtime) && same_time(&a->ctime, &b->ctime);
}

/* Looks at all of them; false: one is not as it was at the last look. */
static bool look_at_all(struct files_watch *w)
{
    bool same = true;
    for (uint32_t i = 0; i < w->n; i++) {
        struct identity now = look(w->files[i].path);
        same = same && same_identity(&now, &w->files[i].at);
        w->files[i].at = now;
    }
    return same;
}

/* ---- the rest after a change ---- */

static void note(struct files_watch *w, enum files_news how)
{
    usec_t now = clock_mono();

    if (w->burst == 0) {
        w->burst = now;
        w->how = how;
    }
    if (how < w->how)
        w->how = how;
    (void)look_at_all(w);
    timer_set(w->loop, &w->rest,
              min_u64(now + w->conf.debounce, w->burst + BURST_MAX * w->conf.debounce));
}

static void on_rest(struct timer *t)
{
    struct files_watch *w = CONTAINER_OF(t, struct files_watch, rest);

    CHECK(w->magic == WATCH_MAGIC);
    /* Somebody who has one open is still writing: no event tells of that. */
    if (!look_at_all(w) && clock_mono() < w->burst + BURST_MAX * w->conf.debounce) {
        note(w, FILES_BY_POLL);
        return;
    }
    w->burst = 0;
    w->news(w->ctx, w->how);
}

/* ---- inotify ---- */

static void tell_incomplete(struct files_watch *w, int error)
{
    char every[SCALAR_TEXT_MAX];

    if (w->incomplete)
        return;
    w->incomplete = true;
    if (w->conf.poll_interval > 0)
        log_warn("certificates: inotify cannot watch every file: %s; they are looked at every %s "
                 "instead",
                 strerror(-error), scalar_duration_text(w->conf.poll_interval, every));
    else
        log_warn("certificates: inotify cannot watch every file: %s; with reload.pollInterval 0 "
                 "some changes are not seen",
                 strerror(-error));
}

static int walk_all(struct files_watch *w)
{
    const char **paths = mem_alloc(w->n * sizeof(const char *));
    if (!paths)
        return -ENOMEM;
    for (uint32_t i = 0; i < w->n; i++)
        paths[i] = w->files[i].path;
    int rc = watch_places_walk(&w->places, paths, w->n);
    free(paths);
    return rc;
}

static void walk(struct files_watch *w)
{
    int rc = walk_all(w);

    if (rc < 0) {
        tell_incomplete(w, rc);
    } else if (w->incomplete) {
        w->incomplete = false;
        log_info("certificates: inotify watches every file");
    }
}

static void on_events(struct ev_loop *ev, struct ev_io *io, int revents)
{
    struct files_watch *w = CONTAINER_OF(io, struct files_watch, events);
    (void)ev;
    (void)revents;
    CHECK(w->magic == WATCH_MAGIC);
    if (!watch_places_read(&w->places))
        return;
    walk(w); /* before a file is read: what comes later is told again */
    note(w, FILES_BY_EVENT);
}

static void close_events(struct files_watch *w)
{
    if (w->places.fd < 0)
        return;
    ev_io_stop(w->loop->ev, &w->events);
    watch_places_close(&w->places);
}

/* Opens it where it should be and is not. */
static void open_events(struct files_watch *w)
{
    if (!w->conf.watch || w->places.fd >= 0)
        return;
    int rc = watch_places_open(&w->places);
    if (rc < 0) {
        tell_incomplete(w, rc);
        return;
    }
    ev_io_init(&w->events, on_events, w->places.fd, EV_READ);
    ev_io_start(w->loop->ev, &w->events);
}

/* ---- the poll ---- */

static void on_poll(struct timer *t)
{
    struct files_watch *w = CONTAINER_OF(t, struct files_watch, poll);

    CHECK(w->magic == WATCH_MAGIC);
    open_events(w);
    if (w->places.fd >= 0)
        walk(w); /* a mount over a directory, or watches that had been used up */
    if (!look_at_all(w))
        note(w, FILES_BY_POLL);
    else if (w->polls++ % TELL_EVERY == 0)
        note(w, FILES_LOOK);
    if (w->conf.poll_interval > 0)
        timer_set(w->loop, &w->poll, clock_mono() + w->conf.poll_interval);
}

/* ---- */

static void files_free(struct watched *files, uint32_t n)
{
    for (uint32_t i = 0; files && i < n; i++)
        free(files[i].path);
    free(files);
}

static void stop(struct files_watch *w)
{
    close_events(w);
    timer_stop(w->loop, &w->rest);
    timer_stop(w->loop, &w->poll);
    w->burst = 0;
}

int files_watch_set(struct files_watch *w, const char *const *files, uint32_t n,
                    const struct conf_reload *conf)
{
    struct watched *new = mem_zalloc(((uint64_t)n + 1) * sizeof(*new));
    bool ok = new != NULL;
    for (uint32_t i = 0; ok && i < n; i++) {
        new[i].path = mem_strndup(str_of(files[i]));
        ok = new[i].path != NULL;
    }
    if (!ok) {
        files_free(new, n);
        return -ENOMEM;
    }
    files_free(w->files, w->n);
    w->files = new;
    w->n = n;
    w->conf = *conf;
    if (n == 0 || !conf->watch)
        stop(w);
    if (n == 0 || (!conf->watch && conf->poll_interval == 0))
        return 0;
    (void)look_at_all(w);
    open_events(w);
    if (w->places.fd >= 0)
        walk(w);
    w->polls = 0; /* the first poll has news */
    timer_set(w->loop, &w->poll, clock_mono() + conf->debounce);
    return 0;
}

struct files_watch *files_watch_new(struct loop *loop, void (*news)(void *ctx, enum files_news how),
                                    void *ctx)
{
    struct files_watch *w = mem_zalloc(sizeof(*w));

    if (!w)
        return NULL;
    w->magic = WATCH_MAGIC;
    w->loop = loop;
    w->news = news;
    w->ctx = ctx;
    w->places.fd = -1;
    timer_init(&w->rest, on_rest);
    timer_init(&w->poll, on_poll);
    return w;
}

struct files_watch *files_watch_free(struct files_watch *w)
{
    if (!w)
        return NULL;
    CHECK(w->magic == WATCH_MAGIC);
    stop(w);
    files_free(w->files, w->n);
    w->magic = 0;
    free(w);
    return NULL;
}
