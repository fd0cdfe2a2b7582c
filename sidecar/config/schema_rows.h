/* schema_rows.h - how the rows of the table are written, between the files of schema*.c. */
#ifndef SLUICE_CONFIG_SCHEMA_ROWS_H
#define SLUICE_CONFIG_SCHEMA_ROWS_H

#include "config/schema.h"

#define MAP(array)     .keys = (array), .n_keys = ARRAY_LEN(array)
#define CHOICES(array) .choices = (array), .n_choices = ARRAY_LEN(array)
#define CASES(array)   .cases = (array), .n_cases = ARRAY_LEN(array)

#define WORD(word, v)                                                                              \
    {                                                                                              \
        .name = (word), .value = (v)                                                               \
    }

#define MSEC   USEC_PER_MSEC
#define SECOND USEC_PER_SEC
#define WEEK   (USEC_PER_SEC * 3600 * 168)
#define KIB    ((uint64_t)1024)
#define MIB    (KIB * 1024)

/* schema_learn.c: of a struct draft_learn. */
extern const struct schema_key schema_learn_item;

/* schema_limits.c: of a struct conf_rate_limit. */
extern const struct schema_key schema_rate_limit_item;

/* schema_tls.c: of a struct draft_listener, and of a struct conf_upstream. */
extern const struct schema_map schema_listener_tls;
extern const struct schema_map schema_upstream_tls;

/* schema_actions.c: of a struct draft_header_rules. */
extern const struct schema_map schema_header_rules;
/* Of a struct conf_access_log. */
extern const struct schema_map schema_redact;
/* Of a struct draft_fault. */
extern const struct schema_map schema_fault;
/* schema.c: of a struct draft_condition. */
extern const struct schema_key schema_header_condition;
/* schema_outlier.c: of a struct conf_upstream. */
extern const struct schema_map schema_outlier, schema_slow_start;
/* schema_failover.c: a struct conf_endpoint; of a struct conf_upstream, and of a struct draft. */
extern const struct schema_key schema_endpoint_item;
extern const struct schema_map schema_failover, schema_locality;
/* schema_retry.c: of a struct draft_route, and of a struct conf_upstream. */
extern const struct schema_map schema_retry, schema_retry_budget;

/* schema_overload.c: of a struct overload_rules. */
extern const struct schema_map schema_overload;

/* schema_breaker.c: of a struct conf_upstream. */
extern const struct schema_map schema_breaker;
/* schema_concurrency.c: of a struct conf_upstream. */
extern const struct schema_map schema_concurrency;

/* schema_authz.c: of a struct conf_jwt, and of a struct draft_route. */
extern const struct schema_key schema_jwt_item;
extern const struct schema_map schema_authz;

/* schema_cleanup.c: of a struct conf. */
extern const struct schema_key schema_cleanup_item, schema_hook_item;
extern const struct schema_map schema_leases;

/* schema_leak.c: of a struct conf_app. */
extern const struct schema_map schema_leak_watch;

/* schema_health.c: of a struct conf_upstream. */
extern const struct schema_map schema_health_check;
/* schema_health.c: a struct conf_app_probe. */
extern const struct schema_key schema_app_probe_item;

#endif
