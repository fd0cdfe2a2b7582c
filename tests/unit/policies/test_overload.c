/* test_overload.c - stages rise at once, fall slowly, and are no higher than a reading asks for. */
#include "policies/overload.h"

#include "base/check.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define S       USEC_PER_SEC
#define PERCENT ((uint64_t)OVERLOAD_PPM / 100)
#define TICK    (S / 4)
#define START   (1000 * S)
#define HOLD    (2 * S)

static struct overload_rules usual(void)
{
    struct overload_rules r = {.hold = HOLD, .margin = 5};
    r.signal[OVERLOAD_MEMORY] =
        (struct overload_thresholds){{0, 90 * PERCENT, 95 * PERCENT, 98 * PERCENT}};
    r.signal[OVERLOAD_FDS] =
        (struct overload_thresholds){{0, 80 * PERCENT, 90 * PERCENT, 95 * PERCENT}};
    return r;
}

struct sim {
    struct overload o;
    struct overload_rules r;
    struct overload_reading in[OVERLOAD_SIGNALS];
    usec_t now;
};

static struct sim sim_new(void)
{
    return (struct sim){.r = usual(), .now = START};
}

static void set(struct sim *s, enum overload_signal signal, uint64_t value)
{
    s->in[signal] = (struct overload_reading){true, value};
}

static bool step(struct sim *s)
{
    s->now += TICK;
    return overload_step(&s->o, &s->r, s->in, s->now);
}

/* One reading of memory, in percent. */
static enum overload_stage memory(struct sim *s, uint64_t percent)
{
    set(s, OVERLOAD_MEMORY, percent * PERCENT);
    (void)step(s);
    return s->o.stage;
}

static void test_nothing(UNUSED void **state)
{
    struct sim s = sim_new();
    assert_false(step(&s)); /* nothing is known */
    assert_int_equal(memory(&s, 89), OVERLOAD_NONE);
    assert_int_equal(overload_word(&s.o, &s.r), 0);
    s.r.dry_run = true;
    assert_int_equal(overload_word(&s.o, &s.r), 0);
}

static void test_rises_at_once(UNUSED void **state)
{
    struct sim s = sim_new();
    set(&s, OVERLOAD_MEMORY, 90 * PERCENT - 1);
    assert_false(step(&s));
    set(&s, OVERLOAD_MEMORY, 90 * PERCENT);
    assert_true(step(&s));
    assert_int_equal(s.o.stage, OVERLOAD_NO_KEEP_ALIVE);
    assert_int_equal(s.o.cause, OVERLOAD_MEMORY);
    assert_false(step(&s)); /* nothing new */
    assert_int_equal(memory(&s, 95), OVERLOAD_REFUSE_LOW);
    assert_int_equal(memory(&s, 98), OVERLOAD_NO_CONNECTIONS);
    assert_int_equal(memory(&s, 100), OVERLOAD_NO_CONNECTIONS);
    struct sim other = sim_new();
    assert_int_equal(memory(&other, 99), OVERLOAD_NO_CONNECTIONS); /* by one reading */
}

/* Below 98 less 5 percent of it, for the whole of the time, one stage after another. */
static void test_falls_in_steps(UNUSED void **state)
{
    struct sim s = sim_new();
    (void)memory(&s, 99);
    set(&s, OVERLOAD_MEMORY, 0);
    usec_t fell[OVERLOAD_STAGES] = {0};
    usec_t low_since = s.now + TICK;
    while (s.o.stage != OVERLOAD_NONE) {
        enum overload_stage was = s.o.stage;
        bool changed = step(&s);
        assert_int_equal(changed, s.o.stage != was);
        if (changed) {
            assert_int_equal(s.o.stage, was - 1);
            fell[was] = s.now;
        }
    }
    assert_int_equal(fell[OVERLOAD_NO_CONNECTIONS], low_since + HOLD);
    assert_int_equal(fell[OVERLOAD_REFUSE_LOW], low_since + 2 * HOLD);
    assert_int_equal(fell[OVERLOAD_NO_KEEP_ALIVE], low_since + 3 * HOLD);
}

