/* journal_commit.c - the journal's thread: all that waits is written with one write, made durable
 * with one fdatasync, and told of. */
#include "lifecycle/journal_parts.h"

#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

enum { GROUP_BYTES = 1024 * 1024 };

/* A group on its way to the disk: what settles debts, and then the busy. */
struct group {
    struct journal *j;
    char *out;
    size_t room, n;
    size_t debts; /* bytes */
    uint64_t seq; /* of the last record that settles a debt */
};

static size_t room_for(uint32_t n)
{
    return JOURNAL_RECORD_HEADER + JOURNAL_SEAL_BYTES + (size_t)n;
}

static void post_result(struct mail *mail, void *owner)
{
    struct journal_write *w = CONTAINER_OF(mail, struct journal_write, mail);
    (void)owner;
    w->done(w, w->rc);
}

/* With lock. */
void journal_answer(struct journal *j, struct journal_entry *e, int rc)
{
    struct journal_write *w = e->w;
    e->w = NULL;
    if (!w)
        return;
    w->rc = rc;
    mailbox_post(j->mailbox, &w->mail, post_result);
}

/* ---- before ---- */

static int prepare(struct journal *j)
{
    int rc = 0;

    if (j->fd < 0 || !j->writable) {
        (void)pthread_mutex_lock(&j->file_lock);
        rc = journal_attach(j, JOURNAL_COMMITTED);
        (void)pthread_mutex_unlock(&j->file_lock);
        if (rc == 0 && !j->writable)
            rc = -EROFS;
    }
    if (rc == 0 && j->needs_new) {
        static const char none[JOURNAL_MARK_BYTES];
        rc = journal_compact(j);
        if (rc == -EAGAIN) /* two have it: the records tell the mark, or nothing does */
            rc = memcmp(j->mark, none, sizeof(none)) != 0 ? 0 : -EBUSY;
    }
    if (rc == 0 && j->dir_pending) {
        rc = journal_disk_sync_directory(j->disk, j->path);
        j->dir_pending = rc < 0;
    }
    return rc;
}

/* What failed once, and may be in the file all the same: what was true before is said again. */
static int write_debts(struct group *g)
{
    struct journal *j = g->j;

    LIST_FOREACH (it, &j->debts) {
        const struct journal_entry *e = LIST_ENTRY(it, struct journal_entry, link);
        const struct journal_live *l = journal_index_find(&j->index, e->id);
        struct journal_record r;
        int64_t n = 0;
        if (!l) {
            n = journal_encode(j, e->id, JOURNAL_DROP, STR_NONE, &j->seq, g->out + g->n);
        } else if ((n = journal_read_raw(j, l, g->out + g->n, &r)) == 0) {
            n = (int64_t)r.bytes;
        }
        if (n < 0)
            return (int)n;
        g->n += (size_t)n;
    }
    g->debts = g->n;
    g->seq = j->seq - 1;
    return 0;
}

/* With file_lock: the index must know all that is there. */
static int make_room(struct group *g)
{
    struct journal *j = g->j;
    int rc = list_empty(&j->debts) ? 0 : journal_scan(j, JOURNAL_COMMITTED);

    if (rc < 0)
        return rc;
    LIST_FOREACH (it, &j->debts) {
        const struct journal_entry *e = LIST_ENTRY(it, struct journal_entry, link);
        const struct journal_live *l = journal_index_find(&j->index, e->id);
        g->room += l ? l->bytes : room_for(0);
    }
    LIST_FOREACH (it, &j->busy)
        g->room += room_for(LIST_ENTRY(it, struct journal_entry, link)->n);
    g->out = mem_alloc(g->room);
    return g->out ? write_debts(g) : -ENOMEM;
}

static int encode(struct group *g)
{
    struct journal *j = g->j;

    (void)pthread_mutex_lock(&j->file_lock);
    int rc = make_room(g);
    (void)pthread_mutex_unlock(&j->file_lock);
    if (rc < 0)
        return rc;
    LIST_FOREACH (it, &j->busy) {
        struct journal_entry *e = LIST_ENTRY(it, struct journal_entry, link);
        e->seq = j->seq;
        int64_t n =
            journal_encode(j, e->id, e->kind, (struct str){e->bytes, e->n}, &j->seq, g->out + g->n);
        if (n < 0)
            return (int)n;
        g->n += (size_t)n;
        e->ends = g->n;
    }
    return 0;
}

/* ---- after ---- */

static void free_entries(struct list *entries)
{
    struct list *first = NULL;
    while ((first = list_first(entries))) {
        struct journal_entry *e = LIST_ENTRY(first, struct journal_entry, link);
        list_remove(first);
        secret_free(e, sizeof(*e) + e->n);
    }
}

/* Everything behind `from` goes, if nobody else can have appended there. */
static bool cut(struct journal *j, uint64_t from)
{
    if (!journal_disk_take(j->fd))
        return false;
    bool ok = j->disk->truncate(j->fd, (off_t)from) == 0;
    journal_disk_share(j->fd);
    return ok;
}

static bool is_debt(const struct journal *j, uint64_t id)
{
    LIST_FOREACH (it, &j->debts) {
        if (LIST_ENTRY(it, struct journal_entry, link)->id == id)
            return true;
    }
    return false;
}

/* Tells the busy that end at `whole` or before; those up to `written` that are not told are in the
 * file, and do not count: what they did is made up for when the disk works again. */
