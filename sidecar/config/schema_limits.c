/* schema_limits.c - the keys of rate limits. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/draft.h"

#define LIMIT(member) MEMBER(struct conf_rate_limit, member)

static const struct schema_key key_keys[] = {
    {"header", "each value of this header has its own limit", SCHEMA_STRING, FORMAT_TOKEN,
     LIMIT(header)},
    {"claim",
     "each value of this claim of the token that authz has verified has its own limit; its name, "
     "or "
     "a path to it: $.realm.tenant",
     SCHEMA_STRING, FORMAT_LINE, LIMIT(claim)},
    {"clientAddress", "true: each client has its own limit", SCHEMA_BOOL, .flags = KEY_ONLY_TRUE,
     LIMIT(by_client)},
};
static const struct schema_choice key_choices[] = {
    {CHOICE_EXACTLY_ONE, {"header", "claim", "clientAddress"}},
};
static const struct schema_map key_map = {MAP(key_keys), CHOICES(key_choices)};

static const struct schema_name algorithms[] = {WORD("tokenBucket", RATE_TOKEN_BUCKET),
                                                WORD("fixedWindow", RATE_FIXED_WINDOW),
                                                WORD("slidingWindow", RATE_SLIDING_WINDOW),
                                                {0}};

static const struct schema_key limit_keys[] = {
    {"name", "for metrics; over a reload what has been used stays with it", SCHEMA_STRING,
     FORMAT_NAME, KEY_REQUIRED | KEY_IDENTITY, LIMIT(name)},
    {"requests", "how many come through", SCHEMA_INT, .flags = KEY_REQUIRED, LIMIT(rule.requests),
     .min = 1, .max = RATE_REQUESTS_MAX},
    {"per", "in this time", SCHEMA_DURATION, LIMIT(rule.per), .preset = "1s", .min = RATE_PER_MIN,
     .max = WEEK},
    {"burst", "of a token bucket: how many at once; 0: as many as requests", SCHEMA_INT,
     LIMIT(rule.burst), .preset = "0", .max = RATE_REQUESTS_MAX},
    {"algorithm",
     "a bucket that fills evenly; a count that begins anew with each window; or one that counts "
     "the "
     "last window by how much of it is still covered",
     SCHEMA_ENUM, LIMIT(rule.algorithm), .preset = "tokenBucket", .names = algorithms},
    {"key", "one limit for each; none: one for all requests of the route", SCHEMA_MAP,
     .map = &key_map},
    {"ipv6Prefix", "clients of one IPv6 network of so many bits are one", SCHEMA_INT,
     LIMIT(ipv6_prefix), .preset = "64", .min = 16, .max = 128},
    {"maxKeys", "remembered at once; the longest unused one is forgotten for a new one", SCHEMA_INT,
     LIMIT(max_keys), .preset = "10000", .min = 64, .max = RATE_KEYS_MAX},
    {"dryRun", "what it would refuse is counted, and comes through", SCHEMA_BOOL, LIMIT(dry_run),
     .preset = "false"},
};
static const struct schema_map limit_map = {MAP(limit_keys),
                                            .size = sizeof(struct conf_rate_limit)};
const struct schema_key schema_rate_limit_item = {.type = SCHEMA_MAP, .map = &limit_map};
