/* route_state.h - what one worker counts and splits for a route: keyed by listener and route name,
 * so that a reload resets nothing.
 *
 * Made by the control thread, written by its worker, read by the control thread at any time; freed
 * by the control thread when no view of the worker names it any more. */
#ifndef SLUICE_PROXY_ROUTE_STATE_H
#define SLUICE_PROXY_ROUTE_STATE_H

#include "canary/split.h"
#include "config/config.h"
#include "proxy/stats.h"

/* Of a route with more than one backend. */
struct route_split {
    struct split split;
    bool ready; /* split_init() was done */
    counter_t picked[SPLIT_MAX];
};

struct fault_shared;

struct route_state {
    /* The generation in which the backends became what `split` is about. A stream whose snapshot
     * has other backends (slot.shape) picks without it. */
    uint64_t shape;
    struct route_split *_Atomic split; /* NULL: one backend at most */
    counter_t picked_single;           /* of the only backend */
    struct route_stats stats;
    struct fault_shared *fault; /* a reference; the same for all workers */
    uint32_t views;             /* the control thread's: views of its worker that name it */
};

/* `like`: the same route's of another worker; NULL: there is none yet. NULL when memory is short.
 */
struct route_state *route_state_new(const struct conf_route *r, uint64_t shape,
                                    const struct route_state *like);
struct route_state *route_state_free(struct route_state *s);

/* The same backends with the same weights, in the same order? */
bool route_same_shape(const struct conf_route *a, const struct conf_route *b);

/* Other backends or weights from now on, on the worker: counters go with the upstreams' names, and
 * the split goes on where the upstreams are the same. `fresh` is for a route with more than one
 * backend (else NULL) and is taken over. Returns the split that was, for the control thread to
 * free: it may be reading it. */
struct route_split *route_state_adopt(struct route_state *s, const struct conf_route *was,
                                      const struct conf_route *now, struct route_split *fresh,
                                      uint64_t shape, struct rng *rng);

/* The backend for the next request; on the worker. `shape` is that of the stream's snapshot. */
uint32_t route_state_pick(struct route_state *s, const struct conf_route *r, uint64_t shape,
                          struct rng *rng);

/* From any thread. */
uint64_t route_state_picked(const struct route_state *s, const struct conf_route *r,
                            uint32_t backend);

#endif
