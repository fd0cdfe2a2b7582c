/* lease_open.c - the registry's journal is opened; on a thread of its own once we serve, since the
 * control thread waits neither for a disk nor for another process. */
#include "lifecycle/lease_parts.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define PAUSE_FIRST USEC_PER_SEC /* between openings that fail: doubled up to PAUSE_MOST */
#define PAUSE_MOST  (60 * USEC_PER_SEC)

enum { OPENING_RUNS, OPENING_POSTED, OPENING_ABANDONED };

struct lease_opening {
    struct mail mail;
    struct leases *owner; /* NULL: it has gone */
    _Atomic int state;    /* who moves it away from OPENING_RUNS decides who frees */
    pthread_t thread;
    bool joined;
    char *path, *key_file;
    struct mailbox *mailbox;
    struct journal *journal; /* what came of it */
    int error;
};

/* --- what came of it ---------------------------------------------------------------------- */

static const char *reason(int error)
{
    return error == -EKEYREJECTED ? "keyFile is not the key that it was written with"
                                  : strerror(-error);
}

static void failed(struct leases *ls, int error)
{
    if (ls->open_error == 0)
        log_error("journal %s: %s", ls->journal_path, reason(error));
    ls->open_pause = ls->open_pause ? min_u64(2 * ls->open_pause, PAUSE_MOST) : PAUSE_FIRST;
    ls->open_again = clock_mono() + ls->open_pause;
    ls->open_error = error;
}

/* Their holder may have gone, and CLEANUP have begun, while they could not be read. */
static void catch_up(struct leases *ls, uint64_t newest_before)
{
    usec_t gone_wall = clock_wall() - (clock_mono() - ls->gone_at);
    LIST_FOREACH (it, &ls->all) {
        struct lease *l = LIST_ENTRY(it, struct lease, by_age);
        if (l->kind == LEASE_STATIC || l->item.age <= newest_before || ls->retiring)
            continue;
        if (ls->cleaning && ls->cleaned)
            lease_queue(l, LEASE_BY_DRAIN);
        else if (ls->gone_at != 0 && l->acquired_wall < gone_wall)
            lease_queue(l, LEASE_BY_HOLDER);
    }
    leases_pump(ls);
}

static void adopt(struct leases *ls, struct journal *j)
{
    uint64_t newest = ls->sequence;
    if (ls->open_error)
        log_info("journal %s: opened", ls->journal_path);
    ls->journal = j;
    ls->open_error = 0;
    ls->open_pause = 0;
    leases_replay_journal(ls);
    catch_up(ls, newest);
}

void leases_open_journal(struct leases *ls)
{
    int error = 0;
    const struct journal_options o = {.path = ls->journal_path,
                                      .key_file = ls->journal_key_file,
                                      .mailbox = ls->mailbox,
                                      .at_once = true};
    struct journal *j = journal_open(&o, &error);
    if (j) {
        adopt(ls, j);
        return;
    }
    failed(ls, error);
    if (error == -EBUSY) { /* by another process, at an upgrade: a matter of milliseconds */
        ls->open_again = 0;
        leases_open_again(ls);
    }
}

/* --- on its thread ------------------------------------------------------------------------ */

static void opening_free(struct lease_opening *o)
{
    free(o->path);
    free(o->key_file);
    free(o);
}

static void on_opened(struct mail *m, void *owner)
{
    struct lease_opening *o = CONTAINER_OF(m, struct lease_opening, mail);
    struct leases *ls = o->owner;
    (void)owner;
    if (!o->joined)
        (void)pthread_join(o->thread, NULL); /* its last act was to post */
    if (ls) {
        ls->opening = NULL;
        if (o->journal)
            adopt(ls, o->journal);
        else
            failed(ls, o->error);
        leases_send_unsent(ls);
    } else {
        (void)journal_close(o->journal, 0);
    }
    opening_free(o);
}

static void *open_main(void *arg)
{
    struct lease_opening *o = arg;
    sigset_t all;
    int runs = OPENING_RUNS;
    const struct journal_options options = {
        .path = o->path, .key_file = o->key_file, .mailbox = o->mailbox};

    (void)sigfillset(&all); /* they are the control thread's */
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    (void)pthread_setname_np(pthread_self(), "journal-open");
    o->journal = journal_open(&options, &o->error);
    if (atomic_compare_exchange_strong(&o->state, &runs, OPENING_POSTED)) {
        mailbox_post(o->mailbox, &o->mail, on_opened);
    } else {
        (void)journal_close(o->journal, 0);
        opening_free(o);
    }
    return NULL;
}

static int start_opening(struct leases *ls)
{
    struct lease_opening *o = mem_zalloc(sizeof(*o));
    if (!o)
        return -ENOMEM;
    *o = (struct lease_opening){
        .owner = ls, .path = mem_strndup(str_of(ls->journal_path)), .mailbox = ls->mailbox};
    if (ls->journal_key_file)
        o->key_file = mem_strndup(str_of(ls->journal_key_file));
    int rc = o->path && (o->key_file || !ls->journal_key_file) ? 0 : -ENOMEM;
    if (rc == 0)
        rc = -pthread_create(&o->thread, NULL, open_main, o);
    if (rc < 0)
        opening_free(o);
    else
        ls->opening = o;
    return rc;
}

int leases_await_journal(struct leases *ls)
{
    if (ls->open_error == 0 && !ls->opening) {
        int rc = start_opening(ls);
        if (rc < 0)
            failed(ls, rc);
    }
    return ls->open_error;
}

void leases_open_again(struct leases *ls)
{
    if (ls->open_error == 0 || ls->opening || clock_mono() < ls->open_again)
        return;
    int rc = start_opening(ls);
    if (rc < 0)
        failed(ls, rc);
}

void leases_abandon_opening(struct leases *ls)
{
    struct lease_opening *o = ls->opening;
    int runs = OPENING_RUNS;
    if (!o)
        return;
    pthread_t thread = o->thread;
    o->owner = NULL;
    ls->opening = NULL;
    if (atomic_compare_exchange_strong(&o->state, &runs, OPENING_ABANDONED)) {
        (void)pthread_detach(thread); /* it frees what there is */
    } else {
        (void)pthread_join(thread, NULL); /* its mail is in the box */
        o->joined = true;
    }
}
