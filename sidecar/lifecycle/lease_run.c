/* lease_run.c - releases: whose turn it is, and what becomes of an entry whose run has ended. */
#include "lifecycle/lease_parts.h"

#include "base/log.h"
#include "lifecycle/cleanup_try.h"

#include <errno.h>
#include <stdio.h>

typedef unsigned long long ull;

const char *lease_kind_word(enum lease_kind k)
{
    static const char *const words[LEASE_KINDS] = {"static", "leased", "learned"};
    return words[k];
}

const char *lease_why_word(enum lease_why w)
{
    static const char *const words[LEASE_WHYS] = {
        [LEASE_BY_TTL] = "expired",       [LEASE_BY_DISCONNECT] = "disconnected",
        [LEASE_BY_OPERATOR] = "operator", [LEASE_BY_HOLDER] = "holder_gone",
        [LEASE_BY_DRAIN] = "drain",       [LEASE_BY_REFUSAL] = "not_held",
    };
    return words[w];
}

/* --- the end of a run --- */

static void note_result(const struct lease *l)
{
    struct leases *ls = l->owner;
    const struct cleanup_run *r = &l->run;
    uint32_t at = ls->n_results;
    ls->ended[r->result]++;
    if (at == LEASE_RESULTS_KEPT) {
        /* What has failed is worth more than what has not. */
        if (r->result != CLEANUP_FAILED)
            return;
        for (at = 0; at < LEASE_RESULTS_KEPT && ls->results[at].result == CLEANUP_FAILED; at++)
            ;
        if (at == LEASE_RESULTS_KEPT)
            return;
    } else {
        ls->n_results++;
    }
    struct lease_result *to = &ls->results[at];
    *to = (struct lease_result){.kind = l->kind,
                                .why = l->why,
                                .result = r->result,
                                .tries = r->tries,
                                .status = r->status,
                                .took = r->took};
    (void)snprintf(to->name, sizeof(to->name), "%s", l->name);
    (void)snprintf(to->error, sizeof(to->error), "%s", r->error);
}

static void tell(const struct lease *l)
{
    const struct cleanup_run *r = &l->run;
    char key[LEASE_KEY_SHOWN], shown[CLEANUP_SHOWN_MAX], how[128];
    lease_key_shown(l, key);
    if (r->error[0])
        (void)snprintf(how, sizeof(how), "%s", r->error);
    else
        (void)snprintf(how, sizeof(how), "status %u", r->status);
    log_line(r->result == CLEANUP_FAILED ? LOG_WARN : LOG_INFO,
             "audit: release %s: id %016llx name %s kind %s key #%s why %s, %s, %u tries, %.1f ms: "
             "%s",
             cleanup_result_word(r->result), (ull)l->id, l->name, lease_kind_word(l->kind), key,
             lease_why_word(l->why), cleanup_action_shown(l->action, shown), r->tries,
             (double)r->took / 1e3, how);
}

void lease_tell_waiters(struct lease *l)
{
    struct lease_waiter *w = l->waiters;
    l->waiters = NULL;
    while (w) {
        struct lease_waiter *next = w->next;
        w->done(w, &l->run);
        w = next;
    }
}

void lease_settle(struct lease *l)
{
    cleanup_cancel(&l->run);
    l->run.result = CLEANUP_ALREADY_GONE;
    l->run.error[0] = '\0';
    lease_tell_waiters(l);
    lease_free(l);
}

/* Nothing came back, or something that may be better another time. */
static bool worth_keeping(const struct lease *l)
{
    return l->kind != LEASE_STATIC && l->why != LEASE_BY_REFUSAL && l->rounds < LEASE_ROUNDS;
}

static void end_failed(struct lease *l)
{
    struct leases *ls = l->owner;
    l->rounds++;
    if (!worth_keeping(l)) {
        if (l->kind != LEASE_STATIC)
            lease_record_drop(l);
        lease_free(l);
        return;
    }
    l->state = LEASE_RETRYING;
    l->retry_at = clock_mono() + (LEASE_RETRY_FIRST << (l->rounds - 1));
    lease_record_again(l);
    if (ls->cleaning) {
        /* Where the journal survives us, the next process goes on. */
        lease_free(l);
        return;
    }
    ls->stats.retried++;
    leases_look_at(ls, l->retry_at);
}

static void end_run(struct lease *l)
{
    struct leases *ls = l->owner;
    cleanup_order_remove(&ls->order, &l->item);
    ls->stats.results[l->kind][l->run.result]++;
    note_result(l);
    tell(l);
    lease_tell_waiters(l);
    if (l->run.result == CLEANUP_FAILED) {
        end_failed(l);
    } else {
        if (l->kind != LEASE_STATIC)
            lease_record_drop(l);
        lease_free(l);
    }
}

static void on_run_done(struct cleanup_run *r)
{
    struct lease *l = CONTAINER_OF(r, struct lease, run);
    struct leases *ls = l->owner;
    end_run(l);
    leases_pump(ls);
}

