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

/* ---- faults ---- */

#define FAULT(member) MEMBER(struct draft_fault, member)
static const struct schema_key delay_keys[] = {
    {"duration", "how long they wait", SCHEMA_DURATION, .flags = KEY_REQUIRED, FAULT(rules.delay),
     .min = MSEC, .max = 600 * SECOND},
    {"percent", "of the requests: 0.5 is one in 200", SCHEMA_STRING, FORMAT_PERCENT, KEY_REQUIRED,
     FAULT(delay_percent)},
};
static const struct schema_map delay_map = {MAP(delay_keys)};
static const struct schema_key abort_keys[] = {
    {"status", "of the answer", SCHEMA_INT, FAULT(rules.abort_status), .preset = "503", .min = 400,
     .max = 599},
    {"grpcStatus", "of gRPC calls; what clients make of status", SCHEMA_INT, FAULT(grpc_status),
     .flag_at = AT(struct draft_fault, has_grpc_status), .min = 1, .max = 16},
    {"percent", "of the requests: 0.5 is one in 200", SCHEMA_STRING, FORMAT_PERCENT, KEY_REQUIRED,
     FAULT(abort_percent)},
};
static const struct schema_map abort_map = {MAP(abort_keys)};
static const struct schema_key fault_keys[] = {
    {"delay", "requests that wait before they go on", SCHEMA_MAP,
     .flag_at = AT(struct draft_fault, rules.delays), .map = &delay_map},
    {"abort", "requests that are answered with an error, behind their delay", SCHEMA_MAP,
     .flag_at = AT(struct draft_fault, rules.aborts), .map = &abort_map},
    {"headers", "conditions on headers of the requests that are meant; all of them hold",
     SCHEMA_LIST, ITEMS(struct draft_fault, headers, n_headers), .of = &schema_header_condition,
     .min = 1},
    {"maxActive", "that wait at once, over all workers; others are not delayed", SCHEMA_INT,
     FAULT(rules.max_active), .preset = "100", .min = 1, .max = 1000000},
    {"dryRun", "counts what would happen, and lets everything pass", SCHEMA_BOOL,
     FAULT(rules.dry_run), .preset = "false"},
};
static const struct schema_choice fault_choices[] = {{CHOICE_AT_LEAST_ONE, {"delay", "abort"}}};
const struct schema_map schema_fault = {MAP(fault_keys), CHOICES(fault_choices)};

/* ---- redaction in the access log ---- */

static const struct schema_key parameter_item = {
    .type = SCHEMA_STRING, .width = sizeof(struct str), .format = FORMAT_LINE};
static const struct schema_name redact_fields[] = {
#define X(id, name) WORD(name, REDACT_##id),
    REDACT_FIELD_TABLE(X)
#undef X
        {0}};
static const struct schema_key redact_field_item = {
    .type = SCHEMA_ENUM, .width = sizeof(uint32_t), .names = redact_fields};
static const struct schema_key redact_keys[] = {
    {"parameters",
     "names, in any case, whose values in queries and in paths (;name=value) are redacted; the "
     "usual ones, such as access_token, code and password; []: none",
     SCHEMA_LIST, ITEMS(struct conf_access_log, parameters, n_parameters),
     .flag_at = AT(struct conf_access_log, parameters_given), .of = &parameter_item,
     .max = REDACT_NAMES_MAX},
    {"fields", "of the log, which are redacted as a whole", SCHEMA_LIST,
     ITEMS(struct conf_access_log, redacted, n_redacted), .of = &redact_field_item, .min = 1,
     .max = REDACT_FIELDS},
    {"saltFile", "file with the salt, 16 bytes or more; a random one at each start", SCHEMA_STRING,
     FORMAT_FILE, MEMBER(struct conf_access_log, salt_file)},
};
const struct schema_map schema_redact = {MAP(redact_keys)};
