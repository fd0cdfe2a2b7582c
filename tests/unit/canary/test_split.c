/* test_split.c - are the weights kept, at every request, whatever the traffic's pattern? */
#include "canary/split.h"

#include "base/check.h"
#include "tests/unit/slow.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { STABLE, CANARY };

static void two_init(struct split *s, uint32_t canary_ppm, struct rng *rng)
{
    const uint32_t ppm[2] = {SPLIT_WHOLE_PPM - canary_ppm, canary_ppm};
    split_init(s, ppm, 2, rng);
}

/* |count - n x ppm / 10^6| <= 1, in integers. */
static bool within_one(uint64_t count, uint64_t n, uint32_t ppm)
{
    __int128 off = (__int128)count * SPLIT_WHOLE_PPM - (__int128)n * ppm;
    return off <= SPLIT_WHOLE_PPM && off >= -(__int128)SPLIT_WHOLE_PPM;
}

/* The requests up to and with the next pick of two backends, without walking through them. */
static uint64_t leap(struct split *s, struct rng *rng)
{
    uint64_t passed = s->pick[0].left;
    s->pick[0].left = 0;
    (void)split_next(s, rng);
    return passed + 1;
}

/* The count strays furthest just before a pick and at it, so these are all that must be seen. */
static void check_leaping(uint32_t ppm, uint64_t until, struct rng *rng)
{
    struct split s;
    uint64_t n = 0, count = 0;
    two_init(&s, ppm, rng);
    while (n < until) {
        n += leap(&s, rng);
        if (!within_one(count, n - 1, ppm) || !within_one(count + 1, n, ppm))
            fail_msg("%u ppm: %llu picks at %llu", ppm, (unsigned long long)count + 1,
                     (unsigned long long)n);
        count++;
    }
}

/* Every hundred ppm, or in a slow build every 17th of these; and of the rounds below a tenth. */
enum { WEIGHT_STEP = SLOW_BUILD ? 17 * 100 : 100, PART = SLOW_BUILD ? 10 : 1 };

static void test_every_weight(UNUSED void **state)
{
    struct rng rng;
    rng_init(&rng, 1);
    for (uint32_t ppm = 100; ppm <= SPLIT_WHOLE_PPM / 2; ppm += WEIGHT_STEP)
        check_leaping(ppm, 200000, &rng);
    for (int i = 0; i < 500 / PART; i++)
        check_leaping(100 + rng_below(&rng, SPLIT_WHOLE_PPM / 2 - 99), 200000, &rng);
    for (uint32_t ppm = 1; ppm < 100; ppm++)
        check_leaping(ppm, 50u * SPLIT_WHOLE_PPM / ppm, &rng);
}

static void test_every_request(UNUSED void **state)
{
    static const uint32_t weights[] = {100,    1000,   9999,   10000,  50000,  100000, 123457,
                                       200000, 250000, 333333, 370000, 400000, 499999, 500000};
    for (uint32_t seed = 0; seed < (SLOW_BUILD ? 1 : 8); seed++) {
        for (size_t w = 0; w < ARRAY_LEN(weights); w++) {
            struct rng rng, rng_leaping;
            struct split s, leaping;
            rng_init(&rng, seed);
            rng_init(&rng_leaping, seed);
            two_init(&s, weights[w], &rng);
            two_init(&leaping, weights[w], &rng_leaping);
            uint64_t count = 0, pick = leap(&leaping, &rng_leaping);
            for (uint64_t n = 1; n <= 200000; n++) {
                bool picked = split_next(&s, &rng) == s.pick[0].backend;
                count += picked;
                if (!within_one(count, n, weights[w]) || picked != (n == pick))
                    fail_msg("%u ppm, seed %u: request %u", weights[w], seed, (unsigned)n);
                if (picked)
                    pick += leap(&leaping, &rng_leaping);
            }
        }
    }
}

