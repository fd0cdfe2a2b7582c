/* test_jwt.c - which tokens are believed: each algorithm with a fresh key, every malformed form,
 * and none by another's key. */
#include "policies/jwt.h"

#include "tests/unit/policies/jwt_make.h"
#include "tests/unit/policies/test_arena.h"

#include <setjmp.h>
#include <cmocka.h>

#define NOW    1700000000
#define CLAIMS "{\"iss\":\"me\",\"aud\":\"you\",\"sub\":\"user\",\"exp\":1700000100}"

static struct str audience = {"you", 3};
static const struct jwt_rules any = {
    .issuer = {"me", 2},
    .n_audiences = 1,
    .audiences = &audience,
    .algorithms = JWT_ASYMMETRIC | JWT_SYMMETRIC,
    .leeway = 60,
    .require_exp = true,
};

static struct made_key made[JWT_ALGORITHMS];
static struct jwt_keys *sets[JWT_ALGORITHMS]; /* of one key each, without a kid */

static int make_all(void **state)
{
    for (unsigned a = 0; a < JWT_ALGORITHMS; a++) {
        char jwk[2048];
        made[a] = made_key_new((enum jwt_algorithm)a);
        const char *one = made_jwk(&made[a], "", jwk);
        sets[a] = made_set(&one, 1);
        if (!sets[a])
            return -1;
    }
    return arena_set_up(state);
}

static int free_all(void **state)
{
    for (unsigned a = 0; a < JWT_ALGORITHMS; a++) {
        made_key_free(&made[a]);
        sets[a] = jwt_keys_unref(sets[a]);
    }
    return arena_tear_down(state);
}

static enum jwt_result verify(const struct jwt_rules *r, const struct jwt_keys *keys,
                              const char *token, int64_t now)
{
    struct jwt_claims c = {0};
    enum jwt_result result = jwt_verify(r, keys, str_of(token), now, &c);
    assert_true((result == JWT_VALID) == (c.json != NULL));
    jwt_claims_free(&c);
    return result;
}

#define EXPECT(got, want)                                                                          \
    do {                                                                                           \
        enum jwt_result expect_got = (got);                                                        \
        if (expect_got != (want))                                                                  \
            fail_msg("line %d: %s, not %s", __LINE__, jwt_result_word(expect_got),                 \
                     jwt_result_word(want));                                                       \
    } while (0)

static void test_each_algorithm(UNUSED void **state)
{
    char token[MADE_MAX];
    for (unsigned a = 0; a < JWT_ALGORITHMS; a++) {
        made_token(&made[a], (enum jwt_algorithm)a, NULL, CLAIMS, token);
        EXPECT(verify(&any, sets[a], token, NOW), JWT_VALID);
        struct jwt_rules r = any;
        r.algorithms &= ~JWT_BIT(a);
        EXPECT(verify(&r, sets[a], token, NOW), JWT_ALGORITHM);
    }
}

/* By each key, each algorithm: what is not the key's own is never looked at with it. */
static void test_no_confusion(UNUSED void **state)
{
    char token[MADE_MAX];
    for (unsigned a = 0; a < JWT_ALGORITHMS; a++) {
        for (unsigned k = 0; k < JWT_ALGORITHMS; k++) {
            if (a == k)
                continue;
            made_token(&made[a], (enum jwt_algorithm)a, NULL, CLAIMS, token);
            bool rsa = a <= JWT_PS512 && k <= JWT_PS512;
            bool hs = (JWT_BIT(a) & JWT_SYMMETRIC) && (JWT_BIT(k) & JWT_SYMMETRIC);
            EXPECT(verify(&any, sets[k], token, NOW), rsa || hs ? JWT_SIGNATURE : JWT_UNKNOWN_KEY);
        }
    }
}

/* The classic: a token by HS256 whose secret is the text of the public key. */
static void test_public_key_is_no_secret(UNUSED void **state)
{
    char jwk[2048], token[MADE_MAX];
    struct made_key k = {0};
    (void)made_jwk(&made[JWT_RS256], "", jwk);
    k.secret_len = sizeof(k.secret);
    memcpy(k.secret, jwk, k.secret_len);
    made_token(&k, JWT_HS256, NULL, CLAIMS, token);
    EXPECT(verify(&any, sets[JWT_RS256], token, NOW), JWT_UNKNOWN_KEY);
}

