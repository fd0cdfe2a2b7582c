/* schema_leak.c - the keys of app.leakWatch. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/config.h"

#define LEAK(member) MEMBER(struct conf_app, leak.member)
static const struct schema_key leak_keys[] = {
    {"enabled", "the application's process is sampled, where it is known which it is", SCHEMA_BOOL,
     LEAK(enabled), .preset = "true"},
    {"interval", "between two samples", SCHEMA_DURATION, LEAK(interval), .preset = "3s",
     .min = 100 * MSEC, .max = 3600 * SECOND},
    {"window", "whose mean a sample is compared with; 4 to 120 intervals", SCHEMA_DURATION,
     LEAK(window), .preset = "60s", .min = 400 * MSEC, .max = WEEK},
    {"threshold", "percent of the score (now - mean) / (mean + 1) above which it is reported",
     SCHEMA_INT, LEAK(threshold), .preset = "250", .min = 10, .max = 100000},
};
const struct schema_map schema_leak_watch = {MAP(leak_keys)};
