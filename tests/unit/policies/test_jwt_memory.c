/* test_jwt_memory.c - each allocation of reading a key and of looking at a signature fails once,
 * OpenSSL's and jansson's too: what is not right is never taken, and nothing of it stays. */
#include "policies/jwt_parts.h"
#include "tests/unit/openssl_memory.h"
#include "tests/unit/policies/jwt_make.h"

#include <setjmp.h>
#include <cmocka.h>

static const enum jwt_algorithm each[] = {JWT_RS256, JWT_PS384, JWT_ES256, JWT_ES384,
                                          JWT_ES512, JWT_EDDSA, JWT_HS256};

struct signed_text {
    char token[MADE_MAX];
    struct str part;
    unsigned char good[1024], bad[1024];
    size_t n;
};

static void sign(const struct made_key *key, enum jwt_algorithm a, struct signed_text *s)
{
    (void)made_token(key, a, NULL, "{\"sub\":\"ann\"}", s->token);
    const char *dot = strrchr(s->token, '.');
    s->part = (struct str){s->token, (size_t)(dot - s->token)};
    assert_true(jwt_base64(str_of(dot + 1), s->good, sizeof(s->good), &s->n));
    memcpy(s->bad, s->good, s->n);
    s->bad[s->n / 2] ^= 1;
}

static enum jwt_result verify(const struct jwt_keys *keys, enum jwt_algorithm a,
                              const struct signed_text *s, const unsigned char *signature)
{
    return jwt_signature_verify(&keys->keys[0], a, s->part, signature, s->n);
}

static void check_verify(enum jwt_algorithm a, const struct jwt_keys *keys,
                         const struct signed_text *s)
{
    for (uint64_t n = 1;; n++) {
        uint64_t before = mem_failures();
        mem_fail_at(n, false);
        enum jwt_result bad = verify(keys, a, s, s->bad);
        mem_fail_at(n, false);
        (void)verify(keys, a, s, s->good);
        mem_fail_at(0, false);
        assert_int_not_equal(bad, JWT_VALID);
        /* and there is no trace of it in the next */
        assert_int_equal(verify(keys, a, s, s->good), JWT_VALID);
        if (mem_failures() == before)
            return;
    }
}

static void check_read(enum jwt_algorithm a, struct str text, const struct signed_text *s)
{
    for (uint64_t n = 1;; n++) {
        char why[256] = "";
        uint64_t before = mem_failures();
        mem_fail_at(n, false);
        struct jwt_keys *keys = jwt_keys_parse(text, why, sizeof(why));
        mem_fail_at(0, false);
        bool failed = mem_failures() > before;
        if (keys) /* what failed was not needed */
            assert_int_equal(verify(keys, a, s, s->good), JWT_VALID);
        else
            assert_true(failed && why[0]);
        (void)jwt_keys_unref(keys);
        if (!failed)
            return;
    }
}

static void test_each_allocation_fails(void **state)
{
    static struct signed_text s;
    static char jwk[MADE_MAX], text[MADE_MAX + 16];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(each); i++) {
        struct made_key key = made_key_new(each[i]);
        sign(&key, each[i], &s);
        (void)snprintf(text, sizeof(text), "{\"keys\":[%s]}", made_jwk(&key, "", jwk));
        const char *const jwks[] = {jwk};
        struct jwt_keys *keys = made_set(jwks, 1);
        assert_non_null(keys);
        /* what OpenSSL makes once, it makes now */
        assert_int_equal(verify(keys, each[i], &s, s.good), JWT_VALID);
        assert_int_equal(verify(keys, each[i], &s, s.bad), JWT_SIGNATURE);
        check_verify(each[i], keys, &s);
        check_read(each[i], str_of(text), &s);
        (void)jwt_keys_unref(keys);
        made_key_free(&key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails),
    };
    /* Before the first allocation of theirs. */
    if (!openssl_memory_is_ours())
        return 1;
    json_set_alloc_funcs(mem_alloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
