/* budget.h - one absolute deadline, and every phase's end derived from it (DESIGN §3).
 *
 * Pure; all times are monotonic. What is configured is the usual case; a deadline that was
 * shortened (a second trigger, a short grace) is shared among what is still to come, and each end
 * lies between the one before it and D. */
#ifndef SLUICE_LIFECYCLE_BUDGET_H
#define SLUICE_LIFECYCLE_BUDGET_H

#include "base/clock.h"
#include "config/config.h"

#include <stdbool.h>

/* What ends with this budget. */
enum budget_kind {
    BUDGET_HOST,    /* we alone, by a signal or an operator */
    BUDGET_POD,     /* a Kubernetes pod: the application beside us ends in the same grace */
    BUDGET_UPGRADE, /* one serving process of several: drainTimeout, and nothing else */
};

struct budget {
    enum budget_kind kind;
    usec_t start;
    usec_t deadline;   /* D: EXIT */
    usec_t since;      /* when D became what it is: the start, or when it was shortened */
    usec_t notice_end; /* DRAIN begins */
    usec_t last_call_at;
    usec_t force_at;
    usec_t cleanup_at; /* EGRESS_ONLY ends here at the latest */
};

/* D = start + min(the configured sum, the grace) - 500 ms, less where the sum is short. */
void budget_begin(struct budget *b, const struct conf_lifecycle *c, enum budget_kind kind,
                  usec_t start);
/* D is given: by the process that began the drain. */
void budget_resume(struct budget *b, const struct conf_lifecycle *c, enum budget_kind kind,
                   usec_t start, usec_t deadline, usec_t now);
/* D becomes `deadline` if that is earlier. True when it did. */
bool budget_shorten(struct budget *b, const struct conf_lifecycle *c, usec_t deadline, usec_t now);
/* It has become the end of a pod: the same D, its rules. */
void budget_becomes_pod(struct budget *b, const struct conf_lifecycle *c);

#endif
