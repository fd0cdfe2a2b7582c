/* test_circuit_breaker_shared.c - is a breaker exact when several workers use it at once? */
#include "base/check.h"
#include "base/rng.h"
#include "policies/circuit_breaker.h"

#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 3000, THRESHOLD = 5 };

#define SECOND USEC_PER_SEC

static struct breaker breaker;
static struct breaker_rules rules;
static pthread_barrier_t barrier;
static _Atomic usec_t now;
static _Atomic uint64_t admitted, probes, opened, closed, out;

static void setup(void)
{
    memset(&breaker, 0, sizeof(breaker));
    rules = (struct breaker_rules){.enabled = true,
                                   .consecutive_errors = THRESHOLD,
                                   .window = 10 * SECOND,
                                   .min_requests = 1,
                                   .open_duration = SECOND,
                                   .max_open_duration = SECOND,
                                   .half_open_timeout = 3600 * SECOND,
                                   .half_open_successes = 1};
    now = 1000 * SECOND;
    admitted = probes = opened = closed = out = 0;
}

static void run(void *(*fn)(void *))
{
    pthread_t t[THREADS];
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, fn, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    (void)pthread_barrier_destroy(&barrier);
}

static void tell(enum result r, uint32_t epoch)
{
    struct breaker_change c = {0};
    breaker_report(&breaker, &rules, epoch, r, 0, now, 0, &c);
    opened += c.happened && c.to == BREAKER_OPEN;
    closed += c.happened && c.to == BREAKER_CLOSED;
}

/* --- the last failure opens it once; no call too many is let through --- */

static void *fail_until_open(void *arg)
{
    (void)arg;
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t epoch;
        struct breaker_change c = {0};
        (void)pthread_barrier_wait(&barrier);
        while (breaker_admit(&breaker, &rules, now, USEC_NEVER, 0, &epoch, &c) != BREAKER_REFUSE) {
            admitted++;
            tell(RESULT_ERROR, epoch);
        }
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
            /* Each thread had at most one in flight. */
            CHECK(admitted >= THRESHOLD && admitted < THRESHOLD + THREADS);
            CHECK(opened == 1);
            setup();
        }
        (void)pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void test_opens_once(void **unused)
{
    (void)unused;
    setup();
    run(fail_until_open);
}

/* --- one probe at a time --- */

static void *probe(void *arg)
{
    struct rng rng;
    rng_init(&rng, (uintptr_t)arg);
    for (int round = 0; round < ROUNDS * 20; round++) {
        uint32_t epoch;
        struct breaker_change c = {0};
        enum breaker_verdict v = breaker_admit(&breaker, &rules, now, USEC_NEVER, 0, &epoch, &c);
        if (v == BREAKER_PROBE) {
            CHECK(out++ == 0);
            probes++;
            out--;
            tell(rng_below(&rng, 2) ? RESULT_NOTHING : RESULT_ERROR, epoch);
        }
        if (rng_below(&rng, 10) == 0)
            now += SECOND / 4;
    }
    return NULL;
}

static void test_one_probe(void **unused)
{
    uint32_t epoch = 0;
    struct breaker_change c = {0};
    (void)unused;
    setup();
    for (int i = 0; i < THRESHOLD; i++) {
        assert_int_equal(breaker_admit(&breaker, &rules, now, USEC_NEVER, 0, &epoch, &c),
                         BREAKER_ADMIT);
        tell(RESULT_ERROR, epoch);
    }
    run(probe);
    assert_true(probes > 0);
    assert_int_equal(closed, 0);
}

/* --- all at once --- */

static void *anything(void *arg)
{
    struct rng rng;
    rng_init(&rng, (uintptr_t)arg);
    for (int round = 0; round < ROUNDS * 20; round++) {
        uint32_t epoch;
        struct breaker_change c = {0};
        enum breaker_verdict v =
            breaker_admit(&breaker, &rules, now, USEC_NEVER, rng_next(&rng), &epoch, &c);
        if (v != BREAKER_REFUSE)
            tell((enum result)rng_below(&rng, RESULTS), epoch);
        now += rng_below(&rng, SECOND / 50);
        if (rng_below(&rng, 1000) == 0)
            (void)breaker_force(&breaker, now, &c);
        if (rng_below(&rng, 300) == 0)
            (void)breaker_reset(&breaker, now, &c);
    }
    return NULL;
}

static void test_never_stuck(void **unused)
{
    struct breaker_change c = {0};
    uint32_t epoch = 0;
    (void)unused;
    setup();
    rules.error_rate = 50;
    run(anything);
    if (breaker_is_forced(&breaker))
        (void)breaker_reset(&breaker, now, &c);
    now += 2 * SECOND; /* whatever has happened: by now it is tried again */
    assert_int_not_equal(breaker_admit(&breaker, &rules, now, USEC_NEVER, 0, &epoch, &c),
                         BREAKER_REFUSE);
}

/* --- the window --- */

static void *count(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100000; i++) {
        call_window_add(&breaker.window, CALL_ANY, 7, 10 * SECOND, now + (usec_t)i * 90);
        if (i % 4 == 0)
            call_window_add(&breaker.window, CALL_FAILED, 7, 10 * SECOND, now + (usec_t)i * 90);
    }
    return NULL;
}

static uint64_t sum(enum call_kind kind, uint32_t epoch, usec_t window, usec_t at)
{
    return call_window_sum(&breaker.window, kind, epoch, window, at);
}

static void test_window_counts_each(void **unused)
{
    (void)unused;
    setup();
    run(count);
    usec_t end = now + 9 * SECOND;
    assert_int_equal(sum(CALL_ANY, 7, 10 * SECOND, end), THREADS * 100000);
    assert_int_equal(sum(CALL_FAILED, 7, 10 * SECOND, end), THREADS * 25000);
    assert_int_equal(sum(CALL_SLOW, 7, 10 * SECOND, end), 0);
    assert_int_equal(sum(CALL_ANY, 8, 10 * SECOND, end), 0); /* of another epoch */
    assert_int_equal(sum(CALL_ANY, 7, 7 * SECOND, end), 0);  /* of another length */
    assert_int_equal(sum(CALL_ANY, 7, 10 * SECOND, end + 10 * SECOND), 0);
}

static void test_window_keeps_the_newer(void **unused)
{
    (void)unused;
    setup();
    call_window_add(&breaker.window, CALL_ANY, 1, SECOND, now);
    call_window_add(&breaker.window, CALL_ANY, 1, SECOND, now - SECOND); /* the same bucket's */
    assert_int_equal(sum(CALL_ANY, 1, SECOND, now), 1);
    call_window_add(&breaker.window, CALL_ANY, 1, SECOND, now + SECOND);
    assert_int_equal(sum(CALL_ANY, 1, SECOND, now + SECOND), 1);
    assert_int_equal(sum(CALL_ANY, 1, SECOND, 0), 0);
    atomic_fetch_or(&breaker.window.buckets[CALL_ANY][0], UINT32_MAX); /* it never goes round */
    call_window_add(&breaker.window, CALL_ANY, 1, SECOND, now + SECOND);
    assert_int_equal(sum(CALL_ANY, 1, SECOND, now + SECOND), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_once),
        cmocka_unit_test(test_one_probe),
        cmocka_unit_test(test_never_stuck),
        cmocka_unit_test(test_window_counts_each),
        cmocka_unit_test(test_window_keeps_the_newer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
