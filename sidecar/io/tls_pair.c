/* tls_pair.c - a certificate, what signs it and its key, from PEM; and what is wrong with them. */
#include "io/tls_parts.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>

enum { RSA_BITS_LEAST = 2048, EC_BITS_LEAST = 256 };

static int refuse(char *why, size_t why_len, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int refuse(char *why, size_t why_len, const char *fmt, ...)
{
    va_list ap;
    ERR_clear_error();
    va_start(ap, fmt);
    (void)vsnprintf(why, why_len, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

void tls_explain(char *why, size_t why_len, struct str file, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    (void)snprintf(why, why_len, "%.*s%s%s%s%s", STR_FMT(file), file.n > 0 ? ": " : "", what,
                   reason ? ": " : "", reason ? reason : "");
}

static int no_memory(char *why, size_t why_len)
{
    (void)refuse(why, why_len, "not enough memory");
    return -ENOMEM;
}

static BIO *bio_of(struct str text)
{
    return text.n < INT_MAX ? BIO_new_mem_buf(text.n > 0 ? text.p : "", (int)text.n) : NULL;
}

static bool is_end_of_pem(void)
{
    unsigned long e = ERR_peek_last_error();
    return ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}

/* Nobody types a passphrase here. */
static int no_passphrase(char *buf, int size, int writing, void *asked)
{
    (void)buf;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static time_t time_of(const ASN1_TIME *t)
{
    struct tm tm = {0};
    return ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

static const char *date_of(time_t t, char out[static 32])
{
    struct tm tm = {0};
    (void)gmtime_r(&t, &tm);
    (void)strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return out;
}

static int check_dates(struct str file, const X509 *c, time_t now, const char *whose, char *why,
                       size_t why_len)
{
    char date[32];
    time_t from = time_of(X509_get0_notBefore(c)), until = time_of(X509_get0_notAfter(c));
    if (now < from)
        return refuse(why, why_len, "%.*s: %s is not valid before %s", STR_FMT(file), whose,
                      date_of(from, date));
    if (now > until)
        return refuse(why, why_len, "%.*s: %s expired at %s", STR_FMT(file), whose,
                      date_of(until, date));
    return 0;
}

static int check_strength(struct str file, const EVP_PKEY *key, char *why, size_t why_len)
{
    int bits = EVP_PKEY_get_bits(key), type = EVP_PKEY_get_base_id(key);
    switch (type) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        if (bits >= RSA_BITS_LEAST)
            return 0;
        return refuse(why, why_len, "%.*s: an RSA key of %d bits is weak; it takes %d at least",
                      STR_FMT(file), bits, RSA_BITS_LEAST);
    case EVP_PKEY_EC:
        if (bits >= EC_BITS_LEAST)
            return 0;
        return refuse(why, why_len, "%.*s: a curve of %d bits is weak; it takes %d at least",
                      STR_FMT(file), bits, EC_BITS_LEAST);
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
        return 0;
    default:
        return refuse(why, why_len, "%.*s: neither an RSA, an EC nor an Ed25519 key",
                      STR_FMT(file));
    }
}

static int load_chain(const struct tls_pair *p, struct tls_loaded *l, char *why, size_t why_len)
{
    int r = 0;
    BIO *b = bio_of(p->cert);
    l->chain = sk_X509_new_null();
    if (!b || !l->chain) {
        BIO_free(b);
        return no_memory(why, why_len);
    }
    for (;;) {
        X509 *c = PEM_read_bio_X509(b, NULL, NULL, NULL);
        if (!c)
            break;
        if (!l->leaf) {
            l->leaf = c;
        } else if (sk_X509_push(l->chain, c) == 0) {
            X509_free(c);
            r = no_memory(why, why_len);
            break;
        }
    }
    BIO_free(b);
    if (r < 0)
        return r;
    if (!is_end_of_pem()) {
        tls_explain(why, why_len, p->cert_file, "not a certificate in PEM");
        return -EINVAL;
    }
    if (!l->leaf)
        return refuse(why, why_len, "%.*s: no certificate in it (PEM, -----BEGIN CERTIFICATE-----)",
                      STR_FMT(p->cert_file));
    ERR_clear_error();
    return 0;
}

static int load_key(const struct tls_pair *p, struct tls_loaded *l, char *why, size_t why_len)
{
    bool asked = false;
    BIO *b = bio_of(p->key);
    if (!b)
        return no_memory(why, why_len);
    l->key = PEM_read_bio_PrivateKey(b, NULL, no_passphrase, &asked);
    BIO_free(b);
    if (l->key) {
        ERR_clear_error();
        return 0;
    }
    if (asked)
        return refuse(why, why_len, "%.*s: the key is encrypted; nobody can type its passphrase",
                      STR_FMT(p->key_file));
    /* What OpenSSL says of a broken key may quote nothing of it, but is of no use either. */
    return refuse(why, why_len, "%.*s: no private key in it (PEM, -----BEGIN PRIVATE KEY-----)",
                  STR_FMT(p->key_file));
}

static int check_pair(const struct tls_pair *p, time_t now, struct tls_loaded *l, char *why,
                      size_t why_len)
{
    int r = check_dates(p->cert_file, l->leaf, now, "the certificate", why, why_len);
    for (int i = 0; r == 0 && i < sk_X509_num(l->chain); i++)
        r = check_dates(p->cert_file, sk_X509_value(l->chain, i), now, "a certificate of its chain",
                        why, why_len);
    EVP_PKEY *public = X509_get0_pubkey(l->leaf);
    if (r == 0 && !public)
        r = refuse(why, why_len, "%.*s: its public key cannot be read", STR_FMT(p->cert_file));
    if (r == 0)
        r = check_strength(p->cert_file, public, why, why_len);
    if (r == 0 && X509_check_private_key(l->leaf, l->key) != 1)
        r = refuse(why, why_len, "%.*s: the key does not belong to the certificate in %.*s",
                   STR_FMT(p->key_file), STR_FMT(p->cert_file));
    l->not_after = time_of(X509_get0_notAfter(l->leaf));
    ERR_clear_error();
    return r;
}

int tls_pair_load(const struct tls_pair *p, time_t now, struct tls_loaded *ret, char *why,
                  size_t why_len)
{
    struct tls_loaded l = {0};
    int r = load_chain(p, &l, why, why_len);
    if (r == 0)
        r = load_key(p, &l, why, why_len);
    if (r == 0)
        r = check_pair(p, now, &l, why, why_len);
    if (r < 0) {
        tls_pair_unload(&l);
        return r;
    }
    *ret = l;
    return 0;
}

void tls_pair_unload(struct tls_loaded *l)
{
    X509_free(l->leaf);
    sk_X509_pop_free(l->chain, X509_free);
    EVP_PKEY_free(l->key);
    *l = (struct tls_loaded){0};
}

static bool add_ca(X509 *c, X509_STORE *store, STACK_OF(X509_NAME) * names)
{
    if (X509_STORE_add_cert(store, c) != 1)
        return false;
    if (!names)
        return true;
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(c));
    if (!name || sk_X509_NAME_push(names, name) == 0) {
        X509_NAME_free(name);
        return false;
    }
    return true;
}

int tls_ca_load(struct str file, struct str pem, X509_STORE *store, STACK_OF(X509_NAME) * names,
                char *why, size_t why_len)
{
    int n = 0;
    bool ok = true;
    BIO *b = bio_of(pem);
    if (!b)
        return no_memory(why, why_len);
    while (ok) {
        X509 *c = PEM_read_bio_X509(b, NULL, NULL, NULL);
        if (!c)
            break;
        ok = add_ca(c, store, names);
        X509_free(c);
        n++;
    }
    BIO_free(b);
    if (!ok)
        return no_memory(why, why_len);
    if (!is_end_of_pem()) {
        tls_explain(why, why_len, file, "not a CA's certificate in PEM");
        return -EINVAL;
    }
    if (n == 0)
        return refuse(why, why_len, "%.*s: no certificate in it (PEM, -----BEGIN CERTIFICATE-----)",
                      STR_FMT(file));
    ERR_clear_error();
    return 0;
}