static void test_the_margin(UNUSED void **state)
{
    struct sim s = sim_new();
    (void)memory(&s, 90);
    /* Below the threshold, and not by 5 percent of it: it stays for ever. */
    for (int i = 0; i < 100; i++)
        assert_int_equal(memory(&s, 86), OVERLOAD_NO_KEEP_ALIVE);
    set(&s, OVERLOAD_MEMORY, 85 * PERCENT + PERCENT / 2);
    for (int i = 0; i < 100; i++)
        (void)step(&s);
    assert_int_equal(s.o.stage, OVERLOAD_NO_KEEP_ALIVE);
    set(&s, OVERLOAD_MEMORY, 85 * PERCENT + PERCENT / 2 - 1);
    for (usec_t t = 0; t <= HOLD; t += TICK)
        (void)step(&s);
    assert_int_equal(s.o.stage, OVERLOAD_NONE);
}

/* A reading that is up again before the time is over begins it anew. */
static void test_flapping_input(UNUSED void **state)
{
    struct sim s = sim_new();
    (void)memory(&s, 99);
    uint32_t changes = 0;
    for (int i = 0; i < 1000; i++) {
        set(&s, OVERLOAD_MEMORY, (i % 7 == 0 ? 99 : 10) * PERCENT);
        changes += step(&s);
    }
    assert_int_equal(changes, 0);
    assert_int_equal(s.o.stage, OVERLOAD_NO_CONNECTIONS);
}

/* While it falls, the stage between has its own threshold to be below. */
static void test_stays_between(UNUSED void **state)
{
    struct sim s = sim_new();
    (void)memory(&s, 99);
    for (int i = 0; i < 1000; i++)
        (void)memory(&s, 91);
    assert_int_equal(s.o.stage, OVERLOAD_REFUSE_LOW); /* 91 is not below 90.25 */
    for (int i = 0; i < 1000; i++)
        (void)memory(&s, 90);
    assert_int_equal(s.o.stage, OVERLOAD_NO_KEEP_ALIVE);
}

static void test_the_highest_signal_decides(UNUSED void **state)
{
    struct sim s = sim_new();
    set(&s, OVERLOAD_MEMORY, 91 * PERCENT);
    set(&s, OVERLOAD_FDS, 91 * PERCENT);
    assert_true(step(&s));
    assert_int_equal(s.o.stage, OVERLOAD_REFUSE_LOW);
    assert_int_equal(s.o.cause, OVERLOAD_FDS);
    assert_int_equal(s.o.signal[OVERLOAD_MEMORY].stage, OVERLOAD_NO_KEEP_ALIVE);
    /* The other cause of the same stage is told too. */
    set(&s, OVERLOAD_MEMORY, 96 * PERCENT);
    assert_true(step(&s));
    assert_int_equal(s.o.cause, OVERLOAD_MEMORY);
    set(&s, OVERLOAD_MEMORY, 0);
    set(&s, OVERLOAD_FDS, 0);
    while (s.o.stage != OVERLOAD_NONE)
        (void)step(&s);
    assert_int_equal(s.o.signal[OVERLOAD_FDS].stage, OVERLOAD_NONE);
}

/* What cannot be measured any more is not shed for. */
static void test_a_signal_goes_missing(UNUSED void **state)
{
    struct sim s = sim_new();
    (void)memory(&s, 99);
    s.in[OVERLOAD_MEMORY] = (struct overload_reading){false, 99 * PERCENT};
    assert_false(step(&s));
    assert_int_equal(s.o.stage, OVERLOAD_NO_CONNECTIONS);
    for (usec_t t = 0; t < 3 * HOLD; t += TICK)
        (void)step(&s);
    assert_int_equal(s.o.stage, OVERLOAD_NONE);
    assert_int_equal(overload_pressure(&s.o, &s.r, OVERLOAD_MEMORY), 0);
}

static void test_reload_of_thresholds(UNUSED void **state)
{
    struct sim s = sim_new();
    assert_int_equal(memory(&s, 50), OVERLOAD_NONE);
    /* Lower ones act at once. */
    s.r.signal[OVERLOAD_MEMORY] =
        (struct overload_thresholds){{0, 30 * PERCENT, 40 * PERCENT, 60 * PERCENT}};
    assert_int_equal(memory(&s, 50), OVERLOAD_REFUSE_LOW);
    /* Higher ones let it fall as always. */
    s.r = usual();
    assert_int_equal(memory(&s, 50), OVERLOAD_REFUSE_LOW);
    for (usec_t t = 0; t < 2 * HOLD; t += TICK)
        (void)memory(&s, 50);
    assert_int_equal(s.o.stage, OVERLOAD_NONE);
    /* A threshold that is not there any more brings nothing, at once. */
    (void)memory(&s, 99);
    s.r.signal[OVERLOAD_MEMORY].at[OVERLOAD_NO_CONNECTIONS] = 0;
    assert_int_equal(memory(&s, 99), OVERLOAD_REFUSE_LOW);
    s.r.signal[OVERLOAD_MEMORY] = (struct overload_thresholds){{0}};
    (void)memory(&s, 99);
    (void)memory(&s, 99);
    assert_int_equal(s.o.stage, OVERLOAD_NONE);
}

