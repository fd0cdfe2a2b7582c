/* test_hash_index.c - every item is found, and none costs more for there being many. */
#include "base/check.h"
#include "base/hash_index.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { MANY = 50000 };

static uint32_t hash_of(uint32_t i)
{
    char key[32];
    (void)snprintf(key, sizeof(key), "route-%u", i);
    return hash_end(hash_bytes(HASH_BEGIN, str_of(key)));
}

static bool holds(const struct hash_index *x, uint32_t hash, uint32_t item)
{
    uint32_t at = 0, i;
    while ((i = hash_index_next(x, hash, &at)) != HASH_NONE) {
        if (i == item)
            return true;
    }
    return false;
}

static void test_many(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct hash_index x;
    hash_index_init(&x, a);
    assert_false(holds(&x, hash_of(0), 0));
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(hash_index_add(&x, hash_of(i), i), 0);
    assert_int_equal(x.n, MANY);
    for (uint32_t i = 0; i < MANY; i++)
        assert_true(holds(&x, hash_of(i), i));
    assert_false(holds(&x, hash_of(MANY), MANY));
    assert_true(x.mask + 1 <= 4 * MANY);
    assert_true(hash_index_longest(&x) <= 64);
    (void)arena_free(a);
}

static void test_one_hash(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct hash_index x;
    hash_index_init(&x, a);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(hash_index_add(&x, UINT32_MAX, i), 0);
    for (uint32_t i = 0; i < 100; i++)
        assert_true(holds(&x, UINT32_MAX, i));
    assert_false(holds(&x, 0, 5));
    (void)arena_free(a);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct hash_index x;
    uint32_t refused = 0, n = 0;
    hash_index_init(&x, a);
    for (uint32_t i = 0; i < 20000; i++) {
        mem_fail_at(1, true);
        int rc = hash_index_add(&x, hash_of(i), i);
        mem_fail_at(0, false);
        refused += rc < 0;
        if (rc < 0)
            assert_int_equal(hash_index_add(&x, hash_of(i), i), 0);
        assert_int_equal(x.n, ++n);
    }
    assert_true(refused > 0);
    for (uint32_t i = 0; i < n; i++)
        assert_true(holds(&x, hash_of(i), i));
    (void)arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_one_hash),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
