/* schema.h - every key of the configuration, in one table.
 *
 * Checking, defaults, "did you mean" and where a value goes all come from here (fill.h walks it);
 * so do the JSON Schema (json_schema.h), the reference page and sluice.yaml(5) (reference.h), and
 * what a reload may change live (diff.h). What the table cannot say (what depends on two keys) is
 * in build*.c. */
#ifndef SLUICE_CONFIG_SCHEMA_H
#define SLUICE_CONFIG_SCHEMA_H

#include "config/format.h"

#include <stddef.h>
#include <stdint.h>

enum schema_type {
    SCHEMA_BOOL,
    SCHEMA_INT,
    SCHEMA_DURATION, /* into usec_t */
    SCHEMA_SIZE,
    SCHEMA_MODE,     /* of a file, octal */
    SCHEMA_STRING,   /* into struct str */
    SCHEMA_ENUM,     /* one of `names`, as its value */
    SCHEMA_ADDRESS,  /* into struct address */
    SCHEMA_CIDR,     /* into struct cidr */
    SCHEMA_ENDPOINT, /* into struct conf_endpoint */
    SCHEMA_MAP,
    SCHEMA_LIST, /* a pointer to an array */
};

enum {
    KEY_REQUIRED = 1 << 0,
    KEY_OFF = 1 << 1,     /* the word "off" is a value: empty, or flag unset */
    KEY_NO_UNIX = 1 << 2, /* an address of IP only */
    /* A change of it, or of what is in it, waits for a restart: a reload keeps the old value. All
     * other keys are live. Of a map with flag_at its presence too. */
    KEY_RESTART = 1 << 3,
    KEY_IDENTITY = 1 << 4,       /* what an item of a list is known by, unique in the list */
    KEY_ORDERED = 1 << 5,        /* a list whose order decides: the first that matches */
    KEY_NEEDED_BY_MANY = 1 << 6, /* required in an item of a list that has several */
    KEY_ONLY_TRUE = 1 << 7,      /* SCHEMA_BOOL: false is no value */
    KEY_LIVE = 1 << 8,           /* in a map with KEY_RESTART: this one waits for none */
};

struct schema_name {
    const char *name; /* NULL ends a list */
    uint32_t value;
    bool hidden; /* taken, and not offered */
};

/* Where a value goes is an offset from the struct that the map fills; the optional places have 1
 * added, so that 0 says "none" (AT()). */
struct schema_key {
    const char *name;
    const char *help;
    enum schema_type type;
    enum format format; /* SCHEMA_STRING */
    uint32_t flags;
    uint32_t at;
    uint32_t width;     /* bytes there */
    uint32_t flag_at;   /* bool: the key is given; SCHEMA_ADDRESS: it is not "off" */
    uint32_t count_at;  /* SCHEMA_LIST: uint32_t, how many */
    uint32_t text_at;   /* SCHEMA_ADDRESS: struct str, as written */
    uint64_t min, max;  /* in the type's base unit; items of a list; max 0: no bound */
    const char *preset; /* the default, as it would be written; NULL: none */
    const struct schema_name *names;
    const struct schema_map *map; /* SCHEMA_MAP; SCHEMA_ENDPOINT in a list: its longer form */
    const struct schema_key *of;  /* SCHEMA_LIST: each item, which has no name */
    uint32_t size;                /* of an item of a list; 0: width */
};

#define MEMBER(type, member)                                                                       \
    .at = (uint32_t)offsetof(type, member), .width = (uint32_t)sizeof(((type *)0)->member)
#define AT(type, member) ((uint32_t)offsetof(type, member) + 1)
/* A list: where the array and the count go. */
#define ITEMS(type, array, count) .at = (uint32_t)offsetof(type, array), .count_at = AT(type, count)

/* Keys that exclude each other, or of which there must be one. */
enum schema_how_many { CHOICE_AT_MOST_ONE, CHOICE_EXACTLY_ONE, CHOICE_AT_LEAST_ONE };

enum { SCHEMA_CHOICE_KEYS = 5, SCHEMA_KEYS_MAX = 32 };

struct schema_choice {
    enum schema_how_many how_many;
    const char *keys[SCHEMA_CHOICE_KEYS]; /* NULL where there are fewer */
};

enum { SCHEMA_CASE_KEYS = 5 };

/* What follows where a key is given, or has a value. `key` and `needs` may be in a map of this one:
 * "match.pathPrefix". */
struct schema_case {
    const char *key;
    const char *value;                   /* as written, or the default; NULL: it is given */
    const char *needs;                   /* this key is required then; NULL: none */
    const char *never[SCHEMA_CASE_KEYS]; /* these have no meaning then */
};

struct schema_map {
    const struct schema_key *keys;
    uint32_t n_keys;
    const struct schema_choice *choices;
    uint32_t n_choices;
    const struct schema_case *cases;
    uint32_t n_cases;
    uint32_t size; /* of the struct, where it is an item of a list */
    bool draft;    /* only needed until the configuration is built */
};

/* Fills struct draft (draft.h). */
extern const struct schema_map schema_root;

/* The key of that name; NULL. */
const struct schema_key *schema_find(const struct schema_map *map, struct str name);
/* The known word that somebody may have meant, among n that next() gives; NULL when none is near:
 * at most two typos, or the beginning of it. */
const char *schema_nearest(struct str wrong, const char *(*next)(const void *ctx, uint32_t i),
                           const void *ctx, uint32_t n);

/* A change of the key waits for a restart; inside: that of the map that it is in does. */
static inline bool schema_restarts(const struct schema_key *key, bool inside)
{
    return (inside || (key->flags & KEY_RESTART)) && !(key->flags & KEY_LIVE);
}
/* The key, or one below it, waits for a restart. */
bool schema_waits(const struct schema_key *key);
/* What an item of a list of maps is known by; NULL: by its place. */
const struct schema_key *schema_identity(const struct schema_map *map);

#endif
