/* build_match.c - which requests a route takes. */
#include "config/builder.h"

#include "config/problems.h"

/* The list, or the one; STR_NONE: none. */
static void one_or_many(struct builder *b, struct str one, struct str *many, uint32_t n_many,
                        const struct str **ret, uint32_t *ret_n)
{
    if (!one.p) {
        *ret = many;
        *ret_n = n_many;
        return;
    }
    struct str *copy = builder_alloc(b, sizeof(*copy));
    if (!copy)
        return;
    *copy = one;
    *ret = copy;
    *ret_n = 1;
}

/* Compiles it alone, so that its own place can be told. */
static void check_regex(struct builder *b, const struct yaml_node *node,
                        const struct route_match *match)
{
    char why[160] = "";
    uint32_t bad = 0;
    struct route_table *t = route_table_new(match, 1, &bad, why, sizeof(why));
    if (t)
        (void)route_table_free(t);
    else if (bad == UINT32_MAX)
        builder_no_memory(b);
    else
        problem_at(b->problems, node, "not a regular expression: %s", why);
}

static void build_condition(struct builder *b, const struct draft_condition *d,
                            const struct yaml_node *node, bool header,
                            struct route_condition *condition)
{
    *condition = (struct route_condition){.name = d->name, .invert = d->invert};
    if (d->exact.p) {
        condition->how = ROUTE_TEXT_EXACT;
        condition->value = d->exact;
    } else if (d->prefix.p) {
        condition->how = ROUTE_TEXT_PREFIX;
        condition->value = d->prefix;
    } else if (d->regex.p) {
        condition->how = ROUTE_TEXT_REGEX;
        condition->value = d->regex;
        struct route_match alone = {0};
        if (header) {
            alone.headers = condition;
            alone.n_headers = 1;
        } else {
            alone.query = condition;
            alone.n_query = 1;
        }
        check_regex(b, yaml_get(node, "regex"), &alone);
    } else if (d->has_present && !d->present) {
        problem_at(b->problems, yaml_get(node, "present"),
                   "expected true, got \"false\" (absence is present: true with invert: true)");
    }
}

static const struct route_condition *build_conditions(struct builder *b,
                                                      const struct draft_condition *drafts,
                                                      uint32_t n, const struct yaml_node *list,
                                                      bool header)
{
    struct route_condition *conditions = n ? builder_alloc(b, n * sizeof(*conditions)) : NULL;
    const struct yaml_node *it = conditions ? list->first : NULL;
    for (uint32_t i = 0; it; i++, it = it->next)
        build_condition(b, &drafts[i], it, header, &conditions[i]);
    return conditions;
}

const struct route_condition *build_header_conditions(struct builder *b,
                                                      const struct draft_condition *drafts,
                                                      uint32_t n, const struct yaml_node *list)
{
    return build_conditions(b, drafts, n, list, true);
}

void build_match(struct builder *b, const struct draft_match *draft, const struct yaml_node *node,
                 struct route_match *match)
{
    *match = (struct route_match){0};
    one_or_many(b, draft->host, draft->hosts, draft->n_hosts, &match->hosts, &match->n_hosts);
    if (draft->n_sni > 0)
        one_or_many(b, STR_NONE, draft->sni, draft->n_sni, &match->hosts, &match->n_hosts);
    one_or_many(b, draft->method, draft->methods, draft->n_methods, &match->methods,
                &match->n_methods);
    if (draft->path.p) {
        match->path_how = ROUTE_PATH_EXACT;
        match->path = draft->path;
    } else if (draft->path_prefix.p) {
        match->path_how = ROUTE_PATH_PREFIX;
        match->path = draft->path_prefix;
    } else if (draft->path_regex.p) {
        match->path_how = ROUTE_PATH_REGEX;
        match->path = draft->path_regex;
        struct route_match alone = {.path_how = ROUTE_PATH_REGEX, .path = draft->path_regex};
        check_regex(b, yaml_get(node, "pathRegex"), &alone);
    }
    match->headers =
        build_conditions(b, draft->headers, draft->n_headers, yaml_get(node, "headers"), true);
    match->n_headers = match->headers ? draft->n_headers : 0;
    match->query =
        build_conditions(b, draft->query, draft->n_query, yaml_get(node, "query"), false);
    match->n_query = match->query ? draft->n_query : 0;
}
