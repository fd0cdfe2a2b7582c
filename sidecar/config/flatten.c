/* flatten.c - a configuration as a list of settings. */
#include "config/flatten.h"

#include "config/scalar.h"
#include "io/address.h"

#include <stdio.h>

struct walk {
    struct arena *arena;
    struct setting **tail;
    uint32_t n;
    bool restart_only;
    bool no_memory;
};

/* Where the walk is. */
struct place {
    struct str path;
    const struct setting *item;
    bool restart; /* by a key above */
};

/* ---- values ---- */

static struct str name_of(const struct schema_key *key, struct str text)
{
    uint32_t value = 0;
    bool known = false;
    for (const struct schema_name *it = key->names; it->name; it++) {
        if (str_eq(text, str_of(it->name))) {
            value = it->value;
            known = true;
        }
    }
    for (const struct schema_name *it = key->names; known && it->name; it++) {
        if (it->value == value && !it->hidden)
            return str_of(it->name);
    }
    return text;
}

struct str setting_value(const struct schema_key *key, struct str text, char *out)
{
    const char *why;
    struct address address;
    uint64_t number;

    out[0] = '\0';
    switch (key->type) {
    case SCHEMA_DURATION:
        if (scalar_duration(text, &number))
            (void)scalar_duration_text(number, out);
        break;
    case SCHEMA_SIZE:
        if (scalar_size(text, &number))
            (void)scalar_size_text(number, out);
        break;
    case SCHEMA_MODE:
        if (scalar_mode(text, &number))
            (void)snprintf(out, SETTING_TEXT_MAX, "0%03o", (unsigned)number);
        break;
    case SCHEMA_ADDRESS:
    case SCHEMA_ENDPOINT:
        if (address_parse(text, &address, &why) == 0)
            (void)address_format(&address, out);
        break;
    case SCHEMA_ENUM:
        return name_of(key, text);
    default:
        break;
    }
    return out[0] ? str_of(out) : text;
}

/* ---- paths ---- */

static struct str copy(struct walk *w, struct str s)
{
    struct str kept = arena_str(w->arena, s);
    w->no_memory = w->no_memory || !kept.p;
    return kept;
}

static struct str concat(struct walk *w, struct str a, const char *between, struct str b,
                         const char *behind)
{
    size_t n = a.n + strlen(between) + b.n + strlen(behind);
    char *p = arena_alloc(w->arena, n + 1);
    if (!p) {
        w->no_memory = true;
        return STR_NONE;
    }
    (void)snprintf(p, n + 1, "%.*s%s%.*s%s", STR_FMT(a), between, STR_FMT(b), behind);
    return (struct str){p, n};
}

static struct str item_path(struct walk *w, struct str list, const struct schema_map *map,
                            const struct yaml_node *node)
{
    const struct schema_key *identity = schema_identity(map);
    const struct yaml_node *name = identity ? yaml_get(node, identity->name) : NULL;
    char number[16];
    (void)snprintf(number, sizeof(number), "#%u", node->index);
    return concat(w, list, "[", name ? yaml_shown(name) : str_of(number), "]");
}

/* ---- the walk ---- */

static struct setting *add(struct walk *w, const struct place *at, enum setting_kind kind)
{
    struct setting *s = w->no_memory ? NULL : arena_alloc(w->arena, sizeof(*s));
    if (!s) {
        w->no_memory = true;
        return NULL;
    }
    s->kind = kind;
    s->restart = at->restart;
    s->path = at->path;
    s->item = at->item;
    s->given = true;
    s->index = w->n++;
    *w->tail = s;
    w->tail = &s->next;
    return s;
}

static void walk_map(struct walk *w, const struct schema_map *map, const struct yaml_node *node,
                     const struct place *at);

static void walk_item(struct walk *w, const struct schema_map *map, const struct yaml_node *node,
                      struct place at)
{
    at.item = add(w, &at, SETTING_ITEM);
    if (at.item)
        walk_map(w, map, node, &at);
}

/* "a, b, #2" */
static void walk_order(struct walk *w, const struct schema_map *map, const struct yaml_node *list,
                       const struct place *at)
{
    struct setting *s = w->restart_only ? NULL : add(w, at, SETTING_ORDER);
    const struct schema_key *identity = schema_identity(map);
    size_t n = 0, o = 0;

    if (!s)
        return;
    for (const struct yaml_node *it = list->first; it; it = it->next) {
        const struct yaml_node *name = identity ? yaml_get(it, identity->name) : NULL;
        n += (name ? yaml_shown(name).n : 12) + 2;
    }
    char *p = arena_alloc(w->arena, n + 1);
    if (!p) {
        w->no_memory = true;
        return;
    }
    for (const struct yaml_node *it = list->first; it; it = it->next) {
        const struct yaml_node *name = identity ? yaml_get(it, identity->name) : NULL;
        const char *comma = o > 0 ? ", " : "";
        if (name)
            o += (size_t)snprintf(p + o, n + 1 - o, "%s%.*s", comma, STR_FMT(yaml_shown(name)));
        else
            o += (size_t)snprintf(p + o, n + 1 - o, "%s#%u", comma, it->index);
    }
    s->value = (struct str){p, o};
}

