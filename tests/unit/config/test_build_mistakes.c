/* test_build_mistakes.c - is every mistake told, once, at its place? */
#include "build_rig.h"
#include "mistakes.h"
#include "mistakes_more.h"
#include "mistakes_policies.h"

static const struct {
    const struct mistake *rows;
    size_t n;
} tables[] = {
    {mistakes, ARRAY_LEN(mistakes)},
    {policy_mistakes, ARRAY_LEN(policy_mistakes)},
    {more_mistakes, ARRAY_LEN(more_mistakes)},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        assert_mistakes(tables[i].rows, tables[i].n);
}

static const struct mistake *nth(size_t i)
{
    size_t t = 0;
    for (; i >= tables[t].n; t++)
        i -= tables[t].n;
    return &tables[t].rows[i];
}

/* No mistake is counted twice. */
static void test_distinct(void **state)
{
    (void)state;
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        n += tables[i].n;
    assert_true(n >= 400);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(nth(i)->text, nth(k)->text) == 0)
                fail_msg("%s", nth(i)->text);
        }
    }
}

/* What no text with an end can hold. */
static void test_nul(void **state)
{
    (void)state;
    static const char *const texts[] = {"version: 1\n\0", "version: \0001\n", "\0version: 1\n"};
    static const size_t sizes[] = {12, 12, 12};
    static const uint32_t places[][2] = {{2, 1}, {1, 10}, {1, 1}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct config_problems p = {0};
        assert_null(config_build_env("nul", texts[i], sizes[i], &test_env, &p));
        assert_int_equal(p.n, 1);
        assert_string_equal(p.items[0].message, "control character 0x00 in the text");
        assert_int_equal(p.items[0].line, places[i][0]);
        assert_int_equal(p.items[0].column, places[i][1]);
        config_problems_free(&p);
    }
}

static void test_all_at_once(void **state)
{
    (void)state;
    struct config_problems p;
    /* The unknown upstream is found after the bad balance, and stands before it. */
    assert_null(build("version: 1\n"
                      "workers: many\n"
                      "workers: 3\n"
                      "listeners:\n"
                      "- name: in\n"
                      "  address: nowhere\n"
                      "  routes:\n"
                      "  - {upstream: x, timeout: 5, wieght: 1}\n"
                      "upstreams:\n"
                      "- {name: a, endpoints: [], balance: best}\n",
                      &p));
    static const uint32_t lines[] = {2, 3, 6, 8, 8, 8, 10, 10};
    assert_int_equal(p.n, ARRAY_LEN(lines));
    assert_int_equal(p.errors, ARRAY_LEN(lines));
    for (uint32_t i = 0; i < p.n; i++)
        assert_int_equal(p.items[i].line, lines[i]);
    config_problems_free(&p);
}

static void test_many_problems(void **state)
{
    (void)state;
    char text[8192];
    size_t n = 0;
    struct config_problems p = {0};
    for (unsigned i = 0; i < 250; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "nothing%u: 1\n", i);
    assert_null(config_build("many", text, n, &p));
    assert_int_equal(p.n, 100);
    assert_int_equal(p.errors, 252);
    assert_int_equal(p.dropped, 152);
    assert_int_equal(p.items[0].line, 1);
    for (uint32_t i = 1; i < p.n; i++)
        assert_true(p.items[i].line >= p.items[i - 1].line);
    config_problems_free(&p);
}

static void test_print(void **state)
{
    (void)state;
    struct config_problems p;
    char out[1024];
    int fds[2];
    assert_null(build(FORWARD_7_5("wieght: 1"), &p));
    assert_int_equal(pipe(fds), 0);
    config_problems_print(&p, "a.yaml", fds[1]);
    ssize_t n = read(fds[0], out, sizeof(out) - 1);
    assert_true(n > 0);
    out[n] = '\0';
    assert_string_equal(out, "a.yaml:7:5: listeners[0].routes[0].wieght: unknown key \"wieght\"\n");
    (void)close(fds[0]);
    (void)close(fds[1]);
    config_problems_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),      cmocka_unit_test(test_distinct),
        cmocka_unit_test(test_nul),           cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_many_problems), cmocka_unit_test(test_print),
    };
    (void)unsetenv("SLUICE_TERMINATION_GRACE_PERIOD");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
