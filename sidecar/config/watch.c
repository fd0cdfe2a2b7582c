/* watch.c - tells when the configuration's file may have changed. */
#include "config/watch.h"

#include "base/mem.h"
#include "config/file_text.h"
#include "config/last_good.h"
#include "config/scalar.h"
#include "config/watch_places.h"
#include "config/yaml_tree.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    WATCH_MAGIC = 0x57544348,
    DIGEST_MAX = 65,
    HASH_EVERY = 10, /* polls: for changes that leave all times as they were */
    BURST_MAX = 10,  /* × debounce */
};

/* Two looks that find the same have found the same text, nearly always. */
struct identity {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct config_watch {
    uint32_t magic;
    struct loop *loop;
    const char *file;
    struct conf_reload conf;
    void (*changed)(void *ctx, bool by_poll);
    void *ctx;

    struct watch_places places;
    struct ev_io events;
    bool incomplete; /* inotify does not tell everything: said once */

    struct timer rest; /* on while something has changed and was not told yet */
    usec_t burst;      /* the first change; 0: none */
    bool by_event;     /* not only the poll has seen it */
    struct identity at_change;

    struct timer poll;
    uint32_t polls;
    bool hash_next; /* the last look came to no end */
    struct identity looked;
    bool has_seen;
    char seen[DIGEST_MAX];
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

/* ---- the rest after a change ---- */

static void note_change(struct config_watch *w, bool by_poll)
{
    usec_t now = clock_mono();

    if (w->burst == 0)
        w->burst = now;
    w->by_event = w->by_event || !by_poll;
    w->at_change = look(w->file);
    timer_set(w->loop, &w->rest,
              min_u64(now + w->conf.debounce, w->burst + BURST_MAX * w->conf.debounce));
}

static void on_rest(struct timer *t)
{
    struct config_watch *w = CONTAINER_OF(t, struct config_watch, rest);
    struct identity now = look(w->file);
    bool by_poll = !w->by_event;

    CHECK(w->magic == WATCH_MAGIC);
    /* Somebody who has it open is still writing: no event tells of that. */
    if (!same_identity(&now, &w->at_change) &&
        clock_mono() < w->burst + BURST_MAX * w->conf.debounce) {
        note_change(w, by_poll);
        return;
    }
    w->burst = 0;
    w->by_event = false;
    w->changed(w->ctx, by_poll);
}

/* ---- inotify ---- */

static void tell_incomplete(struct config_watch *w, int error)
{
    char every[SCALAR_TEXT_MAX];

    if (w->incomplete)
        return;
    w->incomplete = true;
    if (w->conf.poll_interval > 0)
        log_warn("configuration: inotify cannot watch %s: %s; it is looked at every %s instead",
                 w->file, strerror(-error), scalar_duration_text(w->conf.poll_interval, every));
    else
        log_warn("configuration: inotify cannot watch %s: %s; with reload.pollInterval 0 its "
                 "changes are not seen",
                 w->file, strerror(-error));
}

static void walk(struct config_watch *w)
{
    int rc = watch_places_walk(&w->places, &w->file, 1);

    if (rc < 0) {
        tell_incomplete(w, rc);
    } else if (w->incomplete) {
        w->incomplete = false;
        log_info("configuration: inotify watches %s", w->file);
    }
}

static void on_events(struct ev_loop *ev, struct ev_io *io, int revents)
{
    struct config_watch *w = CONTAINER_OF(io, struct config_watch, events);
    (void)ev;
    (void)revents;
    CHECK(w->magic == WATCH_MAGIC);
    if (!watch_places_read(&w->places))
        return;
    walk(w); /* before the file is read: what comes later is told again */
    note_change(w, false);
}

static void close_events(struct config_watch *w)
{
    if (w->places.fd < 0)
        return;
    ev_io_stop(w->loop->ev, &w->events);
    watch_places_close(&w->places);
}

/* Opens it where it should be and is not. */
static void open_events(struct config_watch *w)
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

/* Has the text another hash than the one that was read last? */
static bool text_differs(struct config_watch *w)
{
    char sha256[DIGEST_MAX] = "";
    size_t n = 0;
    int error = 0;
    char *text = file_text_read(w->file, YAML_TREE_BYTES, &n, &error);

    if (text)
        config_digest(text, n, sha256);
    free(text);
    /* These say nothing about the text: the next poll looks again. */
    w->hash_next =
        text ? sha256[0] == '\0'
             : error == -ENOMEM || error == -EBUSY || error == -EMFILE || error == -ENFILE;
    if (w->hash_next)
        return false;
    return strcmp(sha256, w->seen) != 0;
}

static void on_poll(struct timer *t)
{
    struct config_watch *w = CONTAINER_OF(t, struct config_watch, poll);

    CHECK(w->magic == WATCH_MAGIC);
    if (!w->has_seen) { /* the file's text is not in force yet: there is nothing to compare */
        timer_set(w->loop, &w->poll, clock_mono() + w->conf.debounce);
        return;
    }
    struct identity now = look(w->file);
    bool hash = !same_identity(&now, &w->looked) || w->hash_next || ++w->polls % HASH_EVERY == 0;

    w->looked = now;
    open_events(w);
    if (w->places.fd >= 0)
        walk(w); /* a mount over a directory, or watches that had been used up */
    if (hash && text_differs(w))
        note_change(w, true);
    if (w->conf.poll_interval > 0)
        timer_set(w->loop, &w->poll, clock_mono() + w->conf.poll_interval);
}

/* ---- */

void config_watch_configure(struct config_watch *w, const struct conf_reload *conf)
{
    w->conf = *conf;
    if (!conf->watch)
        close_events(w);
    open_events(w);
    if (w->places.fd >= 0)
        walk(w);
    /* The first look comes soon: the file may have changed after it was read and before it was
     * watched. */
    timer_set(w->loop, &w->poll,
              conf->watch || conf->poll_interval > 0 ? clock_mono() + conf->debounce : 0);
}

void config_watch_seen(struct config_watch *w, const char *sha256)
{
    w->has_seen = true;
    (void)snprintf(w->seen, sizeof(w->seen), "%s", sha256);
}

struct config_watch *config_watch_new(struct loop *loop, const char *file,
                                      const struct conf_reload *conf,
                                      void (*changed)(void *ctx, bool by_poll), void *ctx)
{
    struct config_watch *w = mem_zalloc(sizeof(*w));

    if (!w)
        return NULL;
    w->magic = WATCH_MAGIC;
    w->loop = loop;
    w->file = file;
    w->changed = changed;
    w->ctx = ctx;
    w->places.fd = -1;
    timer_init(&w->rest, on_rest);
    timer_init(&w->poll, on_poll);
    config_watch_configure(w, conf);
    return w;
}

struct config_watch *config_watch_free(struct config_watch *w)
{
    if (!w)
        return NULL;
    CHECK(w->magic == WATCH_MAGIC);
    close_events(w);
    timer_stop(w->loop, &w->rest);
    timer_stop(w->loop, &w->poll);
    w->magic = 0;
    free(w);
    return NULL;
}
