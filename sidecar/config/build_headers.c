/* build_headers.c - header rules: their names are checked, their values become templates. */
#include "config/builder.h"

#include "config/problems.h"

#include <errno.h>

struct header_builder {
    struct builder *b;
    struct header_rules *rules;
    const struct yaml_node *node; /* of the modifier */
};

static void refuse(struct header_builder *h, const char *why, const struct yaml_node *node)
{
    char got[PROBLEM_QUOTE_MAX];
    problem_at(h->b->problems, node, "%s: %s", problem_quote(yaml_shown(node), got), why);
}

static void unknown_variable(struct header_builder *h, struct str name,
                             const struct yaml_node *node)
{
    char got[PROBLEM_QUOTE_MAX];
    problem_at(h->b->problems, node,
               "there is no variable {%s}: there are "
#define X(id, name) "{" name "} "
               HEADER_VARIABLE_TABLE(X)
#undef X
                   "and {header.X-Name}",
               node->raw.p ? "..." : problem_quote(name, got));
}

static void add_write(struct header_builder *h, enum header_op op,
                      const struct draft_header_write *d, const struct yaml_node *node)
{
    struct template_problem problem = {0};
    struct header_write *w = &h->rules->writes[h->rules->n_writes];
    const struct yaml_node *value = yaml_get(node, "value");
    if (!d->name.p || !d->value.p)
        return;
    const char *why = header_rules_refuses(d->name, h->rules->request);
    if (why)
        refuse(h, why, yaml_get(node, "name"));
    *w = (struct header_write){.op = op, .name = d->name};
    int rc = header_write_compile(h->b->fill.keep, d->value, w, &problem);
    if (rc == -ENOMEM)
        builder_no_memory(h->b);
    else if (rc < 0 && !problem.what)
        unknown_variable(h, problem.name, value);
    else if (rc < 0)
        problem_at(h->b->problems, value, "at character %zu: %s", problem.at + 1, problem.what);
    if (rc < 0 || why)
        return;
    h->rules->n_writes++;
    uint32_t fixed = (uint32_t)1 << HEADER_ROUTE | (uint32_t)1 << HEADER_LISTENER |
                     (uint32_t)1 << HEADER_UPSTREAM;
    h->rules->uses_request |= (w->value.uses & ~fixed) != 0;
}

/* Of set and setIfAbsent; a field can be added more than once. */
static bool is_twice(struct header_builder *h, const struct draft_header_write *drafts, uint32_t i,
                     const struct yaml_node *list)
{
    for (uint32_t k = 0; k < i; k++) {
        if (!drafts[i].name.p || !drafts[k].name.p || !str_ieq(drafts[i].name, drafts[k].name))
            continue;
        problem_at(h->b->problems, yaml_get(yaml_at(list, i), "name"),
                   "the field is in this list twice; the first is on line %u",
                   yaml_at(list, k)->line);
        return true;
    }
    return false;
}

static void add_writes(struct header_builder *h, enum header_op op, const char *key,
                       const struct draft_header_write *drafts, uint32_t n)
{
    const struct yaml_node *list = yaml_get(h->node, key);
    for (uint32_t i = 0; i < n && h->rules->n_writes < HEADER_WRITES_MAX; i++) {
        if (op == HEADER_ADD || !is_twice(h, drafts, i, list))
            add_write(h, op, &drafts[i], yaml_at(list, i));
    }
}

static void add_removes(struct header_builder *h, const struct draft_header_rules *d)
{
    const struct yaml_node *list = yaml_get(h->node, "remove");
    struct header_rules *r = h->rules;
    r->removes = d->n_remove ? builder_alloc(h->b, d->n_remove * sizeof(*r->removes)) : NULL;
    for (uint32_t i = 0; i < d->n_remove && r->removes; i++) {
        if (!d->remove[i].p)
            continue;
        const char *why =
            header_remove_compile(d->remove[i], r->request, &r->removes[r->n_removes]);
        if (why)
            refuse(h, why, yaml_at(list, i));
        else
            r->n_removes++;
    }
}

const struct header_rules *build_header_rules(struct builder *b, const struct draft_header_rules *d,
                                              bool request, const struct yaml_node *node)
{
    uint32_t n = d->n_set + d->n_set_if_absent + d->n_add;
    if (!d->given || n + d->n_remove == 0)
        return NULL;
    struct header_rules *r = builder_alloc(b, sizeof(*r));
    if (!r)
        return NULL;
    struct header_builder h = {.b = b, .rules = r, .node = node};
    *r = (struct header_rules){.request = request, .dry_run = d->dry_run};
    if (n > HEADER_WRITES_MAX)
        problem_at(b->problems, node, "set, setIfAbsent and add together have at most %d fields",
                   HEADER_WRITES_MAX);
    r->writes = n ? builder_alloc(b, n * sizeof(*r->writes)) : NULL;
    if (n && !r->writes)
        return NULL;
    add_removes(&h, d);
    add_writes(&h, HEADER_SET, "set", d->set, d->n_set);
    add_writes(&h, HEADER_SET_IF_ABSENT, "setIfAbsent", d->set_if_absent, d->n_set_if_absent);
    add_writes(&h, HEADER_ADD, "add", d->add, d->n_add);
    return r;
}

static bool response_uses_request(const struct conf_headers *h)
{
    return (h->response[0] && h->response[0]->uses_request) ||
           (h->response[1] && h->response[1]->uses_request);
}

void build_route_headers(struct builder *b, const struct header_rules *const of_listener[2],
                         const struct draft_route *draft, const struct yaml_node *node,
                         struct conf_route *route)
{
    struct conf_headers all = {
        .request = {of_listener[0], build_header_rules(b, &draft->request_headers, true,
                                                       yaml_get(node, "requestHeaderModifier"))},
        .response = {of_listener[1], build_header_rules(b, &draft->response_headers, false,
                                                        yaml_get(node, "responseHeaderModifier"))},
    };
    if (!all.request[0] && !all.request[1] && !all.response[0] && !all.response[1])
        return;
    struct conf_headers *h = builder_alloc(b, sizeof(*h));
    if (!h)
        return;
    all.response_uses_request = response_uses_request(&all);
    *h = all;
    route->headers = h;
}
