/* test_retry.c - what is retried, when, and what a server may say about it. */
#include "policies/retry.h"

#include "base/check.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { GET = 1 << 1, POST = 1 << 3 };

static const struct retry_rules usual = {
    .attempts = 1,
    .on = RETRY_ON_DEFAULT,
    .methods = GET,
    .base = 25 * USEC_PER_MSEC,
    .max = 250 * USEC_PER_MSEC,
    .max_body = 65536,
};

static const struct retry_ask first = {
    .method = GET, .body_kept = true, .left = 15 * USEC_PER_SEC, .random = UINT64_MAX};

static struct retry_failure answer(unsigned status)
{
    return (struct retry_failure){.what = RETRY_ANSWER, .status = (uint16_t)status, .grpc = -1};
}

static struct retry_failure local(enum retry_what what)
{
    return (struct retry_failure){.what = what, .grpc = -1};
}

static struct retry_failure grpc(int code)
{
    return (struct retry_failure){.what = RETRY_ANSWER, .status = 200, .grpc = (int8_t)code};
}

static void assert_fits(uint32_t on, struct retry_failure f, enum retry_condition want)
{
    enum retry_condition c = RETRY_CONDITIONS;
    assert_true(retry_fits(on, &f, &c));
    assert_int_equal(c, want);
}

static void assert_unfit(uint32_t on, struct retry_failure f)
{
    enum retry_condition c = RETRY_CONDITIONS;
    assert_false(retry_fits(on, &f, &c));
    assert_int_equal(c, RETRY_CONDITIONS);
}

static void test_each_condition_is_what_it_says(UNUSED void **state)
{
    const uint32_t all = (1U << RETRY_CONDITIONS) - 1;
    assert_fits(all, local(RETRY_NO_CONNECTION), RETRY_ON_CONNECT_FAILURE);
    assert_fits(all, local(RETRY_UNPROCESSED), RETRY_ON_REFUSED_STREAM);
    assert_fits(all, local(RETRY_NO_ANSWER), RETRY_ON_RESET);
    for (unsigned status = 200; status < 600; status++) {
        if (status == 409)
            assert_fits(all, answer(status), RETRY_ON_4XX);
        else if (status >= 502 && status <= 504)
            assert_fits(all, answer(status), RETRY_ON_GATEWAY_ERROR);
        else if (status >= 500)
            assert_fits(all, answer(status), RETRY_ON_5XX);
        else
            assert_unfit(all, answer(status));
    }
    assert_unfit(all, answer(600));
}

static void test_codes_of_grpc(UNUSED void **state)
{
    const uint32_t all = (1U << RETRY_CONDITIONS) - 1;
    for (int code = 0; code < 17; code++) {
        switch (code) {
        case 1:
            assert_fits(all, grpc(code), RETRY_ON_CANCELLED);
            break;
        case 4:
            assert_fits(all, grpc(code), RETRY_ON_DEADLINE_EXCEEDED);
            break;
        case 8:
            assert_fits(all, grpc(code), RETRY_ON_RESOURCE_EXHAUSTED);
            break;
        case 13:
            assert_fits(all, grpc(code), RETRY_ON_INTERNAL);
            break;
        case 14:
            assert_fits(all, grpc(code), RETRY_ON_UNAVAILABLE);
            break;
        default:
            assert_unfit(all, grpc(code));
        }
    }
    /* A call whose server went away is told UNAVAILABLE: who retries that means it too. */
    struct retry_failure f = {.what = RETRY_NO_ANSWER, .grpc = 14};
    assert_fits(RETRY_BIT(RETRY_ON_UNAVAILABLE), f, RETRY_ON_UNAVAILABLE);
}

