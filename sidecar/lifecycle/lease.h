/* lease.h - what the application has acquired elsewhere, and how each is released: the registry of
 * static cleanups, leases and learned sessions (DESIGN §4). On the control thread; workers come by
 * mail (proxy/learn_*).
 *
 * An entry is held -> waiting -> releasing -> gone (with a result). Learned and leased entries are
 * in the journal from before their holder hears of them; a replay brings them back as held.
 * Released when: its own release was seen going by (forgotten, without a run); its TTL passed; its
 * connection ended and did not come back in time; an operator says so; its holder is proved gone
 * (leases_holder_gone); at CLEANUP. Whatever the reason, runs begin last in, first out, several at
 * once, but for `after` (cleanup_order.h). A run that failed before CLEANUP is tried again after 30
 * s, 1, 2 and 4 min. */
#ifndef SLUICE_LIFECYCLE_LEASE_H
#define SLUICE_LIFECYCLE_LEASE_H

#include "base/clock.h"
#include "base/str.h"
#include "config/config.h"
#include "lifecycle/cleanup.h"

#include <jansson.h>
#include <stdbool.h>

struct leases;
struct lease;
struct journal;
struct journal_stats;
struct loop;
struct mailbox;

enum lease_kind { LEASE_STATIC, LEASE_LEASED, LEASE_LEARNED, LEASE_KINDS };
const char *lease_kind_word(enum lease_kind k); /* static, leased, learned */

enum lease_proof {
    LEASE_PROOF_PIDFD,   /* the process has ended: our child, or a shared PID namespace */
    LEASE_PROOF_PORTS,   /* every port refuses and every connection is closed, for deathGrace */
    LEASE_PROOF_SIGTERM, /* our own, as a native sidecar: it comes after the application's exit */
    LEASE_PROOF_DEADLINE,
    LEASE_PROOFS,
};

enum lease_duplicate {
    LEASE_DUPLICATE_REPLACES, /* the newer stands for both: of the older one nothing runs */
    LEASE_DUPLICATE_ADDS,     /* each is released */
    LEASE_DUPLICATE_COUNTS,   /* one release serves all, when the last has gone */
};

enum {
    LEASE_NAME_MAX = 63,
    LEASE_KEY_MAX = 4096,
    LEASE_URL_MAX = 8192,
    LEASE_FIELDS_MAX = 32,
    LEASE_AFTER_MAX = 8,
    LEASE_KEY_SHOWN = 13, /* bytes of a salted hash with its NUL */
    LEASE_SHORTEST_TTL_S = 1,
};

/* --- the registry ------------------------------------------------------------------------ */

/* Nothing is opened or started yet. NULL when memory is short. `engine` is only used. */
struct leases *leases_new(struct loop *l, struct mailbox *mailbox, struct cleanup_engine *engine);
/* What runs is cancelled, and no callback is called any more; what is held stays in the journal.
 * The mailbox still works. */
struct leases *leases_free(struct leases *ls);
/* A configuration is in force: limits, and static cleanups, from now on. 0 or -ENOMEM (the old ones
 * stay). The journal's settings are those of the first call. */
int leases_configure(struct leases *ls, const struct conf *conf);
/* We serve: what an earlier process has left in the journal is held again. */
void leases_start(struct leases *ls);
/* About once a second: what another process, at an upgrade, has written to the journal. */
void leases_tick(struct leases *ls);
/* Another process serves from now on (SIGUSR2), and reads our journal: nothing is released here any
 * more; what is still acquired or forgotten goes to the journal as before. Without a journal,
 * what is held is lost, which is told in the log. */
void leases_retire(struct leases *ls);

/* --- holding ----------------------------------------------------------------------------- */

/* A learned or leased entry to be. Everything is copied. */
struct lease_new {
    enum lease_kind kind;
    struct str name; /* of the cleanup or the rule: FORMAT_NAME; shown */
    struct str key;  /* with the name: which one it is (the session's id); secret, never shown
                        but as a salted hash */
    enum lease_duplicate duplicate;
    const struct str *after; /* names whose releases end before this one begins */
    uint32_t n_after;
    /* Its idempotency key is made here; timeout 0: 5 s, and 3 retries. */
    const struct cleanup_action *action;
    usec_t ttl;              /* 0: none */
    uint64_t holder;         /* connection that carries it, 0: none; for leases_disconnected() */
    usec_t disconnect_grace; /* 0: a disconnect means nothing */
    usec_t began;            /* when its acquisition began, 0: now. A holder that was gone since
                                then will not use it: it is released at once */
};

