/* deadline.h - X-Request-Deadline: a point in time that a request is given to its end.
 *
 * Pure. Its value is Unix time in seconds, with a fraction where that is wanted: "1767225600.250".
 * A point, not what is left: it says the same at each hop, however long a hop or a queue took.
 * Their clocks have to agree as well as the deadline is to be kept. */
#ifndef SLUICE_POLICIES_DEADLINE_H
#define SLUICE_POLICIES_DEADLINE_H

#include "base/clock.h"
#include "base/str.h"

/* 0, or -EINVAL: not 1 to 10 digits, perhaps with a '.' and 1 to 9 more. Below a microsecond it is
 * cut. */
int deadline_parse(struct str value, usec_t *ret_wall);

enum { DEADLINE_LEN = 24 };

/* With six digits of a fraction. */
struct str deadline_format(usec_t wall, char out[DEADLINE_LEN]);

/* The same point on the monotonic clock: what is left of it from now on. At least 1, as 0 means
 * "none". */
static inline usec_t deadline_mono(usec_t deadline_wall, usec_t wall, usec_t mono)
{
    if (deadline_wall >= wall)
        return mono + (deadline_wall - wall);
    return mono > wall - deadline_wall ? mono - (wall - deadline_wall) : 1;
}

#endif
