/* schema_failover.c - the keys of endpoints with a priority or a zone, and of what they decide. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "config/config.h"
#include "config/draft.h"

/* The map form of an endpoint. Without presets, so that it says no more than the short form. */
static const struct schema_key endpoint_keys[] = {
    {"address", "as in the short form", SCHEMA_ENDPOINT, .flags = KEY_REQUIRED | KEY_IDENTITY,
     .width = sizeof(struct conf_endpoint)},
    {"priority",
     "0, the best, without this key; the next takes what those before it have no good endpoints "
     "for",
     SCHEMA_INT, MEMBER(struct conf_endpoint, priority), .max = FAILOVER_LEVELS_MAX - 1},
    {"zone", "that it is in, as locality.zone is for us", SCHEMA_STRING, FORMAT_NAME,
     MEMBER(struct conf_endpoint, zone)},
};
static const struct schema_map endpoint_map = {MAP(endpoint_keys),
                                               .size = sizeof(struct conf_endpoint)};
const struct schema_key schema_endpoint_item = {
    .type = SCHEMA_ENDPOINT, .width = sizeof(struct conf_endpoint), .map = &endpoint_map};

static const struct schema_key failover_keys[] = {
    {"overprovisioningPercent",
     "a priority takes everything while its share of good endpoints times this is 100 percent",
     SCHEMA_INT, MEMBER(struct conf_upstream, overprovisioning), .preset = "140", .min = 100,
     .max = 1000},
    {"preferOwnZone", "endpoints of our own zone are preferred, as far as they can take it",
     SCHEMA_BOOL, MEMBER(struct conf_upstream, prefer_own_zone), .preset = "true"},
    {"dryRun",
     "shares are told and counted; the best priority that has endpoints takes everything, and all "
     "zones are alike",
     SCHEMA_BOOL, MEMBER(struct conf_upstream, failover_dry_run), .preset = "false"},
};
const struct schema_map schema_failover = {MAP(failover_keys)};

static const struct schema_key locality_keys[] = {
    {"zone", "such as eu-west-1a", SCHEMA_STRING, FORMAT_NAME, KEY_OFF,
     MEMBER(struct draft, conf.zone), .preset = "off"},
};
const struct schema_map schema_locality = {MAP(locality_keys)};
