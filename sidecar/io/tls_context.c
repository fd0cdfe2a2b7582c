/* tls_context.c - what files and settings made: OpenSSL's contexts for a listener or an upstream.
 */
#include "base/mem.h"
#include "io/tls_parts.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>

/* Mozilla's intermediate list (guidelines 5.7) without finite-field DHE: browsers have given it up,
 * and it costs a server ten times as much. */
#define CIPHERS                                                                                    \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

enum {
    SECURITY_LEVEL = 2, /* SSL_CTX_set_security_level(3): 112 bits; no SHA-1, no RSA below 2048 */
    CHAIN_DEPTH = 10,
    SESSION_SECONDS = 3600,
};

/* What a context is made from, until it is whole. */
struct making {
    struct tls_context *c;
    X509_STORE *store; /* CAs; NULL: none */
    STACK_OF(X509_NAME) * ca_names;
    unsigned char session_id_context[32];
    char *why;
    size_t why_len;
};

static int failed(const struct making *m, const char *what)
{
    tls_explain(m->why, m->why_len, STR_NONE, what);
    return -EINVAL;
}

/* --- references --- */

static struct tls_context *context_free(struct tls_context *c)
{
    for (uint32_t i = 0; i < c->n_ctx; i++)
        SSL_CTX_free(c->ctx[i]);
    tls_sessions_free(&c->sessions);
    c->magic = 0;
    (void)arena_free(c->arena);
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    c->refs++;
    return c;
}

struct tls_context *tls_context_unref(struct tls_context *c)
{
    if (!c)
        return NULL;
    CHECK_OBJ(c, TLS_CONTEXT_MAGIC);
    return --c->refs > 0 ? NULL : context_free(c);
}

bool tls_context_certificate(const struct tls_context *c, uint32_t i, struct str *ret_file,
                             time_t *ret_not_after)
{
    if (i >= c->n_certs)
        return false;
    *ret_file = c->certs[i].file;
    *ret_not_after = c->certs[i].not_after;
    return true;
}

static struct tls_context *context_new(bool server, uint32_t n_pairs)
{
    struct arena *a = arena_new();
    struct tls_context *c = a ? arena_alloc(a, sizeof(*c)) : NULL;
    if (!c) {
        (void)arena_free(a);
        return NULL;
    }
    c->magic = TLS_CONTEXT_MAGIC;
    c->refs = 1;
    c->arena = a;
    c->is_server = server;
    tls_sni_init(&c->sni, a);
    c->ctx = arena_alloc(a, (n_pairs + 1) * sizeof(SSL_CTX *));
    c->certs = arena_alloc(a, (n_pairs + 1) * sizeof(*c->certs));
    return c->ctx && c->certs ? c : context_free(c);
}

/* --- OpenSSL's contexts --- */