/* A stage whose threshold is 0 is passed over, upwards and downwards. */
static void test_stages_that_are_off(UNUSED void **state)
{
    struct sim s = sim_new();
    s.r.signal[OVERLOAD_MEMORY] = (struct overload_thresholds){{0, 0, 0, 95 * PERCENT}};
    assert_int_equal(memory(&s, 94), OVERLOAD_NONE);
    assert_int_equal(memory(&s, 95), OVERLOAD_NO_CONNECTIONS);
    for (usec_t t = 0; t <= HOLD; t += TICK)
        (void)memory(&s, 0);
    assert_int_equal(s.o.stage, OVERLOAD_NONE);
    s.r.signal[OVERLOAD_MEMORY] = (struct overload_thresholds){{0, 50 * PERCENT, 0, 95 * PERCENT}};
    (void)memory(&s, 95);
    for (usec_t t = 0; t <= HOLD; t += TICK)
        (void)memory(&s, 60);
    assert_int_equal(s.o.stage, OVERLOAD_NO_KEEP_ALIVE);
}

/* The lag has no whole: its highest threshold stands for it. */
static void test_lag(UNUSED void **state)
{
    struct sim s = sim_new();
    set(&s, OVERLOAD_LOOP_LAG, 5 * S);
    assert_false(step(&s));
    assert_false(overload_looks_at(&s.r, OVERLOAD_LOOP_LAG));
    assert_true(overload_looks_at(&s.r, OVERLOAD_FDS));
    assert_int_equal(overload_pressure(&s.o, &s.r, OVERLOAD_LOOP_LAG), 0);
    s.r.signal[OVERLOAD_LOOP_LAG] = (struct overload_thresholds){{0, S, 2 * S, 0}};
    set(&s, OVERLOAD_LOOP_LAG, S / 2);
    assert_false(step(&s));
    assert_int_equal(overload_pressure(&s.o, &s.r, OVERLOAD_LOOP_LAG), OVERLOAD_PPM / 4);
    set(&s, OVERLOAD_LOOP_LAG, 3 * S);
    assert_true(step(&s));
    assert_int_equal(s.o.stage, OVERLOAD_REFUSE_LOW);
    assert_int_equal(overload_pressure(&s.o, &s.r, OVERLOAD_LOOP_LAG), OVERLOAD_PPM);
    assert_int_equal(overload_pressure(&s.o, &s.r, OVERLOAD_MEMORY), 0);
    set(&s, OVERLOAD_FDS, 2 * OVERLOAD_PPM); /* a limit that was lowered */
    (void)step(&s);
    assert_int_equal(overload_pressure(&s.o, &s.r, OVERLOAD_FDS), OVERLOAD_PPM);
}

static void test_words(UNUSED void **state)
{
    struct sim s = sim_new();
    (void)memory(&s, 96);
    uint32_t word = overload_word(&s.o, &s.r);
    assert_int_equal(overload_word_acts(word), OVERLOAD_REFUSE_LOW);
    assert_int_equal(overload_word_stage(word), OVERLOAD_REFUSE_LOW);
    s.r.dry_run = true;
    word = overload_word(&s.o, &s.r);
    assert_int_not_equal(word, 0);
    assert_int_equal(overload_word_acts(word), OVERLOAD_NONE);
    assert_int_equal(overload_word_stage(word), OVERLOAD_REFUSE_LOW);
    for (int i = 0; i < OVERLOAD_STAGES; i++)
        assert_true(strlen(overload_stage_word((enum overload_stage)i)) > 0);
    for (int i = 0; i < OVERLOAD_SIGNALS; i++)
        assert_true(strlen(overload_signal_word((enum overload_signal)i)) > 0);
}

