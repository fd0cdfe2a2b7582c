/* test_overload_keys.c - overload: what holds without a key, and what has no effect. */
#include "config/build.h"
#include "env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PERCENT(n) ((uint64_t)(n) * (OVERLOAD_PPM / 100))

static const char rest[] = "listeners:\n"
                           "  - {name: l, direction: inbound, address: \"127.0.0.1:1\", routes: "
                           "[{match: {pathPrefix: /}, upstream: a%s}]}\n"
                           "upstreams: [{name: a, endpoints: [\"127.0.0.1:2\"]}]\n";

/* The configuration, and its only warning (empty: none). */
static struct conf *build(const char *head, const char *route, char warning[256])
{
    char text[1024];
    struct config_problems p = {0};
    int n = snprintf(text, sizeof(text), "version: 1\n%s\n", head);
    n += snprintf(text + n, sizeof(text) - (size_t)n, rest, route);
    struct conf *c = config_build_env("test.yaml", text, (size_t)n, &test_env, &p);
    assert_int_equal(p.errors, 0);
    assert_true(p.n <= 1);
    warning[0] = '\0';
    if (p.n > 0)
        (void)snprintf(warning, 256, "%s: %s", p.items[0].path, p.items[0].message);
    config_problems_free(&p);
    assert_non_null(c);
    return c;
}

static void assert_thresholds(const char *head, enum overload_signal s, uint64_t keep_alive,
                              uint64_t low, uint64_t connections)
{
    char warning[256];
    struct conf *c = build(head, ", priority: low", warning);
    const uint64_t want[OVERLOAD_STAGES] = {0, keep_alive, low, connections};
    assert_memory_equal(c->overload.signal[s].at, want, sizeof(want));
    assert_string_equal(warning, "");
    (void)config_free(c);
}

static void test_defaults(void **state)
{
    char warning[256];
    (void)state;
    assert_thresholds("", OVERLOAD_MEMORY, PERCENT(90), PERCENT(95), PERCENT(98));
    assert_thresholds("", OVERLOAD_FDS, PERCENT(85), PERCENT(90), PERCENT(95));
    assert_thresholds("", OVERLOAD_PRESSURE_SOME, 0, 0, 0);
    assert_thresholds("", OVERLOAD_PRESSURE_FULL, 0, 0, 0);
    assert_thresholds("", OVERLOAD_LOOP_LAG, 0, 0, 0);
    struct conf *c = build("", "", warning);
    assert_int_equal(c->overload.hold, 2 * USEC_PER_SEC);
    assert_int_equal(c->overload.margin, 5);
    assert_false(c->overload.dry_run);
    (void)config_free(c);
}

static void test_units(void **state)
{
    (void)state;
    assert_thresholds("overload: {memory: {noKeepAlive: 0, refuseLow: 1}}", OVERLOAD_MEMORY, 0,
                      PERCENT(1), PERCENT(98));
    assert_thresholds("overload: {pressure: {full: {refuseLow: 20}}}", OVERLOAD_PRESSURE_FULL, 0,
                      PERCENT(20), 0);
    assert_thresholds("overload: {loopLag: {noKeepAlive: 250ms, noConnections: 2s}}",
                      OVERLOAD_LOOP_LAG, 250 * USEC_PER_MSEC, 0, 2 * USEC_PER_SEC);
}

/* Its memory is the application's too, unless somebody asks for it. */
static void test_with_an_application(void **state)
{
    (void)state;
    assert_thresholds("app: {command: [a]}", OVERLOAD_MEMORY, 0, 0, 0);
    assert_thresholds("app: {command: [a]}", OVERLOAD_FDS, PERCENT(85), PERCENT(90), PERCENT(95));
    assert_thresholds("app: {command: [a]}\noverload: {memory: {noKeepAlive: 90}}", OVERLOAD_MEMORY,
                      PERCENT(90), PERCENT(95), PERCENT(98));
    assert_thresholds("app: {command: [a]}\noverload: {memory: {}}", OVERLOAD_MEMORY, PERCENT(90),
                      PERCENT(95), PERCENT(98));
}

#define OFF "{noKeepAlive: 0, refuseLow: 0, noConnections: 0}"

static void test_what_has_no_effect(void **state)
{
    static const struct {
        const char *head, *route, *warning;
    } rows[] = {
        {"overload: {memory: " OFF "}", "", ""}, /* that is how it is switched off */
        {"overload: {loopLag: {}}", "", "overload.loopLag: has no effect: all thresholds are 0"},
        {"overload: {pressure: {some: " OFF "}}", "",
         "overload.pressure.some: has no effect: all thresholds are 0"},
        {"overload: {fds: " OFF ", memory: " OFF ", hold: 5s}", "",
         "overload.hold: has no effect: all thresholds are 0"},
        {"overload: {fds: " OFF ", hold: 5s}", "", ""},
        {"overload: {fds: {refuseLow: 92}}", "",
         "overload.fds.refuseLow: has no effect: no route has priority: low"},
        {"overload: {fds: {refuseLow: 92}}", ", priority: low", ""},
        {"overload: {fds: {noKeepAlive: 0, refuseLow: 92}}", "", ""}, /* the stage below */
        {"overload: {fds: {refuseLow: 0}}", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char warning[256];
        struct conf *c = build(rows[i].head, rows[i].route, warning);
        assert_string_equal(warning, rows[i].warning);
        (void)config_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_with_an_application),
        cmocka_unit_test(test_what_has_no_effect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