static void test_none(UNUSED void **state)
{
    static const char *const heads[] = {"{\"alg\":\"none\"}",   "{\"alg\":\"None\"}",
                                        "{\"alg\":\"\"}",       "{\"alg\":\"rs256\"}",
                                        "{\"alg\":\"RS256 \"}", "{\"alg\":\"ES256K\"}"};
    char token[MADE_MAX];
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        made_token_raw(&made[JWT_RS256], JWT_RS256, heads[i], CLAIMS, strlen(CLAIMS), token);
        EXPECT(verify(&any, sets[JWT_RS256], token, NOW), JWT_ALGORITHM);
        *(strrchr(token, '.') + 1) = '\0'; /* without a signature */
        EXPECT(verify(&any, sets[JWT_RS256], token, NOW), JWT_ALGORITHM);
    }
}

static void test_heads(UNUSED void **state)
{
    static const struct {
        const char *head;
        enum jwt_result want;
    } cases[] = {
        {"{\"alg\":\"ES256\"}", JWT_VALID},
        {"{\"typ\":\"JWT\",\"alg\":\"ES256\",\"jku\":\"https://evil.example/\"}", JWT_VALID},
        {" {\"alg\" : \"ES256\"}\n", JWT_VALID},
        {"{\"alg\":\"ES256\",\"kid\":\"unknown to a set without kids\"}", JWT_VALID},
        {"{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", JWT_CRITICAL},
        {"{\"alg\":\"ES256\",\"crit\":[]}", JWT_CRITICAL},
        {"{\"alg\":\"ES256\",\"alg\":\"ES256\"}", JWT_MALFORMED},
        {"{\"alg\":\"none\",\"alg\":\"ES256\"}", JWT_MALFORMED},
        {"{\"alg\":[\"ES256\"]}", JWT_MALFORMED},
        {"{\"alg\":\"ES256\",\"kid\":7}", JWT_MALFORMED},
        {"{}", JWT_MALFORMED},
        {"[]", JWT_MALFORMED},
        {"\"ES256\"", JWT_MALFORMED},
        {"{\"alg\":\"ES256\"}x", JWT_MALFORMED},
        {"{\"alg\":\"ES256\"", JWT_MALFORMED},
        {"{\"alg\":\"ES256\",\"x\":\"\\u0000\"}", JWT_MALFORMED},
        {"{\"alg\":\"ES256\",\"x\":\"\xff\"}", JWT_MALFORMED},
        {"", JWT_MALFORMED},
    };
    char token[MADE_MAX];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        made_token_raw(&made[JWT_ES256], JWT_ES256, cases[i].head, CLAIMS, strlen(CLAIMS), token);
        enum jwt_result got = verify(&any, sets[JWT_ES256], token, NOW);
        if (got != cases[i].want)
            fail_msg("%s: %s", cases[i].head, jwt_result_word(got));
    }
}

