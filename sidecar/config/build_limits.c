/* build_limits.c - rate limits of a route. */
#include "config/builder.h"

#include "config/problems.h"

static void check_name(struct builder *b, const struct conf_route *route, uint32_t at,
                       const struct yaml_node *list)
{
    const struct conf_rate_limit *l = route->rate_limits;
    for (uint32_t i = 0; i < at; i++) {
        if (l[at].name.p && l[i].name.p && str_eq(l[i].name, l[at].name))
            problem_at(b->problems, yaml_get(yaml_at(list, at), "name"),
                       "the limit on line %u has the same name", yaml_at(list, i)->line);
    }
}

/* "false" would make of a limit for each client one for all of them. */
static void check_key(struct builder *b, const struct yaml_node *key,
                      const struct conf_rate_limit *l)
{
    if (builder_given(key, "clientAddress") && !l->by_client)
        problem_at(b->problems, yaml_get(key, "clientAddress"),
                   "expected true, got \"false\" (one limit for all requests has no \"key\")");
}

void build_limits(struct builder *b, const struct yaml_node *list, struct conf_route *route)
{
    for (uint32_t i = 0; i < route->n_rate_limits; i++) {
        struct conf_rate_limit *l = &route->rate_limits[i];
        if (l->rule.burst == 0)
            l->rule.burst = l->rule.requests;
        check_name(b, route, i, list);
        const struct yaml_node *key = yaml_get(yaml_at(list, i), "key");
        check_key(b, key, l);
        build_claim(b, l->claim, yaml_get(key, "claim"), &l->claim_path);
    }
}
