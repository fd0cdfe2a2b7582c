/* tls_verify.c - who the peer has to be: a name, an address, or a SPIFFE id.
 *
 * Its signature is OpenSSL's affair, and comes first. */
#include "base/mem.h"
#include "io/tls_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* X509-SVID §2, SPIFFE-ID §2.1 and §2.2 */
enum { SPIFFE_ID_MAX = 2048, TRUST_DOMAIN_MAX = 255 };
static const struct str scheme = {"spiffe://", 9};

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_word_char(s.p[i]))
            return false;
    }
    return s.n > 0;
}

/* Takes what stands before the next slash. */
static struct str next_segment(struct str *rest)
{
    const char *slash = rest->n > 0 ? memchr(rest->p, '/', rest->n) : NULL;
    struct str s = {rest->p, slash ? (size_t)(slash - rest->p) : rest->n};
    *rest = slash ? (struct str){slash + 1, rest->n - s.n - 1} : STR_NONE;
    return s;
}

/* No segment is empty, "." or "..": the id that a rule is compared with has one spelling. A rule
 * may end with a segment that is a star. */
static bool is_spiffe_id(struct str id, bool rule)
{
    if (id.n > SPIFFE_ID_MAX || !str_starts(id, scheme) || id.p[id.n - 1] == '/')
        return false;
    struct str rest = {id.p + scheme.n, id.n - scheme.n};
    struct str domain = next_segment(&rest);
    if (!is_word(domain) || domain.n > TRUST_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < domain.n; i++) {
        if (domain.p[i] != ascii_lower(domain.p[i]))
            return false;
    }
    while (rest.p) {
        struct str s = next_segment(&rest);
        if (rule && str_eq(s, STR("*")) && !rest.p)
            return true;
        if (!is_word(s) || str_eq(s, STR(".")) || str_eq(s, STR("..")))
            return false;
    }
    return true;
}

bool tls_is_spiffe_rule(struct str s)
{
    return is_spiffe_id(s, true);
}

static bool matches(struct str rule, struct str id)
{
    if (rule.p[rule.n - 1] != '*')
        return str_eq(rule, id);
    struct str prefix = {rule.p, rule.n - 1};
    return id.n > prefix.n && str_starts(id, prefix);
}

char *tls_spiffe_id(X509 *leaf)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    struct str id = STR_NONE;
    int uris = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        if (g->type != GEN_URI)
            continue;
        uris++;
        id = (struct str){
            (const char *)ASN1_STRING_get0_data(g->d.uniformResourceIdentifier),
            (size_t)ASN1_STRING_length(g->d.uniformResourceIdentifier),
        };
    }
    char *copy = uris == 1 && id.n > 0 && is_spiffe_id(id, false) ? mem_strndup(id) : NULL;
    GENERAL_NAMES_free(names);
    return copy;
}

static int copy_all(struct arena *a, const struct str *from, uint32_t n, struct str **ret)
{
    struct str *to = n > 0 ? arena_alloc(a, n * sizeof(*to)) : NULL;
    if (n > 0 && !to)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        to[i] = arena_str(a, from[i]);
        if (!to[i].p)
            return -ENOMEM;
    }
    *ret = to;
    return 0;
}

int tls_rules_make(struct tls_rules *r, struct arena *a, const struct str *sans, uint32_t n_sans,
                   const struct str *spiffe_ids, uint32_t n_spiffe_ids, char *why, size_t why_len)
{
    for (uint32_t i = 0; i < n_spiffe_ids; i++) {
        if (!is_spiffe_id(spiffe_ids[i], true)) {
            (void)snprintf(why, why_len,
                           "\"%.*s\" is no SPIFFE id: spiffe://DOMAIN/PATH, where the last part of "
                           "the path may be *",
                           STR_FMT(spiffe_ids[i]));
            return -EINVAL;
        }
    }
    *r = (struct tls_rules){.n_sans = n_sans, .n_spiffe_ids = n_spiffe_ids};
    if (copy_all(a, sans, n_sans, &r->sans) < 0 ||
        copy_all(a, spiffe_ids, n_spiffe_ids, &r->spiffe_ids) < 0) {
        (void)snprintf(why, why_len, "not enough memory");
        return -ENOMEM;
    }
    return 0;
}

static bool is_allowed(const struct tls_rules *r, X509 *leaf)
{
    char *id = tls_spiffe_id(leaf);
    bool allowed = false;
    for (uint32_t i = 0; id && !allowed && i < r->n_spiffe_ids; i++)
        allowed = matches(r->spiffe_ids[i], str_of(id));
    free(id);
    return allowed;
}

/* A DNS name or an address; what is in the subject is no name (RFC 9525 §2). */
static bool has_name(X509 *leaf, struct str name)
{
    unsigned char ip[sizeof(struct in6_addr)];
    char text[256];
    if (name.n == 0 || name.n >= sizeof(text))
        return false;
    memcpy(text, name.p, name.n);
    text[name.n] = 0;
    if (inet_pton(AF_INET, text, ip) == 1)
        return X509_check_ip(leaf, ip, 4, 0) == 1;
    if (inet_pton(AF_INET6, text, ip) == 1)
        return X509_check_ip(leaf, ip, 16, 0) == 1;
    return X509_check_host(leaf, text, name.n,
                           X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                           NULL) == 1;
}

int tls_rules_check(const struct tls_rules *r, X509 *leaf, const char *name)
{
    if (r->any)
        return X509_V_OK;
    if (r->n_spiffe_ids > 0)
        return is_allowed(r, leaf) ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION;
    for (uint32_t i = 0; i < r->n_sans; i++) {
        if (has_name(leaf, r->sans[i]))
            return X509_V_OK;
    }
    if (r->n_sans == 0 && has_name(leaf, str_of(name)))
        return X509_V_OK;
    return X509_V_ERR_HOSTNAME_MISMATCH;
}