static void test_5xx_takes_all_that_is_no_answer(UNUSED void **state)
{
    const uint32_t on = RETRY_BIT(RETRY_ON_5XX);
    assert_fits(on, local(RETRY_NO_CONNECTION), RETRY_ON_5XX);
    assert_fits(on, local(RETRY_UNPROCESSED), RETRY_ON_5XX);
    assert_fits(on, local(RETRY_NO_ANSWER), RETRY_ON_5XX);
    assert_fits(on, answer(503), RETRY_ON_5XX);
    assert_unfit(on, answer(409));
    assert_unfit(RETRY_BIT(RETRY_ON_GATEWAY_ERROR), local(RETRY_NO_ANSWER));
    assert_unfit(0, answer(503));
}

static enum retry_verdict decide(const struct retry_rules *r, struct retry_failure f,
                                 struct retry_ask ask, usec_t *ret_wait)
{
    enum retry_condition c = RETRY_CONDITIONS;
    usec_t wait = USEC_NEVER;
    enum retry_verdict v = retry_decide(r, &f, &ask, &wait, &c);
    assert_int_equal(v == RETRY_OTHER, c == RETRY_CONDITIONS);
    assert_int_equal(v == RETRY_YES, wait != USEC_NEVER);
    if (ret_wait)
        *ret_wait = wait;
    return v;
}

static void test_why_not(UNUSED void **state)
{
    struct retry_ask ask = first;
    assert_int_equal(decide(&usual, answer(503), ask, NULL), RETRY_YES);
    assert_int_equal(decide(&usual, answer(500), ask, NULL), RETRY_OTHER);
    ask.method = POST;
    assert_int_equal(decide(&usual, answer(503), ask, NULL), RETRY_METHOD);
    assert_int_equal(decide(&usual, local(RETRY_NO_ANSWER), ask, NULL), RETRY_METHOD);
    /* Nobody has acted on these. */
    assert_int_equal(decide(&usual, local(RETRY_NO_CONNECTION), ask, NULL), RETRY_YES);
    assert_int_equal(decide(&usual, local(RETRY_UNPROCESSED), ask, NULL), RETRY_YES);
    ask = first;
    ask.made = 1;
    assert_int_equal(decide(&usual, answer(503), ask, NULL), RETRY_ATTEMPTS);
    ask = first;
    ask.body_kept = false;
    assert_int_equal(decide(&usual, answer(503), ask, NULL), RETRY_BODY);
    ask = first;
    ask.told_wait = USEC_NEVER;
    assert_int_equal(decide(&usual, answer(503), ask, NULL), RETRY_PUSHBACK);
}

static void test_wait_has_to_fit(UNUSED void **state)
{
    struct retry_ask ask = first;
    usec_t wait = 0;
    ask.left = 25 * USEC_PER_MSEC;
    assert_int_equal(decide(&usual, answer(503), ask, NULL), RETRY_DEADLINE);
    ask.left = 25 * USEC_PER_MSEC + 1;
    assert_int_equal(decide(&usual, answer(503), ask, &wait), RETRY_YES);
    assert_int_equal(wait, 25 * USEC_PER_MSEC);
    ask.told_wait = 2 * USEC_PER_SEC;
    assert_int_equal(decide(&usual, answer(503), ask, NULL), RETRY_DEADLINE);
    ask.left = 15 * USEC_PER_SEC;
    assert_int_equal(decide(&usual, answer(503), ask, &wait), RETRY_YES);
    assert_int_equal(wait, 2 * USEC_PER_SEC);
    ask.told_wait = 1; /* shorter than the backoff */
    assert_int_equal(decide(&usual, answer(503), ask, &wait), RETRY_YES);
    assert_int_equal(wait, 25 * USEC_PER_MSEC);
    ask.left = USEC_NEVER;
    ask.told_wait = RETRY_WAIT_MAX;
    assert_int_equal(decide(&usual, answer(503), ask, NULL), RETRY_YES);
    ask.told_wait = RETRY_WAIT_MAX + 1;
    assert_int_equal(decide(&usual, answer(503), ask, NULL), RETRY_DEADLINE);
}

