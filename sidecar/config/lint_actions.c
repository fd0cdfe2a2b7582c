/* lint_actions.c - what a route does to its requests and responses: what can never take effect. */
#include "config/lint.h"

#include "config/problems.h"

/* Each map of that key, of listeners and of routes. */
static void each_map(struct builder *b, const char *key,
                     void (*check)(struct builder *b, const struct yaml_node *map))
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct yaml_node *list = yaml_get(b->listeners[i], "routes");
        const struct yaml_node *map = yaml_get(b->listeners[i], key);
        if (map)
            check(b, map);
        for (const struct yaml_node *it = list ? list->first : NULL; it; it = it->next) {
            map = yaml_get(it, key);
            if (map)
                check(b, map);
        }
    }
}

/* ---- header rules ---- */

static bool names_field(const struct yaml_node *list, struct str name)
{
    for (const struct yaml_node *it = list ? list->first : NULL; it; it = it->next) {
        if (str_ieq(yaml_get(it, "name")->text, name))
            return true;
    }
    return false;
}

static void header_rules(struct builder *b, const struct yaml_node *map)
{
    static const char *const lists[] = {"remove", "set", "setIfAbsent", "add"};
    const struct yaml_node *set = yaml_get(map, "set");
    const struct yaml_node *absent = yaml_get(map, "setIfAbsent"), *gone = yaml_get(map, "remove");
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        any = any || yaml_get(map, lists[i]);
    if (!any)
        warning_at(b->problems, map, "has no effect: it names no field");
    for (const struct yaml_node *it = gone ? gone->first : NULL; it; it = it->next) {
        if (names_field(set, it->text))
            warning_at(b->problems, it, "has no effect: \"set\" replaces the field");
    }
    for (const struct yaml_node *it = absent ? absent->first : NULL; it; it = it->next) {
        if (names_field(set, yaml_get(it, "name")->text))
            warning_at(b->problems, it, "has no effect: \"set\" writes the field");
    }
}

void lint_header_rules(struct builder *b)
{
    each_map(b, "requestHeaderModifier", header_rules);
    each_map(b, "responseHeaderModifier", header_rules);
}

/* ---- faults ---- */

static void fault(struct builder *b, const struct conf_route *r, const struct yaml_node *node)
{
    const struct yaml_node *map = yaml_get(node, "fault");
    const struct yaml_node *delay = yaml_get(map, "delay"), *end = yaml_get(map, "abort");
    char mine[PROBLEM_QUOTE_MAX], whole[PROBLEM_QUOTE_MAX];
    if (!r->fault || r->action != ACTION_FORWARD)
        return;
    if (r->fault->delays && r->fault->delay_ppm == 0)
        warning_at(b->problems, delay, "has no effect: it is 0 percent of the requests");
    if (r->fault->aborts && r->fault->abort_ppm == 0)
        warning_at(b->problems, end, "has no effect: it is 0 percent of the requests");
    if (!r->fault->delays && yaml_get(map, "maxActive"))
        warning_at(b->problems, yaml_get(map, "maxActive"), "has no effect without \"delay\"");
    if (r->fault->delays && r->fault->delay >= conf_route_ends(r))
        warning_at(b->problems, yaml_get(delay, "duration"),
                   "%s ends in a timeout: the route's timeout is %s",
                   builder_duration(yaml_get(delay, "duration"), r->fault->delay, mine),
                   builder_duration(yaml_get(node, "timeout"), r->timeout, whole));
}

void lint_fault(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct yaml_node *list = yaml_get(b->listeners[i], "routes");
        const struct yaml_node *it = list ? list->first : NULL;
        for (uint32_t k = 0; it; k++, it = it->next)
            fault(b, &b->conf->listeners[i].routes[k], it);
    }
}

/* ---- redaction ---- */

void lint_redact(struct builder *b)
{
    const struct conf_access_log *log = &b->conf->access_log;
    const struct yaml_node *map = yaml_get(yaml_get(b->root, "accessLog"), "redact");
    const struct yaml_node *salt = yaml_get(map, "saltFile");
    if (salt && log->parameters_given && log->n_parameters == 0 && log->n_redacted == 0)
        warning_at(b->problems, salt, "has no effect: nothing is redacted");
}
