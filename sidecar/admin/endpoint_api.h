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

/* metrics_endpoints.c: outlier_*, upstream_panic, upstream_endpoints_*, endpoint_weight. */
void metrics_endpoints(struct exposition *t, const struct control *c);

/* Once a second: what outlier detection compares, and who comes back. */
void control_endpoints_tick(struct control *c);

#endif
