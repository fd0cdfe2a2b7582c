/* failover.h - which level of an upstream's endpoints takes a request, and which zone of that
 * level.
 *
 * Levels are tried by priority, the best first: one that has enough good endpoints takes
 * everything, and what it cannot take goes to the next. Pure: counts in, shares out. */
#ifndef SLUICE_POLICIES_FAILOVER_H
#define SLUICE_POLICIES_FAILOVER_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FAILOVER_WHOLE = 1000000, /* all requests, in ppm */
    FAILOVER_LEVELS_MAX = 8,  /* priorities 0 to 7 */
    FAILOVER_PARTS_MAX = 32,  /* of an upstream: pairs of priority and zone */
};

struct failover_rules {
    uint32_t overprovisioning; /* percent; 140: a level is enough while 5 of 7 are usable */
    uint32_t panic_threshold;  /* percent */
};

/* What is known of a level, or of a zone in a level. */
struct failover_count {
    uint32_t there;   /* endpoints */
    uint32_t usable;  /* of these */
    uint32_t missing; /* what slow start keeps back of the usable ones: percent, added up; always
                       * less than 100 x usable */
};

/* What each of n levels takes, which adds up to FAILOVER_WHOLE as long as any endpoint is there.
 *
 * A level is good for its usable share x overprovisioning, at most for everything. The first takes
 * what it is good for, the next what is left, and so on. Are all together good for less than
 * everything, each takes in proportion to what it is good for: no level without a usable endpoint
 * gets anything while another has one. None at all is usable: the first with an endpoint takes
 * everything.
 *
 * Returns whether there is panic: all together are good for less than everything, slow start not
 * considered, and in each level fewer than panic_threshold are usable. Then levels count for
 * nothing, each takes by its number of endpoints, and so does each endpoint. */
bool failover_levels(const struct failover_count *levels, uint32_t n,
                     const struct failover_rules *rules, uint32_t *ret_ppm);

/* What each of the n zones of a level takes of that level, seen from the zone `own`; own >= n: it
 * has no endpoint there. Adds up to FAILOVER_WHOLE as long as any endpoint is there.
 *
 * The zones' callers are taken to bring equally much, the only guess that needs no news from them.
 * A zone whose endpoints can take that keeps it. One that is too small, or too ill, keeps what it
 * can take, and what is left goes to the others in proportion to the room that their own callers
 * leave. As long as all callers do so, each usable endpoint of the level has the same to do, and no
 * more than is needed for that leaves its zone. */
void failover_zones(const struct failover_count *zones, uint32_t n, uint32_t own,
                    uint32_t *ret_ppm);

/* Which of n takes it: random is below FAILOVER_WHOLE. One that has a share, if any has. */
uint32_t failover_pick(const uint32_t *ppm, uint32_t n, uint32_t random);

#endif
