/* endpoint_look.h - outlier detection on the control thread: once an interval endpoints are
 * compared with each other, and what has outlived its time, its rules or its group comes back. */
#ifndef SLUICE_PROXY_ENDPOINT_LOOK_H
#define SLUICE_PROXY_ENDPOINT_LOOK_H

#include "proxy/upstream_shared.h"

/* About once a second, with what is configured now. Does nothing to an upstream without outlier
 * detection that has nothing ejected. O(endpoints x workers) once an interval. */
void endpoint_look(struct upstream_shared *u, const struct conf_upstream *conf, usec_t now);

/* From any thread: ejected, or said to be with dryRun, and counted. False: it may not be. */
bool endpoint_eject(struct endpoint_shared *e, struct upstream_shared *u,
                    const struct conf_upstream *conf, enum outlier_cause cause, usec_t now);

/* Percent of its share that it gets now; 0: none, as it is drained, ejected or unhealthy. panics:
 * upstream_panics(). */
uint32_t endpoint_percent(const struct endpoint_shared *e, const struct conf_upstream *conf,
                          bool panics, usec_t now);

#endif
