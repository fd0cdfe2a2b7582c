/* test_circuit_breaker.c - does it open when it should, stay open as long as it said, and let one
 * probe through at a time? In simulated time. */
#include "base/check.h"
#include "base/rng.h"
#include "base/str.h"
#include "policies/circuit_breaker.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#define MSEC   USEC_PER_MSEC
#define SECOND USEC_PER_SEC

static const struct breaker_rules preset = {
    .enabled = true,
    .consecutive_errors = 5,
    .error_rate = 50,
    .slow_call_rate = 50,
    .window = 10 * SECOND,
    .min_requests = 20,
    .open_duration = SECOND,
    .max_open_duration = 60 * SECOND,
    .half_open_timeout = 10 * SECOND,
    .half_open_successes = 1,
};

/* A breaker with its rules and its time. */
struct rig {
    struct breaker breaker;
    struct breaker_rules rules;
    struct breaker_change change; /* of the last call */
    uint64_t random;
    usec_t now;
};

static void rig_init(struct rig *g)
{
    memset(g, 0, sizeof(*g));
    g->rules = preset;
    g->now = 1000 * SECOND;
}

static enum breaker_verdict admit(struct rig *g, uint32_t *epoch)
{
    g->change = (struct breaker_change){0};
    return breaker_admit(&g->breaker, &g->rules, g->now, USEC_NEVER, g->random, epoch, &g->change);
}

static void report(struct rig *g, uint32_t epoch, enum result r, usec_t took)
{
    g->change = (struct breaker_change){0};
    breaker_report(&g->breaker, &g->rules, epoch, r, took, g->now, g->random, &g->change);
}

static enum breaker_state state(struct rig *g)
{
    struct breaker_view v;
    breaker_look(&g->breaker, &g->rules, g->now, &v);
    return v.state;
}

/* One call that must be let through. */
static void call(struct rig *g, enum result r)
{
    uint32_t epoch = 0;
    assert_int_not_equal(admit(g, &epoch), BREAKER_REFUSE);
    report(g, epoch, r, 0);
}

static void calls(struct rig *g, unsigned n, enum result r)
{
    while (n-- > 0)
        call(g, r);
}

static void open_it(struct rig *g)
{
    calls(g, g->rules.consecutive_errors, RESULT_ERROR);
    assert_int_equal(state(g), BREAKER_OPEN);
}

static void assert_refused(struct rig *g)
{
    uint32_t epoch = 0;
    assert_true(breaker_refuses(&g->breaker, g->now));
    assert_int_equal(admit(g, &epoch), BREAKER_REFUSE);
}

static uint32_t assert_probe(struct rig *g)
{
    uint32_t epoch = 0;
    assert_false(breaker_refuses(&g->breaker, g->now));
    assert_int_equal(admit(g, &epoch), BREAKER_PROBE);
    return epoch;
}

/* --- closed to open --- */

static void test_failures_in_a_row(void **unused)
{
    struct rig g;
    (void)unused;
    for (int r = RESULT_ERROR; r < RESULTS; r++) {
        rig_init(&g);
        calls(&g, 4, (enum result)r);
        assert_int_equal(state(&g), BREAKER_CLOSED);
        assert_false(g.change.happened);
        call(&g, (enum result)r);
        assert_int_equal(state(&g), BREAKER_OPEN);
        assert_true(g.change.happened && g.change.cause == BREAKER_CONSECUTIVE);
        assert_int_equal(g.change.bad, 5);
        assert_int_equal(g.change.open_for, SECOND);
        assert_refused(&g);
    }
}

static void test_what_ends_a_row(void **unused)
{
    static const struct {
        enum result r;
        bool ends;
    } rows[] = {{RESULT_NOTHING, false}, {RESULT_LIMITED, false}, {RESULT_SUCCESS, true}};
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig g;
        rig_init(&g);
        calls(&g, 4, RESULT_RESET);
        call(&g, rows[i].r);
        call(&g, RESULT_RESET);
        assert_int_equal(state(&g), rows[i].ends ? BREAKER_CLOSED : BREAKER_OPEN);
    }
}

