/* lease_journal.c - the registry and its journal: what is on disk before it counts, what an earlier
 * process left there, and what another one writes at an upgrade. */
#include "lifecycle/lease_parts.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>

/* --- opening ------------------------------------------------------------------------------ */

static void replay_one(uint64_t id, struct str bytes, void *ctx)
{
    struct leases *ls = ctx;
    int rc = lease_from_text(ls, id, bytes, clock_mono(), clock_wall());
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

static const char *reason(int error)
{
    return error == -EKEYREJECTED ? "keyFile is not the key that it was written with"
                                  : strerror(-error);
}

int leases_open_journal(struct leases *ls)
{
    int error = 0;
    if (ls->journal || !ls->journal_path)
        return 0;
    const struct journal_options o = {
        .path = ls->journal_path, .key_file = ls->journal_key_file, .mailbox = ls->mailbox};
    ls->journal = journal_open(&o, &error);
    if (!ls->journal) {
        if (!ls->journal_failed)
            log_error("journal %s: %s", ls->journal_path, reason(error));
        ls->journal_failed = true;
        return error;
    }
    ls->journal_failed = false;
    uint64_t before = ls->n;
    journal_replay(ls->journal, replay_one, ls);
    if (ls->n > before)
        log_info("audit: %llu leases of an earlier process are held again, from %s",
                 (unsigned long long)(ls->n - before), ls->journal_path);
    return 0;
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
    int rc = leases_open_journal(ls);
    if (rc < 0)
        return rc;
    char *text = lease_text(l, clock_mono(), clock_wall(), &n);
    if (!text)
        return -ENOMEM;
    w->write.done = on_written;
    rc = journal_put(ls->journal, l->id, (struct str){text, n}, &w->write);
    free(text);
    return rc;
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
    list_push_back(&ls->writes, &w->link);
    int rc = ls->journal_path ? put(ls, l, w) : 0;
    if (rc == 0 && ls->journal_path)
        return 0;
    list_remove(&w->link);
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
