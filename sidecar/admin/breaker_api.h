/* breaker_api.h - /v1/breakers: how circuit breakers stand, and an operator's word on them. */
#ifndef SLUICE_ADMIN_BREAKER_API_H
#define SLUICE_ADMIN_BREAKER_API_H

#include "admin/http_server.h"
#include "config/config.h"
#include "proxy/upstream_shared.h"

#include <jansson.h>

/* ctx: the struct control. */
http_handler breakers_get;
http_handler breaker_post; /* /v1/breakers/NAME/open, /reset */

/* One of them, for /v1/breakers and /v1/status; a new reference. */
json_t *breaker_json(const struct conf_upstream *u, const struct upstream_shared *shared,
                     usec_t now);

#endif