static void test_nothing_trips_it_unasked(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    g.rules.enabled = false;
    calls(&g, 1000, RESULT_ERROR);
    assert_int_equal(state(&g), BREAKER_CLOSED);
    g.rules.enabled = true;
    g.rules.consecutive_errors = g.rules.error_rate = 0;
    calls(&g, 1000, RESULT_ERROR);
    assert_int_equal(state(&g), BREAKER_CLOSED);
}

static void test_error_rate(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    for (int i = 0; i < 9; i++) {
        call(&g, RESULT_SUCCESS);
        call(&g, RESULT_GATEWAY);
    }
    call(&g, RESULT_SUCCESS);
    assert_int_equal(state(&g), BREAKER_CLOSED); /* 9 of 19 */
    call(&g, RESULT_LIMITED);                    /* counts to the rate */
    assert_int_equal(state(&g), BREAKER_OPEN);
    assert_int_equal(g.change.cause, BREAKER_ERROR_RATE);
    assert_true(g.change.bad == 10 && g.change.calls == 20);
}

static void test_error_rate_below_the_least(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    g.rules.consecutive_errors = 0;
    calls(&g, 19, RESULT_ERROR);
    assert_int_equal(state(&g), BREAKER_CLOSED);
    call(&g, RESULT_ERROR);
    assert_int_equal(state(&g), BREAKER_OPEN);
}

static void test_window_moves(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    g.rules.consecutive_errors = 0;
    calls(&g, 19, RESULT_ERROR);
    g.now += 10 * SECOND; /* they are out of it */
    call(&g, RESULT_ERROR);
    assert_int_equal(state(&g), BREAKER_CLOSED);
    calls(&g, 18, RESULT_ERROR);
    g.now += 9 * SECOND; /* they are just in it */
    call(&g, RESULT_ERROR);
    assert_int_equal(state(&g), BREAKER_OPEN);
}

static void test_slow_calls(void **unused)
{
    struct rig g;
    uint32_t epoch = 0;
    (void)unused;
    rig_init(&g);
    g.rules.slow_call_duration = 500 * MSEC;
    g.rules.error_rate = 0;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(state(&g), BREAKER_CLOSED);
        (void)admit(&g, &epoch);
        report(&g, epoch, RESULT_SUCCESS, i % 2 ? 500 * MSEC : 499 * MSEC);
    }
    assert_int_equal(state(&g), BREAKER_OPEN);
    assert_int_equal(g.change.cause, BREAKER_SLOW_CALLS);
    assert_true(g.change.bad == 10 && g.change.calls == 20);
    g.now += SECOND;
    epoch = assert_probe(&g);
    report(&g, epoch, RESULT_SUCCESS, SECOND); /* it still is */
    assert_int_equal(state(&g), BREAKER_OPEN);
}

/* --- open, and back --- */

static void test_probe_closes(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    open_it(&g);
    assert_int_equal(breaker_opens_in(&g.breaker, g.now), SECOND);
    g.now += SECOND - 1;
    assert_refused(&g);
    g.now += 1;
    uint32_t epoch = assert_probe(&g);
    assert_true(g.change.happened && g.change.to == BREAKER_HALF_OPEN);
    assert_refused(&g); /* one at a time */
    report(&g, epoch, RESULT_SUCCESS, 0);
    assert_true(g.change.happened && g.change.to == BREAKER_CLOSED && g.change.successes == 1);
    calls(&g, 4, RESULT_ERROR); /* nothing is left of before */
    assert_int_equal(state(&g), BREAKER_CLOSED);
    call(&g, RESULT_ERROR);
    assert_int_equal(g.change.open_for, SECOND); /* again the first */
}

static void test_open_time_doubles(void **unused)
{
    static const unsigned seconds[] = {1, 2, 4, 8, 16, 32, 60, 60};
    struct rig g;
    (void)unused;
    rig_init(&g);
    open_it(&g);
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        assert_int_equal(g.change.open_for, seconds[i] * SECOND);
        g.now += g.change.open_for;
        report(&g, assert_probe(&g), RESULT_CONNECT, 0);
        assert_int_equal(g.change.cause, BREAKER_PROBE_FAILED);
    }
    for (int i = 0; i < 100; i++) { /* as far as it can count */
        g.now += 60 * SECOND;
        report(&g, assert_probe(&g), RESULT_CONNECT, 0);
    }
    assert_int_equal(g.change.open_for, 60 * SECOND);
}

