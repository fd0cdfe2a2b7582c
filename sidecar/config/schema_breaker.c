/* schema_breaker.c - the keys of circuitBreaker: an upstream's limits, and when it is given a rest.
 */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/config.h"

#define UPSTREAM(member) MEMBER(struct conf_upstream, member)
/* Any of these turns the breaker on. */
#define BREAKER(member)                                                                            \
    MEMBER(struct conf_upstream, breaker.member),                                                  \
        .flag_at = AT(struct conf_upstream, breaker.enabled)

static const struct schema_key keys[] = {
    {"maxConnections", "open to the upstream, over all workers", SCHEMA_INT,
     UPSTREAM(limits.connections), .preset = "1024", .min = 1, .max = 10000000},
    {"maxRequests", "in flight at once", SCHEMA_INT, UPSTREAM(limits.requests), .preset = "1024",
     .min = 1, .max = 10000000},
    {"maxConnectionsPerEndpoint",
     "open to any one endpoint, over all workers; 0: no bound but maxConnections", SCHEMA_INT,
     UPSTREAM(limits.connections_per_endpoint), .preset = "0", .max = 10000000},
    {"maxRequestsPerEndpoint", "in flight at once to any one endpoint; 0: no bound but maxRequests",
     SCHEMA_INT, UPSTREAM(limits.requests_per_endpoint), .preset = "0", .max = 10000000},
    {"maxPendingRequests", "waiting for a connection; 503 above", SCHEMA_INT,
     UPSTREAM(limits.pending), .preset = "1024", .max = 10000000},
    {"maxRetries", "requests that are being retried, at once", SCHEMA_INT, UPSTREAM(limits.retries),
     .preset = "1024", .max = 10000000},
    {"queueTimeout", "longest wait there; 503 after it", SCHEMA_DURATION, UPSTREAM(queue_timeout),
     .preset = "1s", .min = MSEC, .max = WEEK},
    {"limitsDryRun",
     "the limits of above, maxConnections to maxRetries, are only counted: nobody waits or is "
     "refused",
     SCHEMA_BOOL, UPSTREAM(limits_dry_run), .preset = "false"},
    {"consecutiveErrors", "it opens after so many errors in a row; 0: not for that", SCHEMA_INT,
     BREAKER(consecutive_errors), .preset = "5", .max = BREAKER_CONSECUTIVE_MAX},
    {"errorRate", "it opens when so many percent of the requests fail; 0: not for that", SCHEMA_INT,
     BREAKER(error_rate), .preset = "50", .max = 100},
    {"slowCallDuration",
     "from the request sent to the response's head: a call that takes so long is slow; 0: none is",
     SCHEMA_DURATION, BREAKER(slow_call_duration), .preset = "0", .max = WEEK},
    {"slowCallRate", "it opens when so many percent of the requests are slow", SCHEMA_INT,
     BREAKER(slow_call_rate), .preset = "50", .min = 1, .max = 100},
    {"window", "of the rates: the requests that ended in it", SCHEMA_DURATION, BREAKER(window),
     .preset = "10s", .min = 100 * MSEC, .max = 3600 * SECOND},
    {"minRequests", "the rates say nothing while fewer have ended", SCHEMA_INT,
     BREAKER(min_requests), .preset = "20", .min = 1, .max = 10000000},
    {"openDuration", "how long it is open; doubles with each probe that fails", SCHEMA_DURATION,
     BREAKER(open_duration), .preset = "1s", .min = MSEC, .max = WEEK},
    {"maxOpenDuration", "and not longer", SCHEMA_DURATION, BREAKER(max_open_duration),
     .preset = "60s", .min = MSEC, .max = WEEK},
    {"halfOpenTimeout", "a probe without an answer after it has failed", SCHEMA_DURATION,
     BREAKER(half_open_timeout), .preset = "10s", .min = MSEC, .max = WEEK},
    {"halfOpenSuccesses", "so many probes that go well, one after the other, close it", SCHEMA_INT,
     BREAKER(half_open_successes), .preset = "1", .min = 1, .max = BREAKER_SUCCESSES_MAX},
    {"dryRun", "it decides, counts and tells, and refuses nothing; the limits hold", SCHEMA_BOOL,
     BREAKER(dry_run), .preset = "false"},
};
static const struct schema_case cases[] = {
    {"slowCallRate", NULL, "slowCallDuration", {NULL}},
};
const struct schema_map schema_breaker = {MAP(keys), CASES(cases)};
