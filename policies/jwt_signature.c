/* jwt_signature.c - a JWS signature by OpenSSL (RFC 7518 §3, RFC 8037 §3.1). */
#include "policies/jwt_parts.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

enum { EC_HALF_MAX = 66, DER_MAX = 2 * EC_HALF_MAX + 16 };

static const EVP_MD *digest_of(enum jwt_algorithm a)
{
    switch (a) {
    case JWT_RS256:
    case JWT_PS256:
    case JWT_ES256:
    case JWT_HS256:
        return EVP_sha256();
    case JWT_RS384:
    case JWT_PS384:
    case JWT_ES384:
    case JWT_HS384:
        return EVP_sha384();
    case JWT_EDDSA:
        return NULL; /* it has its own */
    default:
        return EVP_sha512();
    }
}

static enum jwt_result verify_secret(const struct jwt_key *key, enum jwt_algorithm a,
                                     struct str text, const unsigned char *signature, size_t n)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!HMAC(digest_of(a), key->secret, (int)key->secret_len, (const unsigned char *)text.p,
              text.n, mac, &len))
        return JWT_NO_MEMORY;
    return n == len && CRYPTO_memcmp(mac, signature, len) == 0 ? JWT_VALID : JWT_SIGNATURE;
}

/* r and s side by side (RFC 7518 §3.4) as OpenSSL wants them; the bytes, 0: it is none, < 0: there
 * is no memory. */
static int to_der(enum jwt_algorithm a, const unsigned char *signature, size_t n,
                  unsigned char der[DER_MAX])
{
    int half = a == JWT_ES256 ? 32 : a == JWT_ES384 ? 48 : EC_HALF_MAX;
    if (n != 2 * (size_t)half)
        return 0;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, half, NULL);
    BIGNUM *s = BN_bin2bn(signature + half, half, NULL);
    if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1) {
        ECDSA_SIG_free(sig);
        BN_free(r);
        BN_free(s);
        return -1;
    }
    int len = i2d_ECDSA_SIG(sig, &der);
    ECDSA_SIG_free(sig);
    return len > 0 && len <= DER_MAX ? len : -1;
}

static bool set_up(EVP_MD_CTX *ctx, const struct jwt_key *key, enum jwt_algorithm a)
{
    EVP_PKEY_CTX *p = NULL;
    if (EVP_DigestVerifyInit(ctx, &p, digest_of(a), NULL, key->public) != 1)
        return false;
    if (a != JWT_PS256 && a != JWT_PS384 && a != JWT_PS512)
        return true; /* of RSA, PKCS #1 v1.5 */
    return EVP_PKEY_CTX_set_rsa_padding(p, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(p, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static enum jwt_result verify_public(const struct jwt_key *key, enum jwt_algorithm a,
                                     struct str text, const unsigned char *signature, size_t n)
{
    unsigned char der[DER_MAX];
    if (a == JWT_ES256 || a == JWT_ES384 || a == JWT_ES512) {
        int len = to_der(a, signature, n, der);
        if (len <= 0)
            return len < 0 ? JWT_NO_MEMORY : JWT_SIGNATURE;
        signature = der;
        n = (size_t)len;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || !set_up(ctx, key, a)) {
        EVP_MD_CTX_free(ctx);
        return JWT_NO_MEMORY;
    }
    int rc = EVP_DigestVerify(ctx, signature, n, (const unsigned char *)text.p, text.n);
    EVP_MD_CTX_free(ctx);
    return rc == 1 ? JWT_VALID : JWT_SIGNATURE;
}

enum jwt_result jwt_signature_verify(const struct jwt_key *key, enum jwt_algorithm algorithm,
                                     struct str signed_part, const unsigned char *signature,
                                     size_t n)
{
    CHECK(key->algorithms & JWT_BIT(algorithm));
    enum jwt_result r = key->public ? verify_public(key, algorithm, signed_part, signature, n)
                                    : verify_secret(key, algorithm, signed_part, signature, n);
    ERR_clear_error(); /* TLS reads the same queue */
    return r;
}