static void test_jitter(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    g.random = UINT64_MAX;
    open_it(&g);
    assert_in_range(g.change.open_for, 1199 * MSEC, 1200 * MSEC);
    g.now += SECOND;
    assert_refused(&g);
    g.now += 200 * MSEC;
    (void)assert_probe(&g);
}

static void test_probe_that_hangs(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    open_it(&g);
    g.now += SECOND;
    uint32_t first = assert_probe(&g);
    g.now += 10 * SECOND - 1;
    assert_refused(&g);
    assert_int_equal(state(&g), BREAKER_HALF_OPEN);
    g.now += 1;
    assert_int_equal(state(&g), BREAKER_OPEN); /* as whoever asks finds it */
    uint32_t epoch = 0;
    assert_int_equal(admit(&g, &epoch), BREAKER_REFUSE);
    assert_int_equal(g.change.cause, BREAKER_PROBE_TIMEOUT);
    assert_int_equal(g.change.open_for, 2 * SECOND);
    report(&g, first, RESULT_SUCCESS, 0); /* of an earlier epoch */
    assert_int_equal(state(&g), BREAKER_OPEN);
    g.now += 2 * SECOND;
    (void)assert_probe(&g);
    g.now += 3600 * SECOND; /* nobody came, and the next opening is over too */
    report(&g, assert_probe(&g), RESULT_SUCCESS, 0);
    assert_int_equal(state(&g), BREAKER_CLOSED);
}

static void test_probe_with_a_deadline_of_its_own(void **unused)
{
    struct rig g;
    uint32_t epoch = 0;
    (void)unused;
    rig_init(&g);
    open_it(&g);
    g.now += SECOND;
    struct breaker_change c = {0};
    assert_int_equal(breaker_admit(&g.breaker, &g.rules, g.now, g.now + 2 * SECOND, 0, &epoch, &c),
                     BREAKER_PROBE);
    g.now += 2 * SECOND;
    assert_int_equal(admit(&g, &epoch), BREAKER_REFUSE);
    assert_int_equal(g.change.cause, BREAKER_PROBE_TIMEOUT);
}

static void test_probe_that_goes_on(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    open_it(&g);
    g.now += SECOND;
    uint32_t epoch = assert_probe(&g);
    breaker_answered(&g.breaker, epoch - 1); /* another's: nothing */
    breaker_answered(&g.breaker, epoch);
    breaker_answered(&g.breaker, epoch);
    assert_refused(&g);
    g.now += 10 * SECOND;
    assert_int_equal(admit(&g, &epoch), BREAKER_ADMIT);
    assert_int_equal(state(&g), BREAKER_CLOSED);
}

static void test_probe_given_back(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    open_it(&g);
    g.now += SECOND;
    for (int i = 0; i < 10; i++) {
        uint32_t epoch = assert_probe(&g);
        assert_refused(&g);
        report(&g, epoch, RESULT_NOTHING, 0);
        assert_false(g.change.happened);
        report(&g, epoch, RESULT_ERROR, 0); /* it is gone: once is enough */
        assert_int_equal(state(&g), BREAKER_HALF_OPEN);
    }
}

static void test_several_successes(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    g.rules.half_open_successes = 3;
    open_it(&g);
    g.now += SECOND;
    for (int i = 0; i < 2; i++) {
        report(&g, assert_probe(&g), RESULT_SUCCESS, 0);
        assert_int_equal(state(&g), BREAKER_HALF_OPEN);
    }
    report(&g, assert_probe(&g), RESULT_ERROR, 0);
    g.now += g.change.open_for;
    for (int i = 0; i < 3; i++) /* from the beginning */
        report(&g, assert_probe(&g), RESULT_LIMITED, 0);
    assert_int_equal(state(&g), BREAKER_CLOSED);
    assert_int_equal(g.change.successes, 3);
}

