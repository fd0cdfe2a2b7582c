/* jwt_keys.c - a JWK set to keys that OpenSSL can use. */
#include "policies/jwt_keys.h"

#include "base/mem.h"
#include "policies/jwt_parts.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <strings.h>

enum { NUMBER_MAX = JWT_RSA_BITS_MAX / 8, EXPONENT_MAX = 8, POINT_MAX = 1 + 2 * 66 };
enum { SECRET_MAX = 1024 };

/* What becomes of a key: taken, left out, or the sentence says why the set is refused. */
enum taken { KEY_TAKEN, KEY_LEFT_OUT, KEY_REFUSED };

struct reading {
    const char *why; /* KEY_REFUSED: a literal */
};

static const char *const algorithm_names[] = {
#define X(id, name) [JWT_##id] = (name),
    JWT_ALGORITHM_TABLE(X)
#undef X
};

enum jwt_algorithm jwt_algorithm_of(struct str name)
{
    for (unsigned i = 0; i < JWT_ALGORITHMS; i++) {
        if (str_eq(name, str_of(algorithm_names[i])))
            return (enum jwt_algorithm)i;
    }
    return JWT_ALGORITHMS;
}

static enum taken refuse(struct reading *r, const char *why)
{
    r->why = why;
    return KEY_REFUSED;
}

static struct str text_of(const json_t *key, const char *name)
{
    const json_t *v = json_object_get(key, name);
    return json_is_string(v) ? (struct str){json_string_value(v), json_string_length(v)} : STR_NONE;
}

/* A number, or bytes, of a key. */
static bool bytes_of(const json_t *key, const char *name, unsigned char *out, size_t cap,
                     size_t *ret_n)
{
    struct str text = text_of(key, name);
    return text.n > 0 && jwt_base64(text, out, cap, ret_n) && *ret_n > 0;
}

/* --- each type --- */

static EVP_PKEY *make(const char *type, OSSL_PARAM_BLD *b)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static bool is_sound(EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool ok = ctx && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static enum taken read_rsa(struct reading *r, const json_t *json, struct jwt_key *key)
{
    unsigned char modulus[NUMBER_MAX], exponent[EXPONENT_MAX];
    size_t n = 0, e = 0;
    if (!bytes_of(json, "n", modulus, sizeof(modulus), &n) ||
        !bytes_of(json, "e", exponent, sizeof(exponent), &e))
        return refuse(r, "\"n\" or \"e\" is not right");
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    BIGNUM *bn = BN_bin2bn(modulus, (int)n, NULL), *be = BN_bin2bn(exponent, (int)e, NULL);
    int bits = bn ? BN_num_bits(bn) : 0;
    bool odd = bn && be && BN_is_odd(bn) && BN_is_odd(be) && !BN_is_one(be);
    if (odd && bits >= JWT_RSA_BITS_MIN && b &&
        OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, bn) == 1 &&
        OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, be) == 1)
        key->public = make("RSA", b);
    OSSL_PARAM_BLD_free(b);
    BN_free(bn);
    BN_free(be);
    if (bn && bits < JWT_RSA_BITS_MIN)
        return refuse(r, "RSA of fewer than 2048 bits");
    key->algorithms = JWT_BIT(JWT_RS256) | JWT_BIT(JWT_RS384) | JWT_BIT(JWT_RS512) |
                      JWT_BIT(JWT_PS256) | JWT_BIT(JWT_PS384) | JWT_BIT(JWT_PS512);
    return key->public ? KEY_TAKEN : refuse(r, "no RSA key");
}

static const struct curve {
    const char *name, *group;
    size_t half;
    enum jwt_algorithm algorithm;
} curves[] = {
    {"P-256", "prime256v1", 32, JWT_ES256},
    {"P-384", "secp384r1", 48, JWT_ES384},
    {"P-521", "secp521r1", 66, JWT_ES512},
};

