/* json_schema.h - the schema (schema.h) as JSON Schema, draft 2020-12, for editors and pipelines.
 *
 * What sluice accepts it accepts, and what sluice refuses it refuses as far as JSON Schema can
 * tell: not what compares two values (names that must be there, sums of durations, ranges of what
 * is written with a unit: those stand in `description`, `x-minimum` and `x-maximum`). `x-reload`
 * says whether a change is live. */
#ifndef SLUICE_CONFIG_JSON_SCHEMA_H
#define SLUICE_CONFIG_JSON_SCHEMA_H

#include <jansson.h>

#define JSON_SCHEMA_ID "urn:sluice:config:1"

/* A new reference; NULL when memory is short. */
json_t *json_schema(void);

#endif
