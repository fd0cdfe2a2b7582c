/* health_checks.h - who is looked at when: the health checks of all upstreams that a route uses.
 *
 * On the control thread; the workers see nothing of it but endpoint_shared.unhealthy. What is known
 * of an endpoint hangs on its address: it outlives reloads, other rules too, for as long as the
 * upstream has the address and a healthCheck.
 *
 * At most conf.max_probes run at once, a few begin in a turn of the loop; who is due meanwhile
 * waits in a queue. An endpoint that is checked takes some 600 bytes. */
#ifndef SLUICE_PROXY_HEALTH_CHECKS_H
#define SLUICE_PROXY_HEALTH_CHECKS_H

#include "config/config.h"
#include "healthcheck/health.h"
#include "proxy/upstream_shared.h"

struct health_checks;
struct loop;

/* NULL when memory is short. */
struct health_checks *health_checks_new(struct loop *l);
/* Before the upstreams and the configuration go. NULL is harmless; returns NULL. */
struct health_checks *health_checks_free(struct health_checks *hc);

/* The configuration is in force; upstreams as in conf.upstreams. The one before is not looked at
 * any more. */
void health_checks_configure(struct health_checks *hc, const struct conf *conf,
                             struct upstream_shared *const *upstreams);
/* An upstream of that configuration has other addresses. */
void health_checks_update(struct health_checks *hc, const struct conf_upstream *u,
                          struct upstream_shared *shared);
/* No more looks; all stay what they are. */
void health_checks_stop(struct health_checks *hc);

/* NULL: it is not checked. */
const struct health *health_checks_of(const struct endpoint_shared *e);

/* What the checks of an upstream came to since the start; NULL: it has none. */
struct health_counts {
    uint64_t results[CHECK_WORDS];
    uint64_t skipped; /* left out because requests succeeded */
};
const struct health_counts *health_checks_counts(const struct upstream_shared *u);

/* Checks that run, and that wait for a place. */
void health_checks_load(const struct health_checks *hc, uint32_t *ret_running,
                        uint32_t *ret_waiting);

#endif
