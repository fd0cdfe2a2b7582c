/* quiet.h - does nobody come any more? Ends NOTICE early (lifecycle.noticeQuiet), and says when
 * DRAIN may end where listeners stay open.
 *
 * Pure: the caller passes the time and how many connections have come in all. For NOTICE silence
 * means something only against what was usual: max(2 s, 3 × the mean gap between two arrivals), the
 * mean over the last half minute before the drain. Where fewer than two came, no silence is long
 * enough. */
#ifndef SLUICE_LIFECYCLE_QUIET_H
#define SLUICE_LIFECYCLE_QUIET_H

#include "base/clock.h"

#include <stdbool.h>

enum { QUIET_SAMPLES = 30 };

struct quiet {
    struct quiet_sample {
        usec_t at;
        uint64_t arrived;
    } samples[QUIET_SAMPLES]; /* a ring, one a second */
    uint32_t n, next;
    usec_t silence;  /* that is long enough; USEC_NEVER: none is */
    usec_t last;     /* an arrival, or when the notice began */
    uint64_t before; /* arrived by then */

    usec_t stirred; /* quiet_lull() saw something; 0: never */
    uint64_t stirs; /* by then */
};

/* About once a second, while nothing ends. */
void quiet_sample(struct quiet *q, uint64_t arrived, usec_t now);
/* The notice begins. */
void quiet_begin(struct quiet *q, uint64_t arrived, usec_t now);
/* Has it been quiet for long enough? If not, ask again at *ret_at at the latest; often enough, as
 * an arrival counts from when it is seen. */
bool quiet_enough(struct quiet *q, uint64_t arrived, usec_t now, usec_t *ret_at);

/* Nothing has stirred for QUIET_LULL; `stirs` is how many connections have come, and requests have
 * been answered, in all: who has just been told to go comes again on another connection, and here
 * for as long as a Service's endpoints are behind. Not as long as the shortest period of a
 * kubelet's probe. If it has, ask again at *ret_at, as above. */
#define QUIET_LULL (800 * USEC_PER_MSEC)
bool quiet_lull(struct quiet *q, uint64_t stirs, usec_t now, usec_t *ret_at);

#endif
