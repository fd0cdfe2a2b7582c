/* fill.h - a tree into structs, as the schema says. Knows no key by name. */
#ifndef SLUICE_CONFIG_FILL_H
#define SLUICE_CONFIG_FILL_H

#include "config/schema.h"
#include "config/yaml_tree.h"

struct fill {
    struct arena *keep;    /* strings, and arrays of what stays */
    struct arena *scratch; /* arrays of drafts */
    struct config_problems *problems;
    bool no_memory; /* reported */
};

/* Checks the node against the map and fills the (cleared) struct at base. Without a node: the
 * defaults. A wrong value is reported, becomes NODE_BROKEN, and leaves its default or zero. */
void fill_map(struct fill *f, const struct schema_map *map, struct yaml_node *node, void *base);

/* fill_word.c: one scalar into the struct at base. node NULL: text is the default. False: it is
 * wrong, which is reported. */
bool fill_word(struct fill *f, const struct schema_key *key, const struct yaml_node *node,
               struct str text, void *base);
void *fill_place(void *base, uint32_t at);
void fill_flag(void *base, const struct schema_key *key, bool value);
void fill_no_memory(struct fill *f);

#endif
