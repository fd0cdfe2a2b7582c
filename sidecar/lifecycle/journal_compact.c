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
    uint64_t at;       /* where the next record will stand */
    uint64_t *places;  /* of each that lives, in order */
    uint32_t *lengths; /* and of what they have become */
};

static int flush(struct compaction *c)
{
    size_t written = 0;
    uint64_t end = 0;
    int rc = journal_disk_append(c->j->disk, c->fd, c->out, c->n, &written, &end);
    c->n = 0;
    return rc;
}

/* Copied as it is; or, when it was written before there was a key, encrypted now. */
static int64_t copy_one(struct compaction *c, const struct journal_live *l)
{
    struct journal *j = c->j;
    struct journal_record r;
    char *raw = c->out + c->n;
    int rc = journal_read_raw(j, l, raw, &r);

    if (rc < 0)
        return rc;
    if (r.sealed || !j->write_seal)
        return (int64_t)r.bytes;
    char *text = mem_alloc(r.body.n + 1);
    if (!text)
        return -ENOMEM;
    memcpy(text, r.body.p, r.body.n);
    size_t n = r.body.n;
    uint64_t seq = r.seq;
    uint64_t writer = j->writer;
    j->writer = r.writer; /* it stays that record */
    int64_t bytes = journal_encode(j, l->id, JOURNAL_PUT, (struct str){text, n}, &seq, raw);
    j->writer = writer;
    secret_free(text, n);
    return bytes;
}

static int copy_all(struct compaction *c)
{
    uint64_t i = 0;
    int rc = 0;

    journal_format_file(c->out, c->j->mark);
    c->n = JOURNAL_FILE_HEADER;
    c->at = JOURNAL_FILE_HEADER;
    LIST_FOREACH (it, &c->j->index.live) {
        const struct journal_live *l = LIST_ENTRY(it, struct journal_live, link);
        if (c->n + JOURNAL_RECORD_MAX > JOURNAL_WINDOW && (rc = flush(c)) < 0)
            return rc;
        int64_t bytes = copy_one(c, l);
        if (bytes < 0)
            return (int)bytes;
        c->places[i] = c->at;
        c->lengths[i] = (uint32_t)bytes;
        c->n += (size_t)bytes;
        c->at += (uint64_t)bytes;
        i++;
    }
    return flush(c);
}

/* With file_lock: from now on it is the new file. */
static void take_over(struct compaction *c)
{
    struct journal *j = c->j;
    uint64_t i = 0;

    LIST_FOREACH (it, &j->index.live) {
        struct journal_live *l = LIST_ENTRY(it, struct journal_live, link);
        j->index.bytes += c->lengths[i];
        j->index.bytes -= l->bytes;
        l->at = c->places[i];
        l->bytes = c->lengths[i++];
        l->sealed = j->write_seal != NULL;
    }
    (void)close(j->fd); /* and with it our exclusive lock */
    j->fd = c->fd;
    j->scanned = c->at;
    j->plain = 0;
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
        c.lengths = mem_alloc((j->index.n + 1) * sizeof(*c.lengths));
        rc = c.out && c.places && c.lengths ? replace(&c) : -ENOMEM;
    }
    secret_free(c.out, c.out ? JOURNAL_WINDOW : 0);
    free(c.places);
    free(c.lengths);
    if (rc < 0)
        journal_disk_share(j->fd);
    return rc;
}
