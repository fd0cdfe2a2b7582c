/* test_build_retry.c - what a route's retries are made of, given and by default. */
#include "build_rig.h"
#include "rich.h"

static uint32_t method_bits(const char *const *names, size_t n)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++)
        bits |= UINT32_C(1) << http_method_of(str_of(names[i]));
    return bits;
}

static void test_defaults(UNUSED void **state)
{
    static const char *const idempotent[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    struct conf *c = build_good(FORWARD_7_5("retry: {}"));
    const struct retry_rules *r = c->listeners[0].routes[0].retry;
    assert_non_null(r);
    assert_int_equal(r->attempts, 1);
    assert_int_equal(r->on, RETRY_ON_DEFAULT);
    assert_int_equal(r->methods, method_bits(idempotent, ARRAY_LEN(idempotent)));
    assert_int_equal(r->per_try_timeout, 0);
    assert_int_equal(r->base, 25 * USEC_PER_MSEC);
    assert_int_equal(r->max, 250 * USEC_PER_MSEC);
    assert_int_equal(r->max_body, 64 * 1024);
    assert_false(r->dry_run);
    (void)config_free(c);
}

static void test_all_keys(UNUSED void **state)
{
    static const char *const methods[] = {"GET", "POST"};
    struct conf *c = build_good(rich);
    const struct conf_route *route = &c->listeners[0].routes[2];
    const struct retry_rules *r = route->retry;
    assert_true(route->pass_deadline && route->abort_on_close);
    assert_int_equal(route->priority, PRIORITY_LOW);
    assert_int_equal(r->attempts, 2);
    assert_int_equal(r->on, RETRY_BIT(RETRY_ON_CONNECT_FAILURE) | RETRY_BIT(RETRY_ON_5XX) |
                                RETRY_BIT(RETRY_ON_4XX));
    assert_int_equal(r->methods, method_bits(methods, ARRAY_LEN(methods)));
    assert_int_equal(r->per_try_timeout, 500 * USEC_PER_MSEC);
    assert_int_equal(r->base, 10 * USEC_PER_MSEC);
    assert_int_equal(r->max, USEC_PER_SEC);
    assert_int_equal(r->max_body, 16 * 1024);
    assert_true(r->dry_run);
    assert_int_equal(c->upstreams[0].limits.retries, 10);
    assert_int_equal(c->upstreams[0].retry_budget.percent, 10);
    assert_int_equal(c->upstreams[0].retry_budget.min_per_second, 5);
    assert_int_equal(c->upstreams[0].retry_budget.window, 30 * USEC_PER_SEC);
    (void)config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
