/* schema_learn.c - the keys of learned sessions. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/draft.h"

#define HEADER(member) MEMBER(struct draft_learn_header, member)
static const struct schema_key header_keys[] = {
    {"name", "of the header", SCHEMA_STRING, FORMAT_TOKEN, KEY_REQUIRED | KEY_IDENTITY,
     HEADER(name)},
    {"value", "its value, with {name} where a value stands", SCHEMA_STRING, FORMAT_LINE,
     KEY_REQUIRED, HEADER(value)},
};
static const struct schema_map header_map = {
    MAP(header_keys), .size = sizeof(struct draft_learn_header), .draft = true};
static const struct schema_key header_item = {.type = SCHEMA_MAP, .map = &header_map};

enum { HEADERS_MAX = 32 };

#define TAKE(member) MEMBER(struct draft_learn_take, member)
static const struct schema_key take_keys[] = {
    {"name", "what {name} stands for", SCHEMA_STRING, FORMAT_LINE, KEY_REQUIRED | KEY_IDENTITY,
     TAKE(name)},
    {"json", "a path in the response's JSON body: $.data.items[0].id", SCHEMA_STRING, FORMAT_LINE,
     TAKE(json)},
    {"header", "a header of the response", SCHEMA_STRING, FORMAT_TOKEN, TAKE(header)},
    {"cookie", "a cookie that the response sets", SCHEMA_STRING, FORMAT_TOKEN, TAKE(cookie)},
    {"requestJson", "a path in the request's JSON body", SCHEMA_STRING, FORMAT_LINE,
     TAKE(request_json)},
};
static const struct schema_choice take_choices[] = {
    {CHOICE_EXACTLY_ONE, {"json", "header", "cookie", "requestJson"}},
};
static const struct schema_map take_map = {MAP(take_keys), CHOICES(take_choices),
                                           .size = sizeof(struct draft_learn_take), .draft = true};
static const struct schema_key take_item = {.type = SCHEMA_MAP, .map = &take_map};

static const struct schema_key release_take_keys[] = {
    {"name", "of a value of the rule", SCHEMA_STRING, FORMAT_LINE, KEY_REQUIRED | KEY_IDENTITY,
     TAKE(name)},
    {"requestJson", "a path in the request's JSON body", SCHEMA_STRING, FORMAT_LINE, KEY_REQUIRED,
     TAKE(request_json)},
};
static const struct schema_map release_take_map = {
    MAP(release_take_keys), .size = sizeof(struct draft_learn_take), .draft = true};
static const struct schema_key release_take_item = {.type = SCHEMA_MAP, .map = &release_take_map};

#define LEARN(member) MEMBER(struct draft_learn, member)
static const struct schema_key acquire_keys[] = {
    {"method", "of the request", SCHEMA_STRING, FORMAT_METHOD, LEARN(acquire.method),
     .preset = "POST"},
    {"path", "its path, as the upstream sees it, and query: /users/{user}/login?node={node}",
     SCHEMA_STRING, FORMAT_LINE, KEY_REQUIRED, LEARN(acquire.path)},
    {"headers", "that it has, with {name} where a value stands", SCHEMA_LIST,
     ITEMS(struct draft_learn, acquire.headers, acquire.n_headers), .of = &header_item, .min = 1,
     .max = HEADERS_MAX},
    {"status", "of an answer that gives it: 2xx, or one such as 201", SCHEMA_STRING, FORMAT_LINE,
     LEARN(status), .preset = "2xx"},
};
static const struct schema_map acquire_map = {MAP(acquire_keys)};

static const struct schema_key hold_keys[] = {
    {"method", "of the request that gives it back", SCHEMA_STRING, FORMAT_METHOD,
     LEARN(rule.hold.method), .preset = "POST"},
    {"path", "its path and query, with {name} where a value stands", SCHEMA_STRING, FORMAT_LINE,
     KEY_REQUIRED, LEARN(target)},
    {"headers", "that it has, besides Host and those of its body", SCHEMA_LIST,
     ITEMS(struct draft_learn, headers, n_headers), .of = &header_item, .min = 1,
     .max = HEADERS_MAX},
    {"body", "its body, with {name} where a value stands", SCHEMA_STRING, FORMAT_TEXT, LEARN(body),
     .max = 16 * KIB},
    {"contentType", "of its body; by it values are escaped, so JSON, a form or XML", SCHEMA_STRING,
     FORMAT_MEDIA_TYPE, LEARN(rule.hold.content_type), .preset = "application/json"},
    {"timeout", "of one try", SCHEMA_DURATION, LEARN(rule.hold.timeout), .preset = "5s",
     .min = 10 * MSEC, .max = 600 * SECOND},
    {"retries", "besides the first try, further and further apart", SCHEMA_INT,
     LEARN(rule.hold.retries), .preset = "3", .max = 20},
};
static const struct schema_map hold_map = {MAP(hold_keys)};

static const struct schema_key release_keys[] = {
    {"method", "of the request; any, where it is not given", SCHEMA_STRING, FORMAT_METHOD,
     LEARN(release.method)},
    {"path",
     "its path and query, with {name} where a value stands; any path where it begins with ?",
     SCHEMA_STRING, FORMAT_LINE, KEY_REQUIRED, LEARN(release.path)},
    {"headers", "that it has, with {name} where a value stands", SCHEMA_LIST,
     ITEMS(struct draft_learn, release.headers, release.n_headers), .of = &header_item, .min = 1,
     .max = HEADERS_MAX},
    {"take", "values of its body", SCHEMA_LIST,
     ITEMS(struct draft_learn, release.takes, release.n_takes), .of = &release_take_item, .min = 1,
     .max = LEARN_VALUES_MAX},
};
static const struct schema_map release_map = {MAP(release_keys)};

static const struct schema_name duplicates[] = {
    WORD("replace", LEARN_REPLACE), WORD("add", LEARN_ADD), WORD("count", LEARN_COUNT), {0}};

static const struct schema_key learn_keys[] = {
    {"name", "of what is acquired, for lists and metrics", SCHEMA_STRING, FORMAT_NAME,
     KEY_REQUIRED | KEY_IDENTITY, LEARN(rule.name)},
    {"acquire", "the request that acquires it", SCHEMA_MAP, .flags = KEY_REQUIRED,
     .map = &acquire_map},
    {"take", "values that name it", SCHEMA_LIST, ITEMS(struct draft_learn, takes, n_takes),
     .of = &take_item, .min = 1, .max = LEARN_VALUES_MAX},
    {"hold", "the request that gives it back, sent when the application has gone without doing so",
     SCHEMA_MAP, .flags = KEY_REQUIRED, .map = &hold_map},
    {"release", "the application's own request that gives it back; as hold", SCHEMA_MAP,
     .flag_at = AT(struct draft_learn, has_release), .map = &release_map},
    {"key", "what it is known by: {session}; all values that release has", SCHEMA_STRING,
     FORMAT_LINE, LEARN(key)},
    {"onDuplicate",
     "the same key is acquired again: the newer one is held in its place, both are, or they are "
     "counted and given back once, with the last",
     SCHEMA_ENUM, LEARN(rule.duplicate), .preset = "replace", .names = duplicates},
    {"ttl", "given back after it; 0: never for that", SCHEMA_DURATION, LEARN(rule.ttl),
     .preset = "0", .max = WEEK},
    {"disconnectGrace",
     "given back so long after the connection ended that it was used on; 0: never for that",
     SCHEMA_DURATION, LEARN(rule.disconnect_grace), .preset = "0", .max = WEEK},
    {"maxBody", "of a body that is looked at, and held back until it is whole", SCHEMA_SIZE,
     LEARN(rule.max_body), .preset = "64KiB", .min = 1, .max = LEARN_BODY_MAX},
    {"journalTimeout",
     "the response waits so long until what was acquired is on disk; then as leases.onFailure says",
     SCHEMA_DURATION, LEARN(rule.journal_timeout), .preset = "5s", .min = MSEC,
     .max = 600 * SECOND},
};
static const struct schema_map learn_map = {MAP(learn_keys), .size = sizeof(struct draft_learn),
                                            .draft = true};
const struct schema_key schema_learn_item = {.type = SCHEMA_MAP, .map = &learn_map};
