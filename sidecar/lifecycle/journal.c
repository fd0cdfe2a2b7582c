/* journal.c - what must outlive a crash: opened, asked, replayed, closed. */
#include "lifecycle/journal_parts.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <unistd.h>

enum { DEFAULT_BYTES = 4 * 1024 * 1024 };

static const usec_t alone_patience = 5 * USEC_PER_SEC;

/* ---- opening ---- */

static int read_key(struct journal *j, const char *path)
{
    char key[SEAL_KEY_BYTES];
    bool open_to_others = false;
    int rc = seal_key_read(path, key, &open_to_others);

    if (rc < 0)
        return rc;
    if (open_to_others)
        log_warn("journal: the key file %s can be read by everybody", path);
    /* Two, for the thread and whoever scans use them at the same time. */
    j->write_seal = seal_new(key);
    j->read_seal = seal_new(key);
    OPENSSL_cleanse(key, sizeof(key));
    return j->write_seal && j->read_seal ? 0 : -ENOMEM;
}

static struct journal *make(const struct journal_options *o, int *ret_error)
{
    struct journal *j = mem_zalloc(sizeof(*j));
    pthread_condattr_t monotonic;

    if (!j) {
        *ret_error = -ENOMEM;
        return NULL;
    }
    (void)pthread_mutex_init(&j->lock, NULL);
    (void)pthread_mutex_init(&j->file_lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&j->work, &monotonic);
    (void)pthread_cond_init(&j->idle, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    list_init(&j->waiting);
    list_init(&j->busy);
    list_init(&j->news);
    list_init(&j->debts);
    journal_index_init(&j->index);
    j->fd = -1;
    j->seq = 1;
    j->disk = o->disk ? o->disk : &journal_disk_system;
    j->mailbox = o->mailbox;
    j->at_once = o->at_once;
    j->max_bytes = o->max_bytes ? o->max_bytes : DEFAULT_BYTES;
    j->max_pending = o->max_pending ? o->max_pending : DEFAULT_BYTES;
    j->compact_at = j->max_bytes;
    j->path = mem_strndup(str_of(o->path));
    int rc = j->path ? 0 : -ENOMEM;
    if (rc == 0 && RAND_bytes((unsigned char *)&j->writer, sizeof(j->writer)) != 1)
        rc = -ENOMEM;
    if (rc == 0 && o->key_file)
        rc = read_key(j, o->key_file);
    if (rc == 0)
        return j;
    journal_delete(j);
    *ret_error = rc;
    return NULL;
}

/* Not a mistake of who names it, and may well pass. */
static bool may_pass(int rc)
{
    return rc == -EROFS || rc == -ENOSPC || rc == -EDQUOT || rc == -EACCES || rc == -EPERM;
}

static int attach(struct journal *j)
{
    static const char no_mark[JOURNAL_MARK_BYTES];
    const usec_t until = clock_mono() + alone_patience;

    for (;;) {
        int rc = journal_attach(j, JOURNAL_OPENING);
        if (rc < 0) {
            if (!may_pass(rc) || access(j->path, F_OK) == 0)
                return rc;
            j->stats.trouble = rc;
            return 0;
        }
        bool unclean = j->needs_new || j->stats.cut_bytes > 0;
        if (!j->writable)
            j->stats.trouble = -EROFS;
        if (!unclean || !j->writable)
            return 0;
        rc = journal_compact(j);
        /* Two that have just made it: neither is alone, and none has written a header. */
        if (rc != -EAGAIN || !j->needs_new || memcmp(j->mark, no_mark, sizeof(no_mark)) != 0) {
            j->stats.trouble = j->needs_new ? rc : 0;
            return 0;
        }
        if (j->at_once || clock_mono() >= until)
            return -EBUSY;
        (void)close(j->fd);
        j->fd = -1;
        j->stats.cut_bytes = 0;
        (void)usleep(1000 + (useconds_t)(j->writer + clock_mono()) % 8000);
    }
}

struct journal *journal_open(const struct journal_options *o, int *ret_error)
{
    struct journal *j = make(o, ret_error);