static enum taken read_ec(struct reading *r, const json_t *json, struct jwt_key *key)
{
    const struct curve *c = NULL;
    unsigned char point[POINT_MAX] = {0x04}; /* uncompressed */
    size_t x = 0, y = 0;
    for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
        if (str_eq(text_of(json, "crv"), str_of(curves[i].name)))
            c = &curves[i];
    }
    if (!c)
        return KEY_LEFT_OUT;
    if (!bytes_of(json, "x", point + 1, c->half, &x) || x != c->half ||
        !bytes_of(json, "y", point + 1 + c->half, c->half, &y) || y != c->half)
        return refuse(r, "\"x\" or \"y\" is not right");
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    if (b && OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, c->group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * c->half) == 1)
        key->public = make("EC", b);
    OSSL_PARAM_BLD_free(b);
    key->algorithms = JWT_BIT(c->algorithm);
    return key->public && is_sound(key->public) ? KEY_TAKEN : refuse(r, "not a point on its curve");
}

static enum taken read_okp(struct reading *r, const json_t *json, struct jwt_key *key)
{
    struct str crv = text_of(json, "crv");
    unsigned char x[57];
    size_t n = 0;
    bool is_448 = str_eq(crv, STR("Ed448"));
    if (!is_448 && !str_eq(crv, STR("Ed25519")))
        return KEY_LEFT_OUT;
    if (!bytes_of(json, "x", x, sizeof(x), &n) || n != (is_448 ? 57 : 32))
        return refuse(r, "\"x\" is not right");
    key->algorithms = JWT_BIT(JWT_EDDSA);
    key->public =
        EVP_PKEY_new_raw_public_key(is_448 ? EVP_PKEY_ED448 : EVP_PKEY_ED25519, NULL, x, n);
    return key->public ? KEY_TAKEN : refuse(r, "no EdDSA key");
}

/* At least as long as the hash's output (RFC 7518 §3.2). */
static enum taken read_oct(struct reading *r, const json_t *json, struct jwt_key *key)
{
    key->secret = mem_alloc(SECRET_MAX);
    if (!key->secret)
        return refuse(r, "out of memory");
    if (!bytes_of(json, "k", key->secret, SECRET_MAX, &key->secret_len))
        return refuse(r, "\"k\" is not right");
    if (key->secret_len < 32)
        return refuse(r, "a secret of fewer than 256 bits");
    key->algorithms = JWT_BIT(JWT_HS256);
    if (key->secret_len >= 48)
        key->algorithms |= JWT_BIT(JWT_HS384);
    if (key->secret_len >= 64)
        key->algorithms |= JWT_BIT(JWT_HS512);
    return KEY_TAKEN;
}

/* --- one of the set --- */

/* It is for signatures, and for verifying them. */
static bool is_ours(const json_t *json)
{
    const json_t *use = json_object_get(json, "use"), *ops = json_object_get(json, "key_ops"), *op;
    size_t i;
    if (use && !str_eq(text_of(json, "use"), STR("sig")))
        return false;
    if (!ops)
        return true;
    json_array_foreach(ops, i, op)
    {
        if (json_is_string(op) && strcmp(json_string_value(op), "verify") == 0)
            return true;
    }
    return false;
}

static enum taken read_type(struct reading *r, const json_t *json, struct jwt_key *key)
{
    struct str kty = text_of(json, "kty");
    if (str_eq(kty, STR("RSA")))
        return read_rsa(r, json, key);
    if (str_eq(kty, STR("EC")))
        return read_ec(r, json, key);
    if (str_eq(kty, STR("OKP")))
        return read_okp(r, json, key);
    if (str_eq(kty, STR("oct")))
        return read_oct(r, json, key);
    return kty.n > 0 ? KEY_LEFT_OUT : refuse(r, "without \"kty\"");
}

static enum taken read_kid(struct reading *r, const json_t *json, struct jwt_key *key)
{
    const json_t *kid = json_object_get(json, "kid");
    if (!kid)
        return KEY_TAKEN;
    struct str text = text_of(json, "kid");
    if (!json_is_string(kid) || text.n > JWT_KID_MAX)
        return refuse(r, "\"kid\" is not right");
    key->kid = mem_strndup(text);
    key->kid_len = text.n;
    return key->kid ? KEY_TAKEN : refuse(r, "out of memory");
}

