/* fuzz_jwt.c - tokens, JWK sets and paths from strangers.
 *
 * The first byte chooses. A text that is signed by nobody we know is never valid, whatever it is;
 * what is behind a good signature is any text, and is valid only with the claims that it needs. A
 * JWK set is taken or refused with a sentence. However a path is written, a rule that denies it in
 * one reading denies it, and none both allows and denies what a single one would. */
#include "policies/authz.h"
#include "policies/jwt_cache.h"
#include "tests/unit/policies/jwt_make.h"

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1700000000 };

static const struct jwt_rules rules = {
    .issuer = {"me", 2}, .algorithms = JWT_ASYMMETRIC | JWT_SYMMETRIC, .require_exp = true};
static struct made_key secret;
static struct jwt_keys *keys; /* for as long as the process */

static void make_keys(void)
{
    static const char others[] = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
                                 "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":"
                                 "\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";
    static char jwk[2048];
    secret = made_key_new(JWT_HS256);
    const char *all[] = {made_jwk(&secret, "\"kid\":\"a\"", jwk), others};
    keys = made_set(all, ARRAY_LEN(all));
    CHECK(keys);
}

static void look(const struct jwt_claims *c)
{
    static struct json_step steps[] = {{{"x", 1}, 0}, {{NULL, 0}, 1}};
    char out[JWT_TEXT_MAX];
    size_t n = 0;
    for (uint32_t i = 1; i <= ARRAY_LEN(steps); i++) {
        struct json_path path = {i, steps};
        if (!jwt_claim_text(c, &path, out, &n))
            continue;
        CHECK(n > 0 && n <= sizeof(out));
        for (size_t k = 0; k < n; k++)
            CHECK((unsigned char)out[k] >= 0x20 && out[k] != 0x7f);
    }
}

static enum jwt_result verify(struct str token)
{
    struct jwt_claims c = {0};
    enum jwt_result r = jwt_verify(&rules, keys, token, NOW, &c);
    CHECK((r == JWT_VALID) == (c.json != NULL));
    if (c.json) {
        CHECK(c.exp > NOW && c.nbf <= NOW && c.iat <= NOW);
        look(&c);
    }
    jwt_claims_free(&c);
    return r;
}

/* Behind our own signature: any header or any claims. */
static void signed_by_us(struct str text, bool as_header)
{
    static char token[4 * MADE_MAX];
    char header[1024];
    if (text.n > 4096 || (as_header && text.n >= sizeof(header)))
        return;
    if (as_header && !memchr(text.p, '\0', text.n)) {
        memcpy(header, text.p, text.n);
        header[text.n] = '\0';
        static const char good[] = "{\"iss\":\"me\",\"exp\":1800000000}";
        made_token_raw(&secret, JWT_HS256, header, good, sizeof(good) - 1, token);
    } else {
        made_token_raw(&secret, JWT_HS256, "{\"alg\":\"HS256\"}", text.p, text.n, token);
        enum jwt_result r = verify(str_of(token));
        CHECK(r != JWT_SIGNATURE && r != JWT_ALGORITHM && r != JWT_MALFORMED);
        return;
    }
    (void)verify(str_of(token));
}

static void parse_set(struct str text)
{
    char why[256] = "";
    struct jwt_keys *k = jwt_keys_parse(text, why, sizeof(why));
    CHECK((k == NULL) == (why[0] != '\0'));
    if (k)
        CHECK(jwt_keys_count(k) > 0 && jwt_keys_count(k) <= JWT_KEYS_MAX);
    jwt_keys_unref(k);
}

/* By one rule for /a/ and below. */
static bool passes(bool allow, struct str path)
{
    struct str paths[] = {STR("/a/*")};
    struct authz_rule rule = {.allow = allow, .n_paths = 1, .paths = paths};
    struct authz_rules all = {1, &rule};
    struct authz_request q = {.method = STR("GET"), .path = path};
    return authz_allows(&all, &q);
}

static void compare_paths(struct str path)
{
    CHECK(!(passes(true, path) && passes(false, path)));
    if (authz_is_path(path) && !memchr(path.p, '%', path.n) && !memchr(path.p, ';', path.n) &&
        !memchr(path.p, '\\', path.n)) /* one reading: one of both */
        CHECK(passes(true, path) != passes(false, path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    /* In a piece of just its size: a byte too far is seen. */
    char *copy = size > 1 ? malloc(size - 1) : NULL;
    if (copy)
        memcpy(copy, data + 1, size - 1);
    struct str text = {copy ? copy : "", size - 1};
    if (!keys)
        make_keys();
    switch (data[0] % 5) {
    case 0:
        CHECK(verify(text) != JWT_VALID);
        break;
    case 1:
        signed_by_us(text, true);
        break;
    case 2:
        signed_by_us(text, false);
        break;
    case 3:
        parse_set(text);
        break;
    default:
        compare_paths(text);
        break;
    }
    free(copy);
    return 0;
}