static void test_backoff_doubles_to_its_bound(UNUSED void **state)
{
    static const usec_t most[] = {25000, 50000, 100000, 200000, 250000, 250000};
    for (uint32_t i = 0; i < ARRAY_LEN(most); i++) {
        assert_int_equal(retry_backoff(&usual, i, UINT64_MAX), most[i]);
        assert_int_equal(retry_backoff(&usual, i, 0), 0);
        assert_in_range(retry_backoff(&usual, i, (uint64_t)1 << 63), most[i] / 2, most[i] / 2 + 1);
    }
    assert_int_equal(retry_backoff(&usual, UINT32_MAX, UINT64_MAX), 250000);
    struct retry_rules none = usual;
    none.base = none.max = 0;
    assert_int_equal(retry_backoff(&none, UINT32_MAX, UINT64_MAX), 0);
}

/* Full jitter: the whole range, evenly. */
static void test_backoff_is_spread(UNUSED void **state)
{
    struct rng rng;
    uint32_t tenths[10] = {0};
    rng_init(&rng, 7);
    for (int i = 0; i < 100000; i++) {
        usec_t t = retry_backoff(&usual, 9, rng_next(&rng));
        assert_true(t <= usual.max);
        tenths[min_u64(t * 10 / (usual.max + 1), 9)]++;
    }
    for (size_t i = 0; i < ARRAY_LEN(tenths); i++)
        assert_in_range(tenths[i], 9500, 10500);
}

static void test_retry_after(UNUSED void **state)
{
    const usec_t noon = UINT64_C(1767225600) * USEC_PER_SEC; /* Thu, 01 Jan 2026 00:00:00 GMT */
    assert_int_equal(retry_after(STR("3"), noon), 3 * USEC_PER_SEC);
    assert_int_equal(retry_after(STR("0"), noon), 0);
    assert_true(retry_after(STR("18446744073709551615"), noon) > RETRY_WAIT_MAX);
    assert_int_equal(retry_after(STR("Thu, 01 Jan 2026 00:00:10 GMT"), noon), 10 * USEC_PER_SEC);
    assert_int_equal(retry_after(STR("Sun, 01 Mar 2026 00:00:00 GMT"), noon),
                     (usec_t)59 * 86400 * USEC_PER_SEC);
    assert_int_equal(retry_after(STR("Tue, 29 Feb 2028 23:59:59 GMT"), noon),
                     ((usec_t)789 * 86400 + 86399) * USEC_PER_SEC);
    static const char *const none[] = {
        "",
        "-1",
        "1.5",
        " 3",
        "soon",
        "Thu, 01 Jan 2026 00:00:00 GMT", /* is now */
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 1969 00:00:00 GMT",
        "Thu, 01 Foo 2027 00:00:00 GMT",
        "Thu, 00 Jan 2027 00:00:00 GMT",
        "Thu, 32 Jan 2027 00:00:00 GMT",
        "Thu, 01 Jan 2027 24:00:00 GMT",
        "Thu, 01 Jan 2027 00:60:00 GMT",
        "Thu, 01 Jan 2027 00:00:61 GMT",
        "Thu, 01 Jan 2027 00:00:00 UTC",
        "Thu; 01 Jan 2027 00:00:00 GMT",
        "Thu,_01 Jan 2027 00:00:00 GMT",
        "Thu, 01_Jan 2027 00:00:00 GMT",
        "Thu, 01 Jan_2027 00:00:00 GMT",
        "Thu, 01 Jan 2027_00:00:00 GMT",
        "Thu, 01 Jan 2027 00.00:00 GMT",
        "Thu, 01 Jan 2027 00:00.00 GMT",
        "Thu, x1 Jan 2027 00:00:00 GMT",
        "Thu, 1x Jan 2027 00:00:00 GMT",
        "Thu, 01 Jan x027 00:00:00 GMT",
        "Thu, 01 Jan 20x7 00:00:00 GMT",
        "Thu, 01 Jan 2027 x0:00:00 GMT",
        "Thu, 01 Jan 2027 00:x0:00 GMT",
        "Thu, 01 Jan 2027 00:00:x0 GMT",
        "Thursday, 01-Jan-27 00:00:00 GMT",
    };
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_int_equal(retry_after(str_of(none[i]), noon), 0);
}

