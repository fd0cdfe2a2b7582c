/* fault.h - faults on purpose: a share of a route's requests waits, or is answered with an error.
 *
 *   fault:
 *     delay: {duration: 2s, percent: 1}
 *     abort: {status: 503, percent: 0.5}
 *     headers: [{name: X-Chaos, exact: "on"}]
 *
 * Pure: random bits are an argument. The rules are part of the configuration; what is shared by the
 * workers is the number of requests that wait, which is exact, and outlives configurations. */
#ifndef SLUICE_POLICIES_FAULT_H
#define SLUICE_POLICIES_FAULT_H

#include "base/clock.h"
#include "policies/route.h"

#include <stdatomic.h>

enum { FAULT_WHOLE_PPM = 1000000 };

struct fault_rules {
    usec_t delay;          /* 0: none */
    uint32_t delay_ppm;    /* of the requests that the headers let through */
    uint16_t abort_status; /* 400 to 599 */
    int8_t abort_grpc;     /* grpc-status of gRPC calls; -1: what a client makes of abort_status */
    uint32_t abort_ppm;    /* of the same requests: drawn by itself, a request may get both */
    bool delays, aborts;   /* the parts are there */
    bool dry_run;
    uint32_t max_active;         /* that wait at once, over all workers; others are not delayed */
    struct route_table *headers; /* conditions on headers; NULL: every request */
};

struct fault_verdict {
    bool delay, abort;
};

/* Is a draw of 64 random bits within that share? Exact: 0 never, FAULT_WHOLE_PPM always. */
bool fault_hits(uint32_t ppm, uint64_t bits);
/* What becomes of a request that has passed fault_concerns(). */
struct fault_verdict fault_decide(const struct fault_rules *r, uint64_t delay_bits,
                                  uint64_t abort_bits);
/* Its headers are those of the rules. `scratch` as of route_table_match(); a regular expression
 * that could not tell says no. */
bool fault_concerns(const struct fault_rules *r, const struct route_request *request,
                    struct route_scratch *scratch);

/* Of a route, over reloads. Counted where something happens, which is rare. */
struct fault_state {
    _Atomic uint32_t active; /* that wait now */
    _Atomic uint64_t delayed, aborted;
    _Atomic uint64_t dry_delayed, dry_aborted; /* under dry_run: would have been */
    _Atomic uint64_t skipped;                  /* not delayed: max_active */
};

/* One of max_active places; false: there is none. Who has one gives it back, once. */
bool fault_enter(struct fault_state *s, uint32_t max_active);
void fault_leave(struct fault_state *s);

#endif
