/* concurrency_limit.h - a limit from latencies (see concurrency.h). One thread's at a time. */
#ifndef SLUICE_POLICIES_CONCURRENCY_LIMIT_H
#define SLUICE_POLICIES_CONCURRENCY_LIMIT_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

enum { CONCURRENCY_LIMIT_MAX = 1000000 };

struct concurrency_rules {
    uint32_t min_limit;     /* 1 */
    uint32_t max_limit;     /* 1000 */
    uint32_t initial_limit; /* 20 */
    uint32_t tolerance;     /* percent of minRTT that is no queue; 125 */
    usec_t interval;        /* 100 ms */
    usec_t min_rtt_window;  /* 60 s */
    bool dry_run;           /* nobody is refused, and no probes */
};

/* What was seen since the last look. */
struct concurrency_sample {
    uint64_t n;      /* latencies */
    uint64_t late;   /* of them: guesses, as nobody waited to the end */
    uint64_t early;  /* who left and is not in n */
    uint64_t errors; /* not in n either */
    usec_t p90, mean;
    uint32_t peak; /* the most in flight */
    bool refused;  /* somebody was */
};

/* Averages of samples; n 0: nothing was seen. */
struct concurrency_rtt {
    double p90, mean; /* us */
    double n;         /* latencies */
};

/* Latency without a queue is known from times at which none can be: when little is in flight, or
 * in a probe. That is for one or two intervals the share of what was in flight that, by Little's
 * law, the upstream has in its hands and not in its queue, and a quarter less: it goes on working
 * nearly as fast, and its queue runs dry. Probes are made while requests are refused anyway. */
enum concurrency_phase {
    CONCURRENCY_STEADY,
    CONCURRENCY_SETTLE,  /* a probe: those that came before it are being answered */
    CONCURRENCY_MEASURE, /* a probe: what is seen now is without a queue */
    CONCURRENCY_RECOVER, /* behind it: the queue comes back */
};

struct concurrency_limit {
    double limit;
    enum concurrency_phase phase;
    usec_t since;         /* of the phase */
    usec_t rtt;           /* p90 when the probe began */
    usec_t queued;        /* such a one, of which the probe has proved that it is queue */
    uint32_t probe;       /* its limit */
    bool deep;            /* low enough to prove that latency has grown */
    uint32_t until_probe; /* looks with a queue */
    uint32_t slower;      /* probes in a row that were slower than minRTT */
    struct concurrency_rtt slower_rtt;  /* the fastest of these */
    struct concurrency_rtt now, before; /* this half of the window, and the one before */
    usec_t window_since;
};

void concurrency_limit_init(struct concurrency_limit *l, const struct concurrency_rules *r);
/* Takes a sample; returns when to look again. *ret_taken false: it is too small, the next one is to
 * have it in it. */
usec_t concurrency_limit_step(struct concurrency_limit *l, const struct concurrency_rules *r,
                              const struct concurrency_sample *s, usec_t now, bool *ret_taken);
/* What is in force. */
uint32_t concurrency_limit_now(const struct concurrency_limit *l,
                               const struct concurrency_rules *r);
/* minRTT: the least of both halves' averages. A plain minimum of small samples would be far below
 * what most see. */
struct concurrency_rtt concurrency_limit_rtt(const struct concurrency_limit *l);

#endif
