/* jwt_make.h - keys, JWK sets and tokens for tests, made with OpenSSL in another way than they are
 * read: each algorithm has a fresh key. */
#ifndef SLUICE_TESTS_JWT_MAKE_H
#define SLUICE_TESTS_JWT_MAKE_H

#include "base/check.h"
#include "policies/jwt.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MADE_MAX = 16384 };

/* Base64url without padding. Returns the end. */
static inline char *made_base64(char *out, const void *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) |
                     (i + 2 < n ? b[i + 2] : 0U);
        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        if (i + 1 < n)
            *out++ = digits[v >> 6 & 63];
        if (i + 2 < n)
            *out++ = digits[v & 63];
    }
    *out = '\0';
    return out;
}

/* Like sprintf(), but returns the end; what is written is short beside MADE_MAX. */
__attribute__((format(printf, 2, 3))) static inline char *made_put(char *out, const char *format,
                                                                   ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out, MADE_MAX, format, args);
    va_end(args);
    CHECK(n >= 0 && n < MADE_MAX);
    return out + n;
}

struct made_key {
    EVP_PKEY *pkey;           /* NULL: HS */
    unsigned char secret[64]; /* of HS */
    size_t secret_len;
};

static inline const char *made_name(enum jwt_algorithm a)
{
    static const char *const names[] = {
#define X(id, name) [JWT_##id] = (name),
        JWT_ALGORITHM_TABLE(X)
#undef X
    };
    return names[a];
}

static inline const EVP_MD *made_digest(enum jwt_algorithm a)
{
    const char *name = made_name(a);
    return a == JWT_EDDSA                 ? NULL
           : strcmp(name + 2, "256") == 0 ? EVP_sha256()
           : strcmp(name + 2, "384") == 0 ? EVP_sha384()
                                          : EVP_sha512();
}

static inline struct made_key made_key_new(enum jwt_algorithm a)
{
    struct made_key k = {0};
    if (JWT_BIT(a) & JWT_SYMMETRIC) {
        k.secret_len = sizeof(k.secret);
        for (size_t i = 0; i < k.secret_len; i++)
            k.secret[i] = (unsigned char)(i * 37 + (unsigned)a);
    } else {
        k.pkey = a <= JWT_PS512   ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
                 : a == JWT_ES256 ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")
                 : a == JWT_ES384 ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384")
                 : a == JWT_ES512 ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-521")
                                  : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        CHECK(k.pkey);
    }
    return k;
}

static inline void made_key_free(struct made_key *k)
{
    EVP_PKEY_free(k->pkey);
    *k = (struct made_key){0};
}

static inline char *made_number(char *out, const char *name, EVP_PKEY *key, const char *param,
                                int width)
{
    unsigned char bytes[1024];
    BIGNUM *n = NULL;
    CHECK(EVP_PKEY_get_bn_param(key, param, &n) == 1);
    int len = width ? BN_bn2binpad(n, bytes, width) : BN_bn2bin(n, bytes);
    CHECK(len > 0);
    BN_free(n);
    out = made_put(out, ",\"%s\":\"", name);
    out = made_base64(out, bytes, (size_t)len);
    return made_put(out, "\"");
}

