/* test_standing.c - are the counts of a group right whatever happens at once, and is the share of
 * ejections never passed? */
#include "policies/standing.h"

#include "base/rng.h"
#include "base/str.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 40 };

struct group {
    struct standing_group g;
    struct standing at[MOST];
    uint32_t n;
};

static void group_init(struct group *g, uint32_t n)
{
    memset(g, 0, sizeof(*g));
    g->n = n;
    for (uint32_t i = 0; i < n; i++) {
        standing_init(&g->at[i]);
        assert_true(standing_clear(&g->g, &g->at[i], STANDING_UNLISTED));
    }
}

static struct standing_counts counted(const struct group *g)
{
    struct standing_counts c = {0};
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t w = standing_word(&g->at[i]);
        if (w & STANDING_NOT_THERE)
            assert_false(w & STANDING_EJECTIONS);
        c.there += !(w & STANDING_NOT_THERE);
        c.ejected += (w & STANDING_EJECTIONS) != 0;
        c.usable += !(w & STANDING_OUT);
    }
    return c;
}

static void expect_parts(const struct group *g)
{
    for (uint32_t part = 0; part < STANDING_PARTS; part++) {
        struct standing_counts c = standing_read_part(&g->g, part), real = {0};
        for (uint32_t i = 0; i < g->n; i++) {
            uint32_t w = standing_word(&g->at[i]);
            real.there += standing_part_of(w) == part && !(w & STANDING_NOT_THERE);
            real.usable += standing_part_of(w) == part && !(w & STANDING_OUT);
        }
        assert_memory_equal(&c, &real, sizeof(c));
    }
}

static void expect_counts(const struct group *g, uint32_t there, uint32_t ejected, uint32_t usable)
{
    struct standing_counts c = standing_read(&g->g), real = counted(g);
    assert_memory_equal(&c, &real, sizeof(c));
    assert_int_equal(c.there, there);
    assert_int_equal(c.ejected, ejected);
    assert_int_equal(c.usable, usable);
}

/* How many of n can be ejected one after another. */
static uint32_t most_of(uint32_t n, uint32_t percent)
{
    struct group g;
    uint32_t ejected = 0;
    group_init(&g, n);
    for (uint32_t i = 0; i < n; i++)
        ejected += standing_eject(&g.g, &g.at[i], percent, false);
    expect_counts(&g, n, ejected, n - ejected);
    return ejected;
}

static void test_few(void **state)
{
    (void)state;
    for (uint32_t percent = 0; percent <= 100; percent++) {
        assert_int_equal(most_of(1, percent), 0);
        assert_int_equal(most_of(2, percent), percent >= 50);
        assert_int_equal(most_of(3, percent), percent < 34 ? 0 : percent < 67 ? 1 : 2);
    }
    /* counted after the ejection, where a peer counts before it and so ejects one more */
    assert_int_equal(most_of(4, 50), 2);
    assert_int_equal(most_of(5, 50), 2);
    assert_int_equal(most_of(10, 10), 1);
    assert_int_equal(most_of(9, 10), 0);
    assert_int_equal(most_of(40, 100), 39);
}

static void test_last_usable(void **state)
{
    struct group g;
    (void)state;
    group_init(&g, 3);
    assert_true(standing_set(&g.g, &g.at[0], STANDING_UNHEALTHY));
    assert_true(standing_set(&g.g, &g.at[1], STANDING_DRAINED));
    expect_counts(&g, 2, 0, 1);
    assert_false(standing_eject(&g.g, &g.at[2], 100, false)); /* it is the last that is any good */
    assert_false(standing_eject(&g.g, &g.at[1], 100, false)); /* it is not there */
    assert_true(standing_eject(&g.g, &g.at[0], 100, false));
    assert_false(standing_eject(&g.g, &g.at[0], 100, false));
    expect_counts(&g, 2, 1, 1);
    assert_true(standing_clear(&g.g, &g.at[0], STANDING_UNHEALTHY));
    expect_counts(&g, 2, 1, 1); /* a check that passes does not end an ejection */
    assert_true(standing_return(&g.g, &g.at[0]));
    assert_false(standing_return(&g.g, &g.at[0]));
    expect_counts(&g, 2, 0, 2);
}

static void test_the_operator_goes_first(void **state)
{
    struct group g;
    (void)state;
    group_init(&g, 4);
    assert_true(standing_eject(&g.g, &g.at[0], 50, false));
    assert_true(standing_eject(&g.g, &g.at[1], 50, false));
    assert_true(standing_set(&g.g, &g.at[0], STANDING_DRAINED));
    assert_false(standing_set(&g.g, &g.at[0], STANDING_DRAINED));
    expect_counts(&g, 3, 1, 2);
    assert_false(standing_is_over(&g.g, 50));
    assert_true(standing_set(&g.g, &g.at[2], STANDING_UNLISTED));
    expect_counts(&g, 2, 1, 1);
    assert_false(standing_is_over(&g.g, 50));
    assert_true(standing_set(&g.g, &g.at[3], STANDING_UNLISTED));
    expect_counts(&g, 1, 1, 0);
    assert_true(standing_is_over(&g.g, 50)); /* the last one is ejected: it has to come back */
    assert_true(standing_is_over(&g.g, 100));
    assert_true(standing_return(&g.g, &g.at[1]));
    assert_false(standing_is_over(&g.g, 50));
    assert_true(standing_clear(&g.g, &g.at[0], STANDING_DRAINED));
    expect_counts(&g, 2, 0, 2);
}

