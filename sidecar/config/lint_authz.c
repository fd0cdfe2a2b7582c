/* lint_authz.c - tokens and authorization: what can never take effect, and what few mean. */
#include "config/lint.h"

#include "config/problems.h"

static bool is_used(const struct conf *c, const struct conf_jwt *j)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        for (uint32_t k = 0; k < c->listeners[i].n_routes; k++) {
            const struct conf_authz *a = c->listeners[i].routes[k].authz;
            for (uint32_t n = 0; a && n < a->n_jwts; n++) {
                if (a->jwts[n] == j)
                    return true;
            }
        }
    }
    return false;
}

static bool is_loopback_url(struct str url)
{
    static const char *const hosts[] = {"127.", "localhost:", "localhost/", "[::1]"};
    struct str rest = {url.p + strlen("http://"), url.n - strlen("http://")};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        if (str_starts(rest, str_of(hosts[i])))
            return true;
    }
    return false;
}

void lint_jwt(struct builder *b)
{
    const struct yaml_node *list = yaml_get(b->root, "jwt");
    for (uint32_t i = 0; i < b->conf->n_jwts; i++) {
        const struct conf_jwt *j = &b->conf->jwts[i];
        const struct yaml_node *node = yaml_at(list, i);
        const struct yaml_node *jwks = yaml_get(node, "jwks");
        bool http = j->jwks_url.p && str_starts(j->jwks_url, STR("http:"));
        if (http && !is_loopback_url(j->jwks_url))
            warning_at(b->problems, yaml_get(jwks, "url"),
                       "who can change what comes over http can sign tokens: use https");
        if (http && j->jwks_ca.path.p)
            warning_at(b->problems, yaml_get(jwks, "caFile"),
                       "has no effect: the url is not https");
        if (!is_used(b->conf, j))
            warning_at(b->problems, yaml_get(node, "name"), "no route uses this issuer");
        if (j->rules.n_audiences == 0)
            warning_at(b->problems, yaml_get(node, "issuer"),
                       "without \"audiences\" a token that the issuer made for another service is "
                       "taken too");
    }
}

static bool leads_to(const struct conf_route *r, const struct conf_upstream *u)
{
    for (uint32_t i = 0; i < r->n_backends; i++) {
        if (r->backends[i].upstream == u)
            return true;
    }
    return false;
}

/* Servers skip an empty line in front of a request (RFC 9112 §2.2), which to us is none then. */
static void lint_bytes_around(struct builder *b, const struct conf_listener *l,
                              const struct yaml_node *node)
{
    const struct conf_route *raw = &l->routes[l->raw_route];
    for (uint32_t k = 0; k < l->raw_route; k++) {
        const struct conf_route *r = &l->routes[k];
        for (uint32_t i = 0; r->authz && i < r->n_backends; i++) {
            if (!leads_to(raw, r->backends[i].upstream))
                continue;
            warning_at(
                b->problems, yaml_get(node, "backends"),
                "who sends an empty line in front of a request, which makes it bytes, passes "
                "the \"authz\" of the route on line %u: the upstream is the same",
                r->line);
            return;
        }
    }
}

/* Behind a rule without conditions none is reached. */
void lint_authz_rules(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct conf_listener *l = &b->conf->listeners[i];
        const struct yaml_node *routes = yaml_get(b->listeners[i], "routes");
        if (l->protocol == PROTOCOL_AUTO)
            lint_bytes_around(b, l, b->listeners[i]);
        for (uint32_t k = 0; k < l->n_routes; k++) {
            const struct conf_authz *a = l->routes[k].authz;
            for (uint32_t n = 0; a && n + 1 < a->rules.n; n++) {
                const struct authz_rule *r = &a->rules.rules[n];
                if (r->n_methods + r->n_paths + r->n_claims + r->n_spiffe_ids + r->n_cidrs > 0)
                    continue;
                const struct yaml_node *rules =
                    yaml_get(yaml_get(yaml_at(routes, k), "authz"), "rules");
                warning_at(b->problems, yaml_at(rules, n + 1),
                           "is never reached: the rule on line %u fits every request",
                           yaml_at(rules, n)->line);
                break;
            }
        }
    }
}
