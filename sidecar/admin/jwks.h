/* jwks.h - the issuers' keys in force, and what becomes of their files when these change: as
 * certificates.h, whose part this is. */
#ifndef SLUICE_ADMIN_JWKS_H
#define SLUICE_ADMIN_JWKS_H

#include "admin/exposition.h"
#include "admin/generation.h"
#include "config/jwks_files.h"

#include <jansson.h>

struct jwks {
    uint32_t n_refused;         /* files that are refused now */
    uint64_t applied, refusals; /* looks that did so, and a file was new */
};

/* The set of a configuration that comes into force now, into the slots of its generation. */
void jwks_take(struct jwks *j, const struct generation *g, struct jwks_set *set);
/* What a look at the files has found: what is new goes into `in_force` and its slots, and is told
 * to the log. `found` keeps the rest. True: something is refused that was not told yet. */
bool jwks_look(struct jwks *j, const struct generation *g, struct jwks_set *in_force,
               struct jwks_set *found);

/* For /v1/config: each issuer with its keys' ids; NULL when memory is short. refresh: of those that
 * come from URLs. */
struct jwks_refresh;
json_t *jwks_json(const struct jwks_set *set, const struct conf *conf,
                  const struct jwks_refresh *refresh);

#endif
