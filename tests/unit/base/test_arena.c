/* test_arena.c - memory that is freed all at once. */
#include "base/arena.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_cleared_aligned_distinct(UNUSED void **state)
{
    enum { PIECES = 3000 };
    static unsigned char *piece[PIECES];
    static size_t size[PIECES];
    struct arena *a = arena_new();
    struct rng rng;
    size_t total = 0;
    rng_init(&rng, 1);
    for (uint32_t i = 0; i < PIECES; i++) {
        size[i] = rng_below(&rng, rng_below(&rng, 30) == 0 ? 20000 : 100);
        piece[i] = arena_alloc(a, size[i]);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % 16, 0);
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(piece[i][k], 0);
        if (size[i] > 0)
            memset(piece[i], (int)(i % 255 + 1), size[i]);
        total += size[i];
    }
    for (uint32_t i = 0; i < PIECES; i++) {
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(piece[i][k], i % 255 + 1);
    }
    assert_true(arena_bytes(a) >= total);
    assert_true(arena_bytes(a) < total * 2);
    assert_null(arena_free(a));
    assert_null(arena_free(NULL));
}

/* A large piece gets a block of its own, and the block in use stays in use. */
static void test_large_does_not_waste(UNUSED void **state)
{
    struct arena *a = arena_new();
    (void)arena_alloc(a, 16);
    size_t before = arena_bytes(a);
    for (int i = 0; i < 100; i++) {
        assert_non_null(arena_alloc(a, 8192));
        assert_non_null(arena_alloc(a, 16));
    }
    assert_int_equal(arena_bytes(a), before + 100 * 8192);
    (void)arena_free(a);
}

static void test_str(UNUSED void **state)
{
    struct arena *a = arena_new();
    struct str s = arena_str(a, STR("hello"));
    assert_string_equal(s.p, "hello");
    assert_int_equal(s.n, 5);
    s = arena_str(a, STR_NONE);
    assert_string_equal(s.p, "");
    assert_int_equal(s.n, 0);
    (void)arena_free(a);
}

static void test_no_memory(UNUSED void **state)
{
    mem_fail_at(1, false);
    assert_null(arena_new());
    mem_fail_at(0, false);
    struct arena *a = arena_new();
    mem_fail_at(1, true);
    assert_null(arena_alloc(a, 1));
    assert_null(arena_str(a, STR("x")).p);
    mem_fail_at(0, false);
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 14));
    assert_int_equal(arena_bytes(a), 0);
    assert_non_null(arena_alloc(a, 1));
    (void)arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cleared_aligned_distinct),
        cmocka_unit_test(test_large_does_not_waste),
        cmocka_unit_test(test_str),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