static void test_claims(UNUSED void **state)
{
    static const struct {
        const char *claims;
        enum jwt_result want;
    } cases[] = {
        {"{\"iss\":\"me\",\"aud\":[\"they\",\"you\"],\"exp\":1700000100}", JWT_VALID},
        {"{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1.7000001e9}", JWT_VALID},
        {"{\"iss\":\"me\",\"aud\":\"you\"}", JWT_CLAIMS},
        {"{\"iss\":\"me\",\"aud\":\"you\",\"exp\":\"1700000100\"}", JWT_CLAIMS},
        {"{\"iss\":\"me\",\"aud\":\"you\",\"exp\":null}", JWT_CLAIMS},
        {"{\"iss\":\"me\",\"aud\":\"you\",\"exp\":-1}", JWT_CLAIMS},
        {"{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1e300}", JWT_CLAIMS},
        {"{\"iss\":\"me\",\"aud\":\"you\",\"exp\":99999999999999999999}", JWT_CLAIMS},
        {"{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1700000100,\"nbf\":\"0\"}", JWT_CLAIMS},
        {"{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1700000100,\"iat\":true}", JWT_CLAIMS},
        {"{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1,\"exp\":1700000100}", JWT_CLAIMS},
        {"{\"iss\":\"you\",\"aud\":\"you\",\"exp\":1700000100}", JWT_ISSUER},
        {"{\"iss\":[\"me\"],\"aud\":\"you\",\"exp\":1700000100}", JWT_ISSUER},
        {"{\"iss\":\"me \",\"aud\":\"you\",\"exp\":1700000100}", JWT_ISSUER},
        {"{\"aud\":\"you\",\"exp\":1700000100}", JWT_ISSUER},
        {"{\"iss\":\"me\",\"exp\":1700000100}", JWT_AUDIENCE},
        {"{\"iss\":\"me\",\"aud\":\"they\",\"exp\":1700000100}", JWT_AUDIENCE},
        {"{\"iss\":\"me\",\"aud\":[],\"exp\":1700000100}", JWT_AUDIENCE},
        {"{\"iss\":\"me\",\"aud\":[\"you\",1],\"exp\":1700000100}", JWT_CLAIMS},
        {"{\"iss\":\"me\",\"aud\":{\"you\":1},\"exp\":1700000100}", JWT_CLAIMS},
        {"[\"iss\",\"me\"]", JWT_CLAIMS},
        {"not JSON", JWT_CLAIMS},
        {"", JWT_CLAIMS},
    };
    char token[MADE_MAX];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        made_token(&made[JWT_ES256], JWT_ES256, NULL, cases[i].claims, token);
        enum jwt_result got = verify(&any, sets[JWT_ES256], token, NOW);
        if (got != cases[i].want)
            fail_msg("%s: %s", cases[i].claims, jwt_result_word(got));
    }
    struct jwt_rules r = any;
    r.n_audiences = 0;
    r.require_exp = false;
    made_token(&made[JWT_ES256], JWT_ES256, NULL, "{\"iss\":\"me\",\"aud\":\"they\"}", token);
    EXPECT(verify(&r, sets[JWT_ES256], token, INT64_C(1) << 40), JWT_VALID);
}

/* The second in which each changes. */
static void test_times(UNUSED void **state)
{
    static const char claims[] =
        "{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1000,\"nbf\":500,\"iat\":400}";
    static const struct {
        uint32_t leeway;
        int64_t now;
        enum jwt_result want;
    } cases[] = {
        {0, 499, JWT_NOT_YET_VALID},
        {0, 500, JWT_VALID},
        {0, 999, JWT_VALID},
        {0, 1000, JWT_EXPIRED},
        {60, 439, JWT_NOT_YET_VALID},
        {60, 440, JWT_VALID},
        {60, 1059, JWT_VALID},
        {60, 1060, JWT_EXPIRED},
        {60, INT64_C(1) << 50, JWT_EXPIRED},
    };
    char token[MADE_MAX];
    made_token(&made[JWT_EDDSA], JWT_EDDSA, NULL, claims, token);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jwt_rules r = any;
        r.leeway = cases[i].leeway;
        EXPECT(verify(&r, sets[JWT_EDDSA], token, cases[i].now), cases[i].want);
    }
    struct jwt_rules r = any;
    r.leeway = 0;
    static const char *const halves[] = {
        "{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1000.5}",
        "{\"iss\":\"me\",\"aud\":\"you\",\"exp\":2000,\"nbf\":999.5}",
        "{\"iss\":\"me\",\"aud\":\"you\",\"exp\":2000,\"iat\":1001}",
    };
    made_token(&made[JWT_EDDSA], JWT_EDDSA, NULL, halves[0], token);
    EXPECT(verify(&r, sets[JWT_EDDSA], token, 1000), JWT_EXPIRED);
    made_token(&made[JWT_EDDSA], JWT_EDDSA, NULL, halves[1], token);
    EXPECT(verify(&r, sets[JWT_EDDSA], token, 999), JWT_NOT_YET_VALID);
    EXPECT(verify(&r, sets[JWT_EDDSA], token, 1000), JWT_VALID);
    made_token(&made[JWT_EDDSA], JWT_EDDSA, NULL, halves[2], token);
    EXPECT(verify(&r, sets[JWT_EDDSA], token, 1000), JWT_NOT_YET_VALID);
}

