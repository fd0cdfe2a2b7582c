/* test_h2_guard.c - what a peer may do how often. */
#include "http/h2_guard.h"

#include "base/check.h"
#include "base/rng.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

enum { PER_SECOND = 33 };

static const uint32_t bursts[H2_ABUSE_KINDS] = {
    [H2_ABUSE_RESET] = 500,     [H2_ABUSE_PING] = 1000,          [H2_ABUSE_EMPTY_DATA] = 1000,
    [H2_ABUSE_PRIORITY] = 1000, [H2_ABUSE_WINDOW_UPDATE] = 1000,
};

static void test_burst(UNUSED void **state)
{
    for (int kind = 0; kind < H2_ABUSE_KINDS; kind++) {
        struct h2_guard g;
        usec_t now = 12345 * USEC_PER_SEC;
        h2_guard_init(&g);
        for (uint32_t i = 0; i < bursts[kind]; i++)
            assert_true(h2_guard_count(&g, (enum h2_abuse)kind, 1, now));
        assert_false(h2_guard_count(&g, (enum h2_abuse)kind, 1, now));
        assert_false(h2_guard_count(&g, (enum h2_abuse)kind, 1, now));
        /* One kind says nothing of another. */
        for (int other = 0; other < H2_ABUSE_KINDS; other++) {
            if (other != kind)
                assert_true(h2_guard_count(&g, (enum h2_abuse)other, bursts[other], now));
        }
    }
}

static void test_many_at_once(UNUSED void **state)
{
    struct h2_guard g;
    h2_guard_init(&g);
    assert_true(h2_guard_count(&g, H2_ABUSE_RESET, 500, 1));
    h2_guard_init(&g);
    assert_false(h2_guard_count(&g, H2_ABUSE_RESET, 501, 1));
    h2_guard_init(&g);
    assert_false(h2_guard_count(&g, H2_ABUSE_RESET, UINT32_MAX, 1));
    h2_guard_init(&g);
    assert_false(
        h2_guard_count(&g, H2_ABUSE_RESET, 4294968, 1)); /* times 1,000 is 704 modulo 2^32 */
}

/* However the time is cut: microseconds one by one lose a few percent of it at most. */
static void test_rate(UNUSED void **state)
{
    static const usec_t steps[] = {1, 7, 999, 1000, 30303, 250000, USEC_PER_SEC};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct h2_guard g;
        usec_t begin = 5 * USEC_PER_SEC, now = begin;
        uint32_t taken = 0;
        h2_guard_init(&g);
        assert_true(h2_guard_count(&g, H2_ABUSE_PING, 1000, now));
        for (; now < begin + 3 * USEC_PER_SEC; now += steps[i]) {
            struct h2_guard probe = g;
            while (h2_guard_count(&probe, H2_ABUSE_PING, 1, now)) {
                g = probe;
                taken++;
            }
            (void)h2_guard_count(&g, H2_ABUSE_PING, 0, now);
        }
        /* The last step lies beyond the loop. */
        uint32_t least = 3 * PER_SECOND - 4 - (uint32_t)(steps[i] * PER_SECOND / USEC_PER_SEC);
        assert_in_range(taken, least, 3 * PER_SECOND);
    }
}

static void test_full_again(UNUSED void **state)
{
    struct h2_guard g;
    h2_guard_init(&g);
    assert_true(h2_guard_count(&g, H2_ABUSE_RESET, 500, USEC_PER_SEC));
    /* A bucket holds no more than its burst, however long it rests. */
    assert_true(h2_guard_count(&g, H2_ABUSE_RESET, 500, USEC_PER_SEC + (UINT64_MAX >> 4)));
    assert_false(h2_guard_count(&g, H2_ABUSE_RESET, 1, USEC_PER_SEC + (UINT64_MAX >> 4)));
    /* A clock that steps back brings nothing, and takes nothing. */
    h2_guard_init(&g);
    assert_true(h2_guard_count(&g, H2_ABUSE_RESET, 499, 10 * USEC_PER_SEC));
    assert_true(h2_guard_count(&g, H2_ABUSE_RESET, 1, 9 * USEC_PER_SEC));
    assert_false(h2_guard_count(&g, H2_ABUSE_RESET, 1, 9 * USEC_PER_SEC));
}

/* Over any stretch from the beginning: at most the burst, and the rate times the time. */
static void test_never_more(UNUSED void **state)
{
    struct rng rng;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct h2_guard g;
        rng_init(&rng, seed);
        enum h2_abuse kind = (enum h2_abuse)rng_below(&rng, H2_ABUSE_KINDS);
        usec_t begin = 1 + rng_next(&rng) % (1000 * USEC_PER_SEC), now = begin;
        uint64_t taken = 0;
        h2_guard_init(&g);
        for (int i = 0; i < 3000; i++) {
            uint32_t n = 1 + (rng_below(&rng, 8) == 0 ? rng_below(&rng, 40) : 0);
            now += rng_below(&rng, 4) == 0 ? rng_below(&rng, 100000) : rng_below(&rng, 50);
            if (h2_guard_count(&g, kind, n, now))
                taken += n;
            assert_true(taken * USEC_PER_SEC <=
                        bursts[kind] * USEC_PER_SEC + (now - begin) * PER_SECOND);
        }
    }
}

static void test_reasons(UNUSED void **state)
{
    assert_int_equal(h2_abuse_reason(H2_ABUSE_RESET), REASON_H2_RESET_FLOOD);
    assert_int_equal(h2_abuse_reason(H2_ABUSE_PING), REASON_H2_PING_FLOOD);
    assert_int_equal(h2_abuse_reason(H2_ABUSE_EMPTY_DATA), REASON_H2_EMPTY_DATA_FLOOD);
    assert_int_equal(h2_abuse_reason(H2_ABUSE_PRIORITY), REASON_H2_PRIORITY_FLOOD);
    assert_int_equal(h2_abuse_reason(H2_ABUSE_WINDOW_UPDATE), REASON_H2_WINDOW_UPDATE_FLOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst),      cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_rate),       cmocka_unit_test(test_full_again),
        cmocka_unit_test(test_never_more), cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
