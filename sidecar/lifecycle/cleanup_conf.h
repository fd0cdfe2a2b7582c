/* cleanup_conf.h - releases as the configuration has them. */
#ifndef SLUICE_LIFECYCLE_CLEANUP_CONF_H
#define SLUICE_LIFECYCLE_CLEANUP_CONF_H

#include "config/config.h"
#include "lifecycle/cleanup.h"

/* With the same idempotency key in each serving process of one sluice: a crash in the middle of
 * CLEANUP repeats what is known already. free(); NULL when memory is short. */
struct cleanup_action *cleanup_from_conf(const struct conf_cleanup *c);
/* Without one. */
struct cleanup_action *cleanup_from_request(const struct conf_request *q, usec_t timeout,
                                            uint32_t retries);

#endif
