/* build_concurrency.c - the adaptive concurrency limit: what contradicts itself, and what can have
 * no effect. */
#include "config/builder.h"

#include "config/lint.h"
#include "config/problems.h"

/* `small` is not to be more than `large`; told where one of them is given. */
static void check_order(struct builder *b, const struct yaml_node *node, const char *small,
                        uint32_t small_value, const char *large, uint32_t large_value)
{
    const struct yaml_node *s = yaml_get(node, small), *l = yaml_get(node, large);
    char small_text[PROBLEM_QUOTE_MAX], large_text[PROBLEM_QUOTE_MAX];
    if ((s || l) && small_value > large_value && builder_sound(node, small) &&
        builder_sound(node, large))
        problem_at(b->problems, s ? s : l, "%s %s is more than %s %s", small,
                   builder_number(s, small_value, small_text), large,
                   builder_number(l, large_value, large_text));
}

void build_concurrency(struct builder *b, struct conf_upstream *u, const struct yaml_node *node)
{
    struct concurrency_rules *r = &u->concurrency_rules;
    u->concurrency = u->has_concurrency ? r : NULL;
    if (!u->concurrency)
        return;
    check_order(b, node, "minLimit", r->min_limit, "maxLimit", r->max_limit);
    if (!yaml_get(node, "initialLimit")) { /* it is wherever there is room */
        r->initial_limit = (uint32_t)max_u64(min_u64(r->initial_limit, r->max_limit), r->min_limit);
        return;
    }
    check_order(b, node, "initialLimit", r->initial_limit, "maxLimit", r->max_limit);
    check_order(b, node, "minLimit", r->min_limit, "initialLimit", r->initial_limit);
}

/* ---- what has no effect ---- */

/* A route of a listener that speaks HTTP leads to it. */
static bool has_requests(const struct conf *c, const struct conf_upstream *u)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        const struct conf_listener *l = &c->listeners[i];
        for (uint32_t k = 0; k < l->n_routes && listener_speaks_http(l->protocol); k++) {
            for (uint32_t n = 0; n < l->routes[k].n_backends; n++) {
                if (l->routes[k].backends[n].upstream == u)
                    return true;
            }
        }
    }
    return false;
}

static void upstream(struct builder *b, const struct conf_upstream *u, const struct yaml_node *node)
{
    const struct yaml_node *concurrency = yaml_get(node, "concurrency");
    const struct yaml_node *limit = yaml_get(concurrency, "maxLimit");
    const struct yaml_node *most = yaml_get(yaml_get(node, "circuitBreaker"), "maxRequests");
    char limit_text[PROBLEM_QUOTE_MAX], most_text[PROBLEM_QUOTE_MAX];
    if (!u->concurrency || !u->used)
        return;
    if (!has_requests(b->conf, u))
        warning_at(b->problems, concurrency, "has no effect: only tcp listeners use this upstream");
    else if ((limit || most) && u->concurrency->max_limit > u->bounds.requests)
        warning_at(b->problems, limit ? limit : most,
                   "maxLimit %s is never reached: circuitBreaker.maxRequests is %s",
                   builder_number(limit, u->concurrency->max_limit, limit_text),
                   builder_number(most, u->bounds.requests, most_text));
    else if (u->concurrency->min_limit == u->concurrency->max_limit)
        warning_at(b->problems, concurrency,
                   "the limit never changes: minLimit and maxLimit are the same");
}

void lint_concurrency(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++)
        upstream(b, &b->conf->upstreams[i], b->upstreams[i].node);
}