static void test_who_is_refused(UNUSED void **state)
{
    static const bool refused[OVERLOAD_STAGES][PRIORITIES] = {
        [OVERLOAD_REFUSE_LOW] = {[PRIORITY_LOW] = true},
        [OVERLOAD_NO_CONNECTIONS] = {[PRIORITY_LOW] = true, [PRIORITY_NORMAL] = true},
    };
    for (int s = 0; s < OVERLOAD_STAGES; s++) {
        for (int p = 0; p < PRIORITIES; p++)
            assert_int_equal(overload_refuses((enum overload_stage)s, (enum priority)p),
                             refused[s][p]);
    }
}

/* --- properties --- */

static struct overload_rules any_rules(struct rng *g)
{
    struct overload_rules r = {.hold = rng_below(g, 5) * S, .margin = rng_below(g, 51)};
    for (int i = 0; i < OVERLOAD_SIGNALS; i++) {
        uint64_t least = 1;
        for (int k = 1; k < OVERLOAD_STAGES; k++) {
            if (rng_below(g, 4) == 0)
                continue;
            least += rng_below(g, OVERLOAD_PPM / 2);
            r.signal[i].at[k] = least;
        }
    }
    return r;
}

/* What is asked for by the readings alone, without a memory. */
static int wanted(const struct sim *s, int signal)
{
    int most = OVERLOAD_NONE;
    for (int k = 1; k < OVERLOAD_STAGES; k++) {
        uint64_t at = s->r.signal[signal].at[k];
        if (at > 0 && s->in[signal].known && s->in[signal].value >= at)
            most = k;
    }
    return most;
}

/* With any readings and any rules, reloaded at any time: never below what a reading asks for; never
 * up without such a reading; down only to a stage that can be, and by the same rules never twice
 * within the hold time; all of it over when all is calm for as long as the stages take. */
static void test_properties(UNUSED void **state)
{
    struct rng g;
    rng_init(&g, 20260101);
    for (int round = 0; round < 300; round++) {
        struct sim s = {.r = any_rules(&g), .now = START};
        usec_t fell_at[OVERLOAD_SIGNALS] = {0};
        for (int i = 0; i < 400; i++) {
            bool reloaded = rng_below(&g, 50) == 0;
            if (reloaded)
                s.r = any_rules(&g);
            for (int k = 0; k < OVERLOAD_SIGNALS; k++)
                s.in[k] = (struct overload_reading){rng_below(&g, 10) > 0,
                                                    rng_below(&g, 2 * OVERLOAD_PPM)};
            if (rng_below(&g, 2) == 0) /* else falling would be rare */
                memset(s.in, 0, sizeof(s.in));
            struct overload was = s.o;
            bool changed = step(&s);
            int most = OVERLOAD_NONE;
            for (int k = 0; k < OVERLOAD_SIGNALS; k++) {
                int is = (int)s.o.signal[k].stage, before = (int)was.signal[k].stage;
                most = is > most ? is : most;
                assert_true(is >= wanted(&s, k));
                assert_true(is <= before || is == wanted(&s, k));
                assert_true(is == OVERLOAD_NONE || is == before || s.r.signal[k].at[is] > 0);
                bool off = before != OVERLOAD_NONE && s.r.signal[k].at[before] == 0;
                if (is < before && !off && !reloaded) {
                    assert_true(s.now >= fell_at[k] + s.r.hold);
                    fell_at[k] = s.now;
                } else if (is != before) {
                    fell_at[k] = 0;
                }
                if (reloaded)
                    fell_at[k] = 0;
            }
            assert_int_equal(s.o.stage, most);
            assert_true(most == OVERLOAD_NONE || (int)s.o.signal[s.o.cause].stage == most);
            assert_int_equal(changed, s.o.stage != was.stage ||
                                          (most != OVERLOAD_NONE && s.o.cause != was.cause));
        }
        memset(s.in, 0, sizeof(s.in));
        for (usec_t t = 0; t < 3 * (s.r.hold + 2 * TICK); t += TICK)
            (void)step(&s);
        assert_int_equal(s.o.stage, OVERLOAD_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_rises_at_once),
        cmocka_unit_test(test_falls_in_steps),
        cmocka_unit_test(test_the_margin),
        cmocka_unit_test(test_flapping_input),
        cmocka_unit_test(test_stays_between),
        cmocka_unit_test(test_the_highest_signal_decides),
        cmocka_unit_test(test_a_signal_goes_missing),
        cmocka_unit_test(test_reload_of_thresholds),
        cmocka_unit_test(test_stages_that_are_off),
        cmocka_unit_test(test_lag),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_who_is_refused),
        cmocka_unit_test(test_properties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
