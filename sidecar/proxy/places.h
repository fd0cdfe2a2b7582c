/* places.h - where an upstream's endpoints stand: each at a place, which is a priority and a zone.
 *
 * An upstream whose endpoints all have priority 0 and no zone has none of this. Its endpoints are
 * listed by place, so that those of a place, and those of a level, lie in a row. A place is counted
 * in a part of the upstream's standing_group, which it keeps as long as it is there. */
#ifndef SLUICE_PROXY_PLACES_H
#define SLUICE_PROXY_PLACES_H

#include "base/str.h"
#include "policies/failover.h"
#include "policies/standing.h"

struct endpoint_address;

enum { ZONE_MAX = 63 };

struct place {
    uint32_t first, n; /* of the upstream's endpoints */
    uint8_t priority;
    uint8_t part; /* of the standing_group; 0 is that of priority 0 without a zone */
    uint8_t zone_n;
    char zone[ZONE_MAX];
};

/* By priority, then by zone. No pointers: it is copied as it is. Freed with free(). */
struct places {
    uint32_t n;
    struct place at[FAILOVER_PARTS_MAX];
};

static inline struct str place_zone(const struct place *p)
{
    return (struct str){p->zone, p->zone_n};
}

/* Those of a list of addresses; `was`: those before, whose parts are kept, or NULL. *ret NULL:
 * there is but the one, priority 0 without a zone. at_place[i]: the place of list[i], in
 * (*ret)->at. There are no more than FAILOVER_PARTS_MAX. first and n are 0. 0 or -ENOMEM. */
int places_of(const struct places *was, const struct endpoint_address *list, uint32_t n,
              struct places **ret, uint8_t *at_place);
/* n endpoints in the order of their places, else in the one that they have: ret_to[i] is where the
 * one at at_place[i] goes. Sets first and n of each place. */
void places_arrange(struct places *p, const uint8_t *at_place, uint32_t n, uint32_t *ret_to);
/* A copy; NULL: memory is short, or p is NULL. */
struct places *places_copy(const struct places *p);
/* Where endpoint i stands; p may be NULL, and so may the answer. */
const struct place *places_at(const struct places *p, uint32_t i);

#endif
