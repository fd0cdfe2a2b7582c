/* outlier.h - which endpoint answers worse than it should, and for how long it is left alone
 * (DESIGN §5).
 *
 * Two judges. Failures in a row are counted for all workers together as they happen; an endpoint
 * without any is not written to. What needs comparing with the others (success rate, latency) is
 * looked at once an interval by one thread, from what the workers have counted.
 *
 * An ejection is longer each time, up to a bound; it becomes shorter again only by successes that
 * were seen, never by time alone. How many may be ejected is standing.h's. Pure: the caller passes
 * the time. */
#ifndef SLUICE_POLICIES_OUTLIER_H
#define SLUICE_POLICIES_OUTLIER_H

#include "base/clock.h"
#include "base/result.h"
#include "policies/standing.h"

#define OUTLIER_CAUSE_TABLE(X)                                                                     \
    X(LOCAL, "consecutive_local_errors")     /* not reached, or it broke off, or was silent */     \
    X(GATEWAY, "consecutive_gateway_errors") /* these, and 502, 503, 504 */                        \
    X(5XX, "consecutive_5xx")                /* any failure */                                     \
    X(SUCCESS_RATE, "success_rate")                                                                \
    X(LATENCY, "latency")

enum outlier_cause {
#define X(id, word) OUTLIER_##id,
    OUTLIER_CAUSE_TABLE(X)
#undef X
        OUTLIER_NO_CAUSE,
};
enum { OUTLIER_STREAKS = OUTLIER_5XX + 1, OUTLIER_CAUSES = OUTLIER_NO_CAUSE };

struct outlier_success_rate {
    uint32_t min_endpoints; /* with min_requests each, else nothing is said; 5 */
    uint32_t min_requests;  /* 100 */
    uint32_t stdev_factor;  /* thousandths: ejected below mean - factor * deviation; 1900; 0: off
                             */
};

struct outlier_latency {
    uint32_t min_endpoints;  /* 3 */
    uint32_t min_requests;   /* 10 */
    uint32_t factor_percent; /* of the others' median; 300; 0: off */
    usec_t floor;            /* below it nothing is slow; 100 ms */
};

struct outlier_rules {
    uint32_t consecutive[OUTLIER_STREAKS]; /* 5 each; 0: not looked at */
    usec_t interval;                       /* 10 s */
    usec_t base_ejection;                  /* times how often it was; 30 s */
    usec_t max_ejection;                   /* 5 min */
    uint32_t max_percent;                  /* of the endpoints; 50 */
    struct outlier_success_rate success_rate;
    struct outlier_latency latency;
    bool dry_run;
};

/* Of one endpoint, shared by all workers; zeroed at first. */
struct outlier {
    _Atomic uint32_t streak[OUTLIER_STREAKS];
    _Atomic uint32_t ejections; /* what the next one's length is counted from */
    _Atomic usec_t until;       /* of the ejection; 0: none, or it is just being made */
    _Atomic uint32_t cause;     /* enum outlier_cause of the latest */
};

/* Another word than result_failed(): never RESULT_NOTHING. Returns the cause for which it is to be
 * ejected now, the most telling one, or OUTLIER_NO_CAUSE. Exact: with a threshold of n the nth
 * failure in a row, whichever threads saw them, is the first that returns a cause. */
enum outlier_cause outlier_report(struct outlier *o, const struct outlier_rules *r,
                                  enum result result);

/* What is left of its ejection; 0: its time has passed. USEC_NEVER: it is just being made. */
usec_t outlier_left(const struct outlier *o, usec_t now);
/* How long it would be ejected for if it were now. */
usec_t outlier_ejection(const struct outlier *o, const struct outlier_rules *r);

/* False: it is not, since too many are, or it would be the last, or it is already. */
bool outlier_eject(struct outlier *o, struct standing *s, struct standing_group *g,
                   const struct outlier_rules *r, enum outlier_cause cause, usec_t now,
                   usec_t *ret_length);
/* Its time has passed: it is used again, with a clean slate. True for one of the threads that ask.
 */
bool outlier_return(struct outlier *o, struct standing *s, struct standing_group *g, usec_t now);
/* The same before its time, because the rules or the group are others. False: it is not ejected. */
bool outlier_pardon(struct outlier *o, struct standing *s, struct standing_group *g);
/* It was not there, and is about to be again: its failures in a row are of before. */
void outlier_begin_anew(struct outlier *o);

/* --- once an interval, on one thread --- */

/* What was seen of one endpoint since it was last looked at. */
struct outlier_sample {
    bool judged;       /* false: it is ejected, or not there */
    uint64_t requests; /* whose result says something */
    uint64_t failed;   /* of these */
    uint64_t answered; /* those with a latency */
    uint64_t latency;  /* sum of these, microseconds */
    /* Of outlier_compare(): */
    enum outlier_cause cause; /* OUTLIER_NO_CAUSE: it is well */
    uint64_t value, bound;    /* why: success rate in ppm and the least allowed, or mean latency and
                               * the most allowed, in microseconds */
    uint64_t badness;         /* the worst are ejected first */
};

/* Fills the last four of each of n samples. `scratch` has room for n numbers. O(n log n). */
void outlier_compare(const struct outlier_rules *r, struct outlier_sample *samples, uint32_t n,
                     uint64_t *scratch);

/* An interval has passed in which it was not ejected and this was seen: by more successes than
 * failures the next ejection becomes shorter by a step. */
void outlier_decay(struct outlier *o, uint64_t requests, uint64_t failed);

const char *outlier_cause_word(enum outlier_cause c);

#endif