static void never_valid(const struct jwt_keys *keys, const char *p, size_t n)
{
    struct jwt_claims c = {0};
    char *exact = malloc(n + 1); /* so that a byte too far is seen */
    assert_non_null(exact);
    memcpy(exact, p, n);
    char *copy = realloc(exact, n ? n : 1);
    assert_non_null(copy);
    enum jwt_result got = jwt_verify(&any, keys, (struct str){copy, n}, NOW, &c);
    free(copy);
    if (got == JWT_VALID)
        fail_msg("valid: %.*s", (int)n, p);
}

/* Cut at every byte, each byte changed to each other one that changes a digit, a byte put in. */
static void test_every_byte(UNUSED void **state)
{
    static const unsigned algorithms[] = {JWT_RS256, JWT_ES256, JWT_EDDSA, JWT_HS256};
    static const char bytes[] = "A_.=+/ \0\x80";
    char token[MADE_MAX], bad[MADE_MAX];
    for (size_t k = 0; k < ARRAY_LEN(algorithms); k++) {
        enum jwt_algorithm a = (enum jwt_algorithm)algorithms[k];
        made_token(&made[a], a, NULL, CLAIMS, token);
        size_t n = strlen(token);
        for (size_t i = 0; i < n; i++) {
            never_valid(sets[a], token, i);
            for (size_t b = 0; b < sizeof(bytes) - 1; b++) {
                memcpy(bad, token, n);
                bad[i] = bytes[b];
                if (bad[i] != token[i])
                    never_valid(sets[a], bad, n);
                memcpy(bad + i + 1, token + i, n - i);
                never_valid(sets[a], bad, n + 1);
            }
            memcpy(bad, token, n);
            bad[i] ^= 1;
            never_valid(sets[a], bad, n);
        }
        for (size_t b = 0; b < sizeof(bytes) - 1; b++) {
            memcpy(bad, token, n);
            bad[n] = bytes[b];
            never_valid(sets[a], bad, n + 1);
        }
    }
}

static void test_bounds(UNUSED void **state)
{
    static char claims[MADE_MAX], token[2 * MADE_MAX];
    size_t at =
        (size_t)(made_put(claims, "{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1700000100,\"x\":\"") -
                 claims);
    size_t most = 0;
    for (size_t n = 5800; n < 6200; n++) {
        memset(claims + at, 'a', n);
        (void)made_put(claims + at + n, "%s", "\"}");
        made_token(&made[JWT_HS256], JWT_HS256, NULL, claims, token);
        enum jwt_result got = verify(&any, sets[JWT_HS256], token, NOW);
        assert_int_equal(got, strlen(token) <= JWT_TOKEN_MAX ? JWT_VALID : JWT_MALFORMED);
        most = strlen(token) <= JWT_TOKEN_MAX ? strlen(token) : most;
    }
    assert_in_range(most, JWT_TOKEN_MAX - 2, JWT_TOKEN_MAX);
    for (int depth = 1; depth < 3000; depth += depth < 40 ? 1 : 500) {
        char *p = made_put(claims, "{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1700000100,\"x\":");
        memset(p, '[', (size_t)depth);
        memset(p + depth, ']', (size_t)depth);
        (void)made_put(p + 2 * depth, "%s", "}");
        made_token(&made[JWT_HS256], JWT_HS256, NULL, claims, token);
        EXPECT(verify(&any, sets[JWT_HS256], token, NOW), depth + 1 <= JWT_JSON_DEPTH ? JWT_VALID
                                                          : strlen(token) <= JWT_TOKEN_MAX
                                                              ? JWT_CLAIMS
                                                              : JWT_MALFORMED);
    }
    for (int n = 500; n < 520; n++) {
        char *p = made_put(claims, "{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1700000100,\"x\":[0");
        for (int i = 1; i < n; i++)
            p = made_put(p, ",0");
        (void)made_put(p, "%s", "]}");
        made_token(&made[JWT_HS256], JWT_HS256, NULL, claims, token);
        EXPECT(verify(&any, sets[JWT_HS256], token, NOW),
               n + 4 <= JWT_JSON_VALUES ? JWT_VALID : JWT_CLAIMS);
    }
}

