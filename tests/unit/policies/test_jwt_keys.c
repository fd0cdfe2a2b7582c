/* test_jwt_keys.c - which JWK sets are taken, and that what is wrong with one never tells a key. */
#include "policies/jwt_keys.h"

#include "base/mem.h"
#include "tests/unit/policies/jwt_make.h"

#include <setjmp.h>
#include <cmocka.h>

#define SECRET "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"
#define OCT    "{\"kty\":\"oct\",\"k\":\"" SECRET "\"}"
#define ED                                                                                         \
    "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
#define X256    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define Y256    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define SET(in) "{\"keys\":[" in "]}"

static struct jwt_keys *parse(const char *text, char why[256])
{
    why[0] = '\0';
    struct jwt_keys *k = jwt_keys_parse(str_of(text), why, 256);
    assert_int_equal(k == NULL, why[0] != '\0');
    return k;
}

static void test_taken(UNUSED void **state)
{
    static const struct {
        const char *text;
        uint32_t n, ignored;
    } cases[] = {
        {SET(OCT), 1, 0},
        {SET("{" ED "}"), 1, 0},
        {SET("{" ED ",\"use\":\"sig\",\"key_ops\":[\"sign\",\"verify\"],\"alg\":\"EdDSA\"}"), 1, 0},
        {SET("{" ED ",\"use\":\"enc\"}," OCT), 1, 1},
        {SET("{" ED ",\"use\":7}," OCT), 1, 1},
        {SET("{" ED ",\"key_ops\":[\"sign\"]}," OCT), 1, 1},
        {SET("{" ED ",\"key_ops\":\"verify\"}," OCT), 1, 1},
        {SET("{" ED ",\"alg\":\"RSA-OAEP\"}," OCT), 1, 1},
        {SET("{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}," OCT), 1, 1},
        {SET("{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AA\"}," OCT), 1, 1},
        {SET("{\"kty\":\"AKP\"}," OCT), 1, 1},
        {"{\"other\":1,\"keys\":[" OCT "]}", 1, 0},
    };
    char why[256];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jwt_keys *k = parse(cases[i].text, why);
        if (!k)
            fail_msg("%s: %s", cases[i].text, why);
        assert_int_equal(jwt_keys_count(k), cases[i].n);
        assert_int_equal(jwt_keys_ignored(k), cases[i].ignored);
        assert_null(jwt_keys_unref(k));
    }
    assert_null(jwt_keys_unref(NULL));
}

static void test_refused(UNUSED void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "not JSON, or a name stands twice: line 1"},
        {"{\"keys\":[" OCT "]", "not JSON, or a name stands twice: line 1"},
        {"{\"keys\":[],\n\"keys\":[" OCT "]}", "not JSON, or a name stands twice: line 2"},
        {"[" OCT "]", "not a JWK set: no list \"keys\""},
        {OCT, "not a JWK set: no list \"keys\""},
        {"{\"keys\":{}}", "not a JWK set: no list \"keys\""},
        {SET(""), "no key for signatures in it"},
        {SET("{\"kty\":\"AKP\"}"), "no key for signatures in it"},
        {SET(OCT ",7"), "keys[1]: not an object"},
        {SET("{}"), "keys[0]: without \"kty\""},
        {SET("{\"kty\":\"oct\"}"), "keys[0]: \"k\" is not right"},
        {SET("{\"kty\":\"oct\",\"k\":\"" SECRET "=\"}"), "keys[0]: \"k\" is not right"},
        {SET("{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}"), "keys[0]: a secret of fewer than 256 bits"},
        {SET("{\"kty\":\"oct\",\"k\":\"" SECRET "\",\"alg\":\"RS256\"}"),
         "keys[0]: \"alg\" does not fit the key"},
        {SET("{\"kty\":\"oct\",\"k\":\"" SECRET "\",\"alg\":\"HS512\"}"),
         "keys[0]: \"alg\" does not fit the key"},
        {SET("{\"kty\":\"oct\",\"k\":\"" SECRET "\",\"kid\":1}"), "keys[0]: \"kid\" is not right"},
        {SET("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}"),
         "keys[0]: RSA of fewer than 2048 bits"},
        {SET("{\"kty\":\"RSA\",\"n\":\"AQAB\"}"), "keys[0]: \"n\" or \"e\" is not right"},
        {SET("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQABAQABAQABAQAB\"}"),
         "keys[0]: \"n\" or \"e\" is not right"},
        {SET("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X256 "\",\"y\":\"" X256 "\"}"),
         "keys[0]: not a point on its curve"},
        {SET("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X256 "\"}"),
         "keys[0]: \"x\" or \"y\" is not right"},
        {SET("{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" X256 "\",\"y\":\"" Y256 "\"}"),
         "keys[0]: \"x\" or \"y\" is not right"},
        {SET("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}"),
         "keys[0]: \"x\" is not right"},
    };
    char why[256];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jwt_keys *k = parse(cases[i].text, why);
        if (k || strcmp(why, cases[i].why) != 0)
            fail_msg("%s: %s", cases[i].text, why);
        assert_null(strstr(why, "AyM1"));
    }
}

