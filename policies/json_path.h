/* json_path.h - which value of a JSON document: `$.session`, `$.data.items[0].id`, `$['odd name']`.
 *
 * The part of RFC 9535 (JSONPath) that names one value: child names and indices from the root. No
 * wildcards, filters, slices, negative indices or descendants: these name many. */
#ifndef SLUICE_POLICIES_JSON_PATH_H
#define SLUICE_POLICIES_JSON_PATH_H

#include "base/arena.h"

#include <stdint.h>

enum {
    JSON_PATH_STEPS_MAX = 16,
    JSON_NAME_MAX = 256, /* bytes of a member's name */
};

struct json_step {
    struct str name; /* of a member, in UTF-8; .p NULL: an index */
    uint32_t index;  /* of an element */
};

struct json_path {
    uint32_t n; /* 0: the document itself */
    struct json_step *steps;
};

/* Everything of *ret is in the arena. NULL; or what is wrong, a literal, with *ret_at the offset of
 * the byte there ("out of memory" where memory is short). */
const char *json_path_compile(struct arena *a, struct str text, struct json_path *ret,
                              size_t *ret_at);

#endif
