/* jwt_cache.h - tokens that were verified, so that each is verified once: the least recently used
 * goes where there are too many.
 *
 * Known by its whole text, which is compared: what is not the very token that was verified is
 * verified itself. The text is wiped when it goes. One worker's, and of one issuer's rules and
 * keys: whoever changes these flushes it. The time is the caller's to look at (jwt_check_time) with
 * each use. */
#ifndef SLUICE_POLICIES_JWT_CACHE_H
#define SLUICE_POLICIES_JWT_CACHE_H

#include "policies/jwt.h"

enum { JWT_CACHE_MAX = 1 << 20 };

struct jwt_cache;

/* max: tokens at once, 0: none is kept. secret: random bits. NULL when memory is short. */
struct jwt_cache *jwt_cache_new(uint32_t max, uint64_t secret);
struct jwt_cache *jwt_cache_free(struct jwt_cache *c);

/* NULL: it is not there. Valid until the next call that changes the cache. */
const struct jwt_claims *jwt_cache_get(struct jwt_cache *c, struct str token);
/* Takes the claims over; the same as jwt_cache_get() then. NULL: no room for any, or memory is
 * short, and they stay the caller's. The token is not there yet. */
const struct jwt_claims *jwt_cache_put(struct jwt_cache *c, struct str token,
                                       struct jwt_claims *claims);
/* Harmless where it is not there. */
void jwt_cache_remove(struct jwt_cache *c, struct str token);
void jwt_cache_flush(struct jwt_cache *c);
/* None is kept beyond it from now on. */
void jwt_cache_resize(struct jwt_cache *c, uint32_t max);
uint32_t jwt_cache_count(const struct jwt_cache *c);

#endif
