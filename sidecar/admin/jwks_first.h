/* jwks_first.h - the keys of issuers that are new, from their URLs, before their configuration
 * comes into force: no request should find an issuer without keys.
 *
 * Blocks, all issuers at once, for the longest of their timeouts at most: on the reading thread, or
 * before anything is served. */
#ifndef SLUICE_ADMIN_JWKS_FIRST_H
#define SLUICE_ADMIN_JWKS_FIRST_H

#include "config/build.h"
#include "config/conf_authz.h"
#include "config/jwks_files.h"

/* Into `set`, which is of `c`: those by a URL that `in_force` (NULL: nothing is, as at a start)
 * does not have from the same place. Where there is something in force what cannot be had is a
 * mistake of the new configuration. At a start it is a warning, and the issuer's tokens are refused
 * until the next tries bring keys: that its server is down must not keep a pod from starting. */
/* An entry whose keys are there now is JWKS_ENTRY_NEW. */
void jwks_first_fetch(const struct conf *c, const struct conf *in_force, struct jwks_set *set,
                      struct config_problems *problems);

#endif