/* RFC 7515 appendices A.1 to A.3, RFC 8037 appendix A.4. */
static void test_rfc_vectors(UNUSED void **state)
{
#define JOE                                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ."
    static const struct {
        const char *jwk, *token;
        enum jwt_result want;
    } cases[] = {
        {"{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-"
         "1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}",
         "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE
         "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
         JWT_VALID},
        {"{\"kty\":\"RSA\",\"n\":"
         "\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-"
         "4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_"
         "YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-"
         "KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_"
         "I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\","
         "\"e\":\"AQAB\"}",
         "eyJhbGciOiJSUzI1NiJ9." JOE "cC4hiUPoj9Eetdgtv3hF80EGrhuB__"
         "dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_"
         "lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"
         "nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_"
         "eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6"
         "LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
         JWT_VALID},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
         "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
         "eyJhbGciOiJFUzI1NiJ9." JOE
         "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
         JWT_VALID},
        /* What is signed there is a sentence: the signature fits, and it is no set of claims. */
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_"
         "7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
         "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_"
         "MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
         JWT_CLAIMS},
    };
    struct jwt_rules r = {
        .issuer = STR("joe"), .algorithms = JWT_ASYMMETRIC | JWT_SYMMETRIC, .require_exp = true};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jwt_keys *keys = made_set(&cases[i].jwk, 1);
        assert_non_null(keys);
        EXPECT(verify(&r, keys, cases[i].token, 1300819379), cases[i].want);
        if (cases[i].want == JWT_VALID)
            EXPECT(verify(&r, keys, cases[i].token, 1300819380), JWT_EXPIRED);
        jwt_keys_unref(keys);
    }
}

/* --- which key --- */

static void test_kids(UNUSED void **state)
{
    char a[2048], b[2048], c[2048], token[MADE_MAX];
    const char *jwks[] = {made_jwk(&made[JWT_ES256], "\"kid\":\"a\"", a),
                          made_jwk(&made[JWT_RS256], "\"kid\":\"b\"", b),
                          made_jwk(&made[JWT_PS256], "\"kid\":\"b2\",\"alg\":\"PS256\"", c)};
    struct jwt_keys *keys = made_set(jwks, 3);
    EXPECT(verify(&any, keys, made_token(&made[JWT_ES256], JWT_ES256, "a", CLAIMS, token), NOW),
           JWT_VALID);
    EXPECT(verify(&any, keys, made_token(&made[JWT_ES256], JWT_ES256, NULL, CLAIMS, token), NOW),
           JWT_VALID);
    EXPECT(verify(&any, keys, made_token(&made[JWT_ES256], JWT_ES256, "b", CLAIMS, token), NOW),
           JWT_UNKNOWN_KEY);
    EXPECT(verify(&any, keys, made_token(&made[JWT_ES256], JWT_ES256, "c", CLAIMS, token), NOW),
           JWT_UNKNOWN_KEY);
    EXPECT(verify(&any, keys, made_token(&made[JWT_RS256], JWT_RS256, "b", CLAIMS, token), NOW),
           JWT_VALID);
    /* The third is for PS256 alone, and tried where no kid says which. */
    EXPECT(verify(&any, keys, made_token(&made[JWT_PS256], JWT_PS256, NULL, CLAIMS, token), NOW),
           JWT_VALID);
    EXPECT(verify(&any, keys, made_token(&made[JWT_PS256], JWT_RS256, "b2", CLAIMS, token), NOW),
           JWT_UNKNOWN_KEY);
    EXPECT(verify(&any, NULL, token, NOW), JWT_NO_KEYS);
    jwt_keys_unref(keys);
}

/* Without a kid no more than so many are tried. */
static void test_few_tries(UNUSED void **state)
{
    char wrong[2048], right[2048], token[MADE_MAX];
    const char *jwks[JWT_KEYS_TRIED + 1];
    for (size_t i = 0; i < JWT_KEYS_TRIED; i++)
        jwks[i] = made_jwk(&made[JWT_HS256], "", wrong);
    jwks[JWT_KEYS_TRIED] = made_jwk(&made[JWT_HS512], "\"kid\":\"it\"", right);
    struct jwt_keys *keys = made_set(jwks + 1, JWT_KEYS_TRIED);
    made_token(&made[JWT_HS512], JWT_HS512, NULL, CLAIMS, token);
    EXPECT(verify(&any, keys, token, NOW), JWT_VALID);
    jwt_keys_unref(keys);
    keys = made_set(jwks, JWT_KEYS_TRIED + 1);
    EXPECT(verify(&any, keys, token, NOW), JWT_SIGNATURE);
    jwt_keys_unref(keys);
}

