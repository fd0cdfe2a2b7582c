/* tls_certs.h - certificates for tests of TLS, made by libcrypto while they run. */
#ifndef TESTS_TLS_CERTS_H
#define TESTS_TLS_CERTS_H

#include "base/check.h"
#include "io/tls.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

enum { AN_HOUR = 3600, A_DAY = 24 * AN_HOUR };

struct made {
    X509 *x;
    EVP_PKEY *key;
    struct str cert_pem, key_pem;
};

struct wish {
    const char *cn;
    const char *sans;          /* "DNS:a.test,IP:127.0.0.1,URI:spiffe://td/x"; NULL: none */
    const char *usage;         /* extendedKeyUsage; NULL: none */
    const struct made *issuer; /* NULL: itself, as a CA */
    bool ca;
    int rsa_bits; /* 0: P-256 */
    const char *curve;
    long from, until; /* seconds from now; 0: a day ago, a day to come */
};

static inline struct str pem_of(X509 *x, EVP_PKEY *key)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *p, *copy;
    if (x)
        CHECK(PEM_write_bio_X509(b, x) == 1);
    else
        CHECK(PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1);
    long n = BIO_get_mem_data(b, &p);
    copy = malloc((size_t)n + 1);
    CHECK(copy);
    memcpy(copy, p, (size_t)n);
    copy[n] = 0;
    BIO_free(b);
    return (struct str){copy, (size_t)n};
}

static inline void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CHECK(e && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static inline struct made make(struct wish w)
{
    static long serial = 1;
    struct made m = {.x = X509_new()};
    const struct made *issuer = w.issuer ? w.issuer : &m;
    m.key =
        w.rsa_bits ? EVP_RSA_gen((unsigned)w.rsa_bits) : EVP_EC_gen(w.curve ? w.curve : "P-256");
    CHECK(m.x && m.key);
    (void)X509_set_version(m.x, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(m.x), ++serial);
    (void)X509_gmtime_adj(X509_getm_notBefore(m.x), w.from ? w.from : -A_DAY);
    (void)X509_gmtime_adj(X509_getm_notAfter(m.x), w.until ? w.until : A_DAY);
    (void)X509_set_pubkey(m.x, m.key);
    CHECK(X509_NAME_add_entry_by_txt(X509_get_subject_name(m.x), "CN", MBSTRING_ASC,
                                     (const unsigned char *)w.cn, -1, -1, 0) == 1);
    (void)X509_set_issuer_name(m.x, X509_get_subject_name(issuer->x));
    extend(m.x, issuer->x, NID_basic_constraints,
           w.ca || !w.issuer ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (w.sans)
        extend(m.x, issuer->x, NID_subject_alt_name, w.sans);
    if (w.usage)
        extend(m.x, issuer->x, NID_ext_key_usage, w.usage);
    CHECK(X509_sign(m.x, issuer->key, EVP_sha256()) > 0);
    m.cert_pem = pem_of(m.x, NULL);
    m.key_pem = pem_of(NULL, m.key);
    return m;
}

static inline void made_free(struct made *m)
{
    X509_free(m->x);
    EVP_PKEY_free(m->key);
    free((char *)(uintptr_t)m->cert_pem.p);
    free((char *)(uintptr_t)m->key_pem.p);
    *m = (struct made){0};
}

static inline struct tls_pair pair_of(const struct made *m)
{
    return (struct tls_pair){STR("cert.pem"), STR("key.pem"), m->cert_pem, m->key_pem};
}

#endif
