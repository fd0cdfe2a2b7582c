/* schema_actions.c - the keys of what a route does to its requests and responses on their way. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/draft.h"

/* ---- header rules ---- */

#define WRITE(member) MEMBER(struct draft_header_write, member)
#define WRITE_KEYS(flags)                                                                          \
    {"name", "of the field", SCHEMA_STRING, FORMAT_TOKEN, KEY_REQUIRED | (flags), WRITE(name)},    \
    {                                                                                              \
        "value", "its value, with variables such as {client.address} or {header.X-Tenant} in it",  \
            SCHEMA_STRING, FORMAT_LINE, KEY_REQUIRED, WRITE(value)                                 \
    }
static const struct schema_key write_keys[] = {WRITE_KEYS(0)};
static const struct schema_key set_keys[] = {WRITE_KEYS(KEY_IDENTITY)};
static const struct schema_map write_map = {
    MAP(write_keys), .size = sizeof(struct draft_header_write), .draft = true};
static const struct schema_map set_map = {MAP(set_keys), .size = sizeof(struct draft_header_write),
                                          .draft = true};
static const struct schema_key write_item = {.type = SCHEMA_MAP, .map = &write_map};
static const struct schema_key set_item = {.type = SCHEMA_MAP, .map = &set_map};
static const struct schema_key remove_item = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_TOKEN};

#define RULES(member) MEMBER(struct draft_header_rules, member)
static const struct schema_key header_rules_keys[] = {
    {"remove", "names of fields that go, first of all; X-Debug-* with all that begin so",
     SCHEMA_LIST, ITEMS(struct draft_header_rules, remove, n_remove), .of = &remove_item, .min = 1,
     .max = HEADER_REMOVES_MAX},
    {"set", "in place of the fields of that name", SCHEMA_LIST,
     ITEMS(struct draft_header_rules, set, n_set), .of = &set_item, .min = 1,
     .max = HEADER_WRITES_MAX},
    {"setIfAbsent", "where there is no field of that name", SCHEMA_LIST,
     ITEMS(struct draft_header_rules, set_if_absent, n_set_if_absent), .of = &set_item, .min = 1,
     .max = HEADER_WRITES_MAX},
    {"add", "besides the fields of that name", SCHEMA_LIST,
     ITEMS(struct draft_header_rules, add, n_add), .of = &write_item, .min = 1,
     .max = HEADER_WRITES_MAX},
    {"dryRun", "counts what would be changed, and changes nothing", SCHEMA_BOOL, RULES(dry_run),
     .preset = "false"},
};
const struct schema_map schema_header_rules = {MAP(header_rules_keys)};
