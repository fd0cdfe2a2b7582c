/* test_health.c - does a row of checks come to what rise and fall say, in simulated time? */
#include "healthcheck/health.h"

#include "base/check.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define S USEC_PER_SEC

static const struct health_rules usual = {
    .interval = 5 * S,
    .unhealthy_interval = S,
    .timeout = S,
    .rise = 2,
    .fall = 3,
    .jitter = 10,
    .skip_while_serving = true,
};

static const struct check_result good = {CHECK_L7OK, 200, 1000};
static const struct check_result bad = {CHECK_L7STS, 503, 1000};
static const struct check_result ours = {CHECK_SOCKERR, 0, 0};

/* "+" a good check, "-" a bad one, "o" one that we could not make; big letters in `told` where the
 * state has changed: U up, D down. */
static void play(const struct health_rules *r, struct health *h, const char *checks,
                 const char *told)
{
    for (size_t i = 0; checks[i]; i++) {
        const struct check_result *result = checks[i] == '+'   ? &good
                                            : checks[i] == '-' ? &bad
                                                               : &ours;
        bool changed = health_note(h, r, result, (i + 1) * S);
        assert_int_equal(changed, told[i] != '.');
        if (changed) {
            assert_int_equal(h->healthy, told[i] == 'U');
            assert_int_equal(h->since, (i + 1) * S);
        }
    }
}

static void test_rise_and_fall(void **state)
{
    struct health h;
    (void)state;
    health_init(&h, &usual, S);
    assert_true(h.healthy);
    assert_int_equal(h.last.word, CHECK_NONE);
    play(&usual, &h, "+--+--+---", ".........D");
    play(&usual, &h, "+-+-++", ".....U");
    assert_int_equal(h.changes, 2);
    assert_int_equal(h.passed, 7);
    assert_int_equal(h.failed, 9);
}

static void test_one_is_enough(void **state)
{
    struct health_rules r = usual;
    struct health h;
    (void)state;
    r.rise = r.fall = 1;
    health_init(&h, &r, S);
    play(&r, &h, "+-+-", ".DUD");
}

static void test_initially_unhealthy(void **state)
{
    struct health_rules r = usual;
    struct health h;
    (void)state;
    r.initially_unhealthy = true;
    health_init(&h, &r, S);
    assert_false(h.healthy);
    play(&r, &h, "-+-++", "....U");
}

/* What we could not ask for says nothing of the endpoint. */
static void test_our_own_failure(void **state)
{
    struct health h;
    (void)state;
    health_init(&h, &usual, S);
    play(&usual, &h, "--oooo-", "......D");
    play(&usual, &h, "+oo+", "...U");
    assert_int_equal(h.passed + h.failed, 5);
}

/* Lower ones decide at the next check, and what was counted by the old ones is not. */
static void test_other_rules(void **state)
{
    struct health_rules r = usual;
    struct health h;
    (void)state;
    health_init(&h, &usual, S);
    play(&usual, &h, "--", "..");
    health_begin_anew(&h);
    assert_true(h.healthy);
    play(&usual, &h, "--", "..");
    r.fall = 1;
    play(&r, &h, "-", "D");
    health_begin_anew(&h);
    assert_false(h.healthy);
}

static usec_t longest(const struct health *h, const struct health_rules *r, usec_t *ret_shortest)
{
    usec_t most = 0;
    struct rng rng;
    rng_init(&rng, 3);
    *ret_shortest = USEC_NEVER;
    for (int i = 0; i < 20000; i++) {
        usec_t w = health_wait(h, r, (uint32_t)rng_next(&rng));
        most = max_u64(most, w);
        *ret_shortest = min_u64(*ret_shortest, w);
    }
    return most;
}

#define EXPECT_WAIT(h, r, low, high)                                                               \
    do {                                                                                           \
        usec_t shortest_, longest_ = longest((h), (r), &shortest_);                                \
        assert_in_range(shortest_, (low), (low) + (high) / 100);                                   \
        assert_in_range(longest_, (high) - (high) / 100, (high));                                  \
    } while (0)