static void test_earlier_epochs(void **unused)
{
    struct rig g;
    uint32_t before[20] = {0};
    (void)unused;
    rig_init(&g);
    for (int i = 0; i < 20; i++)
        (void)admit(&g, &before[i]);
    open_it(&g);
    assert_false(breaker_is_current(&g.breaker, before[0]));
    for (int i = 0; i < 5; i++)
        report(&g, before[i], RESULT_ERROR, 0);
    g.now += SECOND;
    uint32_t epoch = assert_probe(&g);
    assert_true(breaker_is_current(&g.breaker, epoch));
    for (int i = 5; i < 10; i++)
        report(&g, before[i], i % 2 ? RESULT_SUCCESS : RESULT_ERROR, 0);
    assert_int_equal(state(&g), BREAKER_HALF_OPEN);
    report(&g, epoch, RESULT_SUCCESS, 0);
    for (int i = 10; i < 20; i++)
        report(&g, before[i], RESULT_ERROR, 0);
    assert_int_equal(state(&g), BREAKER_CLOSED);
    struct breaker_view v;
    breaker_look(&g.breaker, &g.rules, g.now, &v);
    assert_int_equal(v.consecutive, 0);
    assert_int_equal(v.calls[CALL_ANY], 0);
}

/* --- other rules, an operator, people --- */

static void test_other_rules(void **unused)
{
    struct rig g;
    (void)unused;
    rig_init(&g);
    calls(&g, 4, RESULT_ERROR);
    g.rules.consecutive_errors = 2; /* live: the next failure is the fifth */
    call(&g, RESULT_ERROR);
    assert_int_equal(state(&g), BREAKER_OPEN);
    g.rules.open_duration = 30 * SECOND; /* the present opening stays */
    g.now += SECOND;
    report(&g, assert_probe(&g), RESULT_ERROR, 0);
    assert_int_equal(g.change.open_for, 60 * SECOND);
}

/* A reload gives it a longer window, of which the present bucket has a smaller number. */
static void test_another_window(void **unused)
{
    static const unsigned seconds[] = {1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 300, 600, 3600};
    struct rig g;
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        for (size_t k = 0; k < ARRAY_LEN(seconds); k++) {
            if (i == k)
                continue;
            rig_init(&g);
            g.now = 1000000 * SECOND;
            g.rules.consecutive_errors = 0;
            g.rules.window = seconds[i] * SECOND;
            for (unsigned b = 0; b < CALL_WINDOW_BUCKETS; b++) {
                call(&g, RESULT_SUCCESS);
                call(&g, RESULT_SUCCESS);
                call(&g, RESULT_ERROR);
                g.now += g.rules.window / CALL_WINDOW_BUCKETS;
            }
            g.rules.window = seconds[k] * SECOND; /* and begins anew */
            calls(&g, 19, RESULT_ERROR);
            assert_int_equal(state(&g), BREAKER_CLOSED);
            call(&g, RESULT_ERROR);
            assert_int_equal(state(&g), BREAKER_OPEN);
        }
    }
}

static void test_operator(void **unused)
{
    struct rig g;
    struct breaker_change c = {0};
    uint32_t before = 0;
    (void)unused;
    rig_init(&g);
    (void)admit(&g, &before);
    assert_true(breaker_force(&g.breaker, g.now, &c));
    assert_true(c.happened && c.from == BREAKER_CLOSED && c.to == BREAKER_FORCED);
    assert_true(breaker_is_forced(&g.breaker) && !breaker_is_closed(&g.breaker));
    assert_false(breaker_force(&g.breaker, g.now, &c));
    g.now += 3600 * SECOND;
    assert_refused(&g);
    assert_int_equal(breaker_opens_in(&g.breaker, g.now), 0);
    report(&g, before, RESULT_SUCCESS, 0);
    assert_int_equal(state(&g), BREAKER_FORCED);
    assert_true(breaker_reset(&g.breaker, g.now, &c));
    assert_int_equal(c.to, BREAKER_CLOSED);
    calls(&g, 4, RESULT_ERROR);
    assert_false(breaker_reset(&g.breaker, g.now, &c)); /* but the row is forgotten */
    call(&g, RESULT_ERROR);
    assert_int_equal(state(&g), BREAKER_CLOSED);
    calls(&g, 4, RESULT_ERROR);
    assert_true(breaker_reset(&g.breaker, g.now, &c));
    call(&g, RESULT_SUCCESS);
}