/* --- whose turn it is --- */

void lease_queue(struct lease *l, enum lease_why why)
{
    if (l->state == LEASE_WAITING || l->state == LEASE_RELEASING)
        return;
    l->why = why;
    l->state = LEASE_WAITING;
    l->retry_at = 0;
    cleanup_order_add(&l->owner->order, &l->item);
}

static usec_t deadline_of(const struct leases *ls, const struct lease *l, usec_t now)
{
    usec_t most = now + cleanup_longest(l->action);
    if (!ls->cleaning)
        return most;
    return min_u64(
        most, cleanup_order_deadline(&ls->order, &l->item, ls->concurrency, now, ls->deadline));
}

static void start(struct lease *l)
{
    struct leases *ls = l->owner;
    l->state = LEASE_RELEASING;
    l->run = (struct cleanup_run){.action = l->action, .done = on_run_done};
    int rc = cleanup_start(ls->engine, &l->run, deadline_of(ls, l, clock_mono()));
    if (rc == 0)
        return;
    l->run.result = CLEANUP_FAILED;
    (void)snprintf(l->run.error, sizeof(l->run.error), "out of memory");
    end_run(l);
}

void leases_pump(struct leases *ls)
{
    struct cleanup_item *i;
    if (ls->pumping)
        return;
    ls->pumping = true;
    while (ls->started && (i = cleanup_order_next(&ls->order, ls->concurrency)) != NULL)
        start(CONTAINER_OF(i, struct lease, item));
    ls->pumping = false;
    if (!ls->cleaning || !ls->cleaned || ls->order.n_waiting + ls->order.n_running > 0)
        return;
    void (*cleaned)(void *) = ls->cleaned;
    ls->cleaned = NULL;
    cleaned(ls->cleaned_ctx);
}

/* --- the reasons --- */

void leases_holder_gone(struct leases *ls, enum lease_proof proof)
{
    static const char *const proofs[LEASE_PROOFS] = {
        [LEASE_PROOF_PIDFD] = "its process has ended",
        [LEASE_PROOF_PORTS] = "its ports refuse and its connections are closed",
        [LEASE_PROOF_SIGTERM] = "our own SIGTERM, which comes after its exit",
        [LEASE_PROOF_DEADLINE] = "the drain's deadline",
    };
    uint32_t n = 0;
    if (ls->retiring)
        return;
    leases_poll_journal(ls);
    ls->gone_at = clock_mono();
    LIST_FOREACH (it, &ls->all) {
        struct lease *l = LIST_ENTRY(it, struct lease, by_age);
        if (l->kind == LEASE_STATIC || (l->state != LEASE_PENDING && l->state != LEASE_HELD))
            continue;
        lease_queue(l, LEASE_BY_HOLDER);
        n++;
    }
    if (n > 0)
        log_info("audit: the application has gone (%s): %u leases are released", proofs[proof], n);
    leases_pump(ls);
}

static void shorten_runs(struct leases *ls, usec_t now)
{
    LIST_FOREACH (it, &ls->order.running) {
        struct cleanup_item *i = LIST_ENTRY(it, struct cleanup_item, link);
        struct lease *l = CONTAINER_OF(i, struct lease, item);
        cleanup_shorten(&l->run,
                        cleanup_order_deadline(&ls->order, i, ls->concurrency, now, ls->deadline));
    }
}

void leases_cleanup(struct leases *ls, usec_t deadline, void (*done)(void *ctx), void *ctx)
{
    usec_t now = clock_mono();
    if (ls->retiring) {
        done(ctx); /* another process holds it all */
        return;
    }
    if (ls->cleaning) {
        ls->deadline = min_u64(ls->deadline, deadline);
        shorten_runs(ls, now);
        if (!ls->cleaned) {
            ls->cleaned = done;
            ls->cleaned_ctx = ctx;
        }
        leases_pump(ls);
        return;
    }
    leases_poll_journal(ls);
    ls->cleaning = true;
    ls->deadline = deadline;
    ls->cleaned = done;
    ls->cleaned_ctx = ctx;
    LIST_FOREACH (it, &ls->all)
        lease_queue(LIST_ENTRY(it, struct lease, by_age), LEASE_BY_DRAIN);
    shorten_runs(ls, now);
    leases_pump(ls);
}

int leases_release(struct leases *ls, uint64_t id, struct lease_waiter *w)
{
    struct lease *l = lease_find(ls, id);
    if (!l || l->kind == LEASE_STATIC)
        return -ENOENT;
    if (w) {
        w->next = l->waiters;
        l->waiters = w;
    }
    lease_queue(l, LEASE_BY_OPERATOR);
    leases_pump(ls);
    return 0;
}

void leases_unwait(struct leases *ls, uint64_t id, struct lease_waiter *w)
{
    struct lease *l = lease_find(ls, id);
    struct lease_waiter **at = l ? &l->waiters : NULL;
    while (at && *at && *at != w)
        at = &(*at)->next;
    if (at && *at)
        *at = w->next;
}
