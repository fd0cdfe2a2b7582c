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
