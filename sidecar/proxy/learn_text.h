/* learn_text.h - a lease to be, out of a learned rule: the request that gives it back, written out
 * for the endpoint that gave it. */
#ifndef SLUICE_PROXY_LEARN_TEXT_H
#define SLUICE_PROXY_LEARN_TEXT_H

#include "lifecycle/lease.h"
#include "policies/learn.h"

struct stream;

/* One allocation; free(). */
struct lease_text {
    struct lease_new lease;
    struct cleanup_action action;
    struct cleanup_field fields[LEASE_FIELDS_MAX];
    size_t used;
    char bytes[];
};

/* NULL with *ret_rc as learn_acquisition() says. */
struct lease_text *lease_text_new(const struct stream *s, const struct learn_rule *r,
                                  const struct learn_values *v, uint64_t holder, int *ret_rc);

#endif