    if (!j)
        return NULL;
    int rc = attach(j);
    if (rc == 0 && j->stats.cut_bytes > 0)
        log_warn("journal %s: %llu bytes of it are damaged; %llu records are intact", o->path,
                 (unsigned long long)j->stats.cut_bytes, (unsigned long long)j->stats.records);
    if (rc == 0 && j->plain > 0)
        log_warn("journal %s: %llu records are not encrypted, though there is a key: they are not "
                 "believed",
                 o->path, (unsigned long long)j->plain);
    if (rc == 0)
        rc = -pthread_create(&j->thread, NULL, journal_main, j);
    if (rc == 0)
        return j;
    journal_delete(j);
    *ret_error = rc;
    return NULL;
}

/* ---- asking ---- */

static int ask(struct journal *j, uint64_t id, enum journal_kind kind, struct str bytes,
               struct journal_write *w)
{
    if (bytes.n > JOURNAL_BYTES_MAX)
        return -EMSGSIZE;
    struct journal_entry *e = mem_zalloc(sizeof(*e) + bytes.n);
    if (!e)
        return -ENOMEM;
    e->id = id;
    e->kind = kind;
    e->w = w;
    e->since = clock_mono();
    e->n = (uint32_t)bytes.n;
    if (bytes.n > 0)
        memcpy(e->bytes, bytes.p, bytes.n);
    (void)pthread_mutex_lock(&j->lock);
    bool full = j->pending + e->n + sizeof(*e) > j->max_pending;
    if (!full) {
        j->pending += e->n + sizeof(*e);
        list_push_back(&j->waiting, &e->link);
        (void)pthread_cond_signal(&j->work);
    }
    (void)pthread_mutex_unlock(&j->lock);
    if (!full)
        return 0;
    secret_free(e, sizeof(*e) + e->n);
    return -ENOBUFS;
}

int journal_put(struct journal *j, uint64_t id, struct str bytes, struct journal_write *w)
{
    return ask(j, id, JOURNAL_PUT, bytes, w);
}

int journal_drop(struct journal *j, uint64_t id, struct journal_write *w)
{
    return ask(j, id, JOURNAL_DROP, STR_NONE, w);
}

/* ---- what is there ---- */

static int read_one(struct journal *j, const struct journal_live *l, journal_each *each, void *ctx)
{
    struct journal_record r;
    size_t n = 0;
    char *raw = mem_alloc(l->bytes);
    char *text = mem_alloc(JOURNAL_BODY_MAX);
    int rc = raw && text ? journal_read_raw(j, l, raw, &r) : -ENOMEM;

    if (rc == 0)
        rc = journal_open_body(j->read_seal, &r, text, &n);
    if (rc == 0)
        each(l->id, (struct str){text, n}, ctx);
    secret_free(raw, raw ? l->bytes : 0);
    secret_free(text, n);
    return rc;
}

int journal_replay(struct journal *j, journal_each *each, void *ctx)
{
    uint64_t unread = 0;
    int first = 0;

    (void)pthread_mutex_lock(&j->file_lock);
    LIST_FOREACH (it, &j->index.live) {
        int rc = read_one(j, LIST_ENTRY(it, struct journal_live, link), each, ctx);
        unread += rc < 0;
        if (first == 0)
            first = rc;
    }
    (void)pthread_mutex_unlock(&j->file_lock);
    (void)pthread_mutex_lock(&j->lock);
    j->stats.unread = unread;
    (void)pthread_mutex_unlock(&j->lock);
    return first;
}

int journal_poll(struct journal *j, journal_each *put, journal_each *drop, void *ctx)
{
    struct list news, *first = NULL;

    list_init(&news);
    (void)pthread_mutex_lock(&j->file_lock);
    int rc = journal_scan(j, JOURNAL_POLLING);
    list_move(&j->news, &news);
    (void)pthread_mutex_unlock(&j->file_lock);
    while ((first = list_first(&news))) {
        struct journal_news *it = LIST_ENTRY(first, struct journal_news, link);
        list_remove(first);
        (it->kind == JOURNAL_PUT ? put : drop)(it->id, (struct str){it->bytes, it->n}, ctx);
        secret_free(it, sizeof(*it) + it->n);
    }
    return rc;
}

void journal_stats(struct journal *j, struct journal_stats *ret)
{
    (void)pthread_mutex_lock(&j->lock);
    *ret = j->stats;
    struct list *oldest = list_first(&j->busy);
    if (!oldest)
        oldest = list_first(&j->waiting);
    ret->oldest_pending = oldest ? LIST_ENTRY(oldest, struct journal_entry, link)->since : 0;
    ret->pending_bytes = j->pending;
    (void)pthread_mutex_unlock(&j->lock);
}

/* ---- closing ---- */

static void free_all(struct list *entries)
{
    struct list *first = NULL;
    while ((first = list_first(entries))) {
        struct journal_entry *e = LIST_ENTRY(first, struct journal_entry, link);
        list_remove(first);
        secret_free(e, sizeof(*e) + e->n);
    }
}

void journal_delete(struct journal *j)
{
    struct list *first = NULL;

    if (j->fd >= 0)
        (void)close(j->fd);
    free_all(&j->waiting);
    free_all(&j->busy);
    free_all(&j->debts);
    while ((first = list_first(&j->news))) {
        struct journal_news *it = LIST_ENTRY(first, struct journal_news, link);
        list_remove(first);
        secret_free(it, sizeof(*it) + it->n);
    }
    journal_index_clear(&j->index);
    j->write_seal = seal_free(j->write_seal);
    j->read_seal = seal_free(j->read_seal);
    (void)pthread_mutex_destroy(&j->lock);
    (void)pthread_mutex_destroy(&j->file_lock);
    (void)pthread_cond_destroy(&j->work);
    (void)pthread_cond_destroy(&j->idle);
    free(j->path);
    free(j);
}

static void give_up(struct journal *j, struct list *entries)
{
    LIST_FOREACH (it, entries)
        journal_answer(j, LIST_ENTRY(it, struct journal_entry, link), -ETIMEDOUT);
}

struct journal *journal_close(struct journal *j, usec_t patience)
{
    const usec_t until = clock_mono() + patience;
    const struct timespec at = {.tv_sec = (time_t)(until / USEC_PER_SEC),
                                .tv_nsec = (long)(until % USEC_PER_SEC) * 1000};
    pthread_t thread;

    if (!j)
        return NULL;
    thread = j->thread;
    (void)pthread_mutex_lock(&j->lock);
    j->stopping = true;
    (void)pthread_cond_signal(&j->work);
    while (!j->ended && pthread_cond_timedwait(&j->idle, &j->lock, &at) == 0)
        continue;
    bool ended = j->ended;
    if (!ended) { /* the disk holds the thread: it frees what is left when it comes back */
        j->abandoned = true;
        give_up(j, &j->busy);
        give_up(j, &j->waiting);
        (void)pthread_detach(thread);
    }
    (void)pthread_mutex_unlock(&j->lock);
    if (ended) {
        (void)pthread_join(thread, NULL);
        journal_delete(j);
    }
    return NULL;
}
