/* test_leak.c - what grows without end is found, and nothing else is, in simulated time. */
#include "policies/leak.h"

#include "base/check.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define S   USEC_PER_SEC
#define MIB (UINT64_C(1) << 20)

static const struct leak_rules usual = {
    .enabled = true, .interval = 3 * S, .window = 60 * S, .threshold = 250};

/* An application over its time. */
struct run {
    struct leak leak;
    struct leak_rules rules;
    struct leak_sample at;
    usec_t now;
    usec_t reported[LEAK_RESOURCES]; /* first; 0: never */
    uint32_t reports[LEAK_RESOURCES], ends[LEAK_RESOURCES];
};

static void begin(struct run *r)
{
    memset(r, 0, sizeof(*r));
    r->rules = usual;
    r->now = 1000 * S;
    r->at = (struct leak_sample){.value = {40, 10, 100 * MIB, 12}, .connections = 5};
    leak_begin(&r->leak, r->now);
}

static void sample(struct run *r)
{
    struct leak_news news;
    r->now += r->rules.interval;
    leak_take(&r->leak, &r->rules, &r->at, r->now, &news);
    for (int k = 0; k < LEAK_RESOURCES; k++) {
        uint32_t bit = 1u << k;
        if (news.suspected & bit) {
            r->reports[k]++;
            if (r->reported[k] == 0)
                r->reported[k] = r->now;
            assert_true(leak_suspected(&r->leak, (enum leak_resource)k));
        }
        if (news.over & bit) {
            r->ends[k]++;
            assert_false(leak_suspected(&r->leak, (enum leak_resource)k));
        }
        assert_false(news.suspected & news.over & bit);
    }
}

static void samples(struct run *r, usec_t for_so_long)
{
    for (usec_t end = r->now + for_so_long; r->now < end;)
        sample(r);
}

static void assert_nothing(const struct run *r)
{
    for (int k = 0; k < LEAK_RESOURCES; k++)
        assert_int_equal(r->reports[k], 0);
}

static void test_constant(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    samples(&r, 24 * 3600 * S);
    assert_nothing(&r);
    assert_int_equal(r.leak.judged[LEAK_FDS].score, 0);
    begin(&r);
    r.at = (struct leak_sample){0};
    samples(&r, 3600 * S);
    assert_nothing(&r);
}

/* However it came to be what it is: what happens in the first window is its start. */
static void test_nothing_in_the_first_window(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    for (usec_t began = r.now; r.now + r.rules.interval < began + r.rules.window;) {
        r.at.value[LEAK_FDS] *= 2;
        r.at.value[LEAK_RSS] += 100 * MIB;
        sample(&r);
    }
    assert_nothing(&r);
}

static void test_steady_leak_of_fds(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    usec_t began = r.now;
    while (r.reports[LEAK_FDS] == 0 && r.now < began + 3600 * S) {
        r.at.value[LEAK_FDS] += 3; /* 1 a second */
        sample(&r);
    }
    /* The first window, LEAK_SLOTS more, and the sample that ends the last. */
    assert_true(r.reported[LEAK_FDS] <= began + (LEAK_SLOTS + 1) * r.rules.window + 2 * 3 * S);
    const struct leak_growth *g = &r.leak.judged[LEAK_FDS].growth;
    assert_true(g->trend);
    assert_int_equal(g->to, r.at.value[LEAK_FDS]);
    assert_true(g->from >= 40 + 60 && g->from < g->to);
    assert_true(g->since >= began && r.now - g->since == LEAK_SLOTS * r.rules.window);
    /* Told again when it has doubled, and not with each sample. */
    for (int i = 0; i < 2000; i++) {
        r.at.value[LEAK_FDS] += 3;
        sample(&r);
    }
    assert_in_range(r.reports[LEAK_FDS], 3, 6);
    assert_int_equal(r.ends[LEAK_FDS], 0);
    assert_int_equal(r.reports[LEAK_THREADS] + r.reports[LEAK_RSS] + r.reports[LEAK_SOCKETS], 0);
    /* It ends: so does the suspicion, in the longest view of it too. */
    samples(&r, 12 * 3600 * S);
    assert_true(r.ends[LEAK_FDS] > 0);
    assert_false(leak_suspected(&r.leak, LEAK_FDS));
}

/* The design's score alone would never say a word. */
static void test_slow_leaks_show_at_higher_levels(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    usec_t began = r.now;
    for (int i = 0; r.reports[LEAK_RSS] == 0 && i < 24 * 1200; i++) {
        r.at.value[LEAK_RSS] += MIB / 80; /* 256 KiB a minute */
        sample(&r);
        assert_true(r.leak.judged[LEAK_RSS].score < 100);
    }
    assert_in_range(r.reported[LEAK_RSS] - began, 60 * 60 * S, 3 * 3600 * S);
    assert_true(r.leak.judged[LEAK_RSS].trends > 1);
    /* A megabyte an hour. */
    begin(&r);
    began = r.now;
    for (int i = 0; r.reports[LEAK_RSS] == 0 && i < 3 * 24 * 1200; i++) {
        r.at.value[LEAK_RSS] += MIB / 1200;
        sample(&r);
    }
    assert_int_equal(r.reports[LEAK_RSS], 1);
    assert_int_equal(r.leak.judged[LEAK_RSS].trends, 1u << (LEAK_LEVELS - 1));
}

