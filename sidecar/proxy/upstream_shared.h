/* upstream_shared.h - what all workers share of one upstream: its limits, its endpoints, and what
 * is counted.
 *
 * Keyed by the upstream's name, and so it outlives snapshots: a reload resets nothing. Written on a
 * request's way only where a limit has to be exact. Counted by reference: the control thread holds
 * one, each worker's pool one, each mail between workers' pools one. */
#ifndef SLUICE_PROXY_UPSTREAM_SHARED_H
#define SLUICE_PROXY_UPSTREAM_SHARED_H

#include "config/config.h"
#include "io/mailbox.h"
#include "io/tls.h"
#include "policies/circuit_breaker.h"
#include "policies/concurrency.h"
#include "policies/least_request.h"
#include "policies/outlier.h"
#include "policies/slow_start.h"
#include "policies/standing.h"
#include "policies/retry_budget.h"
#include "proxy/places.h"
#include "proxy/stats.h"

struct endpoint;
struct endpoint_check;
struct endpoint_word;
struct pool;
struct pool_levels;
struct upstream_checks;

/* Of one endpoint, for all workers (endpoint_stats has each one's). */
struct endpoint_seen {
    uint64_t requests, failed;  /* whose result says something */
    uint64_t answered, latency; /* those with a latency, and its sum in microseconds */
};

/* What outlier detection has looked at already (endpoint_look.c); the control thread's. */
struct endpoint_looks {
    struct endpoint_seen last;        /* at the last look */
    struct endpoint_seen rate, speed; /* where the samples that are being taken began */
    uint32_t rate_age, speed_age;     /* looks since then */
};

/* One address of an upstream, for the whole process: its text, what the workers count there, and
 * whether it is any good. Referenced by the upstream's list (control thread), by the lists on their
 * way to workers, and by each worker's struct endpoint. What is atomic is read on a request's way
 * and written when it changes. */
struct endpoint_shared {
    _Atomic uint32_t refs;
    uint32_t n_workers;
    struct endpoint_check *check; /* the control thread's (health_checks.h); NULL: none */
    struct standing_group *group; /* its upstream's, which lives longer */
    struct standing standing;
    _Atomic uint32_t percent;               /* of its share, by the operator; 100 */
    _Atomic uint32_t connections, requests; /* endpoint_limits.h */
    _Atomic usec_t well_since;              /* slow start begins there; 0: long ago */
    struct pace_trial trial;                /* one worker sees whether it is slow yet */
    struct outlier outlier;
    struct endpoint_looks looks;
    bool named;      /* upstream_shared.c: in the list that comes */
    struct str text; /* as written, or as DNS gave it: "10.0.0.7:8080"; in this allocation */
    struct address address;
    struct {
        _Alignas(64) struct endpoint_stats stats; /* written by its worker only */
        struct endpoint *endpoint;                /* its worker's only: what it has made of it */
    } worker[];
};

struct upstream_shared {
    _Alignas(64) _Atomic uint32_t connections;
    _Atomic uint32_t requests;
    _Atomic uint32_t pending;
    _Atomic uint32_t retries;  /* requests that are being retried */
    _Atomic uint64_t starving; /* a bit for each worker that waits for a connection slot */
    _Atomic uint64_t crowded;  /* the same, for a place at an endpoint (endpoint_limits.h) */
    _Atomic uint64_t queueing; /* a bit for each worker with requests that wait for admission */
    struct breaker breaker;    /* stream_permit.h */
    _Alignas(64) struct standing_group group;      /* of the endpoints */
    _Atomic uint64_t ejections[2][OUTLIER_CAUSES]; /* ever; [1]: with dryRun */
    _Alignas(64) _Atomic uint32_t refs;
    uint32_t n_workers;
    uint32_t n_words; /* the control thread's: endpoint_word.h */
    struct endpoint_word *words;
    usec_t looked_at;                          /* the control thread's: endpoint_look.h */
    struct retry_budget *_Atomic retry_budget; /* NULL until a request may be retried */
    struct concurrency *_Atomic concurrency;   /* NULL until there was a request under its limit */
    struct tls_slot *tls; /* never NULL; empty while conf_upstream.tls is not enabled */
    /* The control thread's only: the addresses that the upstream has now, and behind them n_left
     * that it had, which a worker still has a connection to. */
    uint32_t n_endpoints, n_left;
    struct endpoint_shared **endpoints;
    struct places *places;          /* of the former; NULL: all at one, without priority and zone */
    uint32_t levels_told;           /* levels.h */
    struct upstream_checks *checks; /* health_checks.h; NULL: none */
    bool undelivered;               /* the workers' pools have not been told of them */
    _Atomic bool missed; /* by a worker that had no memory for them: they are told again */
    struct {
        _Alignas(64) struct upstream_stats stats; /* written by its worker only */
        /* Set before the worker sees the pool, cleared by the worker when the pool goes; looked at
         * on that worker's thread only. */
        struct pool *pool;
    } worker[];
};

