/* flatten.h - a configuration as a list of settings: each a path and a value in one form, with the
 * defaults filled in, so that two of them can be compared.
 *
 * A value with variables in it is what the file says, ${..} and all: two of them are the same
 * where the files say the same, and no secret is shown.
 *
 * Items of lists are known by their name: listeners[http].routes[api].timeout; those without one by
 * their place: routes[#2]. */
#ifndef SLUICE_CONFIG_FLATTEN_H
#define SLUICE_CONFIG_FLATTEN_H

#include "config/schema.h"
#include "config/yaml_tree.h"

enum setting_kind {
    SETTING_VALUE,
    SETTING_ITEM,  /* an item of a list, or a map whose presence means something: it is there */
    SETTING_ORDER, /* of a list whose order decides: the items' names */
};

struct setting {
    enum setting_kind kind;
    bool restart; /* a change of it waits for a restart */
    bool given;   /* it is in the file; else it is the default */
    struct str path;
    struct str value;           /* 1500ms and 1.5s are both 1.5s */
    const struct setting *item; /* the SETTING_ITEM that it is in; NULL: the configuration */
    uint32_t index;             /* among the settings */
    struct setting *next;       /* in the order of the schema and of lists */
};

/* The settings of a tree without mistakes, in the arena; only those that wait for a restart (with
 * the items that they are in) or all. False: memory is short. */
bool settings_flatten(struct arena *a, const struct yaml_node *root, bool restart_only,
                      struct setting **ret);

/* A copy with nothing outside of the arena. False: memory is short. */
bool settings_copy(struct arena *a, const struct setting *list, const struct setting **ret);

/* The value of a key in one form; out has SETTING_TEXT_MAX bytes and is used where `text` cannot
 * be returned. */
enum { SETTING_TEXT_MAX = 160 };
struct str setting_value(const struct schema_key *key, struct str text, char *out);

#endif
