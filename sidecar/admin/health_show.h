/* health_show.h - health checks in /v1/status, and what they mean for /readyz. */
#ifndef SLUICE_ADMIN_HEALTH_SHOW_H
#define SLUICE_ADMIN_HEALTH_SHOW_H

#include "config/config.h"
#include "proxy/upstream_shared.h"

#include <jansson.h>

struct generation;

/* Of one endpoint; null where it is not checked. */
json_t *health_endpoint_json(const struct endpoint_shared *e, usec_t now);

/* A route of an inbound listener has none left to serve it: each upstream that it gives a share of
 * its requests to is on this host's loopback, is checked, and has no healthy endpoint. *ret: that
 * route. */
bool health_unready(const struct generation *g, const struct conf_route **ret);

#endif
