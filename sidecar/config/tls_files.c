/* tls_files.c - the PEM files that a configuration names, and the TLS contexts they make. */
#include "config/tls_files.h"

#include "base/mem.h"
#include "config/file_text.h"
#include "config/problems.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

enum { FILES_MAX = 2 * TLS_CERTIFICATES_MAX + 1, WHERE_MAX = 96, NO_PAIR = -1 };

/* One file of the listener or upstream that is being made. */
struct pem {
    const struct conf_file *file;
    const char *key; /* certFile, keyFile, caFile */
    int pair;        /* of a listener's certificates; NO_PAIR */
    struct str text;
};

struct loader {
    struct config_problems *problems;
    time_t now;
    const char *kind; /* "listeners", "upstreams" */
    uint32_t index;
    uint32_t n;
    bool unreadable;
    EVP_MD_CTX *digest;
    struct pem pems[FILES_MAX];
};

/* ---- problems ---- */

/* What is wrong with the file `f`; NULL: with none of them. */
static void problem(struct loader *l, const struct pem *f, const char *what)
{
    char where[WHERE_MAX];
    if (f && f->pair != NO_PAIR)
        (void)snprintf(where, sizeof(where), "%s[%u].tls.certificates[%d].%s", l->kind, l->index,
                       f->pair, f->key);
    else
        (void)snprintf(where, sizeof(where), "%s[%u].tls%s%s", l->kind, l->index, f ? "." : "",
                       f ? f->key : "");
    problem_add(l->problems, f ? f->file->line : 0, f ? f->file->column : 0, where, false, "%s",
                what);
}

/* A sentence of tls.h begins with the name of the file that it is about, where there is one. */
static const struct pem *file_of(const struct loader *l, const char *why)
{
    struct str s = str_of(why);
    for (uint32_t i = 0; i < l->n; i++) {
        struct str name = l->pems[i].file->path;
        if (str_starts(s, name) && why[name.n] == ':')
            return &l->pems[i];
    }
    return l->n > 0 ? &l->pems[0] : NULL;
}

/* ---- the digest ---- */

static void add_bytes(struct loader *l, const void *p, size_t n)
{
    if (l->digest && EVP_DigestUpdate(l->digest, p, n) != 1) {
        EVP_MD_CTX_free(l->digest);
        l->digest = NULL;
    }
}

static void add_number(struct loader *l, uint64_t n)
{
    add_bytes(l, &n, sizeof(n));
}

static void add_text(struct loader *l, struct str s)
{
    add_number(l, s.n);
    add_bytes(l, s.p, s.n);
}

static void add_texts(struct loader *l, const struct str *all, uint32_t n)
{
    add_number(l, n);
    for (uint32_t i = 0; i < n; i++)
        add_text(l, all[i]);
}

/* ---- reading ---- */

static void read_file(struct loader *l, const struct conf_file *file, const char *key, int pair)
{
    struct pem *f = &l->pems[l->n++];
    char what[512];
    size_t n = 0;
    int error = 0;

    *f = (struct pem){.file = file, .key = key, .pair = pair};
    char *text = file_text_read(file->path.p, TLS_FILE_BYTES, &n, &error);
    add_text(l, file->path);
    if (text) {
        f->text = (struct str){text, n};
        add_text(l, f->text);
        return;
    }
    add_number(l, (uint64_t)-error);
    l->unreadable = true;
    (void)snprintf(what, sizeof(what), "%.*s: %s", STR_FMT(file->path),
                   error == -EFBIG    ? "larger than 1 MiB"
                   : error == -EINVAL ? "not a regular file"
                   : error == -EBUSY  ? "it changed again and again while it was read"
                   : error == -ENOMEM ? "out of memory"
                                      : strerror(-error));
    problem(l, f, what);
}