/* `done` (on the control thread, once, perhaps from within): 0 when it is journaled; -ENOSPC... as
 * the journal said. With onFailure: allow it is held in memory then, with refuse it is not held,
 * and a learned one is released at once, since the other side has given it. Returns 0; or done is
 * not called: -ENOMEM, -EUSERS (leases.max; a learned one is released at once), -EMSGSIZE,
 * -ESHUTDOWN (a leased one, once CLEANUP has begun), -ELIBACC (libcurl is not there). */
typedef void lease_done(void *ctx, uint64_t id, int rc);
int leases_acquire(struct leases *ls, const struct lease_new *n, lease_done *done, void *ctx);

/* Its release went by with success: it is forgotten; one that is counted loses one reference. */
void leases_forget(struct leases *ls, struct str name, struct str key);
/* The connection that carried it ended / a new one carries it. */
void leases_disconnected(struct leases *ls, uint64_t holder);
void leases_reconnected(struct leases *ls, struct str name, struct str key, uint64_t holder);

/* By id. -ENOENT: there is none, or its release has begun. ttl 0: as before. `done` as above. */
int leases_renew(struct leases *ls, uint64_t id, usec_t ttl, lease_done *done, void *ctx);
int leases_drop(struct leases *ls, uint64_t id); /* without a run */
/* Runs now (or goes on, if it does); `done` is called once with the result, FAILED too when it will
 * be tried again. NULL: nobody waits. -ENOENT, -ENOMEM. */
struct lease_waiter {
    struct lease_waiter *next;
    void (*done)(struct lease_waiter *w, const struct cleanup_run *r);
};
int leases_release(struct leases *ls, uint64_t id, struct lease_waiter *w);
/* Before a waiter's memory goes; harmless when it was called. */
void leases_unwait(struct leases *ls, uint64_t id, struct lease_waiter *w);

/* --- letting go -------------------------------------------------------------------------- */

/* Proof that the application has gone: leased and learned entries run. Says nothing of static ones:
 * those run at CLEANUP. Acquisitions that come behind it (a new application) are held as before. */
void leases_holder_gone(struct leases *ls, enum lease_proof proof);

/* CLEANUP begins: everything that is left runs, statics too, inside `deadline`; `done` is called
 * once when all have a result (from within when there is nothing). At a second call only the
 * deadline counts, if it is sooner. */
void leases_cleanup(struct leases *ls, usec_t deadline, void (*done)(void *ctx), void *ctx);

/* --- showing ----------------------------------------------------------------------------- */

/* For GET /v1/leases: {"leases": [...], "journal": {...}, ...}, the oldest first, at most `limit`
 * of those behind `after` (0: from the beginning); "next" is what to pass as `after` for more, and
 * missing when there are none. NULL when memory is short. */
json_t *leases_json(const struct leases *ls, uint64_t after, uint32_t limit);
json_t *leases_json_one(const struct leases *ls, uint64_t id); /* NULL: there is none */
/* For the drain report: {"released": n, "already_gone": n, "failed": n, "runs": [{"name", "kind",
 * "result", "why", "tries", "took_ms", "status" or "error"}]}: those that ended since CLEANUP began
 * or the holder went, the failed first, at most 32. null when there were none. */
json_t *leases_results_json(const struct leases *ls);

struct lease_stats {
    uint64_t held[LEASE_KINDS];
    uint64_t waiting; /* of them: their release is under way or due */
    uint64_t results[LEASE_KINDS][CLEANUP_RESULTS];
    uint64_t forgotten, expired, renewed, refused, journal_refused, retried;
    uint64_t unread; /* of an earlier process, that could not be held again */
    usec_t oldest;   /* since when; 0: none */
};
void leases_stats(const struct leases *ls, struct lease_stats *ret);
/* False: there is no journal open. */
bool leases_journal_stats(const struct leases *ls, struct journal_stats *ret);
uint64_t leases_max_ttl(const struct leases *ls); /* µs */

#endif
