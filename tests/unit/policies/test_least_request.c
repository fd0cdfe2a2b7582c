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

/* b, before either is due for a trial. */
static bool prefers(struct least_request_load a, struct least_request_load b)
{
    enum least_request which = least_request(&a, &b, 0);
    assert_true(which == LEAST_A || which == LEAST_B);
    return which == LEAST_B;
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

/* After a while without an answer it is tried, by one request that nothing else is under way with.
 */
static void test_trials(UNUSED void **state)
{
    struct least_request_load slow = load(0, 10000, MS(600)), well = load(1, 10000, MS(20));
    assert_int_equal(least_request(&slow, &well, MS(14999)), LEAST_B);
    assert_int_equal(least_request(&slow, &well, MS(15000)), LEAST_TRY_A);
    assert_int_equal(least_request(&well, &slow, MS(15000)), LEAST_TRY_B);
    slow.active = 50; /* WebSockets, say */
    assert_int_equal(least_request(&slow, &well, MS(14999)), LEAST_B);
    assert_int_equal(least_request(&slow, &well, MS(15000)), LEAST_TRY_A);
    assert_int_equal(least_request(&well, &slow, USEC_NEVER), LEAST_TRY_B);
    slow.active = 1;
    well.active = 200; /* they queue there */
    assert_int_equal(least_request(&slow, &well, MS(15000)), LEAST_A);

    /* They are so many that half of what it was is a reason. */
    slow.active = 0;
    well.active = 20;
    assert_int_equal(least_request(&well, &slow, MS(4999)), LEAST_A);
    assert_int_equal(least_request(&well, &slow, MS(5000)), LEAST_TRY_B);
}

/* Of all workers one tries, and the next one when it has failed for a while, or has passed. */
static void test_who_tries(UNUSED void **state)
{
    struct pace_trial t = {0};
    assert_true(pace_trial_begin(&t, MS(1000)));
    assert_false(pace_trial_begin(&t, MS(1000)));
    assert_false(pace_trial_begin(&t, MS(5999)));
    assert_true(pace_trial_begin(&t, MS(6000)));
    assert_false(pace_trial_begin(&t, MS(6000)));
    pace_trial_passed(&t);
    assert_true(pace_trial_begin(&t, MS(6000)));

    const struct pace was_slow = {.mean = MS(600)}, well = {.mean = MS(90)};
    assert_true(pace_is_better(&was_slow, MS(149)));
    assert_false(pace_is_better(&was_slow, MS(150)));
    assert_false(pace_is_better(&well, 1));
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

    /* It was not heard for 10 s: half, twice, unless it is as slow as ever. */
    struct pace fast = p, slow = p;
    pace_note(&fast, MS(40), MS(10001));
    assert_int_equal(fast.mean, p.mean / 4 - p.mean / 4 / 4 + MS(10));
    pace_note(&slow, MS(2000), MS(10001));
    assert_in_range(slow.mean, p.mean, MS(2000));
}

/* --- a brown-out --- */

enum { MOST = 4, BUSY = 4096, WORKERS = 4 };

/* What one worker knows of the endpoints. */
struct half {
    usec_t due[MOST][BUSY]; /* when each that is under way is answered */
    usec_t began[MOST][BUSY];
    struct least_request_load at[MOST];
};

struct world {
    struct rng rng;
    usec_t now, takes[MOST];
    struct pace_trial trial[MOST];
    uint32_t n_workers;
    struct half worker[WORKERS];
};

static void answered(struct world *w, struct half *h, uint32_t e, usec_t latency)
{
    if (pace_is_better(&h->at[e].pace, latency))
        pace_trial_passed(&w->trial[e]);
    pace_note(&h->at[e].pace, latency, w->now);
    h->at[e].active--;
}

static void answers(struct world *w, struct half *h)
{
    for (uint32_t e = 0; e < MOST; e++) {
        for (uint32_t i = 0; i < h->at[e].active;) {
            if (h->due[e][i] > w->now) {
                i++;
                continue;
            }
            answered(w, h, e, h->due[e][i] - h->began[e][i]);
            uint32_t last = h->at[e].active;
            h->due[e][i] = h->due[e][last];
            h->began[e][i] = h->began[e][last];
        }
    }
}

static uint32_t picks(struct world *w, struct half *h)
{
    uint32_t a = rng_below(&w->rng, MOST), b = (a + 1 + rng_below(&w->rng, MOST - 1)) % MOST;
    switch (least_request(&h->at[a], &h->at[b], w->now)) {
    case LEAST_A:
        return a;
    case LEAST_B:
        return b;
    case LEAST_TRY_A:
        return pace_trial_begin(&w->trial[a], w->now) ? a : b;
    default:
        return pace_trial_begin(&w->trial[b], w->now) ? b : a;
    }
}

static uint32_t sends(struct world *w, struct half *h)
{
    uint32_t e = picks(w, h), i = h->at[e].active++;
    assert_true(i < BUSY);
    h->began[e][i] = w->now;
    h->due[e][i] = w->now + w->takes[e] * (90 + rng_below(&w->rng, 21)) / 100;
    return e;
}

/* How many endpoint 0 gets in each second. */
static void run(struct world *w, uint32_t rate, uint32_t seconds, uint32_t *ret_mine)
{
    for (uint32_t s = 0; s < seconds; s++) {
        ret_mine[s] = 0;
        for (uint32_t i = 0; i < rate; i++) {
            w->now += USEC_PER_SEC / rate;
            for (uint32_t k = 0; k < w->n_workers; k++)
                answers(w, &w->worker[k]);
            ret_mine[s] += sends(w, &w->worker[rng_below(&w->rng, w->n_workers)]) == 0;
        }
    }
}

static uint32_t sum(const uint32_t *each, uint32_t from, uint32_t to)
{
    uint32_t n = 0;
    for (uint32_t s = from; s < to; s++)
        n += each[s];
    return n;
}

static struct world *world_new(usec_t takes, uint32_t n_workers)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    rng_init(&w->rng, 11);
    w->n_workers = n_workers;
    for (uint32_t e = 0; e < MOST; e++) {
        w->takes[e] = takes;
        for (uint32_t k = 0; k < n_workers; k++)
            w->worker[k].at[e].weight = 10000;
    }
    return w;
}

