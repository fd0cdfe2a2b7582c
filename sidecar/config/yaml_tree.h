/* yaml_tree.h - a YAML text as a tree that remembers the place of every key and value.
 *
 * The part of YAML that a configuration needs: one document of maps, lists and scalars. Anchors,
 * aliases, merge keys, tags and repeated keys are refused at their place, because each of them
 * lets a reader see something else than what takes effect. */
#ifndef SLUICE_CONFIG_YAML_TREE_H
#define SLUICE_CONFIG_YAML_TREE_H

#include "base/arena.h"
#include "base/check.h"
#include "config/build.h"

enum {
    YAML_TREE_DEPTH = 32,
    YAML_TREE_NODES = 250000,
    YAML_TREE_BYTES = 16 * 1024 * 1024,
    YAML_PATH_MAX = 1024,
};

enum yaml_kind {
    NODE_BROKEN, /* its mistake has been reported: nothing more is said about it */
    NODE_SCALAR,
    NODE_MAP,
    NODE_LIST,
};

struct yaml_node {
    enum yaml_kind kind;
    bool quoted;           /* a scalar that is not plain: '5', "5", | or > */
    uint32_t line, column; /* as text_place.h counts them */
    struct str text;       /* of a scalar, with variables put in */
    struct str raw;        /* .p NULL: text is what the file says; else this is */
    struct str key;        /* .p NULL unless the parent is a map */
    uint32_t key_line, key_column;
    uint32_t index; /* among its parent's children */
    uint32_t n;     /* children */
    struct yaml_node *parent, *first, *last, *next;
    struct yaml_node *hash_next; /* while it is read */
};

/* The root, in the arena; NULL when there is none to go on with. Every mistake is in `problems`;
 * a root may come with mistakes, so that more can be found in one run. */
struct yaml_node *yaml_tree_parse(struct arena *a, const char *text, size_t n,
                                  struct config_problems *problems);

/* The value of a key; NULL where there is none, or `map` is NULL or no map. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* The child of a list; NULL as above. */
const struct yaml_node *yaml_at(const struct yaml_node *list, uint32_t index);
/* Plain and empty, ~ or null; never by a variable. */
bool yaml_is_null(const struct yaml_node *node);
/* What the file says of a scalar, for people to read: text may be a secret from the environment. */
struct str yaml_shown(const struct yaml_node *node);
/* It is no text in quotes, so that it may be a number or a truth. A variable may have to stand in
 * quotes. */
bool yaml_is_plain(const struct yaml_node *node);
/* listeners[0].routes[1].timeout; out has YAML_PATH_MAX bytes. Returns out. */
char *yaml_path(const struct yaml_node *node, char *out);

/* A problem at a value, or at its key (at the value where it has none). */
void problem_at(struct config_problems *p, const struct yaml_node *node, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void problem_at_key(struct config_problems *p, const struct yaml_node *node, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void warning_at(struct config_problems *p, const struct yaml_node *node, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
