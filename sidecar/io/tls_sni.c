/* tls_sni.c - which certificate a client's server name leads to (RFC 6066 §3, RFC 6125 §6.4.3).
 *
 * A wildcard stands for one label, the first. */
#include "io/tls_parts.h"

#include <errno.h>
#include <openssl/x509v3.h>

enum { NAME_MAX_BYTES = 253 };

/* Lower case, without the root's dot. 0: not a name. */
static size_t normal(struct str s, char out[static NAME_MAX_BYTES])
{
    if (s.n > 0 && s.p[s.n - 1] == '.')
        s.n--;
    if (s.n == 0 || s.n > NAME_MAX_BYTES || memchr(s.p, 0, s.n))
        return 0;
    for (size_t i = 0; i < s.n; i++)
        out[i] = ascii_lower(s.p[i]);
    return s.n;
}

static uint32_t hash_of(struct str s)
{
    return hash_end(hash_bytes(HASH_BEGIN, s));
}

void tls_sni_init(struct tls_sni *t, struct arena *a)
{
    *t = (struct tls_sni){.arena = a};
    hash_index_init(&t->index, a);
}

static uint32_t look_up(const struct tls_sni *t, struct str name)
{
    uint32_t at = 0, hash = hash_of(name), i;
    while ((i = hash_index_next(&t->index, hash, &at)) != HASH_NONE) {
        if (str_eq(t->names[i].name, name))
            return t->names[i].ctx;
    }
    return UINT32_MAX;
}

static int add_name(struct tls_sni *t, struct str name, uint32_t ctx)
{
    if (look_up(t, name) != UINT32_MAX)
        return 0;
    if (t->n == t->cap) {
        uint32_t cap = t->cap ? 2 * t->cap : 8;
        struct tls_sni_name *more = arena_alloc(t->arena, cap * sizeof(*more));
        if (!more)
            return -ENOMEM;
        if (t->n > 0)
            memcpy(more, t->names, t->n * sizeof(*more));
        t->names = more;
        t->cap = cap;
    }
    struct str copy = arena_str(t->arena, name);
    if (!copy.p || hash_index_add(&t->index, hash_of(name), t->n) < 0)
        return -ENOMEM;
    t->names[t->n++] = (struct tls_sni_name){copy, ctx};
    return 0;
}

static struct str dns_of(const GENERAL_NAME *g)
{
    if (g->type != GEN_DNS)
        return STR_NONE;
    return (struct str){(const char *)ASN1_STRING_get0_data(g->d.dNSName),
                        (size_t)ASN1_STRING_length(g->d.dNSName)};
}

int tls_sni_add(struct tls_sni *t, const X509 *leaf, uint32_t ctx)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    int r = 0;
    for (int i = 0; r == 0 && i < sk_GENERAL_NAME_num(names); i++) {
        char text[NAME_MAX_BYTES];
        struct str name = {text, normal(dns_of(sk_GENERAL_NAME_value(names, i)), text)};
        if (name.n > 2 && name.p[0] == '*' && name.p[1] == '.')
            name = (struct str){name.p + 1, name.n - 1};
        if (name.n > 0)
            r = add_name(t, name, ctx);
    }
    GENERAL_NAMES_free(names);
    return r;
}

uint32_t tls_sni_find(const struct tls_sni *t, struct str name)
{
    char text[NAME_MAX_BYTES];
    struct str s = {text, normal(name, text)};
    if (s.n == 0 || s.p[0] == '.') /* ".a.test" is how a wildcard is kept */
        return UINT32_MAX;
    uint32_t found = look_up(t, s);
    const char *dot = memchr(s.p, '.', s.n);
    if (found == UINT32_MAX && dot)
        found = look_up(t, (struct str){dot, s.n - (size_t)(dot - s.p)});
    return found;
}

static bool has_dns(const GENERAL_NAMES *names, struct str dns)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (str_ieq(dns_of(sk_GENERAL_NAME_value(names, i)), dns))
            return true;
    }
    return false;
}

static bool has_all_of(const GENERAL_NAMES *names, const GENERAL_NAMES *those)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(those); i++) {
        struct str dns = dns_of(sk_GENERAL_NAME_value(those, i));
        if (dns.n > 0 && !has_dns(names, dns))
            return false;
    }
    return true;
}

bool tls_sni_same_names(const X509 *a, const X509 *b)
{
    GENERAL_NAMES *x = X509_get_ext_d2i(a, NID_subject_alt_name, NULL, NULL);
    GENERAL_NAMES *y = X509_get_ext_d2i(b, NID_subject_alt_name, NULL, NULL);
    bool same = x && y && has_all_of(x, y) && has_all_of(y, x);
    GENERAL_NAMES_free(x);
    GENERAL_NAMES_free(y);
    return same;
}
