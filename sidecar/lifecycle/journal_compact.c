/* journal_compact.c - the file is replaced by one that has only what lives; by who is alone with
 * it, so nothing that somebody else appends can be left behind.
 *
 * The index changes only by what is appended, and just now nobody appends: it is read without the
 * lock, so that the control thread does not wait for the disk here either. */
#include "lifecycle/journal_parts.h"

#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <openssl/rand.h>
#include <unistd.h>

struct compaction {
    struct journal *j;
    int fd;
    char *out; /* JOURNAL_WINDOW */
    size_t n;
    uint64_t at;      /* where the next record will stand */
    uint64_t *places; /* of each that lives, in order */
};

static int flush(struct compaction *c)
{
    size_t written = 0;
    uint64_t end = 0;
    int rc = journal_disk_append(c->j->disk, c->fd, c->out, c->n, &written, &end);
    c->n = 0;
    return rc;
}

static int copy_all(struct compaction *c)
{
    struct journal_record r;
    uint64_t i = 0;
    int rc = 0;

    journal_format_file(c->out, c->j->mark);
    c->n = JOURNAL_FILE_HEADER;
    c->at = JOURNAL_FILE_HEADER;
    LIST_FOREACH (it, &c->j->index.live) {
        const struct journal_live *l = LIST_ENTRY(it, struct journal_live, link);
        if (c->n + JOURNAL_RECORD_MAX > JOURNAL_WINDOW && (rc = flush(c)) < 0)
            return rc;
        if ((rc = journal_read_raw(c->j, l, c->out + c->n, &r)) < 0)
            return rc;
        c->places[i++] = c->at;
        c->n += l->bytes;
        c->at += l->bytes;
    }
    return flush(c);
}

/* With file_lock: from now on it is the new file. */
static void take_over(struct compaction *c)
{
    struct journal *j = c->j;
    uint64_t i = 0;

    LIST_FOREACH (it, &j->index.live)
        LIST_ENTRY(it, struct journal_live, link)->at = c->places[i++];
    (void)close(j->fd); /* and with it our exclusive lock */
    j->fd = c->fd;
    j->scanned = c->at;
    j->needs_new = false;
    j->dir_pending = true;
    while (list_first(&j->debts)) { /* what failed is in no file any more */
        struct journal_entry *e = LIST_ENTRY(list_first(&j->debts), struct journal_entry, link);
        list_remove(&e->link);
        secret_free(e, sizeof(*e) + e->n);
    }
    (void)pthread_mutex_lock(&j->lock);
    j->stats.compactions += j->stats.bytes > 0; /* not the first of all */
    j->stats.bytes = c->at;
    (void)pthread_mutex_unlock(&j->lock);
}

static int make_mark(struct journal *j)
{
    static const char none[JOURNAL_MARK_BYTES];
    while (memcmp(j->mark, none, sizeof(none)) == 0) {
        if (RAND_bytes((unsigned char *)j->mark, JOURNAL_MARK_BYTES) != 1)
            return -ENOMEM;
    }
    return 0;
}

static int replace(struct compaction *c)
{
    struct journal *j = c->j;
    char temporary[PATH_MAX];
    int rc = make_mark(j);

    if (rc < 0)
        return rc;
    c->fd = journal_disk_begin(j->path, temporary);
    if (c->fd < 0)
        return c->fd;
    rc = copy_all(c);
    if (rc == 0)
        rc = journal_disk_replace(j->disk, c->fd, temporary, j->path);
    if (rc < 0) {
        journal_disk_give_up(c->fd, temporary);
        return rc;
    }
    (void)pthread_mutex_lock(&j->file_lock);
    take_over(c);
    (void)pthread_mutex_unlock(&j->file_lock);
    return 0;
}

int journal_compact(struct journal *j)
{
    if (j->fd < 0 || !j->writable || !journal_disk_take(j->fd))
        return -EAGAIN;
    (void)pthread_mutex_lock(&j->file_lock);
    int rc = journal_scan(j, JOURNAL_COMMITTED); /* what who was here before us has appended */
    if (rc == 0 && j->unreadable > 0)
        rc = -EKEYREJECTED;
    (void)pthread_mutex_unlock(&j->file_lock);
    struct compaction c = {.j = j};
    if (rc == 0) {
        c.out = mem_alloc(JOURNAL_WINDOW);
        c.places = mem_alloc((j->index.n + 1) * sizeof(*c.places));
        rc = c.out && c.places ? replace(&c) : -ENOMEM;
    }
    secret_free(c.out, c.out ? JOURNAL_WINDOW : 0);
    free(c.places);
    if (rc < 0)
        journal_disk_share(j->fd);
    return rc;
}
