/* endpoint_api.h - /v1/endpoints: which endpoints are used, and the operator's word on them. */
#ifndef SLUICE_ADMIN_ENDPOINT_API_H
#define SLUICE_ADMIN_ENDPOINT_API_H

#include "admin/exposition.h"
#include "admin/http_server.h"
#include "proxy/upstream_shared.h"

#include <jansson.h>

struct control;

/* ctx: the struct control. */
http_handler endpoints_get, endpoints_post;

/* An array with an object for each endpoint, and one for all of them; new references. */
json_t *endpoints_json(const struct upstream_shared *u, const struct conf_upstream *conf);
json_t *standing_json(const struct upstream_shared *u, const struct conf_upstream *conf);

/* levels_show.c: an array with an object for each priority; NULL: there are none. */
json_t *levels_json(const struct upstream_shared *u, const struct conf_upstream *conf);
/* Puts into o where endpoint i stands. */
void levels_add_place(const struct upstream_shared *u, uint32_t i, json_t *o);

/* metrics_failover.c: upstream_level_*, upstream_zone_requests_total. */
void metrics_failover(struct exposition *t, const struct control *c);
/* metrics_endpoints.c: outlier_*, upstream_panic, upstream_endpoints_*; endpoint_*. */
void metrics_endpoints(struct exposition *t, const struct control *c);
void metrics_each_weight(struct exposition *t, const struct control *c);

/* Once a second: what outlier detection compares, who comes back, and which level takes over. */
void control_endpoints_tick(struct control *c);

#endif
