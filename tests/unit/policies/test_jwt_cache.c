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

static const uint64_t secret = 0x9e3779b97f4a7c15;

/* Four of them have one tail. */
static struct str token(uint32_t i)
{
    static char text[48];
    int n = snprintf(text, sizeof(text), "%u.claims.signature %u", i, i / 4);
    return (struct str){text, (size_t)n};
}

static const struct jwt_claims *put(struct jwt_cache *c, uint32_t i)
{
    struct jwt_claims claims = {.json = json_object(), .exp = i};
    const struct jwt_claims *kept = jwt_cache_put(c, token(i), &claims);
    assert_int_equal(kept == NULL, claims.json != NULL);
    jwt_claims_free(&claims);
    return kept;
}

static const struct jwt_claims *get(struct jwt_cache *c, uint32_t i)
{
    return jwt_cache_get(c, token(i));
}

static const struct jwt_claims *put_text(struct jwt_cache *c, struct str text, int64_t exp)
{
    struct jwt_claims claims = {.json = json_object(), .exp = exp};
    return jwt_cache_put(c, text, &claims);
}

/* By all of the text, whatever its length. */
static void test_the_whole_text(UNUSED void **state)
{
    static const char long_text[] = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJtZSJ9.c2lnbmF0dXJlLi4u";
    const size_t n = sizeof(long_text) - 1;
    struct jwt_cache *c = jwt_cache_new(64, secret);
    for (size_t len = 0; len <= n; len += 4)
        assert_non_null(put_text(c, (struct str){long_text + n - len, len}, (int64_t)len));
    for (size_t len = 0; len <= n; len++) {
        const struct jwt_claims *known = jwt_cache_get(c, (struct str){long_text + n - len, len});
        assert_int_equal(known != NULL, len % 4 == 0);
        assert_int_equal(known ? known->exp : 0, len % 4 == 0 ? len : 0);
    }
    for (size_t i = 0; i < n; i++) {
        char other[sizeof(long_text)];
        memcpy(other, long_text, sizeof(other));
        other[i] ^= 1;
        assert_null(jwt_cache_get(c, (struct str){other, n}));
    }
    assert_null(jwt_cache_free(c));
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
            jwt_cache_remove(c, token(i));
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
        cmocka_unit_test(test_the_whole_text), cmocka_unit_test(test_least_recently_used_goes),
        cmocka_unit_test(test_none_is_kept),   cmocka_unit_test(test_random),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
