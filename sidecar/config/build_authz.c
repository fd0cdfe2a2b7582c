/* build_authz.c - tokens' issuers, and who may pass a route. */
#include "config/builder.h"

#include "base/hash_index.h"
#include "config/problems.h"
#include "http/message.h"

/* ---- claims ---- */

void build_claim(struct builder *b, struct str claim, const struct yaml_node *node,
                 struct json_path *ret)
{
    size_t at = 0;
    if (!claim.p)
        return;
    if (claim.n > 0 && claim.p[0] == '$') {
        const char *wrong = json_path_compile(b->fill.keep, claim, ret, &at);
        if (wrong)
            problem_at(b->problems, node, "at character %zu: %s", at + 1, wrong);
        else if (ret->n == 0)
            problem_at(b->problems, node, "names all claims");
        return;
    }
    if (claim.n > JSON_NAME_MAX) {
        problem_at(b->problems, node, "expected at most %d bytes", JSON_NAME_MAX);
        return;
    }
    ret->steps = builder_alloc(b, sizeof(*ret->steps));
    if (!ret->steps)
        return;
    ret->n = 1;
    ret->steps[0].name = claim;
}

/* ---- issuers ---- */

static void build_from(struct builder *b, struct conf_jwt *j)
{
    if (j->n_from == 0) {
        j->from = builder_alloc(b, sizeof(*j->from));
        if (!j->from)
            return;
        j->n_from = 1;
        j->from[0].header = STR("Authorization");
    }
    for (uint32_t i = 0; i < j->n_from; i++) {
        struct conf_jwt_from *f = &j->from[i];
        if (f->header.p && !f->scheme.p && str_ieq(f->header, STR("Authorization")))
            f->scheme = STR("Bearer");
    }
}

static void build_headers(struct builder *b, struct conf_jwt *j, const struct yaml_node *list)
{
    for (uint32_t i = 0; i < j->n_headers; i++) {
        struct conf_jwt_header *h = &j->headers[i];
        const struct yaml_node *node = yaml_at(list, i);
        build_claim(b, h->claim, yaml_get(node, "claim"), &h->path);
        if (h->header.p && field_id_of(h->header) != FIELD_OTHER)
            problem_at(b->problems, yaml_get(node, "header"),
                       "a header that has a meaning of its own");
        for (uint32_t k = 0; k < i && h->header.p; k++) {
            if (str_ieq(h->header, j->headers[k].header))
                problem_at(b->problems, yaml_get(node, "header"),
                           "the claim on line %u has the same header", yaml_at(list, k)->line);
        }
    }
}

static uint64_t hash_text(uint64_t h, struct str s)
{
    return hash_bytes(hash_number(h, s.n), s);
}

/* A change of any of these makes what was verified unknown. */
static uint64_t identity_of(const struct conf_jwt *j)
{
    uint64_t h = hash_text(hash_text(HASH_BEGIN, j->rules.issuer), j->jwks.path);
    h = hash_text(h, j->jwks_url);
    for (uint32_t i = 0; i < j->rules.n_audiences; i++)
        h = hash_text(h, j->rules.audiences[i]);
    h = hash_number(hash_number(h, j->rules.n_audiences), j->rules.algorithms);
    h = hash_number(hash_number(h, j->rules.leeway), j->rules.require_exp);
    return hash_number(h, j->cache_size);
}

static void build_jwt(struct builder *b, struct conf_jwt *j, const struct yaml_node *node)
{
    const struct conf *c = b->conf;
    const struct yaml_node *jwks = yaml_get(node, "jwks"), *ca = yaml_get(jwks, "caFile");
    const struct yaml_node *place = yaml_get(jwks, j->jwks_url.p ? "url" : "file");
    for (uint32_t i = 0; i < j->index; i++) {
        if (j->name.p && str_eq(c->jwts[i].name, j->name))
            problem_at(b->problems, yaml_get(node, "name"),
                       "the issuer on line %u has the same name",
                       yaml_at(yaml_get(b->root, "jwt"), i)->line);
    }
    if (place) {
        j->jwks.line = place->line;
        j->jwks.column = place->column;
    }
    if (ca) {
        j->jwks_ca.line = ca->line;
        j->jwks_ca.column = ca->column;
    }
    j->rules.algorithms = j->n_algorithms > 0 ? 0 : JWT_ASYMMETRIC;
    for (uint32_t i = 0; i < j->n_algorithms; i++)
        j->rules.algorithms |= JWT_BIT(j->algorithms[i]);
    j->rules.leeway = (uint32_t)((j->leeway + USEC_PER_SEC - 1) / USEC_PER_SEC);
    build_from(b, j);
    build_headers(b, j, yaml_get(node, "claimsToHeaders"));
    j->identity = identity_of(j);
}