static void begin(struct loader *l, const char *kind, uint32_t index)
{
    l->kind = kind;
    l->index = index;
    l->n = 0;
    l->unreadable = false;
    l->digest = EVP_MD_CTX_new();
    if (l->digest && EVP_DigestInit_ex(l->digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(l->digest);
        l->digest = NULL;
    }
}

/* False: OpenSSL had no memory for it. */
static bool take_digest(struct loader *l, unsigned char *out)
{
    bool ok = l->digest && EVP_DigestFinal_ex(l->digest, out, NULL) == 1;
    EVP_MD_CTX_free(l->digest);
    l->digest = NULL;
    return ok;
}

/* Nothing of a key stays in memory that the next one is given. */
static void forget(struct loader *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        char *text = (char *)(uintptr_t)l->pems[i].text.p;
        if (text)
            explicit_bzero(text, l->pems[i].text.n);
        free(text);
    }
    l->n = 0;
}

/* What the entry has when it is known: the digest says whether it is as before. `make` is only for
 * what is not. */
typedef struct tls_context *maker(struct loader *l, const void *conf, char *why, size_t why_len);

static void settle(struct loader *l, struct tls_entry *e, const struct tls_entry *was, maker *make,
                   const void *conf)
{
    char why[512] = "";
    if (!take_digest(l, e->digest)) {
        problem_out_of_memory(l->problems);
        e->state = TLS_ENTRY_REFUSED;
    } else if (l->unreadable) {
        e->state = TLS_ENTRY_REFUSED;
    } else if (was && was->context && memcmp(was->digest, e->digest, sizeof(e->digest)) == 0) {
        e->state = TLS_ENTRY_SAME;
        e->context = tls_context_ref(was->context);
    } else {
        e->context = make(l, conf, why, sizeof(why));
        e->state = e->context ? TLS_ENTRY_NEW : TLS_ENTRY_REFUSED;
        if (!e->context)
            problem(l, file_of(l, why), why);
    }
    forget(l);
}

/* ---- a listener ---- */

static struct tls_context *make_listener(struct loader *l, const void *conf, char *why,
                                         size_t why_len)
{
    const struct conf_listener *listener = conf;
    const struct conf_listener_tls *t = &listener->tls;
    struct tls_pair pairs[TLS_CERTIFICATES_MAX];
    struct tls_server_settings s = {
        .n_pairs = t->n_certificates,
        .pairs = pairs,
        .min_version = t->min_version,
        .client_auth = t->client_auth,
        .n_spiffe_ids = t->n_spiffe_ids,
        .spiffe_ids = t->spiffe_ids,
        .alpn = listener_speaks_http(listener->protocol),
        .http2 = listener->http2 || listener->protocol == PROTOCOL_HTTP2,
        .only_http2 = listener->protocol == PROTOCOL_HTTP2,
    };
    for (uint32_t i = 0; i < t->n_certificates; i++)
        pairs[i] = (struct tls_pair){
            .cert_file = t->certificates[i].cert.path,
            .key_file = t->certificates[i].key.path,
            .cert = l->pems[2 * i].text,
            .key = l->pems[2 * i + 1].text,
        };
    if (t->client_auth != TLS_CLIENT_NONE) {
        s.ca_file = t->ca.path;
        s.ca = l->pems[l->n - 1].text;
    }
    return tls_context_server(&s, l->now, why, why_len);
}

static void load_listener(struct loader *l, const struct conf_listener *conf, struct tls_entry *e,
                          const struct tls_entry *was)
{
    const struct conf_listener_tls *t = &conf->tls;
    begin(l, "listeners", conf->index);
    add_number(l, (uint64_t)t->min_version);
    add_number(l, (uint64_t)t->client_auth);
    add_number(l, (uint64_t)conf->protocol * 2 + conf->http2);
    add_texts(l, t->spiffe_ids, t->n_spiffe_ids);
    for (uint32_t i = 0; i < t->n_certificates; i++) {
        read_file(l, &t->certificates[i].cert, "certFile", (int)i);
        read_file(l, &t->certificates[i].key, "keyFile", (int)i);
    }
    if (t->client_auth != TLS_CLIENT_NONE)
        read_file(l, &t->ca, "caFile", NO_PAIR);
    settle(l, e, was, make_listener, conf);
}

