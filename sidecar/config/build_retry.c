/* build_retry.c - when a route's requests are sent once more, and what that may cost an upstream.
 */
#include "config/builder.h"

#include "config/problems.h"

/* RFC 9110 §9.2.2 */
static uint32_t idempotent_methods(void)
{
    uint32_t bits = 0;
    for (uint32_t m = METHOD_OTHER; m <= METHOD_CONNECT; m++) {
        if (method_is_idempotent((enum http_method)m))
            bits |= UINT32_C(1) << m;
    }
    return bits;
}

static uint32_t bits_of(const uint32_t *list, uint32_t n)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < n; i++)
        bits |= UINT32_C(1) << list[i];
    return bits;
}

void build_retry(struct builder *b, const struct draft_route *draft, const struct yaml_node *node,
                 struct conf_route *route)
{
    const struct draft_retry *d = &draft->retry;
    const struct yaml_node *backoff = yaml_get(node, "backoff");
    const struct yaml_node *base = yaml_get(backoff, "base"), *max = yaml_get(backoff, "max");
    char base_text[PROBLEM_QUOTE_MAX], max_text[PROBLEM_QUOTE_MAX];
    if (!d->given || !node)
        return;
    if (d->rules.base > d->rules.max && builder_sound(backoff, "base") &&
        builder_sound(backoff, "max"))
        problem_at(b->problems, base ? base : max, "base %s is more than max %s",
                   builder_duration(base, d->rules.base, base_text),
                   builder_duration(max, d->rules.max, max_text));
    struct retry_rules *r = builder_alloc(b, sizeof(*r));
    if (!r)
        return;
    *r = d->rules;
    r->on = d->n_on ? bits_of(d->on, d->n_on) : RETRY_ON_DEFAULT;
    r->methods = d->n_methods ? bits_of(d->methods, d->n_methods) : idempotent_methods();
    route->retry = r;
}

void build_retry_budget(struct builder *b, const struct conf_upstream *u,
                        const struct yaml_node *node)
{
    const struct yaml_node *window = yaml_get(node, "window");
    if (window && builder_sound(node, "window") && u->retry_budget.window % USEC_PER_SEC != 0)
        problem_at(b->problems, window, "expected whole seconds");
}