static void test_pushback(UNUSED void **state)
{
    assert_int_equal(retry_pushback(STR("0")), 0);
    assert_int_equal(retry_pushback(STR("150")), 150 * USEC_PER_MSEC);
    assert_int_equal(retry_pushback(STR("2147483647")), UINT64_C(2147483647) * USEC_PER_MSEC);
    assert_true(retry_pushback(STR("2147483648")) == USEC_NEVER);
    assert_true(retry_pushback(STR("-1")) == USEC_NEVER);
    assert_true(retry_pushback(STR("")) == USEC_NEVER);
    assert_true(retry_pushback(STR("soon")) == USEC_NEVER);
}

static void test_words(UNUSED void **state)
{
    assert_string_equal(retry_condition_word(RETRY_ON_CONNECT_FAILURE), "connect-failure");
    assert_string_equal(retry_condition_word(RETRY_ON_UNAVAILABLE), "unavailable");
    assert_string_equal(retry_verdict_word(RETRY_BUDGET), "budget");
    assert_string_equal(retry_verdict_word(RETRY_DRY_RUN), "dry_run");
}

/* Whatever is asked: a retry is within its attempts, of what may be repeated, and comes in time. */
static void test_never_beyond_the_rules(UNUSED void **state)
{
    struct rng rng;
    uint32_t yes = 0;
    rng_init(&rng, 11);
    for (int i = 0; i < 200000; i++) {
        struct retry_rules r = {
            .attempts = rng_below(&rng, 4),
            .on = (uint32_t)rng_next(&rng) & ((1U << RETRY_CONDITIONS) - 1),
            .methods = (uint32_t)rng_next(&rng) & 0x3ff,
            .base = rng_below(&rng, 1000000),
            .max = rng_below(&rng, 3000000),
        };
        struct retry_failure f = {
            .what = (enum retry_what)rng_below(&rng, 4),
            .status = (uint16_t)(200 + rng_below(&rng, 400)),
            .grpc = (int8_t)((int)rng_below(&rng, 18) - 1),
        };
        struct retry_ask ask = {
            .made = rng_below(&rng, 4),
            .method = 1U << rng_below(&rng, 10),
            .body_kept = rng_below(&rng, 4) > 0,
            .left = rng_below(&rng, 2) ? USEC_NEVER : rng_below(&rng, 5000000),
            .told_wait = rng_below(&rng, 3)   ? 0
                         : rng_below(&rng, 4) ? rng_below(&rng, 100000000)
                                              : USEC_NEVER,
            .random = rng_next(&rng),
        };
        usec_t wait = 0;
        if (decide(&r, f, ask, &wait) != RETRY_YES)
            continue;
        yes++;
        assert_true(ask.made < r.attempts && ask.body_kept && ask.told_wait != USEC_NEVER);
        assert_true(wait < ask.left && wait >= ask.told_wait && wait <= RETRY_WAIT_MAX);
        assert_true((r.methods & ask.method) || f.what < RETRY_NO_ANSWER);
    }
    assert_true(yes > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_condition_is_what_it_says),
        cmocka_unit_test(test_codes_of_grpc),
        cmocka_unit_test(test_5xx_takes_all_that_is_no_answer),
        cmocka_unit_test(test_why_not),
        cmocka_unit_test(test_wait_has_to_fit),
        cmocka_unit_test(test_backoff_doubles_to_its_bound),
        cmocka_unit_test(test_backoff_is_spread),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_pushback),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_never_beyond_the_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