/* Above one half, the other backend is the pick: the guarantee is the same. */
static void test_heavy_canary(UNUSED void **state)
{
    struct rng rng;
    rng_init(&rng, 3);
    for (uint32_t ppm = SPLIT_WHOLE_PPM / 2; ppm < SPLIT_WHOLE_PPM; ppm += 12347) {
        struct split s;
        uint64_t count = 0;
        two_init(&s, ppm, &rng);
        for (uint64_t n = 1; n <= 5000; n++) {
            count += split_next(&s, &rng) == CANARY;
            assert_true(within_one(count, n, ppm));
        }
    }
}

static void test_no_drift(UNUSED void **state)
{
    static const uint32_t weights[] = {1, 7, 37};
    const uint64_t until = (UINT64_C(1) << 40) / PART / PART;
    struct rng rng;
    rng_init(&rng, 4);
    for (size_t w = 0; w < ARRAY_LEN(weights); w++) {
        struct split s;
        uint64_t n = 0, count = 0;
        two_init(&s, weights[w], &rng);
        while (n < until) {
            n += leap(&s, &rng);
            count++;
            if (!within_one(count, n, weights[w]))
                fail_msg("%u ppm: %llu picks at %llu", weights[w], (unsigned long long)count,
                         (unsigned long long)n);
        }
    }
}

static void test_all_or_nothing(UNUSED void **state)
{
    const uint32_t alone[1] = {SPLIT_WHOLE_PPM};
    const uint32_t third[3] = {0, 0, SPLIT_WHOLE_PPM};
    struct rng rng;
    struct split s;
    rng_init(&rng, 5);
    two_init(&s, 0, &rng);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(split_next(&s, &rng), STABLE);
    two_init(&s, SPLIT_WHOLE_PPM, &rng);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(split_next(&s, &rng), CANARY);
    split_set(&s, third, 3, &rng);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(split_next(&s, &rng), 2);
    split_set(&s, alone, 1, &rng);
    assert_int_equal(split_next(&s, &rng), 0);
    assert_int_equal(s.n, 1);
}

/* Far within the promised 5 %, as this weight is evened out, not left to chance. */
static void test_alternating(UNUSED void **state)
{
    for (uint32_t seed = 0; seed < 2000 / PART; seed++) {
        uint32_t got[2] = {0, 0};
        struct rng rng;
        struct split s;
        rng_init(&rng, seed);
        two_init(&s, SPLIT_WHOLE_PPM / 2, &rng);
        for (uint32_t n = 0; n < 10000; n++)
            got[n % 2] += split_next(&s, &rng);
        for (int k = 0; k < 2; k++) {
            if (got[k] < 2490 || got[k] > 2510)
                fail_msg("seed %u: %u of 5000", seed, got[k]);
        }
    }
}

/* What stands at one place of a repeating pattern is picked as often as anything else: at most
 * 5.5 standard deviations off, and over all seeds together as well. */
static void test_patterns(UNUSED void **state)
{
    static const uint32_t periods[] = {2, 3, 4, 5, 10};
    enum { REQUESTS = 12000, SEEDS = 60 / PART };
    for (size_t p = 0; p < ARRAY_LEN(periods); p++) {
        for (uint32_t ppm = 100000; ppm <= SPLIT_WHOLE_PPM / 2; ppm += 50000) {
            uint64_t all[10] = {0};
            double w = ppm / 1e6;
            double mean = REQUESTS / (double)periods[p] * w;
            /* Picks of one class lie apart or independent of each other, so this is the most. */
            double limit = 5.5 * sqrt(mean * (1 - w));
            for (uint32_t seed = 0; seed < SEEDS; seed++) {
                uint32_t got[10] = {0};
                struct rng rng;
                struct split s;
                rng_init(&rng, seed * 1000 + ppm + periods[p]);
                two_init(&s, ppm, &rng);
                for (uint32_t n = 0; n < REQUESTS; n++)
                    got[n % periods[p]] += split_next(&s, &rng);
                for (uint32_t k = 0; k < periods[p]; k++) {
                    all[k] += got[k];
                    if (fabs(got[k] - mean) > limit)
                        fail_msg("period %u, %u ppm, seed %u: %u, not %f", periods[p], ppm, seed,
                                 got[k], mean);
                }
            }
            for (uint32_t k = 0; k < periods[p]; k++) {
                if (fabs((double)all[k] - mean * SEEDS) > limit * sqrt(SEEDS))
                    fail_msg("period %u, %u ppm: %u", periods[p], ppm, (unsigned)all[k]);
            }
        }
    }
}

