/* outlier_compare.c - which endpoints are worse than the others: by success rate, by latency. */
#include "policies/outlier.h"

#include <stdlib.h>

#define PPM UINT64_C(1000000)

/* ---- success rate ---- */

static bool speaks_of_success(const struct outlier_rules *r, const struct outlier_sample *s)
{
    return s->judged && s->requests >= r->success_rate.min_requests;
}

static uint64_t success_ppm(const struct outlier_sample *s)
{
    uint64_t failed = s->failed < s->requests ? s->failed : s->requests;
    return (uint64_t)((double)(s->requests - failed) / (double)s->requests * (double)PPM + .5);
}

static double root(double x)
{
    double y = x > 1. ? x : 1.;
    for (int i = 0; i < 64; i++) /* Newton's; libm is not linked for one number an interval */
        y = (y + x / y) / 2.;
    return y;
}

/* The least that is allowed; 0: all is, or nothing can be said. */
static uint64_t least_success(const struct outlier_rules *r, const struct outlier_sample *samples,
                              uint32_t n)
{
    double sum = 0., squares = 0.;
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!speaks_of_success(r, &samples[i]))
            continue;
        sum += (double)success_ppm(&samples[i]);
        k++;
    }
    if (k == 0 || k < r->success_rate.min_endpoints)
        return 0;
    double mean = sum / k;
    for (uint32_t i = 0; i < n; i++) {
        if (!speaks_of_success(r, &samples[i]))
            continue;
        double off = (double)success_ppm(&samples[i]) - mean;
        squares += off * off;
    }
    double least = mean - root(squares / k) * r->success_rate.stdev_factor / 1000.;
    return least > 0. ? (uint64_t)least : 0;
}

static void compare_success(const struct outlier_rules *r, struct outlier_sample *samples,
                            uint32_t n)
{
    uint64_t least = least_success(r, samples, n);
    for (uint32_t i = 0; i < n && least > 0; i++) {
        struct outlier_sample *s = &samples[i];
        if (!speaks_of_success(r, s) || success_ppm(s) >= least)
            continue;
        s->cause = OUTLIER_SUCCESS_RATE;
        s->value = success_ppm(s);
        s->bound = least;
        s->badness = PPM + (least - s->value); /* above any that are only slow */
    }
}

/* ---- latency ---- */

static bool speaks_of_latency(const struct outlier_rules *r, const struct outlier_sample *s)
{
    return s->judged && s->answered > 0 && s->answered >= r->latency.min_requests;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Of n sorted ones, without one that is `without`. */
static uint64_t median_of_others(const uint64_t *sorted, uint32_t n, uint64_t without)
{
    uint32_t middle = (n - 2) / 2; /* of n - 1: the lower of two */
    return sorted[middle] >= without ? sorted[middle + 1] : sorted[middle];
}

static uint64_t most_latency(const struct outlier_latency *l, uint64_t median)
{
    uint64_t most = median > UINT64_MAX / 100000 ? UINT64_MAX : median * l->factor_percent / 100;
    return most > l->floor ? most : l->floor;
}

static void compare_latency(const struct outlier_rules *r, struct outlier_sample *samples,
                            uint32_t n, uint64_t *means)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (speaks_of_latency(r, &samples[i]))
            means[k++] = samples[i].latency / samples[i].answered;
    }
    if (k < 2 || k < r->latency.min_endpoints)
        return;
    qsort(means, k, sizeof(*means), by_size);
    for (uint32_t i = 0; i < n; i++) {
        struct outlier_sample *s = &samples[i];
        if (!speaks_of_latency(r, s) || s->cause != OUTLIER_NO_CAUSE)
            continue;
        uint64_t mean = s->latency / s->answered;
        uint64_t most = most_latency(&r->latency, median_of_others(means, k, mean));
        if (mean <= most)
            continue;
        s->cause = OUTLIER_LATENCY;
        s->value = mean;
        s->bound = most;
        s->badness = (uint64_t)(((double)mean - (double)most) / (double)mean * (double)PPM);
    }
}

void outlier_compare(const struct outlier_rules *r, struct outlier_sample *samples, uint32_t n,
                     uint64_t *scratch)
{
    for (uint32_t i = 0; i < n; i++) {
        samples[i].cause = OUTLIER_NO_CAUSE;
        samples[i].value = samples[i].bound = samples[i].badness = 0;
    }
    if (r->success_rate.stdev_factor > 0)
        compare_success(r, samples, n);
    if (r->latency.factor_percent > 0)
        compare_latency(r, samples, n, scratch);
}
