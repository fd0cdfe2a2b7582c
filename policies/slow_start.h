/* slow_start.h - an endpoint that is new, or well again, gets its share step by step. Pure. */
#ifndef SLUICE_POLICIES_SLOW_START_H
#define SLUICE_POLICIES_SLOW_START_H

#include "base/clock.h"

#include <stdbool.h>

struct slow_start_rules {
    usec_t window;            /* until its share is whole; 30 s */
    uint32_t initial_percent; /* of its share, at first; 10 */
};

/* Percent of its share, initial_percent to 100, of one that began at `since` (0: long ago). In a
 * straight line. */
uint32_t slow_start_percent(const struct slow_start_rules *r, usec_t since, usec_t now);
/* It has its whole share: `since` may be forgotten. */
bool slow_start_is_over(const struct slow_start_rules *r, usec_t since, usec_t now);

#endif
