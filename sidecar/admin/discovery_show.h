/* discovery_show.h - what is known of the names among the endpoints, as metrics and JSON. */
#ifndef SLUICE_ADMIN_DISCOVERY_SHOW_H
#define SLUICE_ADMIN_DISCOVERY_SHOW_H

#include "admin/exposition.h"
#include "proxy/discovery.h"

#include <jansson.h>

/* sluice_dns_*; labels come from the configuration only. */
void discovery_metrics(const struct discovery *d, struct exposition *t);
/* An array with an object for each name; a new reference, NULL when memory is short. */
json_t *discovery_json(const struct discovery *d);

#endif