void build_jwts(struct builder *b)
{
    const struct yaml_node *list = yaml_get(b->root, "jwt");
    struct conf *c = b->conf;
    for (uint32_t i = 0; i < c->n_jwts && !b->fill.no_memory; i++) {
        c->jwts[i].index = i;
        build_jwt(b, &c->jwts[i], yaml_at(list, i));
    }
}

/* ---- routes ---- */

static const char *next_jwt(const void *ctx, uint32_t i)
{
    const struct builder *b = ctx;
    const struct yaml_node *name = yaml_get(yaml_at(yaml_get(b->root, "jwt"), i), "name");
    struct str known = b->conf->jwts[i].name;
    return known.p && name && !name->raw.p ? known.p : ""; /* a variable's value is not told */
}

static void unknown_jwt(struct builder *b, struct str name, const struct yaml_node *node)
{
    const char *near = NULL;
    char got[PROBLEM_QUOTE_MAX];
    if (!node->raw.p && b->guesses++ < PROBLEMS_KEPT)
        near = schema_nearest(name, next_jwt, b, b->conf->n_jwts);
    (void)problem_quote(yaml_shown(node), got);
    if (near && near[0])
        problem_at(b->problems, node, "there is no issuer \"%s\" (did you mean \"%s\"?)", got,
                   near);
    else
        problem_at(b->problems, node, "there is no issuer \"%s\" in \"jwt\"", got);
}

static void build_names(struct builder *b, struct conf_authz *a, const struct yaml_node *list)
{
    if (a->n_names == 0)
        return;
    a->jwts = builder_alloc(b, a->n_names * sizeof(const struct conf_jwt *));
    for (uint32_t i = 0; a->jwts && i < a->n_names; i++) {
        if (!a->names[i].p)
            continue;
        const struct conf_jwt *j = conf_find_jwt(b->conf, a->names[i]);
        bool twice = false;
        for (uint32_t k = 0; j && k < a->n_jwts; k++)
            twice = twice || a->jwts[k] == j;
        if (!j)
            unknown_jwt(b, a->names[i], yaml_at(list, i));
        else if (twice)
            problem_at(b->problems, yaml_at(list, i), "the issuer is in this list twice");
        else
            a->jwts[a->n_jwts++] = j;
    }
}

static void build_rule(struct builder *b, struct conf_authz *a, struct authz_rule *r,
                       const struct yaml_node *node)
{
    const struct yaml_node *paths = yaml_get(node, "paths"), *claims = yaml_get(node, "claims");
    for (uint32_t i = 0; i < r->n_paths; i++) {
        if (r->paths[i].p && !authz_is_path(r->paths[i]))
            problem_at(b->problems, yaml_at(paths, i),
                       "expected a path in its normal form, such as /a or /a/*");
    }
    for (uint32_t i = 0; i < r->n_claims; i++) {
        struct authz_claim *c = &r->claims[i];
        build_claim(b, c->claim, yaml_get(yaml_at(claims, i), "claim"), &c->path);
        c->words = authz_has_words(c->claim);
    }
    if (claims && a->n_names == 0)
        problem_at_key(b->problems, claims, "without \"jwt\" no claim is known");
    a->asks_spiffe = a->asks_spiffe || r->n_spiffe_ids > 0;
    a->asks_source = a->asks_source || r->n_cidrs > 0;
}

void build_authz(struct builder *b, const struct draft_route *draft, const struct yaml_node *node,
                 struct conf_route *route)
{
    const struct yaml_node *rules = yaml_get(node, "rules");
    if (!draft->has_authz || !node)
        return;
    struct conf_authz *a = builder_alloc(b, sizeof(*a));
    if (!a)
        return;
    *a = draft->authz;
    build_names(b, a, yaml_get(node, "jwt"));
    for (uint32_t i = 0; i < a->rules.n; i++)
        build_rule(b, a, &a->rules.rules[i], yaml_at(rules, i));
    route->authz = a;
}

void check_authz(struct builder *b, const struct conf_listener *l, const struct conf_route *route,
                 const struct yaml_node *node)
{
    const struct yaml_node *authz = yaml_get(node, "authz"), *rules = yaml_get(authz, "rules");
    if (!route->authz)
        return;
    /* What protects nothing must not look as if it did. */
    for (uint32_t i = 0; i < route->authz->rules.n; i++) {
        const struct yaml_node *ids = yaml_get(yaml_at(rules, i), "spiffeIds");
        if (ids && (!l->tls.enabled || l->tls.client_auth == TLS_CLIENT_NONE))
            problem_at_key(b->problems, ids,
                           "no client of this listener has a certificate: see tls.clientAuth");
    }
}
