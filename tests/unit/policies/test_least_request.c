/* test_least_request.c - who has less to do, and how soon an endpoint that has become slow gets
 * next to nothing: with endpoints and a clock that are simulated. */
#include "policies/least_request.h"

#include "base/check.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define MS(n) ((usec_t)(n)*USEC_PER_MSEC)

static struct least_request_load load(uint32_t active, uint32_t weight, usec_t mean)
{
    return (struct least_request_load){active, weight, {mean, 0}};
}

static bool prefers(struct least_request_load a, struct least_request_load b)
{
    return least_request_prefers(&a, &b, 0);
}

static void test_by_what_is_under_way(UNUSED void **state)
{
    assert_true(prefers(load(3, 10000, 0), load(2, 10000, 0)));
    assert_false(prefers(load(2, 10000, 0), load(2, 10000, 0))); /* the first that was drawn */
    assert_false(prefers(load(10, 10000, 0), load(1, 1000, 0)));
    assert_true(prefers(load(11, 10000, 0), load(1, 1000, 0)));
}

/* About as fast, or both fast: latency says nothing. */
static void test_small_differences_say_nothing(UNUSED void **state)
{
    assert_true(prefers(load(1, 10000, MS(1)), load(0, 10000, MS(90))));
    assert_true(prefers(load(1, 10000, MS(150)), load(0, 10000, MS(590))));
    assert_true(prefers(load(1, 10000, MS(10)), load(0, 10000, MS(105))));
    assert_true(
        prefers(load(1, 10000, 0), load(0, 10000, MS(9000)))); /* the other one is not known */
}

static void test_slower_by_far(UNUSED void **state)
{
    assert_false(prefers(load(9, 10000, MS(50)), load(0, 10000, MS(2000))));
    assert_true(prefers(load(0, 10000, MS(2000)), load(9, 10000, MS(50))));
    assert_true(prefers(load(49, 10000, MS(50)), load(0, 10000, MS(2000)))); /* they queue there */
}

static void test_time_heals(UNUSED void **state)
{
    struct pace p = {MS(2000), MS(1000)};
    assert_int_equal(pace_now(&p, 0), MS(2000));
    assert_int_equal(pace_now(&p, MS(5999)), MS(2000));
    assert_int_equal(pace_now(&p, MS(6000)), MS(1000));
    assert_int_equal(pace_now(&p, MS(16000)), MS(250));
    assert_int_equal(pace_now(&p, USEC_NEVER), 0);
}

static void test_mean(UNUSED void **state)
{
    struct pace p = {0};
    pace_note(&p, MS(40), 1);
    assert_int_equal(p.mean, MS(10));
    pace_note(&p, MS(100), 2);
    assert_int_equal(p.mean, 32500);
    for (usec_t i = 0; i < 100; i++)
        pace_note(&p, MS(2000), 3 + i);
    assert_in_range(p.mean, MS(1990), MS(2000));
    assert_int_equal(p.at, 102);
}

/* --- a brown-out --- */

enum { MOST = 4, BUSY = 4096 };

struct world {
    struct rng rng;
    usec_t now, due[MOST][BUSY]; /* when each that is under way is answered */
    usec_t began[MOST][BUSY];
    struct least_request_load at[MOST];
    usec_t takes[MOST];
};

static void answers(struct world *w)
{
    for (uint32_t e = 0; e < MOST; e++) {
        for (uint32_t i = 0; i < w->at[e].active;) {
            if (w->due[e][i] > w->now) {
                i++;
                continue;
            }
            pace_note(&w->at[e].pace, w->due[e][i] - w->began[e][i], w->now);
            uint32_t last = --w->at[e].active;
            w->due[e][i] = w->due[e][last];
            w->began[e][i] = w->began[e][last];
        }
    }
}

static uint32_t sends(struct world *w)
{
    uint32_t a = rng_below(&w->rng, MOST), b = (a + 1 + rng_below(&w->rng, MOST - 1)) % MOST;
    uint32_t e = least_request_prefers(&w->at[a], &w->at[b], w->now) ? b : a;
    uint32_t i = w->at[e].active++;
    assert_true(i < BUSY);
    w->began[e][i] = w->now;
    w->due[e][i] = w->now + w->takes[e] * (90 + rng_below(&w->rng, 21)) / 100;
    return e;
}

/* The share, per thousand, that endpoint 0 gets in each second. */
static void run(struct world *w, uint32_t rate, uint32_t seconds, uint32_t *ret_permille)
{
    for (uint32_t s = 0; s < seconds; s++) {
        uint32_t mine = 0;
        for (uint32_t i = 0; i < rate; i++) {
            w->now += USEC_PER_SEC / rate;
            answers(w);
            mine += sends(w) == 0;
        }
        ret_permille[s] = mine * 1000 / rate;
    }
}

static struct world *world_new(usec_t takes)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    rng_init(&w->rng, 11);
    for (uint32_t e = 0; e < MOST; e++) {
        w->at[e].weight = 10000;
        w->takes[e] = takes;
    }
    return w;
}

/* One of four takes 2 s from now on: two seconds later it gets less than one in a hundred, so p99
 * is the others'; and when it is well again, its share. */
static void test_brown_out(UNUSED void **state)
{
    static const uint32_t rates[] = {50, 100, 300, 1000, 4000};
    static const usec_t takes[] = {MS(1), MS(10), MS(50)};
    for (size_t i = 0; i < ARRAY_LEN(rates) * ARRAY_LEN(takes); i++) {
        struct world *w = world_new(takes[i % ARRAY_LEN(takes)]);
        uint32_t rate = rates[i / ARRAY_LEN(takes)], share[60], slow = 0;
        run(w, rate, 4, share);
        assert_in_range(share[0] + share[1] + share[2] + share[3], 700, 1300);
        w->takes[0] = MS(2000);
        run(w, rate, 20, share);
        for (uint32_t s = 3; s < 20; s++)
            slow += share[s];
        assert_true(slow / 17 < 10);
        w->takes[0] = w->takes[1];
        run(w, rate, 60, share);
        for (uint32_t s = 50, mine = 0; s < 60; s++) {
            mine += share[s];
            assert_true(s < 59 || (mine >= 2000 && mine <= 3000));
        }
        free(w);
    }
}

/* Equals get equal shares, however slow, and however much their answers differ. */
static void test_equals(UNUSED void **state)
{
    static const usec_t takes[] = {MS(1), MS(100), MS(400), MS(3000)};
    for (size_t i = 0; i < ARRAY_LEN(takes); i++) {
        struct world *w = world_new(takes[i]);
        uint32_t share[30], sum = 0;
        run(w, 300, 30, share);
        for (uint32_t s = 10; s < 30; s++)
            sum += share[s];
        assert_in_range(sum / 20, 220, 280);
        free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_what_is_under_way),
        cmocka_unit_test(test_small_differences_say_nothing),
        cmocka_unit_test(test_slower_by_far),
        cmocka_unit_test(test_time_heals),
        cmocka_unit_test(test_mean),
        cmocka_unit_test(test_brown_out),
        cmocka_unit_test(test_equals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
