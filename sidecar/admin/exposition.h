/* exposition.h - text in Prometheus' exposition format 0.0.4 while it is put together, of a bounded
 * number of series. */
#ifndef SLUICE_ADMIN_EXPOSITION_H
#define SLUICE_ADMIN_EXPOSITION_H

#include "base/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { METRIC_BOUNDS = 32, METRIC_BOUND_TEXT = 16 };

/* Zeros at first; `p` is freed by who owns it. */
struct exposition {
    char *p;
    size_t len, cap;
    uint32_t most;    /* series; what is above is left out and counted. 0: no bound */
    uint32_t series;  /* that are told */
    uint32_t dropped; /* that are left out */
    bool failed;      /* memory was short: what is there is not whole */
    uint32_t rest_at; /* so many series, told or left out, are enough for now; 0: no matter */
    uint32_t at;      /* where a part goes on that has had enough; 0: at its beginning */
    uint32_t n_bounds;
    char bounds[METRIC_BOUNDS][METRIC_BOUND_TEXT]; /* of all histograms, as text; 0: not yet */
};

/* A part that is long had better go on in the next turn. */
static inline bool exposition_rests(const struct exposition *t)
{
    return t->rest_at > 0 && t->series + t->dropped >= t->rest_at;
}

/* A series with its value: a line of at most 511 bytes. Left out where there are `most`. */
void metric_put(struct exposition *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* HELP and TYPE of sluice_<name>, in front of its samples. */
void metric_family(struct exposition *t, const char *name, const char *type, const char *help);

/* The series of sluice_<name> with these labels, all or none of them: a part of the buckets would
 * be wrong. counts: HISTOGRAM_BUCKETS of them; sum: microseconds. */
void metric_histogram(struct exposition *t, const char *name, const char *labels,
                      const uint64_t *counts, uint64_t sum);

#endif
