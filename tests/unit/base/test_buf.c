/* test_buf.c - bytes come out as they went in, and none are held when there are none. */
#include "base/buf.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_empty_holds_nothing(UNUSED void **state)
{
    struct buf_pool pool = {0};
    struct buf b = {0};
    assert_int_equal(buf_len(&b), 0);
    assert_null(buf_data(&b));
    assert_int_equal(buf_append(&pool, &b, "x", 0), 0);
    assert_null(b.p);
    assert_int_equal(buf_append(&pool, &b, "hello", 5), 0);
    assert_true(b.cap < BUF_POOL_BLOCK);
    buf_consume(&pool, &b, 2);
    assert_memory_equal(buf_data(&b), "llo", 3);
    buf_consume(&pool, &b, 3);
    assert_null(b.p);
    assert_int_equal(pool.n, 0);
    assert_int_equal(buf_append(&pool, &b, "hello", 5), 0);
    assert_non_null(buf_reserve(&pool, &b, 300)); /* it is no small one any more */
    assert_int_equal(b.cap, BUF_POOL_BLOCK);
    assert_memory_equal(buf_data(&b), "hello", 5);
    buf_consume(&pool, &b, 5);
    assert_null(b.p);
    assert_int_equal(pool.n, 1);
    buf_consume(&pool, &b, 0);
    buf_clear(&pool, &b);
    assert_int_equal(pool.n, 1);
    buf_pool_free(&pool);
    assert_int_equal(pool.n, 0);
}

static void test_pool_keeps_few(UNUSED void **state)
{
    struct buf_pool pool = {0};
    struct buf b[BUF_POOL_KEEP + 4] = {0};
    for (size_t i = 0; i < ARRAY_LEN(b); i++)
        assert_non_null(buf_reserve(&pool, &b[i], 1000));
    for (size_t i = 0; i < ARRAY_LEN(b); i++)
        buf_clear(&pool, &b[i]);
    assert_int_equal(pool.n, BUF_POOL_KEEP);
    buf_pool_free(&pool);
}

/* A stream of counted bytes through one buffer. */
static void test_random(UNUSED void **state)
{
    struct buf_pool pool = {0};
    struct buf b = {0};
    struct rng rng;
    uint8_t next_in = 0, next_out = 0;
    size_t held = 0;
    rng_init(&rng, 1);
    for (int step = 0; step < 20000; step++) {
        if (rng_below(&rng, 2)) {
            size_t n = rng_below(&rng, rng_below(&rng, 20) == 0 ? 30000 : 700);
            char *to = buf_reserve(&pool, &b, n + 3); /* more than is used */
            assert_non_null(to);
            for (size_t i = 0; i < n; i++)
                to[i] = (char)next_in++;
            buf_commit(&b, n);
            held += n;
        } else {
            size_t n = rng_below(&rng, (uint32_t)held + 1);
            const char *from = buf_data(&b);
            for (size_t i = 0; i < n; i++)
                assert_int_equal((uint8_t)from[i], next_out++);
            buf_consume(&pool, &b, n);
            held -= n;
        }
        assert_int_equal(buf_len(&b), held);
        assert_true(b.off <= b.len && b.len <= b.cap);
    }
    buf_clear(&pool, &b);
    buf_pool_free(&pool);
}

static void test_reserve_zero(UNUSED void **state)
{
    struct buf_pool pool = {0};
    struct buf b = {0};
    assert_non_null(buf_reserve(&pool, &b, 0));
    buf_clear(&pool, &b);
    buf_pool_free(&pool);
}

static void test_no_memory(UNUSED void **state)
{
    struct buf_pool pool = {0};
    struct buf b = {0};
    assert_int_equal(buf_append(&pool, &b, "keep", 4), 0);
    struct buf before = b;
    mem_fail_at(1, false);
    assert_null(buf_reserve(&pool, &b, 10000));
    mem_fail_at(0, false);
    assert_memory_equal(&b, &before, sizeof(b));
    assert_memory_equal(buf_data(&b), "keep", 4);
    /* what no caller should ask for is refused, not looped over */
    assert_null(buf_reserve(&pool, &b, BUF_MAX));
    assert_null(buf_reserve(&pool, &b, SIZE_MAX));
    assert_null(buf_reserve(&pool, &b, SIZE_MAX - 4));
    assert_int_equal(buf_append(&pool, &b, "", SIZE_MAX), -ENOMEM);
    assert_memory_equal(&b, &before, sizeof(b));
    buf_clear(&pool, &b);
    buf_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_holds_nothing),
        cmocka_unit_test(test_pool_keeps_few),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_reserve_zero),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
