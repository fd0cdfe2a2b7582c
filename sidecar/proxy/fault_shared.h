/* fault_shared.h - what all workers know of a route's faults (policies/fault.h): made with the
 * route's first state, and freed with the last. Of the control thread, but for `state`. */
#ifndef SLUICE_PROXY_FAULT_SHARED_H
#define SLUICE_PROXY_FAULT_SHARED_H

#include "policies/fault.h"

struct fault_shared {
    struct fault_state state;
    uint32_t refs;
};

/* With one reference; NULL when memory is short. */
struct fault_shared *fault_shared_new(void);
struct fault_shared *fault_shared_ref(struct fault_shared *f);
void fault_shared_unref(struct fault_shared *f); /* or NULL */

#endif
