/* concurrency_limit.c - a limit from latencies.
 *
 * What Netflix's and Envoy's algorithms get wrong is minRTT. A minimum that never ages keeps the
 * limit down for ever once the upstream has become slower; one that ages under load takes the queue
 * for the upstream's own time, and the limit runs away; Envoy lets next to nobody through to
 * measure it. So here it only rises by what was seen when there can be no queue, and where load
 * leaves no such times, probes make them (enum concurrency_phase). It falls with whatever is seen.
 */
#include "policies/concurrency_limit.h"

#include <math.h>

enum {
    SAMPLES_MIN = 20,     /* fewer make no percentile */
    SAMPLES_PROBE = 10,   /* of a probe, while which few are in flight */
    SAMPLES_ENOUGH = 200, /* more are believed without an average */
    TENTH = 10,           /* of a sample */
    STRETCH = 10,      /* a look comes at least every so many intervals while there are answers */
    PROBE_FIRST = 5,   /* looks with a queue until a probe */
    PROBE_SOON = 3,    /* behind one that has changed something, or may */
    PROBE_LATER = 50,  /* behind one that has found minRTT as it was */
    SLOWER_PROBES = 2, /* in a row make minRTT rise: one may have met a pause */
    SLOWER_PERCENT = 120,  /* of minRTT: above it is slower, and not just noise */
    SAME_PERCENT = 90,     /* of the latency before: above it the probe has changed nothing */
    QUEUED_PERCENT = 150,  /* of what is known to be queue: above it may be more */
    PROBE_PERCENT = 75,    /* of what the upstream has in its hands */
    PROBE_LEAST_SHARE = 4, /* of the limit: no probe goes below a quarter */
};

static usec_t least(usec_t a, usec_t b)
{
    return a < b ? a : b;
}

static usec_t most(usec_t a, usec_t b)
{
    return a > b ? a : b;
}

static void add(struct concurrency_rtt *r, const struct concurrency_sample *s)
{
    double n = (double)s->n;
    r->n += n;
    r->p90 += ((double)s->p90 - r->p90) * n / r->n;
    r->mean += ((double)s->mean - r->mean) * n / r->n;
}

/* Down to the sample, if that is lower: the farther, the more there is in it. */
static void pull_down(struct concurrency_rtt *r, const struct concurrency_sample *s, double enough)
{
    double weight = fmin((double)s->n / enough, 1);
    if (r->n == 0)
        return;
    r->p90 += fmin((double)s->p90 - r->p90, 0) * weight;
    r->mean += fmin((double)s->mean - r->mean, 0) * weight;
}

struct concurrency_rtt concurrency_limit_rtt(const struct concurrency_limit *l)
{
    struct concurrency_rtt r = l->before;
    if (r.n == 0)
        return l->now;
    if (l->now.n < SAMPLES_ENOUGH)
        return r;
    r.p90 = fmin(r.p90, l->now.p90);
    r.mean = fmin(r.mean, l->now.mean);
    return r;
}

static double bounded(double limit, const struct concurrency_rules *r)
{
    return fmax(fmin(limit, r->max_limit), r->min_limit);
}

void concurrency_limit_init(struct concurrency_limit *l, const struct concurrency_rules *r)
{
    *l = (struct concurrency_limit){
        .limit = bounded(r->initial_limit, r),
        .until_probe = PROBE_SOON,
    };
}

static bool probing(const struct concurrency_limit *l)
{
    return l->phase == CONCURRENCY_SETTLE || l->phase == CONCURRENCY_MEASURE;
}

uint32_t concurrency_limit_now(const struct concurrency_limit *l, const struct concurrency_rules *r)
{
    return (uint32_t)bounded(probing(l) ? l->probe : l->limit, r);
}

/* --- minRTT --- */

/* Seen without a queue: it counts in this half of the window, and the half before the last is
 * forgotten. Where nothing is seen nothing is forgotten. */
static void learn(struct concurrency_limit *l, const struct concurrency_rules *r,
                  const struct concurrency_sample *s, usec_t now)
{
    if (l->now.n >= SAMPLES_ENOUGH && now - l->window_since >= r->min_rtt_window / 2) {
        l->before = l->now;
        l->now = (struct concurrency_rtt){0};
        l->window_since = now;
    }
    add(&l->now, s);
}

/* Seen with a queue, or perhaps with one: without it, it would be less. */
static void learn_at_most(struct concurrency_limit *l, const struct concurrency_sample *s,
                          double enough)
{
    if (l->now.n == 0 && l->before.n == 0)
        add(&l->now, s);
    pull_down(&l->now, s, enough);
    pull_down(&l->before, s, enough);
}

/* Of those in flight at most so many waited for the others (Little's law). */
static double queue_of(const struct concurrency_limit *l, const struct concurrency_sample *s)
{
    double mean = concurrency_limit_rtt(l).mean, now = (double)s->mean;
    return now > mean ? s->peak * (now - mean) / now : 0;
}

/* --- who leaves --- */

/* Is its p90 one? */
static bool is_guess(const struct concurrency_sample *s)
{
    return s->late * TENTH >= s->n;
}

/* What is let through leaves without an answer, and its place goes to somebody else: the server
 * still works for those who have left, in a queue of its own that the limit has no hold of. Few
 * latencies tell of it, or none. */
static bool is_deserted(const struct concurrency_sample *s)
{
    uint64_t answers = s->n - s->late + s->errors;
    return answers * TENTH < answers + s->late + s->early;
}

/* --- the limit --- */