static int proto_of(enum tls_version v)
{
    return v == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

static SSL_CTX *ctx_new(struct making *m, enum tls_version min)
{
    struct tls_context *c = m->c;
    SSL_CTX *x = SSL_CTX_new(c->is_server ? TLS_server_method() : TLS_client_method());
    if (!x)
        return NULL;
    SSL_CTX_set_security_level(x, SECURITY_LEVEL);
    SSL_CTX_set_options(x, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(x, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(x, 1);
    SSL_CTX_set_verify_depth(x, CHAIN_DEPTH);
    SSL_CTX_set_timeout(x, SESSION_SECONDS);
    SSL_CTX_set_info_callback(x, tls_on_info);
    SSL_CTX_set_cert_verify_callback(x, tls_on_verify, c);
    if (SSL_CTX_set_min_proto_version(x, proto_of(min)) != 1 ||
        SSL_CTX_set_cipher_list(x, CIPHERS) != 1 || SSL_CTX_set_ciphersuites(x, SUITES) != 1 ||
        SSL_CTX_set1_groups_list(x, GROUPS) != 1) {
        SSL_CTX_free(x);
        return NULL;
    }
    c->ctx[c->n_ctx++] = x;
    return x;
}

static int use_pair(struct making *m, SSL_CTX *x, const struct tls_pair *p,
                    const struct tls_loaded *l)
{
    struct tls_context *c = m->c;
    if (SSL_CTX_use_cert_and_key(x, l->leaf, l->key, l->chain, 1) != 1) {
        tls_explain(m->why, m->why_len, p->cert_file, "refused");
        return -EINVAL;
    }
    struct str file = arena_str(c->arena, p->cert_file);
    if (!file.p)
        return failed(m, "not enough memory");
    c->certs[c->n_certs++] = (struct tls_certificate){file, l->not_after};
    return 0;
}

static int load_cas(struct making *m, struct str file, struct str pem)
{
    m->store = X509_STORE_new();
    m->ca_names = sk_X509_NAME_new_null();
    if (!m->store || !m->ca_names)
        return failed(m, "not enough memory");
    return tls_ca_load(file, pem, m->store, m->ca_names, m->why, m->why_len);
}

static void making_end(struct making *m)
{
    X509_STORE_free(m->store);
    sk_X509_NAME_pop_free(m->ca_names, X509_NAME_free);
    ERR_clear_error();
}

/* --- for a listener --- */

/* Tickets are the process's; one is taken here only if it was given under the same rules. */
static bool make_session_id_context(struct making *m, const struct tls_server_settings *s)
{
    EVP_MD_CTX *d = EVP_MD_CTX_new();
    bool ok = d && EVP_DigestInit_ex(d, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(d, &s->client_auth, sizeof(s->client_auth)) == 1;
    if (ok && s->client_auth != TLS_CLIENT_NONE)
        ok = EVP_DigestUpdate(d, s->ca.p, s->ca.n) == 1;
    for (uint32_t i = 0; ok && i < s->n_spiffe_ids; i++)
        ok = EVP_DigestUpdate(d, s->spiffe_ids[i].p, s->spiffe_ids[i].n) == 1 &&
             EVP_DigestUpdate(d, "\n", 1) == 1;
    ok = ok && EVP_DigestFinal_ex(d, m->session_id_context, NULL) == 1;
    EVP_MD_CTX_free(d);
    return ok;
}

static int set_client_auth(struct making *m, SSL_CTX *x, enum tls_client_auth how)
{
    if (how == TLS_CLIENT_NONE)
        return 0;
    STACK_OF(X509_NAME) *names = SSL_dup_CA_list(m->ca_names);
    if (!names)
        return failed(m, "not enough memory");
    SSL_CTX_set1_cert_store(x, m->store);
    SSL_CTX_set_client_CA_list(x, names);
    SSL_CTX_set_verify(
        x, SSL_VERIFY_PEER | (how == TLS_CLIENT_REQUIRE ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        NULL);
    return 0;
}

static SSL_CTX *server_ctx(struct making *m, const struct tls_server_settings *s)
{
    struct tls_context *c = m->c;
    SSL_CTX *x = ctx_new(m, s->min_version);
    if (!x || tls_tickets_use(x) < 0 ||
        SSL_CTX_set_session_id_context(x, m->session_id_context, sizeof(m->session_id_context)) !=
            1) {
        (void)failed(m, "OpenSSL has no context to give");
        return NULL;
    }
    /* AES-128 with SHA-256, unless it is ChaCha20 that the client wants most: OpenSSL's clients put
     * AES-256 first, whose SHA-384 makes a handshake dearer by a tenth. */
    SSL_CTX_set_options(x, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(x, SSL_SESS_CACHE_OFF); /* tickets only */
    SSL_CTX_set_num_tickets(x, 1);
    SSL_CTX_set_tlsext_servername_callback(x, tls_on_server_name);
    SSL_CTX_set_tlsext_servername_arg(x, c);
    if (s->alpn)
        SSL_CTX_set_alpn_select_cb(x, tls_on_alpn, c);
    return set_client_auth(m, x, s->client_auth) == 0 ? x : NULL;
}

/* One that has the same names and another kind of key: clients choose by their algorithms. */
static uint32_t companion(const struct tls_loaded *all, const uint32_t *ctx_of, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        bool other = true;
        if (!tls_sni_same_names(all[i].leaf, all[n].leaf))
            continue;
        for (uint32_t k = 0; k < n; k++)
            other &= ctx_of[k] != ctx_of[i] ||
                     EVP_PKEY_get_base_id(all[k].key) != EVP_PKEY_get_base_id(all[n].key);
        if (other)
            return ctx_of[i];
    }
    return UINT32_MAX;
}

static int add_pairs(struct making *m, const struct tls_server_settings *s, time_t now,
                     struct tls_loaded *all, uint32_t *ctx_of)
{
    struct tls_context *c = m->c;
    for (uint32_t i = 0; i < s->n_pairs; i++) {
        int r = tls_pair_load(&s->pairs[i], now, &all[i], m->why, m->why_len);
        if (r < 0)
            return r;
        ctx_of[i] = companion(all, ctx_of, i);
        if (ctx_of[i] == UINT32_MAX) {
            ctx_of[i] = c->n_ctx;
            if (!server_ctx(m, s))
                return -EINVAL;
        }
        r = use_pair(m, c->ctx[ctx_of[i]], &s->pairs[i], &all[i]);
        if (r < 0)
            return r;
        if (tls_sni_add(&c->sni, all[i].leaf, ctx_of[i]) < 0)
            return failed(m, "not enough memory");
    }
    return 0;
}

static int make_server(struct making *m, const struct tls_server_settings *s, time_t now)
{
    static const unsigned char h2_h1[] = "\x02h2\x08http/1.1";
    struct tls_context *c = m->c;
    if (s->n_pairs == 0)
        return failed(m, "no certificate is given");
    c->alpn_len = (s->http2 ? 3u : 0u) + (s->only_http2 ? 0u : 9u);
    memcpy(c->alpn, h2_h1 + (s->http2 ? 0 : 3), c->alpn_len);
    int r = tls_rules_make(&c->rules, c->arena, NULL, 0, s->spiffe_ids, s->n_spiffe_ids, m->why,
                           m->why_len);
    c->rules.any = s->n_spiffe_ids == 0;
    if (r == 0 && s->client_auth != TLS_CLIENT_NONE)
        r = load_cas(m, s->ca_file, s->ca);
    if (r == 0 && !make_session_id_context(m, s))
        r = failed(m, "SHA-256 failed");
    if (r < 0)
        return r;
    struct tls_loaded *all = mem_zalloc(s->n_pairs * sizeof(*all));
    uint32_t *ctx_of = mem_zalloc(s->n_pairs * sizeof(*ctx_of));
    r = all && ctx_of ? add_pairs(m, s, now, all, ctx_of) : failed(m, "not enough memory");
    for (uint32_t i = 0; all && i < s->n_pairs; i++)
        tls_pair_unload(&all[i]);
    free(all);
    free(ctx_of);
    return r;
}

struct tls_context *tls_context_server(const struct tls_server_settings *s, time_t now, char *why,
                                       size_t why_len)
{
    struct making m = {.c = context_new(true, s->n_pairs), .why = why, .why_len = why_len};
    if (!m.c) {
        (void)failed(&m, "not enough memory");
        return NULL;
    }
    int r = make_server(&m, s, now);
    making_end(&m);
    return r == 0 ? m.c : context_free(m.c);
}

/* --- for an upstream --- */

static int trust(struct making *m, SSL_CTX *x, const struct tls_client_settings *s)
{
    if (s->insecure)
        return 0;
    SSL_CTX_set_verify(x, SSL_VERIFY_PEER, NULL);
    if (s->ca_file.n == 0 && s->ca.n == 0)
        /* Its directory is read when a peer's certificate asks for one of them: a page of the
         * cache, once, instead of a megabyte of parsed CAs in each process. */
        return SSL_CTX_set_default_verify_paths(x) == 1
                   ? 0
                   : failed(m, "the system's CA certificates cannot be used");
    int r = load_cas(m, s->ca_file, s->ca);
    if (r == 0)
        SSL_CTX_set1_cert_store(x, m->store);
    return r;
}

static int make_client(struct making *m, const struct tls_client_settings *s, time_t now)
{
    static const unsigned char h2_h1[] = "\x02h2\x08http/1.1";
    struct tls_context *c = m->c;
    c->insecure = s->insecure;
    c->alpn_len = (s->http2 ? 3u : 0u) + (s->http1 ? 9u : 0u);
    memcpy(c->alpn, h2_h1 + (s->http2 ? 0 : 3), c->alpn_len);
    if (s->server_name.n > 0) {
        c->server_name = arena_str(c->arena, s->server_name);
        if (!c->server_name.p)
            return failed(m, "not enough memory");
    }
    if (tls_sessions_init(&c->sessions) < 0)
        return failed(m, "not enough memory");
    int r = tls_rules_make(&c->rules, c->arena, s->sans, s->n_sans, s->spiffe_ids, s->n_spiffe_ids,
                           m->why, m->why_len);
    SSL_CTX *x = r == 0 ? ctx_new(m, s->min_version) : NULL;
    if (r < 0)
        return r;
    if (!x)
        return failed(m, "OpenSSL has no context to give");
    SSL_CTX_set_session_cache_mode(x, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(x, tls_on_session);
    if (c->alpn_len > 0 && SSL_CTX_set_alpn_protos(x, c->alpn, c->alpn_len) != 0)
        return failed(m, "not enough memory");
    r = trust(m, x, s);
    if (r < 0 || !s->has_pair)
        return r;
    struct tls_loaded l = {0};
    r = tls_pair_load(&s->pair, now, &l, m->why, m->why_len);
    if (r == 0)
        r = use_pair(m, x, &s->pair, &l);
    tls_pair_unload(&l);
    return r;
}

struct tls_context *tls_context_client(const struct tls_client_settings *s, time_t now, char *why,
                                       size_t why_len)
{
    struct making m = {.c = context_new(false, 1), .why = why, .why_len = why_len};
    if (!m.c) {
        (void)failed(&m, "not enough memory");
        return NULL;
    }
    int r = make_client(&m, s, now);
    making_end(&m);
    return r == 0 ? m.c : context_free(m.c);
}