static void test_dry(void **state)
{
    struct group g;
    (void)state;
    group_init(&g, 2);
    assert_true(standing_eject(&g.g, &g.at[0], 50, true));
    assert_false(standing_eject(&g.g, &g.at[0], 100, true));
    assert_false(standing_eject(&g.g, &g.at[1], 50, true)); /* the share is kept as if it were so */
    expect_counts(&g, 2, 1, 2);
    assert_true(standing_return(&g.g, &g.at[0]));
    expect_counts(&g, 2, 0, 2);
}

static void test_panic(void **state)
{
    (void)state;
    assert_false(standing_panics((struct standing_counts){.there = 2, .usable = 1}, 50));
    assert_true(standing_panics((struct standing_counts){.there = 3, .usable = 1}, 50));
    assert_true(standing_panics((struct standing_counts){.there = 1, .usable = 0}, 50));
    assert_false(standing_panics((struct standing_counts){.there = 1, .usable = 0}, 0));
    assert_false(standing_panics((struct standing_counts){.there = 0, .usable = 0}, 100));
    assert_true(standing_panics((struct standing_counts){.there = 4, .usable = 3}, 100));
}

/* Whatever comes in whatever order: the counts are those of the words, the share is not passed by
 * an ejection, and the last usable one stays. */
static void test_property(void **state)
{
    struct rng rng;
    (void)state;
    rng_init(&rng, 20260722);
    for (uint32_t round = 0; round < 300; round++) {
        struct group g;
        uint32_t percent = rng_below(&rng, 101);
        group_init(&g, 1 + rng_below(&rng, MOST));
        for (uint32_t step = 0; step < 400; step++) {
            static const enum standing_bit bits[] = {STANDING_UNLISTED, STANDING_DRAINED,
                                                     STANDING_UNHEALTHY, STANDING_UNREACHABLE};
            struct standing *s = &g.at[rng_below(&rng, g.n)];
            enum standing_bit bit = bits[rng_below(&rng, 4)];
            uint32_t what = rng_below(&rng, 8);
            struct standing_counts was = standing_read(&g.g);
            if (what < 4) {
                if (standing_eject(&g.g, s, percent, rng_below(&rng, 4) == 0)) {
                    struct standing_counts is = standing_read(&g.g);
                    assert_true((was.ejected + 1) * 100 <= was.there * percent);
                    assert_true(is.usable > 0 || was.usable == 0);
                    assert_true(is.ejected < is.there);
                }
            } else if (what < 5) {
                (void)standing_return(&g.g, s);
            } else if (what < 6) {
                (void)standing_set(&g.g, s, bit);
            } else {
                (void)standing_clear(&g.g, s, bit);
            }
            struct standing_counts c = standing_read(&g.g), real = counted(&g);
            assert_memory_equal(&c, &real, sizeof(c));
        }
    }
}

/* --- parts --- */

static void test_parts(void **state)
{
    struct group g;
    (void)state;
    group_init(&g, 4);
    assert_int_equal(standing_read_part(&g.g, 0).usable, 4);
    uint32_t changes = standing_changes(&g.g);
    assert_true(standing_move(&g.g, &g.at[0], 63));
    assert_false(standing_move(&g.g, &g.at[0], 63));
    assert_true(standing_eject(&g.g, &g.at[1], 50, false));
    assert_true(standing_set(&g.g, &g.at[2], STANDING_DRAINED));
    assert_int_equal(standing_changes(&g.g), changes + 3);
    assert_int_equal(standing_read_part(&g.g, 63).usable, 1);
    assert_int_equal(standing_read_part(&g.g, 0).there, 2);
    assert_int_equal(standing_read_part(&g.g, 0).usable, 1);
    /* what stands against it goes with it */
    assert_true(standing_move(&g.g, &g.at[1], 5));
    assert_true(standing_move(&g.g, &g.at[2], 5));
    assert_int_equal(standing_read_part(&g.g, 5).there, 1);
    assert_int_equal(standing_read_part(&g.g, 5).usable, 0);
    expect_counts(&g, 3, 1, 2);
    assert_true(standing_clear(&g.g, &g.at[2], STANDING_DRAINED));
    assert_true(standing_return(&g.g, &g.at[1]));
    assert_int_equal(standing_read_part(&g.g, 5).usable, 2);
    /* of a second reason the parts see nothing */
    assert_true(standing_set(&g.g, &g.at[1], STANDING_UNHEALTHY));
    changes = standing_changes(&g.g);
    assert_true(standing_eject(&g.g, &g.at[1], 50, false));
    assert_int_equal(standing_changes(&g.g), changes);
    assert_true(standing_eject(&g.g, &g.at[2], 50, true)); /* would: it is used */
    assert_int_equal(standing_changes(&g.g), changes);
    expect_parts(&g);
}