/* What stays is the mean in the end. */
static void test_step(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    samples(&r, 120 * S);
    r.at.value[LEAK_FDS] = 400;
    sample(&r);
    assert_nothing(&r); /* one sample may be a moment */
    sample(&r);
    assert_int_equal(r.reports[LEAK_FDS], 1);
    const struct leak_growth *g = &r.leak.judged[LEAK_FDS].growth;
    assert_false(g->trend);
    assert_true(g->from >= 40 && g->from < 80);
    assert_int_equal(g->to, 400);
    samples(&r, 60 * S);
    assert_int_equal(r.ends[LEAK_FDS], 1);
    samples(&r, 24 * 3600 * S);
    assert_int_equal(r.reports[LEAK_FDS], 1);
}

static void test_a_moment(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    samples(&r, 120 * S);
    for (int i = 0; i < 100; i++) {
        r.at.value[LEAK_FDS] = 4000;
        sample(&r);
        r.at.value[LEAK_FDS] = 40;
        samples(&r, 60 * S);
    }
    assert_nothing(&r);
}

static void test_threshold(void **state)
{
    struct run r;
    (void)state;
    /* 10 threads to n: (n - 10) / 11 */
    for (int n = 37; n <= 38; n++) {
        begin(&r);
        samples(&r, 120 * S);
        r.at.value[LEAK_THREADS] = (uint64_t)n;
        sample(&r);
        sample(&r);
        assert_int_equal(r.reports[LEAK_THREADS], 0);
        begin(&r);
        samples(&r, 120 * S);
        r.at.value[LEAK_THREADS] = (uint64_t)n;
        r.rules.threshold = 200; /* taken at once */
        sample(&r);
        sample(&r);
        assert_int_equal(r.reports[LEAK_THREADS], 1);
    }
    begin(&r);
    samples(&r, 120 * S);
    r.at.value[LEAK_THREADS] = 50;
    sample(&r);
    sample(&r);
    assert_int_equal(r.reports[LEAK_THREADS], 1);
}

/* From 1 to 8 is a score of 3.5, and nothing to speak of. */
static void test_small_numbers(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    r.at = (struct leak_sample){.value = {1, 1, 0, 0}};
    samples(&r, 120 * S);
    r.at = (struct leak_sample){.value = {12, 8, 8 * MIB, 12}};
    samples(&r, 3600 * S);
    assert_nothing(&r);
    /* Nor is it when it takes long. */
    begin(&r);
    for (int i = 0; i < 1200; i++) {
        r.at.value[LEAK_RSS] = 100 * MIB + (uint64_t)i * 4096;
        sample(&r);
    }
    assert_nothing(&r);
}

/* Connections with us explain as many descriptors, sockets and threads; not memory. */
static void test_traffic_is_no_leak(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    samples(&r, 120 * S);
    r.at.connections = 505;
    r.at.value[LEAK_FDS] += 500;
    r.at.value[LEAK_SOCKETS] += 500;
    r.at.value[LEAK_THREADS] += 500;
    samples(&r, 600 * S);
    assert_nothing(&r);
    /* Nor is traffic that grows evenly. */
    for (int i = 0; i < 2000; i++) {
        r.at.connections++;
        r.at.value[LEAK_FDS]++;
        r.at.value[LEAK_SOCKETS]++;
        sample(&r);
    }
    assert_nothing(&r);
    /* It goes, and what it leaves behind stays: that is one. */
    begin(&r);
    for (int i = 0; i < 1000; i++) {
        r.at.connections = 5 + (uint64_t)(i % 20) * 20;
        r.at.value[LEAK_SOCKETS] = 12 + (uint64_t)(i % 20) * 20 + (uint64_t)i;
        sample(&r);
    }
    assert_true(r.reports[LEAK_SOCKETS] > 0);
    begin(&r);
    samples(&r, 120 * S);
    r.at.connections = 505;
    r.at.value[LEAK_RSS] = 1000 * MIB;
    samples(&r, 9 * S);
    assert_int_equal(r.reports[LEAK_RSS], 1);
}

/* A sawtooth whose teeth are shorter than a window has an even ground. */
static void test_garbage_collection(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    for (int i = 0; i < 20000; i++) {
        r.at.value[LEAK_RSS] = (100 + (uint64_t)(i % 15) * 10) * MIB;
        sample(&r);
    }
    assert_nothing(&r);
}

