/* test_jwt_cache.c - the cache holds what was put there, no more than it may, and the latest used.
 */
#include "policies/jwt_cache.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"

#include <stdarg.h>
#include <stdio.h>
#include <setjmp.h>
#include <cmocka.h>

static void key_of(struct jwt_cache *c, uint32_t i, unsigned char key[JWT_CACHE_KEY])
{
    char text[32];
    int n = snprintf(text, sizeof(text), "token %u", i);
    assert_true(jwt_cache_key(c, (struct str){text, (size_t)n}, key));
}

static const struct jwt_claims *put(struct jwt_cache *c, uint32_t i)
{
    unsigned char key[JWT_CACHE_KEY];
    struct jwt_claims claims = {.json = json_object(), .exp = i};
    key_of(c, i, key);
    const struct jwt_claims *kept = jwt_cache_put(c, key, &claims);
    assert_int_equal(kept == NULL, claims.json != NULL);
    jwt_claims_free(&claims);
    return kept;
}

static const struct jwt_claims *get(struct jwt_cache *c, uint32_t i)
{
    unsigned char key[JWT_CACHE_KEY];
    key_of(c, i, key);
    return jwt_cache_get(c, key);
}

/* FIPS 180-4: SHA-256 of "abc", twice, as the context is used again. */
static void test_key(UNUSED void **state)
{
    static const unsigned char abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    unsigned char key[JWT_CACHE_KEY];
    struct jwt_cache *c = jwt_cache_new(4);
    for (int i = 0; i < 2; i++) {
        assert_true(jwt_cache_key(c, STR("abc"), key));
        assert_memory_equal(key, abc, sizeof(abc));
    }
    assert_null(jwt_cache_free(c));
    assert_null(jwt_cache_free(NULL));
}

static void test_least_recently_used_goes(UNUSED void **state)
{
    struct jwt_cache *c = jwt_cache_new(3);
    for (uint32_t i = 0; i < 3; i++)
        assert_non_null(put(c, i));
    assert_non_null(get(c, 0));
    assert_non_null(put(c, 3));
    assert_null(get(c, 1));
    assert_non_null(get(c, 0));
    assert_non_null(get(c, 2));
    assert_int_equal(get(c, 3)->exp, 3);
    assert_int_equal(jwt_cache_count(c), 3);
    jwt_cache_flush(c);
    assert_int_equal(jwt_cache_count(c), 0);
    assert_null(get(c, 0));
    assert_non_null(put(c, 0));
    jwt_cache_free(c);
}

static void test_none_is_kept(UNUSED void **state)
{
    struct jwt_cache *c = jwt_cache_new(0);
    assert_null(put(c, 1));
    assert_null(get(c, 1));
    jwt_cache_resize(c, 1);
    assert_non_null(put(c, 1));
    assert_non_null(put(c, 2));
    assert_null(get(c, 1));
    jwt_cache_resize(c, 1);
    assert_non_null(get(c, 2));
    jwt_cache_resize(c, UINT32_MAX);
    assert_null(get(c, 2));
    jwt_cache_free(c);
}

/* Against a list that is plain to see. */
static void test_random(UNUSED void **state)
{
    enum { MAX = 24, TOKENS = 64 };
    uint32_t model[MAX], n = 0; /* the latest used last */
    struct jwt_cache *c = jwt_cache_new(MAX);
    struct rng rng;
    rng_init(&rng, 7);
    for (int step = 0; step < 20000; step++) {
        uint32_t i = rng_below(&rng, TOKENS), at = 0;
        unsigned char key[JWT_CACHE_KEY];
        while (at < n && model[at] != i)
            at++;
        const struct jwt_claims *claims = get(c, i);
        assert_int_equal(claims != NULL, at < n);
        if (claims)
            assert_int_equal(claims->exp, i);
        if (at < n) {
            memmove(model + at, model + at + 1, (n - at - 1) * sizeof(model[0]));
            n--;
        }
        if (rng_below(&rng, 8) == 0) {
            key_of(c, i, key);
            jwt_cache_remove(c, key);
        } else {
            if (!claims)
                assert_non_null(put(c, i));
            if (n == MAX) {
                memmove(model, model + 1, (MAX - 1) * sizeof(model[0]));
                n--;
            }
            model[n++] = i;
        }
        assert_int_equal(jwt_cache_count(c), n);
    }
    jwt_cache_free(c);
}

static void test_no_memory(UNUSED void **state)
{
    mem_fail_at(1, false);
    assert_null(jwt_cache_new(4));
    mem_fail_at(0, false);
    struct jwt_cache *c = jwt_cache_new(4);
    for (int i = 0; i < 2; i++) { /* the buckets, the entry */
        mem_fail_at((uint64_t)i + 1, false);
        assert_null(put(c, 1));
        mem_fail_at(0, false);
        assert_int_equal(jwt_cache_count(c), 0);
    }
    assert_non_null(put(c, 1));
    jwt_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),          cmocka_unit_test(test_least_recently_used_goes),
        cmocka_unit_test(test_none_is_kept), cmocka_unit_test(test_random),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