/* Counted after its word, and read in between. */
static void test_part_reads_are_sane(void **state)
{
    static struct standing_group g;
    (void)state;
    atomic_store(&g.parts[1].there, -1);
    assert_int_equal(standing_read_part(&g, 1).there, 0);
    atomic_store(&g.parts[1].there, 2);
    atomic_store(&g.parts[1].usable, 3);
    assert_int_equal(standing_read_part(&g, 1).usable, 2);
    atomic_store(&g.parts[1].usable, -1);
    assert_int_equal(standing_read_part(&g, 1).usable, 0);
}

/* --- threads --- */

enum { THREADS = 4, ROUNDS = 20000 };

struct shared {
    struct group g;
    _Atomic uint32_t ejected; /* by the tests' own account */
    _Atomic uint32_t over;
};

static void *ejects(void *arg)
{
    struct shared *sh = arg;
    struct rng rng;
    rng_init(&rng, (uint64_t)(uintptr_t)&rng);
    for (int i = 0; i < ROUNDS; i++) {
        struct standing *s = &sh->g.at[rng_below(&rng, sh->g.n)];
        if (standing_eject(&sh->g.g, s, 50, false)) {
            if (atomic_fetch_add(&sh->ejected, 1) + 1 > sh->g.n / 2)
                atomic_store(&sh->over, 1);
            atomic_fetch_sub(&sh->ejected, 1); /* our account first: it may only be too high */
            (void)standing_return(&sh->g.g, s);
        }
    }
    return NULL;
}

static void *unsettles(void *arg)
{
    struct shared *sh = arg;
    struct rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < ROUNDS; i++) {
        struct standing *s = &sh->g.at[rng_below(&rng, sh->g.n)];
        if (rng_below(&rng, 2) == 0)
            (void)standing_set(&sh->g.g, s, STANDING_UNHEALTHY);
        else
            (void)standing_clear(&sh->g.g, s, STANDING_UNHEALTHY);
    }
    return NULL;
}

static void *moves(void *arg)
{
    struct shared *sh = arg;
    struct rng rng;
    rng_init(&rng, 6);
    for (int i = 0; i < ROUNDS; i++)
        (void)standing_move(&sh->g.g, &sh->g.at[rng_below(&rng, sh->g.n)], rng_below(&rng, 3));
    return NULL;
}

static void test_threads(void **state)
{
    static struct shared sh;
    pthread_t threads[THREADS + 2];
    (void)state;
    group_init(&sh.g, 7);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ejects, &sh), 0);
    assert_int_equal(pthread_create(&threads[THREADS + 1], NULL, moves, &sh), 0);
    assert_int_equal(pthread_create(&threads[THREADS], NULL, unsettles, &sh), 0);
    for (int i = 0; i < THREADS + 2; i++)
        (void)pthread_join(threads[i], NULL);
    assert_false(atomic_load(&sh.over));
    for (uint32_t i = 0; i < sh.g.n; i++)
        (void)standing_clear(&sh.g.g, &sh.g.at[i], STANDING_UNHEALTHY);
    expect_counts(&sh.g, 7, 0, 7);
    expect_parts(&sh.g);
}

static void *ejects_all(void *arg)
{
    struct shared *sh = arg;
    uint32_t ejected = 0;
    for (uint32_t i = 0; i < sh->g.n; i++)
        ejected += standing_eject(&sh->g.g, &sh->g.at[i], 100, false);
    atomic_fetch_add(&sh->ejected, ejected);
    return NULL;
}

/* Threads that want all of them out at once: one stays, and it does not matter which. */
static void test_threads_leave_the_last(void **state)
{
    static struct shared sh;
    pthread_t threads[THREADS];
    (void)state;
    for (uint32_t round = 0; round < 200; round++) {
        group_init(&sh.g, 1 + round % MOST);
        atomic_store(&sh.ejected, 0);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, ejects_all, &sh), 0);
        for (int i = 0; i < THREADS; i++)
            (void)pthread_join(threads[i], NULL);
        assert_int_equal(atomic_load(&sh.ejected), sh.g.n - 1);
        expect_counts(&sh.g, sh.g.n, sh.g.n - 1, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few),     cmocka_unit_test(test_last_usable),
        cmocka_unit_test(test_dry),     cmocka_unit_test(test_the_operator_goes_first),
        cmocka_unit_test(test_panic),   cmocka_unit_test(test_property),
        cmocka_unit_test(test_parts),   cmocka_unit_test(test_part_reads_are_sane),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_threads_leave_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
