/* schema_concurrency.c - the keys of the adaptive concurrency limit. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/config.h"

#define CONCURRENCY(member) MEMBER(struct conf_upstream, concurrency_rules.member)

static const struct schema_key keys[] = {
    {"minLimit", "it never goes below", SCHEMA_INT, CONCURRENCY(min_limit), .preset = "1", .min = 1,
     .max = CONCURRENCY_LIMIT_MAX},
    {"maxLimit", "nor above", SCHEMA_INT, CONCURRENCY(max_limit), .preset = "1000", .min = 1,
     .max = CONCURRENCY_LIMIT_MAX},
    {"initialLimit", "until answers have been seen", SCHEMA_INT, CONCURRENCY(initial_limit),
     .preset = "20", .min = 1, .max = CONCURRENCY_LIMIT_MAX},
    {"tolerancePercent", "of the time without a queue: an answer that takes so long is no queue",
     SCHEMA_INT, CONCURRENCY(tolerance), .preset = "125", .min = 101, .max = 1000},
    {"interval", "the limit is calculated so often, while there are answers", SCHEMA_DURATION,
     CONCURRENCY(interval), .preset = "100ms", .min = 10 * MSEC, .max = 60 * SECOND},
    {"minRttWindow", "the time without a queue is what it was in this window", SCHEMA_DURATION,
     CONCURRENCY(min_rtt_window), .preset = "60s", .min = SECOND, .max = WEEK},
    {"dryRun", "calculates and counts, and refuses nobody", SCHEMA_BOOL, CONCURRENCY(dry_run),
     .preset = "false"},
};
const struct schema_map schema_concurrency = {MAP(keys)};
