/* fill.c - a tree into structs, as the schema says. Knows no key by name. */
#include "config/fill.h"

#include "config/problems.h"

#include <stdio.h>

enum { NAMES_MAX = 256 };

/* ---- lists and maps ---- */

static void fill_value(struct fill *f, const struct schema_key *key, struct yaml_node *node,
                       void *base);

static bool is_list(struct fill *f, const struct schema_key *key, const struct yaml_node *node)
{
    unsigned long long min = key->min, max = key->max;
    char got[PROBLEM_QUOTE_MAX];
    if (node->kind == NODE_SCALAR)
        problem_at(f->problems, node, "expected a list ([..] or lines with \"- \"), got \"%s\"",
                   problem_quote(yaml_shown(node), got));
    else if (node->kind == NODE_MAP)
        problem_at(f->problems, node, "expected a list, got a map: put \"- \" before each item");
    else if (node->n < key->min)
        problem_at(f->problems, node, "expected at least %llu item%s, got none", min,
                   min == 1 ? "" : "s");
    else if (key->max && node->n > key->max)
        problem_at(f->problems, node, "expected at most %llu items, got %u", max, node->n);
    else
        return true;
    return false;
}

static void fill_list(struct fill *f, const struct schema_key *key, struct yaml_node *node,
                      void *base)
{
    const struct schema_key *of = key->of;
    uint32_t size = of->type == SCHEMA_MAP ? of->map->size : of->size ? of->size : of->width;
    bool draft = of->type == SCHEMA_MAP && of->map->draft;

    if (!is_list(f, key, node)) {
        node->kind = NODE_BROKEN;
        return;
    }
    char *items = arena_alloc(draft ? f->scratch : f->keep, (size_t)node->n * size);
    if (!items) {
        fill_no_memory(f);
        return;
    }
    *(void **)fill_place(base, key->at) = items;
    *(uint32_t *)fill_place(base, key->count_at - 1) = node->n;
    fill_flag(base, key, true);
    for (struct yaml_node *it = node->first; it && !f->no_memory; it = it->next, items += size)
        fill_value(f, of, it, items);
}

static void fill_value(struct fill *f, const struct schema_key *key, struct yaml_node *node,
                       void *base)
{
    if (node->kind == NODE_BROKEN)
        return;
    if (yaml_is_null(node)) {
        problem_at(f->problems, node, "there is no value%s",
                   node->key.p && !(key->flags & KEY_REQUIRED)
                       ? " (leave the key out for the default)"
                       : "");
        node->kind = NODE_BROKEN;
        return;
    }
    if (key->type == SCHEMA_MAP || (key->map && node->kind == NODE_MAP)) {
        fill_flag(base, key, true);
        fill_map(f, key->map, node, fill_place(base, key->at));
    } else if (key->type == SCHEMA_LIST) {
        fill_list(f, key, node, base);
    } else if (node->kind != NODE_SCALAR) {
        problem_at(f->problems, node, "expected one value, got a %s",
                   node->kind == NODE_MAP ? "map" : "list");
        node->kind = NODE_BROKEN;
    } else if (!fill_word(f, key, node, node->text, base)) {
        node->kind = NODE_BROKEN;
    } else if (key->type != SCHEMA_ADDRESS) {
        fill_flag(base, key, true);
    }
}

static void fill_default(struct fill *f, const struct schema_key *key, void *base)
{
    if (key->type == SCHEMA_MAP)
        fill_map(f, key->map, NULL, fill_place(base, key->at));
    else if (key->preset)
        (void)fill_word(f, key, NULL, str_of(key->preset), base);
}

static void check_choice(struct fill *f, const struct schema_choice *choice,
                         const struct yaml_node *map)
{
    const struct yaml_node *first = NULL;
    char names[NAMES_MAX];
    size_t o = 0;

    names[0] = '\0';
    for (int i = 0; i < SCHEMA_CHOICE_KEYS && choice->keys[i]; i++)
        o += (size_t)snprintf(names + o, sizeof(names) - o, "%s\"%s\"", i ? ", " : "",
                              choice->keys[i]);
    for (const struct yaml_node *it = map->first; it; it = it->next) {
        bool one = false;
        for (int i = 0; i < SCHEMA_CHOICE_KEYS && choice->keys[i]; i++)
            one = one || str_eq(it->key, str_of(choice->keys[i]));
        if (one && !first)
            first = it;
        else if (one && choice->how_many != CHOICE_AT_LEAST_ONE)
            problem_at_key(f->problems, it,
                           "cannot be together with \"%.*s\" on line %u: only one of %s",
                           STR_FMT(first->key), first->key_line, names);
    }
    if (!first && choice->how_many != CHOICE_AT_MOST_ONE)
        problem_at(f->problems, map, "one of %s is missing", names);
}

