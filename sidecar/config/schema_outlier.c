/* schema_outlier.c - the keys of outlier detection and slow start. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/config.h"

#define OUTLIER(member) MEMBER(struct conf_upstream, outlier_rules.member)

static const struct schema_key success_rate_keys[] = {
    {"minimumEndpoints", "with enough requests, else nothing is compared", SCHEMA_INT,
     OUTLIER(success_rate.min_endpoints), .preset = "5", .min = 2, .max = 100000},
    {"minimumRequests", "to an endpoint, for it to be compared", SCHEMA_INT,
     OUTLIER(success_rate.min_requests), .preset = "100", .min = 1, .max = 10000000},
    {"stdevFactor",
     "in thousandths: ejected below the mean less so many standard deviations; 0: not looked at",
     SCHEMA_INT, OUTLIER(success_rate.stdev_factor), .preset = "1900", .max = 100000},
};
static const struct schema_map success_rate_map = {MAP(success_rate_keys)};

static const struct schema_key latency_keys[] = {
    {"minimumEndpoints", "with enough answers, else nothing is compared", SCHEMA_INT,
     OUTLIER(latency.min_endpoints), .preset = "3", .min = 2, .max = 100000},
    {"minimumRequests", "answered by an endpoint, for it to be compared", SCHEMA_INT,
     OUTLIER(latency.min_requests), .preset = "10", .min = 1, .max = 10000000},
    {"factorPercent",
     "ejected when it takes so much of the others' median, on average; 0: not looked at",
     SCHEMA_INT, OUTLIER(latency.factor_percent), .preset = "300", .max = 100000},
    {"floor", "what takes no longer is never slow", SCHEMA_DURATION, OUTLIER(latency.floor),
     .preset = "100ms", .max = WEEK},
};
static const struct schema_map latency_map = {MAP(latency_keys)};

static const struct schema_key outlier_keys[] = {
    {"consecutive5xx", "failures of any kind in a row that eject an endpoint; 0: not looked at",
     SCHEMA_INT, OUTLIER(consecutive[OUTLIER_5XX]), .preset = "5", .max = 1000000},
    {"consecutiveGatewayErrors", "502, 503, 504 and local errors in a row; 0: not looked at",
     SCHEMA_INT, OUTLIER(consecutive[OUTLIER_GATEWAY]), .preset = "5", .max = 1000000},
    {"consecutiveLocalErrors",
     "connects that failed, resets and timeouts in a row; 0: not looked at", SCHEMA_INT,
     OUTLIER(consecutive[OUTLIER_LOCAL]), .preset = "5", .max = 1000000},
    {"interval", "endpoints are compared with each other so often", SCHEMA_DURATION,
     OUTLIER(interval), .preset = "10s", .min = SECOND, .max = WEEK},
    {"baseEjectionTime", "of the first ejection; of the next ones so many times as much",
     SCHEMA_DURATION, OUTLIER(base_ejection), .preset = "30s", .min = MSEC, .max = WEEK},
    {"maxEjectionTime", "of any", SCHEMA_DURATION, OUTLIER(max_ejection), .preset = "5m",
     .min = MSEC, .max = WEEK},
    {"maxEjectionPercent", "of the endpoints, the next one counted in", SCHEMA_INT,
     OUTLIER(max_percent), .preset = "50", .min = 1, .max = 100},
    {"successRate", "an endpoint that fails more often than the others", SCHEMA_MAP,
     .map = &success_rate_map},
    {"latency", "an endpoint that answers more slowly than the others", SCHEMA_MAP,
     .map = &latency_map},
    {"dryRun", "counts and tells, and ejects nothing", SCHEMA_BOOL, OUTLIER(dry_run),
     .preset = "false"},
};
const struct schema_map schema_outlier = {MAP(outlier_keys)};

#define SLOW_START(member) MEMBER(struct conf_upstream, slow_start_rules.member)
static const struct schema_key slow_start_keys[] = {
    {"window", "until it has its whole share", SCHEMA_DURATION, SLOW_START(window), .preset = "30s",
     .min = MSEC, .max = WEEK},
    {"initialPercent", "of its share, at first", SCHEMA_INT, SLOW_START(initial_percent),
     .preset = "10", .min = 1, .max = 100},
};
const struct schema_map schema_slow_start = {MAP(slow_start_keys)};
