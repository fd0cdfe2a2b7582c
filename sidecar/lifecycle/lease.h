/* lease.h - what the application has acquired elsewhere, and how each is released: the registry of
 * static cleanups, leases and learned sessions (DESIGN §4). On the control thread; workers come by
 * mail (proxy/learn_*).
 *
 * An entry is held -> releasing -> gone (with a result). Learned and leased entries are in the
 * journal from before their holder hears of them; a replay brings them back as held.
 * Released when: its own release was seen going by (forgotten, without a run); its TTL passed; an
 * operator says so; its holder is proved gone (leases_holder_gone); at CLEANUP, last in, first
 * out but for `after`. */
#ifndef SLUICE_LIFECYCLE_LEASE_H
#define SLUICE_LIFECYCLE_LEASE_H

#include "base/clock.h"
#include "base/str.h"
#include "lifecycle/cleanup.h"

#include <jansson.h>
#include <stdbool.h>

struct leases;
struct lease;
struct journal;
struct loop;

enum lease_kind { LEASE_STATIC, LEASE_LEASED, LEASE_LEARNED, LEASE_KINDS };

enum lease_proof {
    LEASE_PROOF_PIDFD,   /* the process has ended: our child, or a shared PID namespace */
    LEASE_PROOF_PORTS,   /* every port refuses and every connection is closed, for deathGrace */
    LEASE_PROOF_SIGTERM, /* our own, as a native sidecar: it comes after the application's exit */
    LEASE_PROOF_DEADLINE,
    LEASE_PROOFS,
};

enum lease_duplicate { LEASE_DUPLICATE_REPLACES, LEASE_DUPLICATE_ADDS, LEASE_DUPLICATE_COUNTS };

/* A learned or leased entry to be. Everything is copied. */
struct lease_new {
    enum lease_kind kind;
    struct str name; /* of the cleanup or the rule; shown */
    struct str key;  /* with the name: which one it is (the session's id); secret, never shown
                        but as a salted hash */
    enum lease_duplicate duplicate; /* counts: one release serves many acquires */
    const struct cleanup_action *action;
    usec_t ttl;              /* 0: none */
    uint64_t holder;         /* connection that carries it, 0: none; for leases_disconnected() */
    usec_t disconnect_grace; /* 0: a disconnect means nothing */
};

/* `done` (on the control thread, once): 0 when it is journaled; -ENOSPC... as the journal said.
 * With onJournalFailure: allow it is held in memory then, with refuse it is not held, and a
 * learned one is released at once, since the other side has given it. Returns 0 or -ENOMEM,
 * -ENOSPC (too many). */
typedef void lease_done(void *ctx, uint64_t id, int rc);
int leases_acquire(struct leases *ls, const struct lease_new *n, lease_done *done, void *ctx);

/* Its release went by with success: it is forgotten; counted ones lose one reference... */
void leases_forget(struct leases *ls, struct str name, struct str key);
/* The connection that carried it ended / a new one carries it. */
void leases_disconnected(struct leases *ls, uint64_t holder);
void leases_reconnected(struct leases *ls, struct str name, struct str key, uint64_t holder);

/* Proof that the application has gone: leased and learned entries run, all at once but for
 * `after`. Says nothing of static ones: those run at CLEANUP. Acquisitions that come behind it (a
 * new application) are held as before. */
void leases_holder_gone(struct leases *ls, enum lease_proof proof);

/* CLEANUP begins: everything that is left runs, statics too, inside `deadline`; `done` is called
 * when all have a result (at once when there is nothing). */
void leases_cleanup(struct leases *ls, usec_t deadline, void (*done)(void *ctx), void *ctx);

/* For /v1/leases, /v1/drain, metrics. */
json_t *leases_json(const struct leases *ls);
struct lease_stats {
    uint64_t held[LEASE_KINDS];
    uint64_t results[LEASE_KINDS][CLEANUP_RESULTS];
    uint64_t forgotten, expired, unread, journal_refused;
    usec_t oldest; /* since when; 0: none */
};
void leases_stats(const struct leases *ls, struct lease_stats *ret);

#endif
