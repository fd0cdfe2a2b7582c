/* build_breaker.c - circuit breakers: what two keys say together, and what can have no effect. */
#include "config/builder.h"

#include "config/lint.h"
#include "config/problems.h"

void build_breaker(struct builder *b, struct conf_upstream *u, const struct yaml_node *node)
{
    const struct yaml_node *open = yaml_get(node, "openDuration");
    const struct yaml_node *most = yaml_get(node, "maxOpenDuration");
    char open_text[PROBLEM_QUOTE_MAX], most_text[PROBLEM_QUOTE_MAX];
    if ((open || most) && u->breaker.open_duration > u->breaker.max_open_duration &&
        builder_sound(node, "openDuration") && builder_sound(node, "maxOpenDuration"))
        problem_at(b->problems, open ? open : most,
                   "openDuration %s is more than maxOpenDuration %s",
                   builder_duration(open, u->breaker.open_duration, open_text),
                   builder_duration(most, u->breaker.max_open_duration, most_text));
}

/* Those that are for the rates alone, where there is none. */
static void rates(struct builder *b, const struct breaker_rules *r, const struct yaml_node *node)
{
    static const char *const names[] = {"window", "minRequests"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct yaml_node *it = yaml_get(node, names[i]);
        if (it && r->error_rate == 0 && r->slow_call_duration == 0)
            warning_at(b->problems, it, "has no effect: errorRate and slowCallDuration are 0");
    }
}

void lint_breaker(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct breaker_rules *r = &b->conf->upstreams[i].breaker;
        const struct yaml_node *node = yaml_get(b->upstreams[i].node, "circuitBreaker");
        if (!r->enabled)
            continue;
        if (r->consecutive_errors == 0 && r->error_rate == 0 && r->slow_call_duration == 0)
            warning_at(b->problems, node,
                       "it never opens: consecutiveErrors, errorRate and slowCallDuration are 0");
        else
            rates(b, r, node);
    }
}
