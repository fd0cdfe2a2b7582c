/* test_mem.c - do allocations fail when they are told to, and only then? */
#include "base/mem.h"

#include "base/check.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int turn_off(UNUSED void **state)
{
    mem_fail_at(0, false);
    (void)unsetenv("SLUICE_FAIL_ALLOC");
    return 0;
}

static unsigned failed_of(unsigned n)
{
    unsigned failed = 0;
    for (unsigned i = 0; i < n; i++) {
        void *p = mem_alloc(10);
        failed += p == NULL;
        free(p);
    }
    return failed;
}

static void test_plain(UNUSED void **state)
{
    unsigned char *p = mem_zalloc(100);
    assert_non_null(p);
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    p = mem_realloc(p, 1000);
    assert_non_null(p);
    unsigned char *q = mem_realloc(p, 0); /* not a disguised free() */
    assert_non_null(q);
    free(q);
    char *s = mem_strndup(STR("abc"));
    assert_string_equal(s, "abc");
    free(s);
    s = mem_strndup(STR_NONE);
    assert_string_equal(s, "");
    free(s);
}

static void test_nth(UNUSED void **state)
{
    uint64_t before = mem_failures();
    assert_int_equal(failed_of(100), 0);
    mem_fail_at(3, false);
    assert_int_equal(failed_of(2), 0);
    assert_int_equal(failed_of(1), 1);
    assert_int_equal(failed_of(100), 0);
    mem_fail_at(3, true);
    assert_int_equal(failed_of(30), 10);
    assert_int_equal(mem_failures() - before, 11);
}

static void test_every_door(UNUSED void **state)
{
    mem_fail_at(1, true);
    assert_null(mem_alloc(1));
    assert_null(mem_zalloc(1));
    assert_null(mem_strndup(STR("x")));
    assert_true(mem_should_fail());
    mem_fail_at(0, false);
    void *p = mem_alloc(1);
    mem_fail_at(1, true);
    assert_null(mem_realloc(p, 2)); /* p stays */
    free(p);
}

static void test_env(UNUSED void **state)
{
    mem_fail_from_env();
    assert_int_equal(failed_of(10), 0);
    (void)setenv("SLUICE_FAIL_ALLOC", "2", 1);
    mem_fail_from_env();
    assert_int_equal(failed_of(10), 1);
    (void)setenv("SLUICE_FAIL_ALLOC", "2+", 1);
    mem_fail_from_env();
    assert_int_equal(failed_of(10), 5);
    (void)setenv("SLUICE_FAIL_ALLOC", "x", 1);
    mem_fail_from_env();
    assert_int_equal(failed_of(10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_plain, turn_off),
        cmocka_unit_test_teardown(test_nth, turn_off),
        cmocka_unit_test_teardown(test_every_door, turn_off),
        cmocka_unit_test_teardown(test_env, turn_off),
    };
    return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