static enum taken read_key(struct reading *r, const json_t *json, struct jwt_key *key)
{
    if (!json_is_object(json))
        return refuse(r, "not an object");
    const json_t *alg = json_object_get(json, "alg");
    enum jwt_algorithm only = jwt_algorithm_of(text_of(json, "alg"));
    if (!is_ours(json) || (alg && only == JWT_ALGORITHMS))
        return KEY_LEFT_OUT;
    enum taken t = read_type(r, json, key);
    if (t == KEY_TAKEN && alg) {
        key->algorithms &= JWT_BIT(only);
        if (key->algorithms == 0)
            return refuse(r, "\"alg\" does not fit the key");
    }
    return t == KEY_TAKEN ? read_kid(r, json, key) : t;
}

static void key_free(struct jwt_key *key)
{
    EVP_PKEY_free(key->public);
    free(key->kid);
    if (key->secret)
        explicit_bzero(key->secret, SECRET_MAX);
    free(key->secret);
    *key = (struct jwt_key){0};
}

/* --- the set --- */

static bool read_all(struct jwt_keys *k, const json_t *list, char *why, size_t why_len)
{
    const json_t *json;
    size_t i;
    json_array_foreach(list, i, json)
    {
        struct reading r = {0};
        switch (read_key(&r, json, &k->keys[k->n])) {
        case KEY_TAKEN:
            k->n++;
            break;
        case KEY_LEFT_OUT:
            key_free(&k->keys[k->n]);
            k->ignored++;
            break;
        case KEY_REFUSED:
            key_free(&k->keys[k->n]);
            (void)snprintf(why, why_len, "keys[%zu]: %s", i, r.why);
            return false;
        }
    }
    if (k->n > 0)
        return true;
    (void)snprintf(why, why_len, "no key for signatures in it");
    return false;
}

/* Secrets don't stay in memory that others are given. */
static void forget(json_t *list)
{
    json_t *json;
    size_t i;
    json_array_foreach(list, i, json)
    {
        struct str k = text_of(json, "k");
        if (k.n > 0)
            explicit_bzero((char *)(uintptr_t)k.p, k.n);
    }
}

struct jwt_keys *jwt_keys_parse(struct str text, char *why, size_t why_len)
{
    json_error_t error;
    json_t *json = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &error);
    json_t *list = json_object_get(json, "keys");
    struct jwt_keys *k = NULL;

    if (!json) /* jansson's own words quote the text */
        (void)snprintf(why, why_len, "not JSON, or a name stands twice: line %d", error.line);
    else if (!json_is_array(list))
        (void)snprintf(why, why_len, "not a JWK set: no list \"keys\"");
    else if (json_array_size(list) > JWT_KEYS_MAX)
        (void)snprintf(why, why_len, "more than %d keys", JWT_KEYS_MAX);
    else if (!(k = mem_zalloc(sizeof(*k))))
        (void)snprintf(why, why_len, "out of memory");
    if (k) {
        k->refs = 1;
        if (!read_all(k, list, why, why_len))
            k = jwt_keys_unref(k);
    }
    forget(list);
    json_decref(json);
    ERR_clear_error();
    return k;
}

struct jwt_keys *jwt_keys_ref(struct jwt_keys *k)
{
    k->refs++;
    return k;
}

struct jwt_keys *jwt_keys_unref(struct jwt_keys *k)
{
    if (!k || --k->refs > 0)
        return NULL;
    for (uint32_t i = 0; i < k->n; i++)
        key_free(&k->keys[i]);
    free(k);
    return NULL;
}

uint32_t jwt_keys_count(const struct jwt_keys *k)
{
    return k->n;
}

uint32_t jwt_keys_ignored(const struct jwt_keys *k)
{
    return k->ignored;
}

struct str jwt_keys_kid(const struct jwt_keys *k, uint32_t i)
{
    return (struct str){k->keys[i].kid, k->keys[i].kid_len};
}
