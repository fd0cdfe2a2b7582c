/* test_no_memory.c - what is compiled into an arena that memory runs short of: it is said so, at
 * whichever allocation it happens. */
#include "base/arena.h"
#include "base/mem.h"
#include "policies/learn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct str names[] = {{"s", 1}, {"t", 1}};

/* Pieces, each as small as there are, that an arena has room for at once. */
static uint32_t room(void)
{
    struct arena *a = arena_new();
    uint32_t n = 1;
    assert_non_null(arena_alloc(a, 1));
    mem_fail_at(1, true);
    while (arena_alloc(a, 1))
        n++;
    mem_fail_at(0, false);
    (void)arena_free(a);
    return n;
}

static int compile_pattern(struct arena *a)
{
    struct learn_pair headers[1];
    struct learn_pattern p = {.headers = headers};
    struct template_problem problem;
    int rc = learn_pattern_compile(a, STR("/a/{s}?b={t}&c=d"), names, 2, &p, &problem);
    if (rc == 0)
        rc = learn_pattern_header(a, STR("cookie"), STR("x={s}; ; y=1"), names, 2, &p, &problem);
    if (rc == 0)
        rc = learn_pattern_header(a, STR("x-a"), STR("b {t}"), names, 2, &p, &problem);
    if (rc == 0)
        assert_true(p.n_query == 2 && p.n_cookies == 2 && p.n_headers == 1);
    return rc;
}

static int compile_template(struct arena *a)
{
    struct template t;
    struct template_problem problem;
    int rc = template_compile(a, STR("{\"a\":\"{s}\",\"b\":{t}}"), TEMPLATE_JSON, names, 2, &t,
                              &problem);
    if (rc == 0)
        assert_int_equal(t.uses, 3);
    return rc;
}

static int compile_path(struct arena *a)
{
    struct json_path p;
    size_t at;
    const char *wrong = json_path_compile(a, STR("$.a['b c'][3]"), &p, &at);
    if (wrong)
        assert_string_equal(wrong, "out of memory");
    else
        assert_int_equal(p.n, 3);
    return wrong ? -ENOMEM : 0;
}

static void check(int (*compile)(struct arena *))
{
    uint32_t all = room(), left;
    for (left = 0; left < all; left++) {
        struct arena *a = arena_new();
        for (uint32_t i = left; i < all; i++)
            assert_non_null(arena_alloc(a, 1));
        uint64_t before = mem_failures();
        mem_fail_at(1, true);
        int rc = compile(a);
        mem_fail_at(0, false);
        bool failed = mem_failures() > before;
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        (void)arena_free(a);
        if (!failed)
            break;
    }
    assert_in_range(left, 4, all - 1);
}

static void test_patterns(void **state)
{
    (void)state;
    check(compile_pattern);
}

static void test_templates(void **state)
{
    (void)state;
    check(compile_template);
}

static void test_paths(void **state)
{
    (void)state;
    check(compile_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
