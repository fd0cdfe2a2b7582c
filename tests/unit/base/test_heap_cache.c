/* test_heap_cache.c - blocks that are kept: which, how many, and that failures come through. */
#include "base/heap_cache.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS 0
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define KEEPS 0
#endif
#ifndef KEEPS
#define KEEPS 1
#endif

static void test_sizes(void **state)
{
    (void)state;
    struct heap_cache c = {0};
    heap_cache_put(&c, NULL);
    for (size_t n = 0; n < 3000; n++) {
        char *p = heap_cache_alloc(&c, n);
        assert_non_null(p);
        memset(p, 'x', n); /* all of it is ours: the sanitizers look */
        heap_cache_put(&c, p);
        assert_true(c.bytes <= HEAP_CACHE_MOST);
    }
    assert_true(!KEEPS || c.bytes > 0);
    heap_cache_free(&c);
    assert_int_equal(c.bytes, 0);
}

/* What was grown by realloc, or is smaller than any that is kept, may come too. */
static void test_blocks_of_others(void **state)
{
    (void)state;
    struct heap_cache c = {0};
    for (size_t n = 1; n < 1500; n++)
        heap_cache_put(&c, mem_realloc(heap_cache_alloc(&c, 100), n));
    for (size_t n = 1; n < 1500; n++) {
        char *p = heap_cache_alloc(&c, n);
        memset(p, 'y', n);
        free(p);
    }
    heap_cache_free(&c);
}

static void test_again(void **state)
{
    (void)state;
    struct heap_cache c = {0};
    void *p = heap_cache_alloc(&c, 200);
    heap_cache_put(&c, p);
    if (KEEPS)
        assert_ptr_equal(heap_cache_alloc(&c, 193), p);
    heap_cache_free(&c);
    if (KEEPS)
        free(p);
}

static void test_bound_and_trim(void **state)
{
    (void)state;
    enum { BLOCKS = 2 * HEAP_CACHE_MOST / 512 };
    static void *p[BLOCKS];
    struct heap_cache c = {0};
    for (size_t i = 0; i < BLOCKS; i++)
        p[i] = heap_cache_alloc(&c, 512);
    for (size_t i = 0; i < BLOCKS; i++)
        heap_cache_put(&c, p[i]);
    assert_int_equal(c.bytes, KEEPS ? HEAP_CACHE_MOST : 0);
    heap_cache_trim(&c); /* before, they were needed */
    assert_int_equal(c.bytes, KEEPS ? HEAP_CACHE_MOST : 0);
    heap_cache_trim(&c);
    assert_int_equal(c.bytes, KEEPS ? HEAP_CACHE_MOST / 2 : 0);
    for (int i = 0; i < 20; i++)
        heap_cache_trim(&c);
    assert_int_equal(c.bytes, 0);
}

/* What is taken again between two looks is not given back. */
static void test_steady(void **state)
{
    (void)state;
    enum { BLOCKS = 100 };
    void *p[BLOCKS];
    struct heap_cache c = {0};
    for (int second = 0; second < 5; second++) {
        for (size_t i = 0; i < BLOCKS; i++)
            assert_non_null(p[i] = heap_cache_alloc(&c, 100));
        assert_int_equal(c.bytes, 0);
        for (size_t i = 0; i < BLOCKS; i++)
            heap_cache_put(&c, p[i]);
        heap_cache_trim(&c);
        assert_int_equal(c.n[100 / HEAP_CACHE_STEP], KEEPS ? BLOCKS : 0);
    }
    heap_cache_free(&c);
}

static void test_failures(void **state)
{
    (void)state;
    struct heap_cache c = {0};
    heap_cache_put(&c, heap_cache_alloc(&c, 64));
    mem_fail_at(1, false);
    assert_null(heap_cache_alloc(&c, 64)); /* though one is there */
    void *p = heap_cache_alloc(&c, 64);
    assert_non_null(p);
    mem_fail_at(0, false);
    heap_cache_put(&c, p);
    heap_cache_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),  cmocka_unit_test(test_blocks_of_others),
        cmocka_unit_test(test_again),  cmocka_unit_test(test_bound_and_trim),
        cmocka_unit_test(test_steady), cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
