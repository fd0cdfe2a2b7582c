/* build_outlier.c - which endpoints are good: what contradicts itself, and what has no effect. */
#include "config/builder.h"

#include "config/lint.h"
#include "config/problems.h"

void build_outlier(struct builder *b, struct conf_upstream *u, const struct yaml_node *node)
{
    const struct yaml_node *outlier = yaml_get(node, "outlierDetection");
    const struct yaml_node *base = yaml_get(outlier, "baseEjectionTime");
    const struct yaml_node *most = yaml_get(outlier, "maxEjectionTime");
    const struct yaml_node *latency = yaml_get(outlier, "latency");
    const struct outlier_rules *r = &u->outlier_rules;
    char base_text[PROBLEM_QUOTE_MAX], most_text[PROBLEM_QUOTE_MAX];

    u->outlier = u->has_outlier ? r : NULL;
    u->slow_start = u->has_slow_start ? &u->slow_start_rules : NULL;
    if (!u->outlier)
        return;
    if (r->base_ejection > r->max_ejection && builder_sound(outlier, "baseEjectionTime") &&
        builder_sound(outlier, "maxEjectionTime"))
        problem_at(b->problems, base ? base : most,
                   "baseEjectionTime %s is more than "
                   "maxEjectionTime %s",
                   builder_duration(base, r->base_ejection, base_text),
                   builder_duration(most, r->max_ejection, most_text));
    if (builder_given(latency, "factorPercent") && r->latency.factor_percent > 0 &&
        r->latency.factor_percent <= 100)
        problem_at(b->problems, yaml_get(latency, "factorPercent"),
                   "expected more than 100, or 0: else half of the endpoints are always slow");
}

/* ---- what has no effect ---- */

/* It has n addresses, and no name that may stand for more; 0: that is not certain. */
static uint32_t fixed_endpoints(const struct conf_upstream *u)
{
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        if (u->endpoints[i].kind != ENDPOINT_ADDRESS)
            return 0;
    }
    return u->n_endpoints;
}

/* Of n endpoints; 0: of any number. */
static bool looks_at_nothing(const struct outlier_rules *r, uint32_t n)
{
    for (int i = 0; i < OUTLIER_STREAKS; i++) {
        if (r->consecutive[i] > 0)
            return false;
    }
    bool few = n > 0 && n < r->success_rate.min_endpoints;
    bool few_latencies = n > 0 && n < r->latency.min_endpoints;
    return (few || r->success_rate.stdev_factor == 0) &&
           (few_latencies || r->latency.factor_percent == 0);
}

/* Each row counts what those before it do, and more: so the number of one before it is not reached
 * when it is the larger one. */
static void check_shadowed(struct builder *b, const struct outlier_rules *r,
                           const struct yaml_node *outlier)
{
    static const char *const keys[] = {[OUTLIER_LOCAL] = "consecutiveLocalErrors",
                                       [OUTLIER_GATEWAY] = "consecutiveGatewayErrors",
                                       [OUTLIER_5XX] = "consecutive5xx"};
    char text[PROBLEM_QUOTE_MAX];
    for (int i = 0; i < OUTLIER_STREAKS; i++) {
        const struct yaml_node *it = yaml_get(outlier, keys[i]);
        int by = OUTLIER_STREAKS - 1;
        while (by > i && (r->consecutive[by] == 0 || r->consecutive[by] >= r->consecutive[i]))
            by--;
        if (it && by > i)
            warning_at(b->problems, it,
                       "%s in a row are never reached: \"%s\" is %u, and counts them too",
                       builder_number(it, r->consecutive[i], text), keys[by], r->consecutive[by]);
    }
}

static void check_few(struct builder *b, const struct conf_upstream *u,
                      const struct yaml_node *outlier, uint32_t n)
{
    static const char *const maps[] = {"successRate", "latency"};
    const uint32_t least[] = {u->outlier->success_rate.min_endpoints,
                              u->outlier->latency.min_endpoints};
    if (u->outlier->max_percent * n < 100) {
        warning_at(b->problems, outlier,
                   "has no effect: one of %u endpoints is more than maxEjectionPercent %u", n,
                   u->outlier->max_percent);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        const struct yaml_node *it = yaml_get(outlier, maps[i]);
        if (it && n < least[i])
            warning_at(b->problems, it,
                       "has no effect: there are %u endpoints, fewer than minimumEndpoints %u", n,
                       least[i]);
    }
}

void lint_outlier(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        const struct yaml_node *it = yaml_get(b->upstreams[i].node, "outlierDetection");
        uint32_t n = fixed_endpoints(u);
        if (!it || !u->outlier)
            continue;
        check_shadowed(b, u->outlier, it);
        if (looks_at_nothing(u->outlier, 0))
            warning_at(b->problems, it, "has no effect: nothing is looked at");
        else if (n == 1)
            warning_at(b->problems, it,
                       "has no effect: there is one endpoint, and the last is never ejected");
        else if (n > 1 && looks_at_nothing(u->outlier, n))
            warning_at(b->problems, it,
                       "has no effect: there are %u endpoints, too few to compare, and nothing "
                       "else is looked at",
                       n);
        else if (n > 1)
            check_few(b, u, it, n);
    }
}
