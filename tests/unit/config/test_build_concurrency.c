/* test_build_concurrency.c - the adaptive concurrency limit, as configured. */
#include "build_rig.h"
#include "rich.h"

static void test_defaults(UNUSED void **state)
{
    struct conf *c =
        build_good("version: 1\n"
                   "listeners:\n- name: l\n  address: 127.0.0.1:1\n  routes:\n"
                   "  - {match: {path: /b}, upstream: b}\n"
                   "  - {match: {path: /c}, upstream: c}\n"
                   "  - {match: {path: /d}, upstream: d}\n"
                   "  - {upstream: a}\n"
                   "upstreams:\n"
                   "- {name: a, endpoints: [\"127.0.0.1:9\"], concurrency: {}}\n"
                   "- {name: b, endpoints: [\"127.0.0.1:9\"]}\n"
                   "- {name: c, endpoints: [\"127.0.0.1:9\"], concurrency: {maxLimit: 8}}\n"
                   "- {name: d, endpoints: [\"127.0.0.1:9\"], concurrency: {minLimit: 30}}\n");
    const struct concurrency_rules *r = c->upstreams[0].concurrency;
    assert_int_equal(r->min_limit, 1);
    assert_int_equal(r->max_limit, 1000);
    assert_int_equal(r->initial_limit, 20);
    assert_int_equal(r->tolerance, 125);
    assert_int_equal(r->interval, 100 * USEC_PER_MSEC);
    assert_int_equal(r->min_rtt_window, 60 * USEC_PER_SEC);
    assert_false(r->dry_run);
    assert_null(c->upstreams[1].concurrency);
    assert_int_equal(c->upstreams[2].concurrency->initial_limit, 8);
    assert_int_equal(c->upstreams[3].concurrency->initial_limit, 30);
    (void)config_free(c);
}

static void test_rich(UNUSED void **state)
{
    struct conf *c = build_good(rich);
    const struct concurrency_rules *r = c->upstreams[0].concurrency;
    assert_int_equal(r->min_limit, 4);
    assert_int_equal(r->max_limit, 200);
    assert_int_equal(r->initial_limit, 8);
    assert_int_equal(r->tolerance, 150);
    assert_int_equal(r->interval, 200 * USEC_PER_MSEC);
    assert_int_equal(r->min_rtt_window, 30 * USEC_PER_SEC);
    assert_true(r->dry_run);
    (void)config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_rich),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