/* The public key as a JWK; `members` goes into it ("\"kid\":\"a\""; empty: nothing). */
static inline char *made_jwk(const struct made_key *k, const char *members, char *out)
{
    char *p = out;
    const char *comma = members[0] ? "," : "";
    if (!k->pkey) {
        p = made_put(p, "{%s%s\"kty\":\"oct\",\"k\":\"", members, comma);
        p = made_base64(p, k->secret, k->secret_len);
        (void)made_put(p, "\"}");
    } else if (EVP_PKEY_is_a(k->pkey, "RSA")) {
        p = made_put(p, "{%s%s\"kty\":\"RSA\"", members, comma);
        p = made_number(p, "n", k->pkey, OSSL_PKEY_PARAM_RSA_N, 0);
        p = made_number(p, "e", k->pkey, OSSL_PKEY_PARAM_RSA_E, 0);
        (void)made_put(p, "}");
    } else if (EVP_PKEY_is_a(k->pkey, "EC")) {
        int bits = EVP_PKEY_get_bits(k->pkey), width = (bits + 7) / 8;
        p = made_put(p, "{%s%s\"kty\":\"EC\",\"crv\":\"P-%d\"", members, comma, bits);
        p = made_number(p, "x", k->pkey, OSSL_PKEY_PARAM_EC_PUB_X, width);
        p = made_number(p, "y", k->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, width);
        (void)made_put(p, "}");
    } else {
        unsigned char x[64];
        size_t n = sizeof(x);
        CHECK(EVP_PKEY_get_raw_public_key(k->pkey, x, &n) == 1);
        p = made_put(p, "{%s%s\"kty\":\"OKP\",\"crv\":\"%s\",\"x\":\"", members, comma,
                     n == 32 ? "Ed25519" : "Ed448");
        p = made_base64(p, x, n);
        (void)made_put(p, "\"}");
    }
    return out;
}

/* A DER signature to r and s side by side. */
static inline size_t made_flat(unsigned char *sig, size_t n, int width)
{
    const unsigned char *p = sig;
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &p, (long)n);
    CHECK(s && BN_bn2binpad(ECDSA_SIG_get0_r(s), sig, width) == width &&
          BN_bn2binpad(ECDSA_SIG_get0_s(s), sig + width, width) == width);
    ECDSA_SIG_free(s);
    return 2 * (size_t)width;
}

/* header and claims as they are. Returns out, which has MADE_MAX bytes. */
static inline char *made_token_raw(const struct made_key *k, enum jwt_algorithm a,
                                   const char *header, const char *claims, size_t n_claims,
                                   char *out)
{
    unsigned char sig[1024];
    size_t n = sizeof(sig);
    char *p = made_base64(out, header, strlen(header));
    *p++ = '.';
    p = made_base64(p, claims, n_claims);
    const unsigned char *text = (const unsigned char *)out;
    size_t len = (size_t)(p - out);
    if (!k->pkey) {
        unsigned m = 0;
        CHECK(HMAC(made_digest(a), k->secret, (int)k->secret_len, text, len, sig, &m));
        n = m;
    } else {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *pctx = NULL;
        CHECK(EVP_DigestSignInit(ctx, &pctx, made_digest(a), NULL, k->pkey) == 1);
        if (a >= JWT_PS256 && a <= JWT_PS512)
            CHECK(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                  EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1);
        CHECK(EVP_DigestSign(ctx, sig, &n, text, len) == 1);
        EVP_MD_CTX_free(ctx);
        if (EVP_PKEY_is_a(k->pkey, "EC"))
            n = made_flat(sig, n, (EVP_PKEY_get_bits(k->pkey) + 7) / 8);
    }
    *p++ = '.';
    (void)made_base64(p, sig, n);
    return out;
}

static inline char *made_token(const struct made_key *k, enum jwt_algorithm a, const char *kid,
                               const char *claims, char *out)
{
    char header[512];
    if (kid)
        (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", made_name(a),
                       kid);
    else
        (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", made_name(a));
    return made_token_raw(k, a, header, claims, strlen(claims), out);
}

/* A set of `n` JWKs. */
static inline struct jwt_keys *made_set(const char *const *jwks, size_t n)
{
    static char text[MADE_MAX];
    char why[256] = "";
    char *p = made_put(text, "{\"keys\":[");
    for (size_t i = 0; i < n; i++)
        p = made_put(p, "%s%s", i ? "," : "", jwks[i]);
    (void)made_put(p, "]}");
    struct jwt_keys *keys = jwt_keys_parse(str_of(text), why, sizeof(why));
    if (!keys)
        (void)fprintf(stderr, "%s\n", why);
    return keys;
}

#endif
