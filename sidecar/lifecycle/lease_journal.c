/* lease_journal.c - the registry and its journal: what is on disk before it counts, what an earlier
 * process left there, and what another one writes at an upgrade. */
#include "lifecycle/lease_parts.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>

/* --- reading ------------------------------------------------------------------------------ */

static void replay_one(uint64_t id, struct str bytes, void *ctx)
{
    struct leases *ls = ctx;
    int rc = lease_from_text(ls, id, bytes, clock_mono(), clock_wall());
    ls->stats.unread += rc < 0;
    if (rc == -ENOMEM) {
        log_error("a lease in the journal is not held: out of memory");
    } else if (rc < 0) {
        log_error("a record of the journal is not understood, and dropped");
        (void)journal_drop(ls->journal, id, NULL);
    }
}

static void dropped_one(uint64_t id, struct str bytes, void *ctx)
{
    struct lease *l = lease_find(ctx, id);
    (void)bytes;
    if (l && l->kind != LEASE_STATIC)
        lease_settle(l);
}

/* What could not be read stays where it is: the next process may have better luck. */
static void tell_unread(struct leases *ls, int rc)
{
    struct journal_stats s;
    journal_stats(ls->journal, &s);
    ls->stats.unread += s.unread;
    log_error("audit: %llu leases of an earlier process are not held, but stay in %s: %s",
              (unsigned long long)s.unread, ls->journal_path, strerror(-rc));
}

void leases_replay_journal(struct leases *ls)
{
    uint64_t before = ls->n;
    int rc = journal_replay(ls->journal, replay_one, ls);
    if (rc < 0)
        tell_unread(ls, rc);
    if (ls->n > before)
        log_info("audit: %llu leases of an earlier process are held again, from %s",
                 (unsigned long long)(ls->n - before), ls->journal_path);
}

void leases_poll_journal(struct leases *ls)
{
    if (ls->journal)
        journal_poll(ls->journal, replay_one, dropped_one, ls);
}

/* --- writing ------------------------------------------------------------------------------ */

static void answer(struct lease_write *w, int rc)
{
    if (w->done)
        w->done(w->ctx, w->id, rc);
}

/* The older one that it stands for; also one whose release is due: that would take from the new
 * holder what it has just acquired. */
static void replace(struct leases *ls, uint64_t id)
{
    struct lease *old = id ? lease_find(ls, id) : NULL;
    if (!old)
        return;
    lease_record_drop(old);
    lease_settle(old);
    leases_pump(ls);
}

/* Its record is not on disk. */
static int not_written(struct leases *ls, struct lease *l, const struct lease_write *w, int rc)
{
    ls->stats.journal_refused++;
    if (ls->on_failure_allow) {
        log_warn("audit: lease %016llx is held in memory only: journal: %s",
                 (unsigned long long)w->id, strerror(-rc));
        return 0;
    }
    if (!w->acquired || !l)
        return rc;
    if (l->kind == LEASE_LEARNED) {
        lease_queue(l, LEASE_BY_REFUSAL); /* the other side has given it: it goes back at once */
        leases_pump(ls);
    } else if (l->state == LEASE_PENDING) {
        lease_free(l);
    }
    return rc;
}

static void settle(struct lease_write *w, int rc)
{
    struct leases *ls = w->owner;
    struct lease *l = lease_find(ls, w->id);
    if (rc < 0)
        rc = not_written(ls, l, w, rc);
    l = lease_find(ls, w->id);
    if (rc == 0 && l && l->state == LEASE_PENDING) {
        l->state = LEASE_HELD;
        replace(ls, w->replaces);
    }
    answer(w, rc);
}

static void on_written(struct journal_write *jw, int rc)
{
    struct lease_write *w = CONTAINER_OF(jw, struct lease_write, write);
    list_remove(&w->link);
    if (w->owner)
        settle(w, rc);
    free(w);
}

static int put(struct leases *ls, struct lease *l, struct lease_write *w)
{
    size_t n = 0;
    char *text = lease_text(l, clock_mono(), clock_wall(), &n);
    if (!text)
        return -ENOMEM;
    w->write.done = on_written;
    int rc = journal_put(ls->journal, l->id, (struct str){text, n}, &w->write);
    free(text);
    return rc;
}

/* 0: it is on its way. */
static int send_one(struct leases *ls, struct lease *l, struct lease_write *w)
{
    int rc = ls->journal ? put(ls, l, w) : leases_await_journal(ls);
    if (rc == 0)
        list_push_back(ls->journal ? &ls->writes : &ls->unsent, &w->link);
    return rc;
}

void leases_send_unsent(struct leases *ls)
{
    struct list *it;
    while ((it = list_pop(&ls->unsent))) {
        struct lease_write *w = LIST_ENTRY(it, struct lease_write, link);
        struct lease *l = lease_find(ls, w->id);
        int rc = l ? send_one(ls, l, w) : 0; /* forgotten meanwhile: it need not be written */
        if (l && rc == 0)
            continue;
        settle(w, rc);
        free(w);
    }
}

int lease_record(struct lease *l, bool acquired, uint64_t replaces, lease_done *done, void *ctx)
{
    struct leases *ls = l->owner;
    struct lease_write *w = mem_zalloc(sizeof(*w));
    if (!w)
        return -ENOMEM;
    *w = (struct lease_write){.owner = ls,
                              .id = l->id,
                              .replaces = replaces,
                              .acquired = acquired,
                              .done = done,
                              .ctx = ctx};
    int rc = ls->journal_path ? send_one(ls, l, w) : 0;
    if (rc == 0 && ls->journal_path)
        return 0;
    if (rc == -ENOMEM || rc == -EMSGSIZE) {
        free(w);
        return rc;
    }
    settle(w, rc); /* there is no journal, or the disk fails at once */
    free(w);
    return 0;
}

/* Written like any other; where it fails the older record stands, which says less of the time. */
void lease_record_again(struct lease *l)
{
    if (l->owner->journal)
        (void)lease_record(l, false, 0, NULL, NULL);
}

void lease_record_drop(struct lease *l)
{
    if (l->owner->journal)
        (void)journal_drop(l->owner->journal, l->id, NULL);
}