/* --- claims --- */

static void test_claim_texts(UNUSED void **state)
{
    static const char claims[] =
        "{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1700000100,\"s\":\"a b\",\"i\":-5,\"r\":1.5,"
        "\"t\":true,\"f\":false,\"n\":null,\"o\":{\"roles\":[\"x\",\"y\",3]},\"e\":[],"
        "\"line\":\"a\\nb\",\"del\":\"\\u007f\",\"comma\":[\"a,b\"],\"utf\":\"\\u00e9\","
        "\"nested\":[[\"a\"]],\"pad\":[\" a\",\"a \",\" \"],\"space\":[\"a\",\" "
        "b\"],\"empty\":\"\",\"https://x.example/y\":\"url\"}";
    static const struct {
        const char *path, *want; /* NULL: none */
    } cases[] = {
        {"$.s", "a b"},     {"$.i", "-5"},          {"$.r", "1.5"},
        {"$.t", "true"},    {"$.f", "false"},       {"$.n", NULL},
        {"$.o", NULL},      {"$.o.roles", "x,y,3"}, {"$.o.roles[1]", "y"},
        {"$.e", NULL},      {"$.line", NULL},       {"$.del", NULL},
        {"$.comma", NULL},  {"$.comma[0]", "a,b"},  {"$.utf", "\xc3\xa9"},
        {"$.nested", NULL}, {"$.empty", NULL},      {"$.none", NULL},
        {"$.s.x", NULL},    {"$.s[0]", NULL},       {"$['https://x.example/y']", "url"},
        {"$.pad[0]", NULL}, {"$.pad[1]", NULL},     {"$.pad[2]", NULL},
        {"$.pad", NULL},    {"$.space", NULL},
    };
    char token[MADE_MAX], out[JWT_TEXT_MAX];
    struct jwt_claims c = {0};
    made_token(&made[JWT_HS256], JWT_HS256, NULL, claims, token);
    EXPECT(jwt_verify(&any, sets[JWT_HS256], str_of(token), NOW, &c), JWT_VALID);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_path path;
        size_t at, n = 0;
        assert_null(json_path_compile(arena, str_of(cases[i].path), &path, &at));
        bool there = jwt_claim_text(&c, &path, out, &n);
        if (there != (cases[i].want != NULL) ||
            (there && !str_eq((struct str){out, n}, str_of(cases[i].want))))
            fail_msg("%s: %.*s", cases[i].path, (int)n, out);
    }
    jwt_claims_free(&c);
    jwt_claims_free(&c);
}

static void test_texts_are_bounded(UNUSED void **state)
{
    static char claims[MADE_MAX];
    char token[MADE_MAX], out[JWT_TEXT_MAX];
    for (int n = JWT_TEXT_MAX - 2; n <= JWT_TEXT_MAX + 2; n++) {
        struct jwt_claims c = {0};
        struct json_path path;
        size_t at, len = 0;
        (void)made_put(claims,
                       "{\"iss\":\"me\",\"aud\":\"you\",\"exp\":1700000100,\"x\":[\"%0*d\",\"b\"]}",
                       n - 2, 0);
        made_token(&made[JWT_HS256], JWT_HS256, NULL, claims, token);
        EXPECT(jwt_verify(&any, sets[JWT_HS256], str_of(token), NOW, &c), JWT_VALID);
        assert_null(json_path_compile(arena, STR("$.x"), &path, &at));
        assert_int_equal(jwt_claim_text(&c, &path, out, &len), n <= JWT_TEXT_MAX);
        jwt_claims_free(&c);
    }
}

static void test_words(UNUSED void **state)
{
    for (unsigned i = 0; i < JWT_RESULTS; i++) {
        assert_true(jwt_result_word((enum jwt_result)i)[0] != '\0');
        assert_null(strpbrk(jwt_result_text((enum jwt_result)i), "\"\\"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_algorithm),
        cmocka_unit_test(test_no_confusion),
        cmocka_unit_test(test_public_key_is_no_secret),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_rfc_vectors),
        cmocka_unit_test(test_kids),
        cmocka_unit_test(test_few_tries),
        cmocka_unit_test(test_claim_texts),
        cmocka_unit_test(test_texts_are_bounded),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
