/* lint_limits.c - rate limits: what can never take effect. */
#include "config/lint.h"

#include "config/conf_authz.h"
#include "config/problems.h"

static void limit(struct builder *b, const struct conf_route *r, const struct conf_rate_limit *l,
                  const struct yaml_node *node)
{
    const struct yaml_node *burst = yaml_get(node, "burst"), *most = yaml_get(node, "maxKeys"),
                           *prefix = yaml_get(node, "ipv6Prefix");
    if (burst && l->rule.algorithm != RATE_TOKEN_BUCKET)
        warning_at(b->problems, burst, "has no effect: \"algorithm\" is not tokenBucket");
    if (most && !yaml_get(node, "key"))
        warning_at(b->problems, most, "has no effect: there is no \"key\"");
    if (prefix && !l->by_client)
        warning_at(b->problems, prefix, "has no effect: \"key\" is not clientAddress");
    if (l->claim.p && (!r->authz || r->authz->n_jwts == 0))
        warning_at(b->problems, yaml_get(yaml_get(node, "key"), "claim"),
                   "all requests are one: the route's \"authz\" verifies no token");
}

void lint_rate_limits(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct conf_route *r = b->conf->listeners[i].routes;
        const struct yaml_node *list = yaml_get(b->listeners[i], "routes");
        for (const struct yaml_node *it = list ? list->first : NULL; it; it = it->next, r++) {
            for (uint32_t k = 0; k < r->n_rate_limits; k++)
                limit(b, r, &r->rate_limits[k], yaml_at(yaml_get(it, "rateLimits"), k));
        }
    }
}