static void test_waits(void **state)
{
    struct health_rules r = usual;
    struct health h;
    (void)state;
    health_init(&h, &r, S);
    EXPECT_WAIT(&h, &r, 4500000, 5500000);
    play(&r, &h, "-", "."); /* about to change */
    EXPECT_WAIT(&h, &r, 900000, 1100000);
    play(&r, &h, "+", ".");
    EXPECT_WAIT(&h, &r, 4500000, 5500000);
    play(&r, &h, "---", "..D");
    EXPECT_WAIT(&h, &r, 900000, 1100000);
    r.interval = S / 2; /* looked at no more seldom than what is well */
    EXPECT_WAIT(&h, &r, 450000, 550000);
    r.jitter = 0;
    assert_int_equal(health_wait(&h, &r, UINT32_MAX), S / 2);
    r.interval = r.unhealthy_interval = (usec_t)3600 * 168 * S; /* a week */
    r.jitter = 50;
    EXPECT_WAIT(&h, &r, (usec_t)3600 * 84 * S, (usec_t)3600 * 252 * S);
}

static void test_skips(void **state)
{
    struct health_rules r = usual;
    struct health h;
    (void)state;
    health_init(&h, &r, S);
    assert_false(health_skip(&h, &r, true)); /* nothing has been asked yet */
    play(&r, &h, "+", ".");
    assert_false(health_skip(&h, &r, false));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < HEALTH_SKIPS; i++)
            assert_true(health_skip(&h, &r, true));
        assert_false(health_skip(&h, &r, true)); /* the path may say otherwise than requests do */
        play(&r, &h, "+", ".");
    }
    play(&r, &h, "-", ".");
    assert_false(health_skip(&h, &r, true)); /* about to change */
    play(&r, &h, "+o", "..");
    assert_false(health_skip(&h, &r, true));
    play(&r, &h, "+---", "...D");
    assert_false(health_skip(&h, &r, true));
    play(&r, &h, "++", ".U");
    assert_true(health_skip(&h, &r, true));
    r.skip_while_serving = false;
    assert_false(health_skip(&h, &r, true));
}

static void test_first_looks_are_spread(void **state)
{
    usec_t before = 0;
    (void)state;
    assert_int_equal(health_first_wait(&usual, 0, 1), 0);
    assert_int_equal(health_first_wait(&usual, 0, 0), 0);
    for (uint32_t i = 1; i < 5000; i++) {
        usec_t w = health_first_wait(&usual, i, 5000);
        assert_int_equal(w - before, S / 1000);
        assert_true(w < usual.interval);
        before = w;
    }
}

/* Whatever comes: a change takes as many results in a row as its rule says, and never more. */
static void test_any_row(void **state)
{
    struct rng rng;
    (void)state;
    rng_init(&rng, 11);
    for (int run = 0; run < 300; run++) {
        struct health_rules r = usual;
        struct health h;
        uint32_t row[2] = {0, 0};
        r.rise = 1 + rng_below(&rng, 5);
        r.fall = 1 + rng_below(&rng, 5);
        r.initially_unhealthy = rng_below(&rng, 2);
        health_init(&h, &r, 1);
        for (usec_t now = 2; now < 300; now++) {
            bool well = rng_below(&rng, 3) > 0, was = h.healthy;
            bool changed = health_note(&h, &r, well ? &good : &bad, now);
            row[well]++;
            row[!well] = 0;
            assert_int_equal(changed, h.healthy != was);
            if (changed)
                assert_int_equal(row[well], well ? r.rise : r.fall);
            assert_true(row[1] < r.rise || h.healthy);
            assert_true(row[0] < r.fall || !h.healthy);
            assert_true(h.streak < (h.healthy ? r.fall : r.rise));
        }
        assert_int_equal(h.passed + h.failed, 298);
    }
}

static void test_words(void **state)
{
    char text[CHECK_TEXT_MAX];
    (void)state;
    assert_string_equal(check_text(&bad, text), "L7STS/503");
    assert_string_equal(check_text(&(struct check_result){CHECK_L4TOUT, 0, 0}, text), "L4TOUT");
    assert_string_equal(check_text(&(struct check_result){CHECK_PROCERR, 0, 0}, text), "PROCERR/0");
    for (int w = 0; w < CHECK_WORDS; w++) {
        assert_true(check_word((enum check_word)w)[0] && check_meaning((enum check_word)w)[0]);
        size_t n = strlen(check_word((enum check_word)w));
        bool ok = n > 2 && strcmp(check_word((enum check_word)w) + n - 2, "OK") == 0;
        assert_int_equal(check_well((enum check_word)w), ok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rise_and_fall),
        cmocka_unit_test(test_one_is_enough),
        cmocka_unit_test(test_initially_unhealthy),
        cmocka_unit_test(test_our_own_failure),
        cmocka_unit_test(test_other_rules),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_skips),
        cmocka_unit_test(test_first_looks_are_spread),
        cmocka_unit_test(test_any_row),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
