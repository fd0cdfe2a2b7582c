/* test_slab.c - objects of one size: distinct, aligned, and given back. */
#include "base/slab.h"

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

enum { BLOCK = 64 * 1024 };

static void test_distinct_and_aligned(UNUSED void **state)
{
    static const size_t sizes[] = {8, 9, 16, 100, 1000, 4096, 32768};
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        enum { OBJECTS = 200 };
        unsigned char *objects[OBJECTS];
        struct slab s;
        slab_init(&s, sizes[k]);
        for (uint32_t i = 0; i < OBJECTS; i++) {
            objects[i] = slab_alloc(&s);
            assert_non_null(objects[i]);
            assert_int_equal((uintptr_t)objects[i] % 16, 0);
            memset(objects[i], (int)i, sizes[k]);
        }
        assert_int_equal(s.live, OBJECTS);
        assert_int_equal(s.blocks, (OBJECTS + s.per_block - 1) / s.per_block);
        for (uint32_t i = 0; i < OBJECTS; i++) {
            assert_int_equal(objects[i][0], i);
            assert_int_equal(objects[i][sizes[k] - 1], i);
            slab_free(&s, objects[i]);
        }
        assert_int_equal(s.live, 0);
        for (size_t before = s.blocks; s.blocks > 1; before = s.blocks) {
            slab_trim(&s);
            assert_int_equal(s.blocks, before - before / 2);
        }
        slab_free_all(&s);
        assert_int_equal(s.blocks, 0);
    }
}

static void test_last_freed_comes_first(UNUSED void **state)
{
    struct slab s;
    slab_init(&s, 64);
    void *a = slab_alloc(&s), *b = slab_alloc(&s);
    slab_free(&s, a);
    slab_free(&s, b);
    assert_ptr_equal(slab_alloc(&s), b);
    assert_ptr_equal(slab_alloc(&s), a);
    slab_free(&s, a);
    slab_free(&s, b);
    slab_free_all(&s);
}

/* A load that moves around a block's edge does not map and unmap. */
static void test_spare(UNUSED void **state)
{
    struct slab s;
    void *first[2048];
    slab_init(&s, 64);
    for (uint32_t i = 0; i < s.per_block; i++)
        first[i] = slab_alloc(&s);
    void *over = slab_alloc(&s);
    slab_free(&s, over);
    for (int i = 0; i < 100; i++) {
        void *again = slab_alloc(&s);
        assert_ptr_equal(again, over);
        assert_int_equal(s.blocks, 2);
        slab_free(&s, again);
    }
    for (uint32_t i = 0; i < s.per_block; i++)
        slab_free(&s, first[i]);
    assert_int_equal(s.blocks, 2);
    slab_free_all(&s);
    assert_int_equal(s.blocks, 0);
}

/* Each object holds its own tag until it is freed; empty blocks go back. */
static void test_random(UNUSED void **state)
{
    enum { SLOTS = 3000 };
    static uint64_t *held[SLOTS];
    struct slab s;
    struct rng rng;
    size_t live = 0;
    rng_init(&rng, 1);
    slab_init(&s, 200);
    for (uint32_t step = 0; step < 300000; step++) {
        /* the load swells and ebbs */
        uint32_t at = rng_below(&rng, step / 50000 % 2 ? SLOTS / 20 : SLOTS);
        if (held[at]) {
            assert_int_equal(*held[at], at);
            slab_free(&s, held[at]);
            held[at] = NULL;
            live--;
        } else {
            held[at] = slab_alloc(&s);
            *held[at] = at;
            live++;
        }
        assert_int_equal(s.live, live);
        assert_true(s.blocks * s.per_block >= live);
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (held[i])
            slab_free(&s, held[i]);
        held[i] = NULL;
    }
    assert_int_equal(s.live, 0);
    while (s.blocks > 1)
        slab_trim(&s);
    slab_free_all(&s);
}

static void test_no_memory(UNUSED void **state)
{
    struct slab s;
    slab_init(&s, 100);
    mem_fail_at(1, false);
    assert_null(slab_alloc(&s));
    mem_fail_at(0, false);
    assert_int_equal(s.live + s.blocks, 0);
    void *p = slab_alloc(&s);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p / BLOCK, ((uintptr_t)p + 99) / BLOCK);
    slab_free(&s, p);
    slab_free_all(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distinct_and_aligned),
        cmocka_unit_test(test_last_freed_comes_first),
        cmocka_unit_test(test_spare),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