/* References 1. NULL when memory is short. */
struct upstream_shared *upstream_shared_new(uint32_t n_workers);
struct upstream_shared *upstream_shared_ref(struct upstream_shared *u);
/* NULL is harmless. */
void upstream_shared_unref(struct upstream_shared *u);

/* How many retries it is sent; made when it is first asked for. NULL when memory is short. */
struct retry_budget *upstream_shared_budget(struct upstream_shared *u);

/* Its adaptive limit; the same. `r`: what it begins with. */
struct concurrency *upstream_shared_concurrency(struct upstream_shared *u,
                                                const struct concurrency_rules *r);

struct endpoint_shared *endpoint_shared_ref(struct endpoint_shared *e);
void endpoint_shared_unref(struct endpoint_shared *e);

/* Control thread: what its health check says of it, to all workers; false without one. Others are
 * taken in its place as long as there are enough. That is all it changes: what outlier detection
 * has ejected stays ejected, whatever a check says. Well again, it starts slowly. While its
 * upstream lives. */
void endpoint_shared_set_unhealthy(struct endpoint_shared *e, bool unhealthy);
static inline bool endpoint_shared_unhealthy(const struct endpoint_shared *e)
{
    return (standing_word(&e->standing) & STANDING_UNHEALTHY) != 0;
}

/* It is used from `now` on, and gets its share step by step where the upstream has slowStart. */
static inline void endpoint_shared_well(struct endpoint_shared *e, usec_t now)
{
    atomic_store_explicit(&e->well_since, now, memory_order_relaxed);
}

/* An address as it is given to upstream_shared_set(). */
struct endpoint_address {
    struct str text;
    struct address address;
    uint32_t priority;
    struct str zone; /* empty: none */
};

/* Control thread: from now on these are its addresses, by their places, else in this order; of
 * equal ones the first. An address that was there, or that left and still has a connection, keeps
 * its endpoint_shared, and so its counters, its standing and its text. *ret_changed: the list is
 * not the same as before (other addresses, another order, or another place of one). O(n). 0, or
 * -ENOMEM and nothing has changed. */
int upstream_shared_set(struct upstream_shared *u, const struct endpoint_address *list, uint32_t n,
                        bool *ret_changed);

/* What upstream_shared_set() can be undone to, without memory; zeroed: nothing. Those that had left
 * before are not among them: a reference here would keep them. */
struct upstream_addresses {
    uint32_t n;
    bool undelivered;
    struct endpoint_shared **endpoints; /* a reference each */
    struct places *places;
};
/* 0 or -ENOMEM. */
int upstream_shared_keep(const struct upstream_shared *u, struct upstream_addresses *ret);
/* The addresses are those again; frees what was kept. */
void upstream_shared_restore(struct upstream_shared *u, struct upstream_addresses *kept);
void upstream_addresses_free(struct upstream_addresses *kept);

/* A copy of the present list for one worker's pool, with a reference on each; NULL when memory is
 * short. The pool takes it over (pool_new, pool_set_endpoints), or endpoint_list_free(). */
struct endpoint_list {
    struct mail mail;                 /* for whoever hands it to a worker */
    struct upstream_shared *upstream; /* not counted: the receiver's pool holds one */
    struct pool_levels *levels;       /* NULL: none */
    uint32_t n;
    struct endpoint_shared *at[];
};
struct endpoint_list *endpoint_list_new(struct upstream_shared *u);
struct endpoint_list *endpoint_list_free(struct endpoint_list *l);

#endif