static void test_noise(void **state)
{
    struct rng rng;
    struct run r;
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        rng_init(&rng, seed);
        begin(&r);
        for (int i = 0; i < 24 * 1200; i++) {
            r.at.value[LEAK_FDS] = 100 + rng_below(&rng, 100);
            r.at.value[LEAK_THREADS] = 20 + rng_below(&rng, 20);
            r.at.value[LEAK_RSS] = (100 + rng_below(&rng, 100)) * MIB;
            r.at.value[LEAK_SOCKETS] = 50 + rng_below(&rng, 60);
            sample(&r);
        }
        assert_nothing(&r);
    }
}

/* A leak under noise twice its growth in a window. */
static void test_leak_under_noise(void **state)
{
    struct rng rng;
    struct run r;
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        rng_init(&rng, seed);
        begin(&r);
        for (int i = 0; i < 1200; i++) {
            r.at.value[LEAK_FDS] = 40 + (uint64_t)i * 3 + rng_below(&rng, 120);
            sample(&r);
        }
        assert_true(r.reports[LEAK_FDS] > 0);
    }
}

static void test_unknown(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    r.at.value[LEAK_SOCKETS] = LEAK_UNKNOWN;
    for (int i = 0; i < 400; i++) {
        r.at.value[LEAK_FDS] += 3;
        sample(&r);
    }
    assert_int_equal(r.reports[LEAK_SOCKETS], 0);
    assert_true(r.reports[LEAK_FDS] > 0);
    /* What was suspected and cannot be seen any more is not. */
    r.at.value[LEAK_FDS] = LEAK_UNKNOWN;
    uint32_t reports = r.reports[LEAK_FDS];
    samples(&r, 2 * LEAK_UP * r.rules.window);
    assert_int_equal(r.ends[LEAK_FDS], 1);
    assert_false(leak_suspected(&r.leak, LEAK_FDS));
    /* It comes back as something else: there is nothing to compare it with. */
    r.at.value[LEAK_FDS] = 100000;
    samples(&r, 600 * S);
    assert_int_equal(r.reports[LEAK_FDS], reports);
}

/* The machine slept. */
static void test_gaps(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    for (int i = 0; i < 100; i++) {
        samples(&r, 60 * S);
        r.now += 600 * S;
        r.at.value[LEAK_FDS] += 1000;
    }
    assert_nothing(&r);
}

static void test_most(void **state)
{
    struct run r;
    (void)state;
    begin(&r);
    assert_int_equal(leak_most(&r.leak, 0), LEAK_RESOURCES);
    samples(&r, 120 * S);
    r.at.value[LEAK_FDS] = 400;
    r.at.value[LEAK_SOCKETS] = 372;
    samples(&r, 6 * S);
    assert_int_equal(leak_most(&r.leak, 1u << LEAK_FDS | 1u << LEAK_SOCKETS), LEAK_SOCKETS);
    assert_int_equal(leak_most(&r.leak, 1u << LEAK_FDS), LEAK_FDS);
    assert_string_equal(leak_word(LEAK_RSS), "rss_bytes");
}

/* Whatever comes: no report in the first window; a report only of what has grown; an end only
 * behind a report; scores of absurd values do not overflow. */
static void test_whatever_comes(void **state)
{
    struct rng rng;
    struct run r;
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        rng_init(&rng, seed);
        begin(&r);
        r.rules.window = (4 + rng_below(&rng, 100)) * r.rules.interval;
        usec_t began = r.now;
        for (int i = 0; i < 1000; i++) {
            for (int k = 0; k < LEAK_RESOURCES; k++) {
                uint64_t dice = rng_below(&rng, 40);
                uint64_t *v = &r.at.value[k];
                *v = dice == 0                    ? LEAK_UNKNOWN
                     : dice == 1                  ? rng_next(&rng)
                     : dice == 2 || *v > 1u << 30 ? rng_below(&rng, 100)
                     : dice < 20                  ? *v + rng_below(&rng, 50)
                                                  : *v;
            }
            r.at.connections = rng_below(&rng, 10) == 0 ? rng_next(&rng) : rng_below(&rng, 100);
            if (rng_below(&rng, 200) == 0)
                r.now += rng_below(&rng, 1000) * S;
            sample(&r);
            for (int k = 0; k < LEAK_RESOURCES; k++) {
                const struct leak_growth *g = &r.leak.judged[k].growth;
                if (r.reported[k] == r.now) {
                    assert_true(r.now >= began + r.rules.window);
                    assert_true(g->to > g->from && g->since < r.now);
                }
                assert_true(r.ends[k] <= r.reports[k]);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_nothing_in_the_first_window),
        cmocka_unit_test(test_steady_leak_of_fds),
        cmocka_unit_test(test_slow_leaks_show_at_higher_levels),
        cmocka_unit_test(test_step),
        cmocka_unit_test(test_a_moment),
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_small_numbers),
        cmocka_unit_test(test_traffic_is_no_leak),
        cmocka_unit_test(test_garbage_collection),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_leak_under_noise),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_most),
        cmocka_unit_test(test_whatever_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
