/* route_index.h - hosts and paths to the routes that may take them.
 *
 * Each pair of a host pattern and a path pattern has a list of route indices in file order. A
 * request finds the lists that hold for it with one look-up for each label of its host and each
 * segment of its path, as far as any pattern reaches. Its route is the lowest index in these lists
 * whose other conditions hold. */
#ifndef SLUICE_POLICIES_ROUTE_INDEX_H
#define SLUICE_POLICIES_ROUTE_INDEX_H

#include "base/arena.h"
#include "policies/route.h"

enum { ROUTE_HOST_MAX = 253 };

struct route_candidate {
    uint32_t route;
    struct route_candidate *next; /* higher index */
};

struct route_index;

/* All memory is the arena's. `hosts` and `paths`: how many will be added at most, counting each
 * pair of host and path. NULL when memory is short. */
struct route_index *route_index_new(struct arena *arena, uint64_t hosts, uint64_t paths);

/* Adds a route under one host pattern (empty or "*": any host) and its path; how is EXACT, PREFIX
 * (without trailing '/', not empty), or ANY for what is found under every path. Routes come in
 * ascending order. 0 or -ENOMEM. */
int route_index_add(struct route_index *x, struct str host, enum route_path_match how,
                    struct str path, uint32_t route);

/* Fills `heads` with the lists for this request; returns how many. UINT32_MAX: more than `cap`. */
uint32_t route_index_find(const struct route_index *x, struct str host, struct str path,
                          const struct route_candidate **heads, uint32_t cap);

/* The host without its port. */
struct str route_host_name(struct str host);

#endif
