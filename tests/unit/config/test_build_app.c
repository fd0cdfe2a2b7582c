/* test_build_app.c - does app.leakWatch become what it says, and what it does not say? */
#include "build_rig.h"
#include "rich.h"
static void test_defaults(UNUSED void **state)
{
    struct config_problems p;
    struct conf *c = build(ROOT_2_1("workers: 1"), &p);
    assert_non_null(c);
    assert_true(c->app.leak.enabled);
    assert_int_equal(c->app.leak.interval, 3 * USEC_PER_SEC);
    assert_int_equal(c->app.leak.window, 60 * USEC_PER_SEC);
    assert_int_equal(c->app.leak.threshold, 250);
    (void)config_free(c);
    config_problems_free(&p);
}

static void test_rich(UNUSED void **state)
{
    struct config_problems p;
    struct conf *c = build(rich, &p);
    assert_non_null(c);
    assert_true(c->app.leak.enabled);
    assert_int_equal(c->app.leak.interval, 2 * USEC_PER_SEC);
    assert_int_equal(c->app.leak.window, 40 * USEC_PER_SEC);
    assert_int_equal(c->app.leak.threshold, 300);
    (void)config_free(c);
    config_problems_free(&p);
}

/* A window has as many samples as there is room for, and as make a mean. */
static void test_windows(UNUSED void **state)
{
    static const struct {
        const char *text;
        const char *says; /* NULL: it is good */
    } cases[] = {
        {ROOT_2_1("app: {leakWatch: {window: 12s}}"), NULL},
        {ROOT_2_1("app: {leakWatch: {window: 360s}}"), NULL},
        {ROOT_2_1("app: {leakWatch: {window: 361s}}"), "window 361s, interval 3s"},
        {ROOT_2_1("app: {leakWatch: {window: 11s}}"), "from 4 to 120 intervals long"},
        {ROOT_2_1("app: {leakWatch: {interval: 16s}}"), "window 1m, interval 16s"},
        {ROOT_2_1("app: {leakWatch: {interval: 100ms, window: 400ms}}"), NULL},
        {ROOT_2_1("app: {leakWatch: {interval: 0s}}"), "from 100ms"},
        {ROOT_2_1("app: {leakWatch: {threshold: 9}}"), "from 10 to 100000"},
        {ROOT_2_1("app: {leakWatch: off}"), "expected"},
        {ROOT_2_1("app: {leakWatch: {score: 1}}"), "unknown key"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_problems p;
        struct conf *c = build(cases[i].text, &p);
        if (cases[i].says) {
            assert_null(c);
            assert_int_equal(p.items[0].line, 2);
            if (!strstr(p.items[0].message, cases[i].says))
                fail_msg("\"%s\" has no \"%s\"", p.items[0].message, cases[i].says);
        } else {
            assert_non_null(c);
        }
        (void)config_free(c);
        config_problems_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_rich),
        cmocka_unit_test(test_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