/* The value of "key" or "map.key"; NULL: it is not there. */
static const struct yaml_node *get_path(const struct yaml_node *map, const char *path)
{
    const char *dot = strchr(path, '.');
    const struct yaml_node *it = map && map->kind == NODE_MAP ? map->first : NULL;
    struct str first = {path, dot ? (size_t)(dot - path) : strlen(path)};

    while (it && !str_eq(it->key, first))
        it = it->next;
    return dot ? yaml_get(it, dot + 1) : it;
}

static bool case_holds(const struct schema_map *map, const struct schema_case *c,
                       const struct yaml_node *it)
{
    if (!c->value)
        return it && it->kind != NODE_BROKEN;
    if (it)
        return it->kind == NODE_SCALAR && str_eq(it->text, str_of(c->value));
    const struct schema_key *key = schema_find(map, str_of(c->key));
    return key && key->preset && strcmp(key->preset, c->value) == 0;
}

static void check_case(struct fill *f, const struct schema_map *map, const struct schema_case *c,
                       const struct yaml_node *node)
{
    const struct yaml_node *key = get_path(node, c->key);

    if (!case_holds(map, c, key))
        return;
    for (int i = 0; i < SCHEMA_CASE_KEYS && c->never[i]; i++) {
        const struct yaml_node *it = get_path(node, c->never[i]);
        if (it && c->value)
            problem_at_key(f->problems, it, "has no meaning with %s: %s", c->key, c->value);
        else if (it)
            problem_at_key(f->problems, it, "has no meaning with \"%s\"", c->key);
    }
    if (!c->needs || get_path(node, c->needs))
        return;
    if (c->value)
        problem_at(f->problems, node, "required key \"%s\" is missing (%s: %s)", c->needs, c->key,
                   c->value);
    else
        problem_at_key(f->problems, key, "needs \"%s\"", c->needs);
}

static const char *next_key(const void *ctx, uint32_t i)
{
    return ((const struct schema_map *)ctx)->keys[i].name;
}

static void unknown_key(struct fill *f, const struct schema_map *map, const struct yaml_node *node)
{
    char got[PROBLEM_QUOTE_MAX];
    const char *colon = node->key.n ? memchr(node->key.p, ':', node->key.n) : NULL;
    const char *near = schema_nearest(node->key, next_key, map, map->n_keys);

    (void)problem_quote(node->key, got);
    if (colon && schema_find(map, (struct str){node->key.p, (size_t)(colon - node->key.p)}))
        problem_at_key(f->problems, node, "unknown key \"%s\" (a space is missing behind \":\")",
                       got);
    else if (near)
        problem_at_key(f->problems, node, "unknown key \"%s\" (did you mean \"%s\"?)", got, near);
    else
        problem_at_key(f->problems, node, "unknown key \"%s\"", got);
}

void fill_map(struct fill *f, const struct schema_map *map, struct yaml_node *node, void *base)
{
    uint32_t given = 0; /* bit i: keys[i] */
    CHECK(map->n_keys <= SCHEMA_KEYS_MAX);

    if (node && node->kind != NODE_MAP) {
        char got[PROBLEM_QUOTE_MAX];
        if (node->kind == NODE_SCALAR)
            problem_at(f->problems, node, "expected keys (\"key: value\"), got \"%s\"",
                       problem_quote(yaml_shown(node), got));
        else if (node->kind == NODE_LIST)
            problem_at(f->problems, node, "expected keys (\"key: value\"), got a list");
        node->kind = NODE_BROKEN;
        node = NULL;
    } else if (node) {
        for (struct yaml_node *it = node->first; it && !f->no_memory; it = it->next) {
            const struct schema_key *key = schema_find(map, it->key);
            if (!key) {
                unknown_key(f, map, it);
                continue;
            }
            given |= 1u << (key - map->keys);
            if (key->preset) /* for the checks that follow a wrong value */
                fill_default(f, key, base);
            fill_value(f, key, it, base);
        }
        for (uint32_t i = 0; i < map->n_choices; i++)
            check_choice(f, &map->choices[i], node);
        for (uint32_t i = 0; i < map->n_cases; i++)
            check_case(f, map, &map->cases[i], node);
    }
    for (uint32_t i = 0; i < map->n_keys && !f->no_memory; i++) {
        if (given & (1u << i))
            continue;
        if (node && (map->keys[i].flags & KEY_REQUIRED))
            problem_at(f->problems, node, "required key \"%s\" is missing", map->keys[i].name);
        fill_default(f, &map->keys[i], base);
    }
}