/* One of four takes 2 s from now on: three seconds later, and ever after, no second has more than
 * one request in a hundred there, or the one that tries it; so p99 is the others'. When it is well
 * again it gets its share. */
static void brown_out(uint32_t rate, usec_t takes, uint32_t n_workers)
{
    enum { BAD = 60 };
    struct world *w = world_new(takes, n_workers);
    uint32_t mine[BAD];
    run(w, rate, 4, mine);
    assert_in_range(sum(mine, 0, 4), rate * 4 * 17 / 100, rate * 4 * 33 / 100);
    w->takes[0] = MS(2000);
    run(w, rate, BAD, mine);
    for (uint32_t s = 3; s < BAD; s++)
        assert_true(mine[s] <= 1 || mine[s] * 100 <= rate);
    assert_true(sum(mine, 3, BAD) * 100 < rate * (BAD - 3));
    w->takes[0] = w->takes[1];
    run(w, rate, BAD, mine);
    assert_in_range(sum(mine, 50, BAD), rate * 2, rate * 3);
    free(w);
}

static void test_brown_out(UNUSED void **state)
{
    static const uint32_t rates[] = {50, 100, 300, 1000, 2000};
    static const usec_t takes[] = {MS(1), MS(10), MS(20), MS(50), MS(100)};
    for (uint32_t workers = 1; workers <= WORKERS; workers *= 2) {
        for (size_t i = 0; i < ARRAY_LEN(rates) * ARRAY_LEN(takes); i++)
            brown_out(rates[i / ARRAY_LEN(takes)], takes[i % ARRAY_LEN(takes)], workers);
    }
}

/* Equals get equal shares, however slow, and however much their answers differ. */
static void test_equals(UNUSED void **state)
{
    static const usec_t takes[] = {MS(1), MS(100), MS(400), MS(3000)};
    for (size_t i = 0; i < ARRAY_LEN(takes); i++) {
        struct world *w = world_new(takes[i], 1);
        uint32_t mine[30];
        run(w, 300, 30, mine);
        assert_in_range(sum(mine, 10, 30), 20 * 66, 20 * 84);
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
        cmocka_unit_test(test_trials),
        cmocka_unit_test(test_who_tries),
        cmocka_unit_test(test_mean),
        cmocka_unit_test(test_brown_out),
        cmocka_unit_test(test_equals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
