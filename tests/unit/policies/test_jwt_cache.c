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

static const uint64_t secret[2] = {1, 2};

static struct jwt_cache_key key_of(struct jwt_cache *c, uint32_t i)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "token %u", i);
    return jwt_cache_key(c, (struct str){text, (size_t)n});
}

static const struct jwt_claims *put(struct jwt_cache *c, uint32_t i)
{
    struct jwt_claims claims = {.json = json_object(), .exp = i};
    const struct jwt_claims *kept = jwt_cache_put(c, key_of(c, i), &claims);
    assert_int_equal(kept == NULL, claims.json != NULL);
    jwt_claims_free(&claims);
    return kept;
}

static const struct jwt_claims *get(struct jwt_cache *c, uint32_t i)
{
    return jwt_cache_get(c, key_of(c, i));
}

/* By the secret, and by all of the text. */
static void test_key(UNUSED void **state)
{
    static const uint64_t another[2] = {1, 3};
    struct jwt_cache *c = jwt_cache_new(4, secret), *d = jwt_cache_new(4, another);
    struct jwt_cache_key abc = jwt_cache_key(c, STR("abc")), same = jwt_cache_key(c, STR("abc")),
                         abd = jwt_cache_key(c, STR("abd")), other = jwt_cache_key(d, STR("abc"));
    assert_memory_equal(&abc, &same, sizeof(abc));
    assert_memory_not_equal(&abc, &abd, sizeof(abc));
    assert_memory_not_equal(&abc, &other, sizeof(abc));
    assert_null(jwt_cache_free(c));
    assert_null(jwt_cache_free(d));
    assert_null(jwt_cache_free(NULL));
}

static void test_least_recently_used_goes(UNUSED void **state)
{
    struct jwt_cache *c = jwt_cache_new(3, secret);
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
    struct jwt_cache *c = jwt_cache_new(0, secret);
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
    struct jwt_cache *c = jwt_cache_new(MAX, secret);
    struct rng rng;
    rng_init(&rng, 7);
    for (int step = 0; step < 20000; step++) {
        uint32_t i = rng_below(&rng, TOKENS), at = 0;
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
            jwt_cache_remove(c, key_of(c, i));
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
    assert_null(jwt_cache_new(4, secret));
    mem_fail_at(0, false);
    struct jwt_cache *c = jwt_cache_new(4, secret);
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