/* Each request from the first on has the same chance, also those across the end of a stretch. */
static void test_same_chance(UNUSED void **state)
{
    static const uint32_t weights[] = {50000, 123457, 300000, 370000, 400000, 450001, 500000};
    enum { STARTS = 40000 / PART, REQUESTS = 30 };
    struct rng rng;
    rng_init(&rng, 6);
    for (size_t i = 0; i < ARRAY_LEN(weights); i++) {
        uint32_t got[REQUESTS] = {0};
        double w = weights[i] / 1e6;
        for (int k = 0; k < STARTS; k++) {
            struct split s;
            two_init(&s, weights[i], &rng);
            for (int n = 0; n < REQUESTS; n++)
                got[n] += split_next(&s, &rng);
        }
        for (int n = 0; n < REQUESTS; n++) {
            if (fabs(got[n] - STARTS * w) > 5 * sqrt(STARTS * w * (1 - w)))
                fail_msg("%u ppm: request %d picked %u times", weights[i], n + 1, got[n]);
        }
    }
}

/* Workers begin at places of their own. */
static void test_phase(UNUSED void **state)
{
    uint32_t tenth[10] = {0};
    for (uint32_t seed = 0; seed < 10000; seed++) {
        struct rng rng;
        struct split s;
        rng_init(&rng, seed);
        two_init(&s, 1000, &rng);
        assert_true(s.pick[0].left < 1000);
        tenth[s.pick[0].left / 100]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(tenth[i], 850, 1150);
}

static void test_random_bits_once_a_stretch(UNUSED void **state)
{
    struct rng rng, before;
    struct split s;
    rng_init(&rng, 7);
    two_init(&s, 10000, &rng);
    for (int n = 0; n < 100000; n++) {
        before = rng;
        bool picked = split_next(&s, &rng) == CANARY;
        assert_int_equal(memcmp(&before, &rng, sizeof(rng)) != 0, picked);
        if (picked) { /* one draw */
            (void)rng_next(&before);
            assert_memory_equal(&before, &rng, sizeof(rng));
        }
    }
}

/* The k-th smallest of n within n/(n - k + 1), the largest within n - 1. */
static void check_chain(const uint32_t *ppm, uint32_t n, uint32_t requests, struct rng *rng)
{
    uint64_t got[SPLIT_MAX] = {0};
    double bound[SPLIT_MAX];
    uint32_t used = 0;
    struct split s;

    for (uint32_t i = 0; i < n; i++)
        used += ppm[i] > 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t smaller = 0; /* of equals, the first counts as the smaller */
        for (uint32_t k = 0; k < n; k++)
            smaller += ppm[k] > 0 && (ppm[k] < ppm[i] || (ppm[k] == ppm[i] && k < i));
        bound[i] = smaller + 1 == used ? used - 1 : (double)used / (used - smaller);
        if (ppm[i] == 0)
            bound[i] = 0;
    }
    split_init(&s, ppm, n, rng);
    for (uint64_t r = 1; r <= requests; r++) {
        uint32_t at = split_next(&s, rng);
        assert_true(at < n);
        got[at]++;
        for (uint32_t i = 0; i < n; i++) {
            double off = fabs((double)got[i] - (double)r * ppm[i] / 1e6);
            if (off > bound[i] + 1e-6)
                fail_msg("backend %u of %u (%u ppm): %f off after %u", i, n, ppm[i], off,
                         (unsigned)r);
        }
    }
}

