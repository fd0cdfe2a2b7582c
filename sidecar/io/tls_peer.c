/* tls_peer.c - the rules of tls_verify.c, for a TLS client that is not ours. */
#include "io/tls_parts.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>

struct tls_peer {
    uint32_t refs;       /* its owner's, and one for each context */
    struct arena *arena; /* of this struct and all its texts */
    struct tls_rules rules;
};

const char *tls_peer_library(char out[TLS_LIBRARY_MAX])
{
    (void)snprintf(out, TLS_LIBRARY_MAX, "OpenSSL/%s", OpenSSL_version(OPENSSL_VERSION_STRING));
    return out;
}

/* Words parted by one space each; NULL: none. */
static int split(struct arena *a, const char *words, struct str **ret, uint32_t *ret_n)
{
    struct str rest = words ? str_of(words) : STR_NONE;
    uint32_t n = rest.n > 0;
    for (size_t i = 0; i < rest.n; i++)
        n += rest.p[i] == ' ';
    struct str *all = n > 0 ? arena_alloc(a, n * sizeof(*all)) : NULL;
    if (n > 0 && !all)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        const char *space = memchr(rest.p, ' ', rest.n);
        all[i] = (struct str){rest.p, space ? (size_t)(space - rest.p) : rest.n};
        if (space)
            rest = (struct str){space + 1, rest.n - all[i].n - 1};
    }
    *ret = all;
    *ret_n = n;
    return 0;
}

static int make(struct tls_peer *p, const char *sans, const char *spiffe_ids)
{
    struct str *names = NULL, *ids = NULL;
    uint32_t n_names = 0, n_ids = 0;
    char why[256];
    if (split(p->arena, sans, &names, &n_names) < 0 ||
        split(p->arena, spiffe_ids, &ids, &n_ids) < 0)
        return -ENOMEM;
    if (n_names + n_ids == 0)
        return -EINVAL; /* nobody would be meant */
    return tls_rules_make(&p->rules, p->arena, names, n_names, ids, n_ids, why, sizeof(why));
}

struct tls_peer *tls_peer_new(const char *sans, const char *spiffe_ids, int *ret_error)
{
    struct arena *a = arena_new();
    struct tls_peer *p = a ? arena_alloc(a, sizeof(*p)) : NULL;
    *ret_error = -ENOMEM;
    if (p) {
        p->refs = 1;
        p->arena = a;
        *ret_error = make(p, sans, spiffe_ids);
    }
    if (*ret_error == 0)
        return p;
    (void)arena_free(a);
    return NULL;
}

struct tls_peer *tls_peer_unref(struct tls_peer *p)
{
    if (p && --p->refs == 0)
        (void)arena_free(p->arena);
    return NULL;
}

/* The context has gone: it may outlive who made it by as long as its connection takes to close. */
static void on_context_freed(void *parent, void *peer, CRYPTO_EX_DATA *data, int index, long l,
                             void *p)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)l;
    (void)p;
    (void)tls_peer_unref(peer);
}

static int on_verify(X509_STORE_CTX *x, void *peer)
{
    const struct tls_peer *p = peer;
    int ok = X509_verify_cert(x);
    if (ok <= 0)
        return ok;
    int result = tls_rules_check(&p->rules, X509_STORE_CTX_get0_cert(x), NULL);
    X509_STORE_CTX_set_error(x, result);
    return result == X509_V_OK;
}

int tls_peer_use(struct tls_peer *p, void *ssl_ctx)
{
    static int place = -1;
    if (place < 0)
        place = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_freed);
    if (place < 0 || SSL_CTX_get_ex_data(ssl_ctx, place) ||
        SSL_CTX_set_ex_data(ssl_ctx, place, p) != 1)
        return -ENOMEM;
    p->refs++;
    SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ssl_ctx, on_verify, p);
    return 0;
}