static void tell(struct journal *j, size_t whole, size_t written, int rc)
{
    struct list done;
    list_init(&done);
    (void)pthread_mutex_lock(&j->lock);
    LIST_FOREACH_SAFE (it, &j->busy) {
        struct journal_entry *e = LIST_ENTRY(it, struct journal_entry, link);
        if (e->ends > written)
            break;
        bool counts = e->ends <= whole;
        list_remove(&e->link);
        list_push_back(counts || is_debt(j, e->id) ? &done : &j->debts, &e->link);
        if (counts)
            j->stats.appended++;
        else
            j->stats.failures++;
        j->pending -= sizeof(*e) + e->n;
        journal_answer(j, e, counts ? 0 : rc);
    }
    j->stats.trouble = rc;
    (void)pthread_mutex_unlock(&j->lock);
    free_entries(&done);
}

static void tell_rest(struct journal *j, int rc)
{
    struct list done;
    list_init(&done);
    (void)pthread_mutex_lock(&j->lock);
    list_move(&j->busy, &done);
    LIST_FOREACH (it, &done) {
        struct journal_entry *e = LIST_ENTRY(it, struct journal_entry, link);
        j->stats.failures++;
        j->pending -= sizeof(*e) + e->n;
        journal_answer(j, e, rc);
    }
    j->stats.trouble = rc;
    (void)pthread_mutex_unlock(&j->lock);
    free_entries(&done);
}

/* With file_lock: the first `whole` bytes of the group are on disk. */
static void count(struct group *g, size_t whole)
{
    struct journal *j = g->j;

    if (whole > 0 && whole >= g->debts) {
        free_entries(&j->debts);
        j->committed = g->seq;
        LIST_FOREACH (it, &j->busy) {
            const struct journal_entry *e = LIST_ENTRY(it, struct journal_entry, link);
            if (e->ends <= whole)
                j->committed = e->seq;
        }
    }
    (void)journal_scan(j, JOURNAL_COMMITTED); /* if memory is short: at the next one */
}

static int write_group(struct group *g)
{
    struct journal *j = g->j;
    size_t written = 0, whole = 0;
    uint64_t end = 0;
    int rc = journal_disk_append(j->disk, j->fd, g->out, g->n, &written, &end);
    uint64_t begin = end - written;

    if (written >= g->debts)
        whole = g->debts;
    LIST_FOREACH (it, &j->busy) {
        const struct journal_entry *e = LIST_ENTRY(it, struct journal_entry, link);
        if (e->ends <= written)
            whole = e->ends;
    }
    if (whole > 0 && j->disk->sync(j->fd) < 0) {
        /* What is on disk now nobody knows, and a second sync would say yes to anything. */
        rc = -errno;
        whole = 0;
    } else if (whole > 0) {
        (void)pthread_mutex_lock(&j->lock);
        j->stats.synced++;
        (void)pthread_mutex_unlock(&j->lock);
    }
    if (whole < written && end >= written && cut(j, begin + whole))
        written = whole;
    (void)pthread_mutex_lock(&j->file_lock);
    count(g, whole);
    (void)pthread_mutex_unlock(&j->file_lock);
    tell(j, whole, written, rc);
    return rc;
}

static int commit(struct journal *j)
{
    struct group g = {.j = j};
    int rc = prepare(j);

    if (rc == 0)
        rc = encode(&g);
    if (rc == 0)
        rc = write_group(&g);
    secret_free(g.out, g.out ? g.room : 0);
    return rc;
}

/* ---- the thread ---- */

static uint64_t file_bytes(struct journal *j)
{
    (void)pthread_mutex_lock(&j->lock);
    uint64_t bytes = j->stats.bytes;
    (void)pthread_mutex_unlock(&j->lock);
    return bytes;
}

/* At twice what lives, and not before max_bytes. */
static void compact_if_due(struct journal *j)
{
    uint64_t bytes = file_bytes(j);

    if (bytes <= j->compact_at)
        return;
    if (journal_compact(j) == 0)
        j->compact_at = max_u64(j->max_bytes, 2 * file_bytes(j));
    else
        j->compact_at = bytes + j->max_bytes / 4; /* not alone, or no room: later */
}

static bool no_room(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;
}

static void write_busy(struct journal *j)
{
    int rc = commit(j);

    if (no_room(rc) && file_bytes(j) > 2 * j->index.bytes && journal_compact(j) == 0)
        rc = commit(j);
    if (rc < 0)
        tell_rest(j, rc);
    compact_if_due(j);
}

/* With lock. */
static void take_group(struct journal *j)
{
    size_t bytes = 0;
    LIST_FOREACH_SAFE (it, &j->waiting) {
        struct journal_entry *e = LIST_ENTRY(it, struct journal_entry, link);
        bytes += room_for(e->n);
        if (bytes > GROUP_BYTES && !list_empty(&j->busy))
            break;
        list_remove(it);
        list_push_back(&j->busy, it);
    }
}

void *journal_main(void *arg)
{
    struct journal *j = arg;
    sigset_t all;

    (void)sigfillset(&all); /* they are the control thread's; SIGXFSZ becomes EFBIG */
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    (void)pthread_setname_np(pthread_self(), "journal");
    (void)pthread_mutex_lock(&j->lock);
    for (;;) {
        while (list_empty(&j->waiting) && !j->stopping)
            (void)pthread_cond_wait(&j->work, &j->lock);
        if (list_empty(&j->waiting) || j->abandoned)
            break;
        take_group(j);
        (void)pthread_mutex_unlock(&j->lock);
        write_busy(j);
        (void)pthread_mutex_lock(&j->lock);
    }
    bool abandoned = j->abandoned;
    j->ended = true;
    (void)pthread_cond_signal(&j->idle);
    (void)pthread_mutex_unlock(&j->lock);
    if (abandoned)
        journal_delete(j);
    return NULL;
}