static void test_chain(UNUSED void **state)
{
    struct rng rng;
    rng_init(&rng, 8);
    for (int round = 0; round < 400 / PART; round++) {
        uint32_t weights[SPLIT_MAX], ppm[SPLIT_MAX];
        uint32_t n = 2 + rng_below(&rng, SPLIT_MAX - 1);
        uint32_t shape = rng_below(&rng, 3);
        for (uint32_t i = 0; i < n; i++)
            weights[i] = shape == 0 ? 1 : rng_below(&rng, shape == 1 ? 100 : 1u << (i + 1));
        weights[rng_below(&rng, n)] = 50;
        assert_int_equal(split_normalise(weights, n, ppm), 0);
        check_chain(ppm, n, 3000, &rng);
    }
}

static void test_normalise(UNUSED void **state)
{
    static const uint32_t limits[] = {1, 2, 10, 101, 1000000};
    struct rng rng;
    rng_init(&rng, 9);
    for (int round = 0; round < 20000; round++) {
        uint32_t weights[SPLIT_MAX], ppm[SPLIT_MAX];
        uint32_t n = 1 + rng_below(&rng, SPLIT_MAX);
        uint64_t sum = 0, total = 0;
        for (uint32_t i = 0; i < n; i++) {
            weights[i] = rng_below(&rng, limits[rng_below(&rng, ARRAY_LEN(limits))] + 1);
            sum += weights[i];
        }
        int rc = split_normalise(weights, n, ppm);
        if (sum == 0) {
            assert_int_equal(rc, -EINVAL);
            continue;
        }
        assert_int_equal(rc, 0);
        uint32_t largest = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (weights[i] > weights[largest])
                largest = i;
        }
        for (uint32_t i = 0; i < n; i++) {
            double exact = weights[i] * 1e6 / (double)sum;
            total += ppm[i];
            assert_int_equal(ppm[i] > 0, weights[i] > 0);
            /* the largest pays for those that were raised to 1 */
            assert_true(fabs(ppm[i] - exact) < 1.0 + (i == largest ? SPLIT_MAX : 0));
        }
        assert_int_equal(total, SPLIT_WHOLE_PPM);
    }
}

static void test_normalise_known(UNUSED void **state)
{
    uint32_t ppm[SPLIT_MAX] = {77};
    assert_int_equal(split_normalise((uint32_t[]){95, 5}, 2, ppm), 0);
    assert_memory_equal(ppm, ((uint32_t[]){950000, 50000}), 2 * sizeof(uint32_t));
    assert_int_equal(split_normalise((uint32_t[]){1, 1, 1}, 3, ppm), 0);
    assert_memory_equal(ppm, ((uint32_t[]){333334, 333333, 333333}), 3 * sizeof(uint32_t));
    assert_int_equal(split_normalise((uint32_t[]){1000000, 1000000, 1}, 3, ppm), 0);
    assert_int_equal(ppm[2], 1);
    assert_int_equal(split_normalise((uint32_t[]){0, 3}, 2, ppm), 0);
    assert_memory_equal(ppm, ((uint32_t[]){0, 1000000}), 2 * sizeof(uint32_t));
    ppm[0] = 77;
    assert_int_equal(split_normalise((uint32_t[]){0, 0}, 2, ppm), -EINVAL);
    assert_int_equal(split_normalise((uint32_t[]){1000001}, 1, ppm), -EINVAL);
    assert_int_equal(split_normalise(ppm, 0, ppm), -EINVAL);
    assert_int_equal(split_normalise(ppm, SPLIT_MAX + 1, ppm), -EINVAL);
    assert_int_equal(ppm[0], 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_weight),    cmocka_unit_test(test_every_request),
        cmocka_unit_test(test_heavy_canary),    cmocka_unit_test(test_no_drift),
        cmocka_unit_test(test_all_or_nothing),  cmocka_unit_test(test_alternating),
        cmocka_unit_test(test_patterns),        cmocka_unit_test(test_same_chance),
        cmocka_unit_test(test_phase),           cmocka_unit_test(test_random_bits_once_a_stretch),
        cmocka_unit_test(test_chain),           cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_normalise_known),
    };
    return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
