/* retry_budget.h - how many retries an upstream is sent, against its requests.
 *
 * Retries within any `window` are at most the larger of `percent` of the requests in it and
 * `min_per_second` for each of its seconds: what fails as a whole gets that much more load, and no
 * more. One for an upstream, shared by all workers: exact without locks. A request writes a place
 * of its worker's own only; a retry, which is rare, adds up.
 *
 * Time is counted in whole seconds. Requests of the running second and of those before it that lie
 * wholly in the window are set against retries of one second more: so the bound holds for any
 * stretch of `window`, wherever it begins. */
#ifndef SLUICE_POLICIES_RETRY_BUDGET_H
#define SLUICE_POLICIES_RETRY_BUDGET_H

#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>

struct retry_budget_rules {
    uint32_t percent;        /* of the requests; 20; at most 100 */
    uint32_t min_per_second; /* 10 */
    usec_t window;           /* whole seconds; 10 s */
};

enum { RETRY_BUDGET_SLOTS = 64, RETRY_BUDGET_WINDOW_MAX = 60 }; /* seconds */

/* Seconds: in the upper half of a slot which one, in the lower half how many. */
struct retry_ring {
    _Alignas(64) _Atomic uint64_t slots[RETRY_BUDGET_SLOTS];
};

struct retry_budget {
    struct retry_ring retries; /* all workers' */
    uint32_t n_workers;
    struct retry_ring requests[]; /* of each worker, written by it alone */
};

/* NULL when memory is short. */
struct retry_budget *retry_budget_new(uint32_t n_workers);
/* Returns NULL; NULL is harmless. */
struct retry_budget *retry_budget_free(struct retry_budget *b);

/* A request has begun (its first try); on that worker's thread. */
void retry_budget_request(struct retry_budget *b, uint32_t worker, usec_t now);

/* A retry is spent, if there is one. `now`s of workers may differ: by a few seconds at the most. */
bool retry_budget_take(struct retry_budget *b, const struct retry_budget_rules *r, usec_t now);
/* Would it be? Nothing changes. */
bool retry_budget_allows(const struct retry_budget *b, const struct retry_budget_rules *r,
                         usec_t now);

/* Within the window until now, to be shown. */
struct retry_budget_state {
    uint64_t requests, retries, most;
};
struct retry_budget_state retry_budget_state(const struct retry_budget *b,
                                             const struct retry_budget_rules *r, usec_t now);

#endif
