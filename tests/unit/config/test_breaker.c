/* test_breaker.c - circuitBreaker: what turns it on, and what it is then. */
#include "config/build.h"
#include "env.h"
#include "mistake.h"
#include "rich.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SEC USEC_PER_SEC

static struct conf *build(const char *text)
{
    struct config_problems p = {0};
    struct conf *c = config_build_env("test.yaml", text, strlen(text), &test_env, &p);
    assert_int_equal(p.errors, 0);
    assert_non_null(c);
    config_problems_free(&p);
    return c;
}

static void assert_rules(const char *text, uint32_t upstream, const struct breaker_rules *want)
{
    struct conf *c = build(text);
    assert_memory_equal(&c->upstreams[upstream].breaker, want, sizeof(*want));
    (void)config_free(c);
}

static void test_any_key_turns_it_on(void **state)
{
    static const char *const given[] = {
        "consecutiveErrors: 5",
        "errorRate: 50",
        "slowCallDuration: 0",
        "window: 10s",
        "minRequests: 20",
        "openDuration: 1s",
        "maxOpenDuration: 60s",
        "halfOpenTimeout: 10s",
        "halfOpenSuccesses: 1",
        "dryRun: false",
        "slowCallRate: 50, slowCallDuration: 0",
    };
    static const struct breaker_rules want = {.enabled = true,
                                              .consecutive_errors = 5,
                                              .error_rate = 50,
                                              .slow_call_rate = 50,
                                              .window = 10 * SEC,
                                              .min_requests = 20,
                                              .open_duration = SEC,
                                              .max_open_duration = 60 * SEC,
                                              .half_open_timeout = 10 * SEC,
                                              .half_open_successes = 1};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text), UPSTREAM_7_3("circuitBreaker: {%s}"), given[i]);
        assert_rules(text, 1, &want);
    }
}

static void test_limits_do_not(void **state)
{
    static const char *const texts[] = {
        UPSTREAM_7_3("circuitBreaker: {}"),
        UPSTREAM_7_3("circuitBreaker: {maxConnections: 5, maxRequests: 5, "
                     "maxPendingRequests: 5, queueTimeout: 2s}"),
        UPSTREAM_7_3("pool: {minIdle: 1}"),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct conf *c = build(texts[i]);
        assert_false(c->upstreams[1].breaker.enabled);
        (void)config_free(c);
    }
}

static void test_every_key(void **state)
{
    static const struct breaker_rules want = {.enabled = true,
                                              .dry_run = true,
                                              .consecutive_errors = 7,
                                              .error_rate = 40,
                                              .slow_call_duration = 800 * USEC_PER_MSEC,
                                              .slow_call_rate = 60,
                                              .window = 20 * SEC,
                                              .min_requests = 30,
                                              .open_duration = 2 * SEC,
                                              .max_open_duration = 60 * SEC,
                                              .half_open_timeout = 3 * SEC,
                                              .half_open_successes = 2};
    (void)state;
    assert_rules(rich, 0, &want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_key_turns_it_on),
        cmocka_unit_test(test_limits_do_not),
        cmocka_unit_test(test_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