static void test_look(void **unused)
{
    struct rig g;
    struct breaker_view v;
    (void)unused;
    rig_init(&g);
    calls(&g, 3, RESULT_SUCCESS);
    calls(&g, 2, RESULT_ERROR);
    breaker_look(&g.breaker, &g.rules, g.now, &v);
    assert_true(v.state == BREAKER_CLOSED && v.since == 0 && v.consecutive == 2 && !v.has_cause);
    assert_true(v.calls[CALL_ANY] == 5 && v.calls[CALL_FAILED] == 2 && v.calls[CALL_SLOW] == 0);
    calls(&g, 3, RESULT_ERROR);
    g.now += 400 * MSEC;
    breaker_look(&g.breaker, &g.rules, g.now, &v);
    assert_true(v.state == BREAKER_OPEN && v.opens_in == 600 * MSEC && v.has_cause);
    assert_true(v.last_cause == BREAKER_CONSECUTIVE && v.opened[BREAKER_CONSECUTIVE] == 1);
    g.now += SECOND;
    breaker_look(&g.breaker, &g.rules, g.now, &v);
    assert_int_equal(v.opens_in, 0);
    (void)assert_probe(&g);
    breaker_look(&g.breaker, &g.rules, g.now, &v);
    assert_true(v.state == BREAKER_HALF_OPEN && v.probing && v.probes == 1);
    for (int i = 0; i < BREAKER_STATES; i++)
        assert_true(strlen(breaker_state_word((enum breaker_state)i)) > 0);
    for (int i = 0; i < BREAKER_CAUSES; i++)
        assert_true(strlen(breaker_cause_word((enum breaker_cause)i)) > 0);
}

/* --- whatever happens --- */

enum { FLYING = 64 };

struct flight {
    uint32_t epoch;
    bool probe;
};

/* Random calls, results in any order and late, other rules now and then: what must never be. */
static void play(uint64_t seed)
{
    struct rig g;
    struct rng rng;
    struct flight flying[FLYING];
    unsigned n = 0;
    usec_t not_before = 0, probe_ends = 0;
    bool probe_out = false;
    rig_init(&g);
    rng_init(&rng, seed);
    for (int step = 0; step < 4000; step++) {
        g.random = rng_next(&rng);
        g.now += rng_below(&rng, 20) == 0 ? rng_below(&rng, 3 * SECOND) : rng_below(&rng, 1000);
        if (rng_below(&rng, 200) == 0) {
            g.rules.consecutive_errors = rng_below(&rng, 8);
            g.rules.half_open_successes = 1 + rng_below(&rng, 3);
            g.rules.slow_call_duration = rng_below(&rng, 2) * SECOND;
        }
        if (n < FLYING && (n == 0 || rng_below(&rng, 2))) {
            struct flight f = {0};
            enum breaker_verdict v = admit(&g, &f.epoch);
            if (g.change.happened && g.change.to == BREAKER_OPEN) { /* a probe has expired */
                assert_true(probe_out && g.now >= probe_ends);
                not_before = g.now + g.change.open_for;
                probe_out = false;
            } else if (g.change.happened && g.change.to == BREAKER_CLOSED) {
                fail(); /* nobody had answered */
            }
            if (v == BREAKER_REFUSE)
                continue;
            assert_true(g.now >= not_before);
            f.probe = v == BREAKER_PROBE;
            if (f.probe) { /* never two, but behind the end of the first */
                assert_true(!probe_out || g.now >= probe_ends);
                probe_out = true;
                probe_ends = g.now + g.rules.half_open_timeout;
            }
            flying[n++] = f;
        } else if (n > 0) {
            unsigned i = rng_below(&rng, n);
            struct flight f = flying[i];
            flying[i] = flying[--n];
            bool current = breaker_is_current(&g.breaker, f.epoch);
            report(&g, f.epoch, (enum result)rng_below(&rng, RESULTS), rng_below(&rng, 2 * SECOND));
            assert_true(current || !g.change.happened);
            if (f.probe && current)
                probe_out = false;
            if (g.change.happened && g.change.to == BREAKER_OPEN) {
                not_before = g.now + g.change.open_for;
                assert_in_range(g.change.open_for, g.rules.open_duration,
                                g.rules.max_open_duration * 6 / 5);
            }
        }
    }
}

