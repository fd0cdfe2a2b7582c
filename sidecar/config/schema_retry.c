/* schema_retry.c - the keys of retries and of their budget. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/draft.h"

static const struct schema_name conditions[] = {
#define X(id, word) WORD(word, RETRY_ON_##id),
    RETRY_CONDITION_TABLE(X)
#undef X
        {0}};
static const struct schema_key condition = {
    .type = SCHEMA_ENUM, .width = sizeof(uint32_t), .names = conditions};

static const struct schema_name methods[] = {
    WORD("GET", METHOD_GET),     WORD("HEAD", METHOD_HEAD),       WORD("POST", METHOD_POST),
    WORD("PUT", METHOD_PUT),     WORD("DELETE", METHOD_DELETE),   WORD("PATCH", METHOD_PATCH),
    WORD("TRACE", METHOD_TRACE), WORD("OPTIONS", METHOD_OPTIONS), {0}};
static const struct schema_key method = {
    .type = SCHEMA_ENUM, .width = sizeof(uint32_t), .names = methods};

#define RETRY(member) MEMBER(struct draft_route, retry.rules.member)
static const struct schema_key backoff_keys[] = {
    {"base", "longest wait before the first retry; doubled before each other one", SCHEMA_DURATION,
     RETRY(base), .preset = "25ms", .max = 60 * SECOND},
    {"max", "no wait is longer", SCHEMA_DURATION, RETRY(max), .preset = "250ms",
     .max = 60 * SECOND},
};
static const struct schema_map backoff_map = {MAP(backoff_keys)};

static const struct schema_key retry_keys[] = {
    {"attempts", "tries besides the first", SCHEMA_INT, RETRY(attempts), .preset = "1", .min = 1,
     .max = RETRY_ATTEMPTS_MAX},
    {"on",
     "what is retried; [connect-failure, refused-stream, reset-before-response, gateway-error, "
     "unavailable]",
     SCHEMA_LIST, ITEMS(struct draft_route, retry.on, retry.n_on), .of = &condition, .min = 1},
    {"methods",
     "that may be repeated though the server may have acted; those that are idempotent: "
     "[GET, HEAD, PUT, DELETE, OPTIONS, TRACE]",
     SCHEMA_LIST, ITEMS(struct draft_route, retry.methods, retry.n_methods), .of = &method,
     .min = 1},
    {"perTryTimeout", "of each try until the head of its answer; 0: none", SCHEMA_DURATION,
     RETRY(per_try_timeout), .preset = "0", .max = WEEK},
    {"backoff", "the wait before a retry: between 0 and its bound, at random", SCHEMA_MAP,
     .map = &backoff_map},
    {"maxBody", "of a request, kept to be sent again; a longer one is not retried", SCHEMA_SIZE,
     RETRY(max_body), .preset = "64KiB", .max = MIB},
    {"dryRun", "retries are counted, and not made", SCHEMA_BOOL, RETRY(dry_run), .preset = "false"},
};
const struct schema_map schema_retry = {MAP(retry_keys)};

#define BUDGET(member) MEMBER(struct conf_upstream, retry_budget.member)
static const struct schema_key budget_keys[] = {
    {"percent", "of the requests in the window", SCHEMA_INT, BUDGET(percent), .preset = "20",
     .max = 100},
    {"minPerSecond", "so many in each second of the window however few requests there are",
     SCHEMA_INT, BUDGET(min_per_second), .preset = "10", .max = 1000000},
    {"window", "that requests and retries are counted in, whole seconds", SCHEMA_DURATION,
     BUDGET(window), .preset = "10s", .min = SECOND, .max = RETRY_BUDGET_WINDOW_MAX * SECOND},
};
const struct schema_map schema_retry_budget = {MAP(budget_keys)};