/* A list whose absence means something, or that cannot change in part, is one value: [a, b]. */
static void walk_words(struct walk *w, const struct schema_key *key, const struct yaml_node *list,
                       const struct place *at)
{
    struct str all = STR("[");
    char text[SETTING_TEXT_MAX];
    for (const struct yaml_node *it = list->first; it && !w->no_memory; it = it->next)
        all = concat(w, all, it == list->first ? "" : ", ",
                     setting_value(key->of, yaml_shown(it), text), "");
    struct setting *s = add(w, at, SETTING_VALUE);
    if (s)
        s->value = concat(w, all, "]", STR(""), "");
}

/* An endpoint by its address, in either form: changed from one into the other it is the same. */
static void walk_endpoint(struct walk *w, const struct schema_key *of, const struct yaml_node *node,
                          struct place at)
{
    char text[SETTING_TEXT_MAX];
    const struct yaml_node *word =
        node->kind == NODE_MAP ? yaml_get(node, schema_identity(of->map)->name) : node;
    at.path = concat(w, at.path, "[", setting_value(of, yaml_shown(word), text), "]");
    struct setting *s = add(w, &at, SETTING_VALUE);
    if (node->kind != NODE_MAP || !s)
        return;
    at.item = s;
    walk_map(w, of->map, node, &at);
}

static void walk_list(struct walk *w, const struct schema_key *key, const struct yaml_node *list,
                      const struct place *at)
{
    char text[SETTING_TEXT_MAX];
    struct place item = *at;

    if (key->of->type != SCHEMA_MAP && (key->flag_at || at->restart)) {
        walk_words(w, key, list, at);
        return;
    }
    if (key->flags & KEY_ORDERED)
        walk_order(w, key->of->map, list, at);
    for (const struct yaml_node *it = list->first; it && !w->no_memory; it = it->next) {
        if (key->of->type == SCHEMA_MAP) {
            item.path = item_path(w, at->path, key->of->map, it);
            walk_item(w, key->of->map, it, item);
        } else if (key->of->map) {
            walk_endpoint(w, key->of, it, *at);
        } else {
            item.path = concat(w, at->path, "[", setting_value(key->of, yaml_shown(it), text), "]");
            (void)add(w, &item, SETTING_VALUE);
        }
    }
}

static void walk_word(struct walk *w, const struct schema_key *key, const struct yaml_node *node,
                      const struct place *at)
{
    char text[SETTING_TEXT_MAX];
    if (!node && !key->preset)
        return;
    struct setting *s = add(w, at, SETTING_VALUE);
    if (!s)
        return;
    s->given = node != NULL;
    s->value = copy(w, setting_value(key, node ? yaml_shown(node) : str_of(key->preset), text));
}

static void walk_map(struct walk *w, const struct schema_map *map, const struct yaml_node *node,
                     const struct place *at)
{
    for (uint32_t i = 0; i < map->n_keys && !w->no_memory; i++) {
        const struct schema_key *key = &map->keys[i];
        const struct yaml_node *value = yaml_get(node, key->name);
        struct place here = *at;

        here.restart = schema_restarts(key, at->restart);
        if ((key->flags & KEY_IDENTITY) || (w->restart_only && !here.restart && !schema_waits(key)))
            continue;
        here.path = concat(w, at->path, at->path.n ? "." : "", str_of(key->name), "");
        if (key->type == SCHEMA_MAP && !key->flag_at)
            walk_map(w, key->map, value, &here);
        else if (key->type == SCHEMA_MAP && value)
            walk_item(w, key->map, value, here);
        else if (key->type == SCHEMA_LIST && value)
            walk_list(w, key, value, &here);
        else if (key->type != SCHEMA_MAP && key->type != SCHEMA_LIST)
            walk_word(w, key, value, &here);
    }
}

bool settings_flatten(struct arena *a, const struct yaml_node *root, bool restart_only,
                      struct setting **ret)
{
    struct setting *first = NULL;
    struct walk w = {.arena = a, .tail = &first, .restart_only = restart_only};
    struct place at = {.path = STR("")};
    walk_map(&w, &schema_root, root, &at);
    if (w.no_memory)
        return false;
    *ret = first;
    return true;
}

bool settings_copy(struct arena *a, const struct setting *list, const struct setting **ret)
{
    struct setting *first = NULL, **end = &first;
    for (const struct setting *it = list; it; it = it->next) {
        struct setting *s = arena_alloc(a, sizeof(*s));
        if (!s)
            return false;
        *s = *it;
        s->path = arena_str(a, it->path);
        s->value = arena_str(a, it->value);
        s->item = NULL;
        s->next = NULL;
        if (!s->path.p || !s->value.p)
            return false;
        for (struct setting *i = first; i && it->item; i = i->next) {
            if (i->index == it->item->index)
                s->item = i;
        }
        *end = s;
        end = &s->next;
    }
    *ret = first;
    return true;
}