static void test_properties(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 300; seed++)
        play(seed);
}

/* Failures in a row, of which some are told late: whoever is in flight, the one that reaches the
 * number opens it, and from there on nobody is let through but one probe after the other, until one
 * has closed it. So no more fail than that number and those that were in flight. */
static void play_failures(uint64_t seed, unsigned *opened, unsigned *closed)
{
    struct rig g;
    struct rng rng;
    struct flight flying[FLYING];
    unsigned n = 0, row = 0;
    bool is_open = false;
    rig_init(&g);
    rng_init(&rng, seed);
    g.rules.consecutive_errors = 1 + rng_below(&rng, 8);
    g.rules.error_rate = 0;
    for (int step = 0; step < 4000; step++) {
        g.now += rng_below(&rng, 50) == 0 ? rng_below(&rng, 3 * SECOND) : rng_below(&rng, 1000);
        if (n == 0 || (n < FLYING && rng_below(&rng, 2))) {
            struct flight f = {0};
            enum breaker_verdict v = admit(&g, &f.epoch);
            assert_true(is_open ? v != BREAKER_ADMIT : v == BREAKER_ADMIT);
            if (v != BREAKER_REFUSE)
                flying[n++] = f;
            continue;
        }
        unsigned i = rng_below(&rng, n);
        struct flight f = flying[i];
        flying[i] = flying[--n];
        bool counts = breaker_is_current(&g.breaker, f.epoch);
        bool good = rng_below(&rng, 4) == 0;
        report(&g, f.epoch, good ? RESULT_SUCCESS : RESULT_ERROR, 0);
        if (!counts)
            assert_false(g.change.happened);
        else if (!is_open)
            row = good ? 0 : row + 1;
        bool opens = g.change.happened && g.change.to == BREAKER_OPEN;
        if (!is_open)
            assert_int_equal(opens, row == g.rules.consecutive_errors);
        *opened += opens && !is_open;
        if (g.change.happened) {
            *closed += !opens;
            is_open = opens;
            row = 0;
        }
    }
}

static void test_no_more_failures_than_its_number(void **unused)
{
    unsigned opened = 0, closed = 0;
    (void)unused;
    for (uint64_t seed = 1; seed <= 200; seed++)
        play_failures(seed, &opened, &closed);
    assert_true(opened > 400 && closed > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures_in_a_row),
        cmocka_unit_test(test_what_ends_a_row),
        cmocka_unit_test(test_nothing_trips_it_unasked),
        cmocka_unit_test(test_error_rate),
        cmocka_unit_test(test_error_rate_below_the_least),
        cmocka_unit_test(test_window_moves),
        cmocka_unit_test(test_slow_calls),
        cmocka_unit_test(test_probe_closes),
        cmocka_unit_test(test_open_time_doubles),
        cmocka_unit_test(test_jitter),
        cmocka_unit_test(test_probe_that_hangs),
        cmocka_unit_test(test_probe_with_a_deadline_of_its_own),
        cmocka_unit_test(test_probe_that_goes_on),
        cmocka_unit_test(test_probe_given_back),
        cmocka_unit_test(test_several_successes),
        cmocka_unit_test(test_earlier_epochs),
        cmocka_unit_test(test_other_rules),
        cmocka_unit_test(test_another_window),
        cmocka_unit_test(test_operator),
        cmocka_unit_test(test_look),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_no_more_failures_than_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