/* ---- an upstream ---- */

struct upstream_use {
    const struct conf_upstream *conf;
    bool http; /* a listener of HTTP uses it: what it speaks is asked for by ALPN */
};

static struct tls_context *make_upstream(struct loader *l, const void *conf, char *why,
                                         size_t why_len)
{
    const struct upstream_use *use = conf;
    const struct conf_upstream *u = use->conf;
    const struct conf_upstream_tls *t = &u->tls;
    struct tls_client_settings s = {
        .server_name = t->server_name,
        .n_sans = t->n_sans,
        .sans = t->sans,
        .n_spiffe_ids = t->n_spiffe_ids,
        .spiffe_ids = t->spiffe_ids,
        .insecure = t->insecure,
        .min_version = t->min_version,
        .http1 = use->http && u->protocol != UPSTREAM_HTTP2,
        .http2 = use->http && u->protocol != UPSTREAM_HTTP1,
    };
    uint32_t i = 0;
    if (t->ca.path.p) {
        s.ca_file = t->ca.path;
        s.ca = l->pems[i++].text;
    }
    if (t->pair.cert.path.p) {
        s.has_pair = true;
        s.pair = (struct tls_pair){
            .cert_file = t->pair.cert.path,
            .key_file = t->pair.key.path,
            .cert = l->pems[i].text,
            .key = l->pems[i + 1].text,
        };
    }
    return tls_context_client(&s, l->now, why, why_len);
}

static void load_upstream(struct loader *l, const struct upstream_use *use, struct tls_entry *e,
                          const struct tls_entry *was)
{
    const struct conf_upstream_tls *t = &use->conf->tls;
    begin(l, "upstreams", use->conf->index);
    add_number(l, (uint64_t)t->min_version);
    add_number(l, t->insecure);
    add_number(l, (uint64_t)use->conf->protocol * 2 + use->http);
    add_text(l, t->server_name);
    add_texts(l, t->sans, t->n_sans);
    add_texts(l, t->spiffe_ids, t->n_spiffe_ids);
    if (t->ca.path.p)
        read_file(l, &t->ca, "caFile", NO_PAIR);
    if (t->pair.cert.path.p) {
        read_file(l, &t->pair.cert, "certFile", NO_PAIR);
        read_file(l, &t->pair.key, "keyFile", NO_PAIR);
    }
    settle(l, e, was, make_upstream, use);
}

static void find_uses(const struct conf *c, struct upstream_use *uses)
{
    for (uint32_t i = 0; i < c->n_upstreams; i++)
        uses[i].conf = &c->upstreams[i];
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        const struct conf_listener *l = &c->listeners[i];
        for (uint32_t r = 0; listener_speaks_http(l->protocol) && r < l->n_routes; r++) {
            for (uint32_t k = 0; k < l->routes[r].n_backends; k++)
                uses[l->routes[r].backends[k].upstream->index].http = true;
        }
    }
}

/* ---- all of them ---- */

const struct tls_entry *tls_set_listener(const struct tls_set *s, uint32_t index)
{
    return s && index < s->n_listeners ? &s->entries[index] : NULL;
}

const struct tls_entry *tls_set_upstream(const struct tls_set *s, uint32_t index)
{
    return s && s->n_listeners + index < s->n ? &s->entries[s->n_listeners + index] : NULL;
}

void tls_set_free(struct tls_set *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        (void)tls_context_unref(s->entries[i].context);
    free(s->entries);
    jwks_set_free(&s->jwks);
    *s = (struct tls_set){0};
}

static void load_all(struct loader *l, const struct conf *c, const struct conf *in_force,
                     const struct tls_set *have, const struct upstream_use *uses,
                     struct tls_set *ret)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        const struct conf_listener *conf = &c->listeners[i];
        const struct conf_listener *was =
            in_force ? conf_find_listener(in_force, conf->name) : NULL;
        if (conf->tls.enabled)
            load_listener(l, conf, &ret->entries[i],
                          was ? tls_set_listener(have, was->index) : NULL);
    }
    for (uint32_t i = 0; i < c->n_upstreams; i++) {
        const struct conf_upstream *conf = &c->upstreams[i];
        const struct conf_upstream *was =
            in_force ? conf_find_upstream(in_force, conf->name) : NULL;
        if (conf->tls.enabled)
            load_upstream(l, &uses[i], &ret->entries[c->n_listeners + i],
                          was ? tls_set_upstream(have, was->index) : NULL);
    }
}