static double gradient_of(const struct concurrency_limit *l, const struct concurrency_rules *r,
                          const struct concurrency_sample *s)
{
    return concurrency_limit_rtt(l).p90 * r->tolerance / 100 / (double)most(s->p90, 1);
}

static void adapt(struct concurrency_limit *l, const struct concurrency_rules *r, double gradient)
{
    double limit = bounded(l->limit, r);
    l->limit = bounded(limit * fmax(fmin(gradient, 2), 0.5) + sqrt(limit), r);
}

/* --- probes --- */

static usec_t enter(struct concurrency_limit *l, enum concurrency_phase phase, usec_t now,
                    usec_t length)
{
    l->phase = phase;
    l->since = now;
    return now + length;
}

static usec_t begin_probe(struct concurrency_limit *l, const struct concurrency_rules *r,
                          const struct concurrency_sample *s, usec_t now)
{
    double limit = concurrency_limit_now(l, r);
    double busy = fmin(s->peak, limit) - fmin(queue_of(l, s), s->peak);
    double floor_at = fmax(limit / PROBE_LEAST_SHARE, r->min_limit);
    double target = busy * PROBE_PERCENT / 100;
    l->deep = target >= floor_at || r->min_limit >= floor_at;
    l->probe = (uint32_t)fmin(fmax(target, fmax(floor_at, 1)), limit);
    l->rtt = s->p90;
    return enter(l, CONCURRENCY_SETTLE, now, 2 * s->p90);
}

static void end_probe(struct concurrency_limit *l, const struct concurrency_rules *r,
                      const struct concurrency_sample *s, usec_t now)
{
    double had = concurrency_limit_rtt(l).p90, is = (double)s->p90;
    if (2 * s->late > s->n) { /* it is no end of the queue that has been measured */
        l->until_probe = PROBE_SOON;
        return;
    }
    if (is <= had * SLOWER_PERCENT / 100) {
        learn_at_most(l, s, SAMPLES_PROBE);
        learn(l, r, s, now);
        l->slower = 0;
        l->queued = l->rtt;
        l->until_probe = is < had * SAME_PERCENT / 100 ? PROBE_SOON : PROBE_LATER;
        return;
    }
    l->until_probe = PROBE_SOON;
    /* A queue, and not deep enough below it to tell more? */
    if (!l->deep && is < (double)l->rtt * SAME_PERCENT / 100)
        return;
    if (l->slower++ == 0)
        l->slower_rtt = (struct concurrency_rtt){is, (double)s->mean, SAMPLES_ENOUGH};
    pull_down(&l->slower_rtt, s, 1);
    if (l->slower < SLOWER_PROBES)
        return;
    l->now = l->slower_rtt;
    l->before = (struct concurrency_rtt){0};
    l->window_since = now;
    l->slower = 0;
}

static usec_t step_probe(struct concurrency_limit *l, const struct concurrency_rules *r,
                         const struct concurrency_sample *s, usec_t now, bool *ret_taken)
{
    usec_t length = most(r->interval, 2 * l->rtt);
    if (r->dry_run || now - l->since > STRETCH * length) { /* nobody comes any more */
        l->until_probe = PROBE_FIRST;
        return enter(l, CONCURRENCY_STEADY, now, r->interval);
    }
    if (l->phase == CONCURRENCY_SETTLE)
        return enter(l, CONCURRENCY_MEASURE, now, length);
    if (l->phase == CONCURRENCY_RECOVER)
        return enter(l, CONCURRENCY_STEADY, now, most(r->interval, l->rtt));
    if (s->n < SAMPLES_PROBE) {
        *ret_taken = false;
        return now + r->interval;
    }
    end_probe(l, r, s, now);
    return enter(l, CONCURRENCY_RECOVER, now, most(r->interval, l->rtt));
}

/* --- a look --- */

usec_t concurrency_limit_step(struct concurrency_limit *l, const struct concurrency_rules *r,
                              const struct concurrency_sample *s, usec_t now, bool *ret_taken)
{
    *ret_taken = true;
    if (l->phase != CONCURRENCY_STEADY)
        return step_probe(l, r, s, now, ret_taken);
    if (s->n + s->early < SAMPLES_MIN) {
        *ret_taken = false;
        return now + r->interval;
    }
    if (is_deserted(s)) {
        l->limit = bounded(bounded(l->limit, r) / 2, r);
        return now + r->interval;
    }
    learn_at_most(l, s, SAMPLES_ENOUGH);
    bool used = 2 * (double)s->peak >= l->limit;
    bool queue = queue_of(l, s) > 2 * sqrt(l->limit); /* twice what is meant to wait */
    double gradient = gradient_of(l, r, s);
    if (!used && !queue) {
        if (!is_guess(s))
            learn(l, r, s, now);
        l->until_probe = (uint32_t)least(l->until_probe, PROBE_FIRST);
    } else {
        double had = bounded(l->limit, r);
        adapt(l, r, gradient);
        if (!used)
            l->limit = fmin(l->limit, had);
    }
    /* Answers may take longer than the interval: it is too early to see what this look has done. */
    usec_t next = now + most(r->interval, least(s->p90, STRETCH * r->interval));
    if (gradient >= 1 || !s->refused || r->dry_run)
        return next;
    /* The limit alone does not make it better. */
    if (gradient < 0.5 && s->p90 > l->queued * QUEUED_PERCENT / 100)
        l->until_probe = (uint32_t)least(l->until_probe, PROBE_FIRST);
    if (l->until_probe > 0)
        l->until_probe--;
    return l->until_probe == 0 ? begin_probe(l, r, s, now) : next;
}
