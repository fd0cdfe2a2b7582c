/* lease_rig.h - a registry whose journal and engine are played by the test: what is written is told
 * done when the test says so, and a run ends as the test says. */
#ifndef SLUICE_TESTS_LEASE_RIG_H
#define SLUICE_TESTS_LEASE_RIG_H

#include "lifecycle/lease_parts.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <unistd.h>
#include <cmocka.h>

enum { RIG_MOST = 64 };

/* --- the journal: what is on the "disk" by id, and what waits for it ---------------------------
 */

struct rig_record {
    uint64_t id;
    char *text;
    size_t n;
};
static struct rig_record rig_disk[RIG_MOST];
static struct journal_write *rig_writes[RIG_MOST];
static unsigned rig_n_writes, rig_drops;
static int rig_open_error, rig_put_error, rig_replay_error;
static uint64_t rig_unread; /* records, of the last replay */
static _Atomic unsigned rig_closed;
/* Held by a test: the opening does not end. */
static pthread_mutex_t rig_opens = PTHREAD_MUTEX_INITIALIZER;

static struct rig_record *rig_find(uint64_t id)
{
    for (size_t i = 0; i < RIG_MOST; i++) {
        if (rig_disk[i].id == id)
            return &rig_disk[i];
    }
    return NULL;
}

struct journal *journal_open(UNUSED const struct journal_options *o, int *ret_error)
{
    static int something;
    (void)pthread_mutex_lock(&rig_opens);
    (void)pthread_mutex_unlock(&rig_opens);
    *ret_error = rig_open_error;
    return rig_open_error ? NULL : (struct journal *)(void *)&something;
}

struct journal *journal_close(UNUSED struct journal *j, UNUSED usec_t patience)
{
    rig_closed++;
    return NULL;
}

int journal_replay(UNUSED struct journal *j, journal_each *each, void *ctx)
{
    for (size_t i = 0; i < RIG_MOST; i++) {
        if (rig_disk[i].id)
            each(rig_disk[i].id, (struct str){rig_disk[i].text, rig_disk[i].n}, ctx);
    }
    return rig_replay_error;
}

/* What the test plays for the other process, at the next poll. */
static uint64_t rig_other_dropped;
int journal_poll(UNUSED struct journal *j, UNUSED journal_each *put, journal_each *drop, void *ctx)
{
    if (rig_other_dropped)
        drop(rig_other_dropped, STR_NONE, ctx);
    rig_other_dropped = 0;
    return 0;
}

int journal_put(UNUSED struct journal *j, uint64_t id, struct str bytes, struct journal_write *w)
{
    if (rig_put_error)
        return rig_put_error;
    struct rig_record *r = rig_find(id);
    if (!r)
        r = rig_find(0);
    assert_non_null(r);
    free(r->text);
    *r = (struct rig_record){id, mem_strndup(bytes), bytes.n};
    if (w)
        rig_writes[rig_n_writes++] = w;
    return 0;
}

int journal_drop(UNUSED struct journal *j, uint64_t id, UNUSED struct journal_write *w)
{
    struct rig_record *r = rig_find(id);
    rig_drops++;
    if (r && id) {
        free(r->text);
        *r = (struct rig_record){0};
    }
    return 0;
}

void journal_stats(UNUSED struct journal *j, struct journal_stats *ret)
{
    *ret = (struct journal_stats){.unread = rig_unread};
}

/* The disk answers all that waits. */
static void rig_written(int rc)
{
    unsigned n = rig_n_writes;
    rig_n_writes = 0;
    for (unsigned i = 0; i < n; i++)
        rig_writes[i]->done(rig_writes[i], rc);
}

static unsigned rig_on_disk(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < RIG_MOST; i++)
        n += rig_disk[i].id != 0;
    return n;
}

/* --- the engine ------------------------------------------------------------------------------- */

struct cleanup_inner {
    usec_t deadline;
};
static struct cleanup_run *rig_runs[RIG_MOST];
static unsigned rig_n_runs, rig_cancelled;
static int rig_start_error;

bool cleanup_engine_ready(UNUSED struct cleanup_engine *e, UNUSED const char **why)
{
    return true;
}
void cleanup_engine_allow_link_local(UNUSED struct cleanup_engine *e, UNUSED bool allow)
{
}
int cleanup_start(UNUSED struct cleanup_engine *e, struct cleanup_run *r, usec_t deadline)
{
    if (rig_start_error)
        return rig_start_error;
    r->inner = malloc(sizeof(*r->inner));
    r->inner->deadline = deadline;
    rig_runs[rig_n_runs++] = r;
    return 0;
}
static void rig_take_out(struct cleanup_run *r)
{
    free(r->inner);
    r->inner = NULL;
    for (unsigned i = 0; i < rig_n_runs; i++) {
        if (rig_runs[i] == r) {
            memmove(&rig_runs[i], &rig_runs[i + 1],
                    (--rig_n_runs - i) * sizeof(struct cleanup_run *));
            return;
        }
    }
}
void cleanup_shorten(struct cleanup_run *r, usec_t deadline)
{
    if (r->inner)
        r->inner->deadline = min_u64(r->inner->deadline, deadline);
}
void cleanup_cancel(struct cleanup_run *r)
{
    if (!r->inner)
        return;
    rig_cancelled++;
    rig_take_out(r);
}

static void rig_end(struct cleanup_run *r, enum cleanup_result result)
{
    rig_take_out(r);
    r->result = result;
    r->tries = 1;
    r->done(r);
}

/* The url's end of the run that was begun as number i of those under way. */
static const char *rig_url(unsigned i)
{
    assert_true(i < rig_n_runs);
    return strrchr(rig_runs[i]->action->url, '/') + 1;
}

#endif