static void test_rsa_sizes(UNUSED void **state)
{
    static const struct {
        size_t bits;
        bool taken;
    } cases[] = {{1024, false}, {2047, false}, {2048, true}, {3072, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char jwk[2048], text[4096], why[256];
        struct made_key key = {.pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", cases[i].bits)};
        assert_non_null(key.pkey);
        (void)snprintf(text, sizeof(text), "{\"keys\":[%s]}", made_jwk(&key, "\"kid\":\"k\"", jwk));
        struct jwt_keys *k = parse(text, why);
        assert_int_equal(k != NULL, cases[i].taken);
        if (k)
            assert_true(str_eq(jwt_keys_kid(k, 0), STR("k")));
        else
            assert_string_equal(why, "keys[0]: RSA of fewer than 2048 bits");
        jwt_keys_unref(k);
        made_key_free(&key);
    }
}

static void test_rsa_exponents(UNUSED void **state)
{
    static const char *const exponents[] = {"AQ", "Ag", "AA", ""};
    char jwk[2048], text[4096], why[256];
    struct made_key key = made_key_new(JWT_RS256);
    (void)made_jwk(&key, "", jwk);
    for (size_t i = 0; i < ARRAY_LEN(exponents); i++) {
        char *e = strstr(jwk, "\"e\":\"");
        assert_non_null(e);
        (void)made_put(e, "\"e\":\"%s\"}", exponents[i]);
        (void)snprintf(text, sizeof(text), "{\"keys\":[%s]}", jwk);
        assert_null(parse(text, why));
    }
    made_key_free(&key);
}

static void test_ed448(UNUSED void **state)
{
    char jwk[2048], token[MADE_MAX];
    struct made_key key = {.pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED448")};
    const char *one = made_jwk(&key, "", jwk);
    struct jwt_keys *k = made_set(&one, 1);
    struct jwt_rules r = {.issuer = STR("me"), .algorithms = JWT_ASYMMETRIC};
    struct jwt_claims c = {0};
    assert_non_null(k);
    made_token(&key, JWT_EDDSA, NULL, "{\"iss\":\"me\"}", token);
    assert_int_equal(jwt_verify(&r, k, str_of(token), 0, &c), JWT_VALID);
    jwt_claims_free(&c);
    jwt_keys_unref(k);
    made_key_free(&key);
}

static void test_bounds(UNUSED void **state)
{
    static char text[64 * 1024];
    char why[256], kid[300];
    for (int n = JWT_KEYS_MAX; n <= JWT_KEYS_MAX + 1; n++) {
        char *p = made_put(text, "{\"keys\":[");
        for (int i = 0; i < n; i++)
            p = made_put(p, "%s%s", i ? "," : "", OCT);
        (void)made_put(p, "]}");
        struct jwt_keys *k = parse(text, why);
        assert_int_equal(k != NULL, n == JWT_KEYS_MAX);
        jwt_keys_unref(k);
    }
    for (int n = JWT_KID_MAX; n <= JWT_KID_MAX + 1; n++) {
        memset(kid, 'k', sizeof(kid));
        (void)made_put(text, "{\"keys\":[{" ED ",\"kid\":\"%.*s\"}]}", n, kid);
        struct jwt_keys *k = parse(text, why);
        assert_int_equal(k != NULL, n == JWT_KID_MAX);
        jwt_keys_unref(k);
    }
}

/* Cut at every byte: no key, or nothing. */
static void test_cut(UNUSED void **state)
{
    static const char text[] = SET("{" ED ",\"kid\":\"a\"}," OCT);
    char why[256];
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        char *copy = mem_strndup((struct str){text, i});
        assert_null(parse(copy, why));
        free(copy);
    }
}

static void test_algorithm_names(UNUSED void **state)
{
    for (unsigned a = 0; a < JWT_ALGORITHMS; a++)
        assert_int_equal(jwt_algorithm_of(str_of(made_name((enum jwt_algorithm)a))), a);
    assert_int_equal(jwt_algorithm_of(STR("none")), JWT_ALGORITHMS);
    assert_int_equal(jwt_algorithm_of(STR_NONE), JWT_ALGORITHMS);
}

static void test_no_memory(UNUSED void **state)
{
    static const char text[] = SET("{" ED ",\"kid\":\"a\"}," OCT);
    char why[256];
    for (uint64_t n = 1;; n++) {
        mem_fail_at(n, false);
        uint64_t before = mem_failures();
        struct jwt_keys *k = jwt_keys_parse(str_of(text), why, sizeof(why));
        bool failed = mem_failures() > before;
        mem_fail_at(0, false);
        assert_int_equal(k == NULL, failed);
        if (!failed) {
            jwt_keys_unref(k);
            break;
        }
        assert_non_null(strstr(why, "out of memory"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_rsa_sizes), cmocka_unit_test(test_rsa_exponents),
        cmocka_unit_test(test_ed448),     cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_cut),       cmocka_unit_test(test_algorithm_names),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