int tls_files_load(const struct conf *c, const struct conf *in_force, const struct tls_set *have,
                   time_t now, struct tls_set *ret, struct config_problems *problems)
{
    uint32_t n = c->n_listeners + c->n_upstreams;
    struct loader *l = mem_zalloc(sizeof(*l));
    struct upstream_use *uses = mem_zalloc((c->n_upstreams + 1) * sizeof(*uses));
    int rc = -ENOMEM;

    *ret = (struct tls_set){.n_listeners = c->n_listeners};
    ret->entries = mem_zalloc((n + 1) * sizeof(*ret->entries));
    if (l && uses && ret->entries) {
        ret->n = n;
        l->problems = problems;
        l->now = now;
        find_uses(c, uses);
        load_all(l, c, in_force, have, uses, ret);
        rc = jwks_files_load(c, in_force, have ? &have->jwks : NULL, &ret->jwks, problems);
    } else {
        problem_out_of_memory(problems);
        ret->n_listeners = 0;
        free(ret->entries);
        ret->entries = NULL;
    }
    free(l);
    free(uses);
    return rc;
}

/* ---- names ---- */

struct names {
    const char **at;
    uint32_t n;
};

static void add_name(struct names *names, const struct conf_file *f)
{
    if (!f->path.p)
        return;
    for (uint32_t i = 0; i < names->n; i++) {
        if (strcmp(names->at[i], f->path.p) == 0)
            return;
    }
    names->at[names->n++] = f->path.p;
}

static uint64_t most_names(const struct conf *c)
{
    uint64_t most = 3 * (uint64_t)c->n_upstreams + c->n_jwts;
    for (uint32_t i = 0; i < c->n_listeners; i++)
        most += 2 * (uint64_t)c->listeners[i].tls.n_certificates + 1;
    return most;
}

static void add_names(struct names *names, const struct conf *c)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        const struct conf_listener_tls *t = &c->listeners[i].tls;
        for (uint32_t k = 0; k < t->n_certificates; k++) {
            add_name(names, &t->certificates[k].cert);
            add_name(names, &t->certificates[k].key);
        }
        if (t->client_auth != TLS_CLIENT_NONE)
            add_name(names, &t->ca);
    }
    for (uint32_t i = 0; i < c->n_upstreams; i++) {
        add_name(names, &c->upstreams[i].tls.ca);
        add_name(names, &c->upstreams[i].tls.pair.cert);
        add_name(names, &c->upstreams[i].tls.pair.key);
    }
    for (uint32_t i = 0; i < c->n_jwts; i++)
        add_name(names, &c->jwts[i].jwks);
}

int tls_files_names(const struct conf *c, const struct conf *also, const char ***ret,
                    uint32_t *ret_n)
{
    uint64_t most = most_names(c) + (also ? most_names(also) : 0);
    struct names names = {.at = mem_alloc(max_u64(most, 1) * sizeof(const char *))};
    if (!names.at)
        return -ENOMEM;
    add_names(&names, c);
    if (also)
        add_names(&names, also);
    *ret = names.at;
    *ret_n = names.n;
    return 0;
}

/* ---- for `sluice validate` ---- */

struct conf *config_load_with_files(const char *file, struct config_problems *problems)
{
    struct tls_set set = {0};
    uint32_t before = problems->errors;
    struct conf *conf = config_load(file, problems);
    if (!conf)
        return NULL;
    (void)tls_files_load(conf, NULL, NULL, time(NULL), &set, problems);
    tls_set_free(&set);
    return problems->errors == before ? conf : config_free(conf);
}
