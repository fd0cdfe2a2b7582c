/* jwt_cache.h - tokens that were verified, so that each is verified once: the least recently used
 * goes where there are too many.
 *
 * Known by the SHA-256 of their text, which itself is not kept. One worker's, and of one issuer's
 * rules and keys: whoever changes these flushes it. The time is the caller's to look at
 * (jwt_check_time) with each use. */
#ifndef SLUICE_POLICIES_JWT_CACHE_H
#define SLUICE_POLICIES_JWT_CACHE_H

#include "policies/jwt.h"

enum { JWT_CACHE_MAX = 1 << 20, JWT_CACHE_KEY = 32 };

struct jwt_cache;

/* max: tokens at once, 0: none is kept. NULL when memory is short. */
struct jwt_cache *jwt_cache_new(uint32_t max);
struct jwt_cache *jwt_cache_free(struct jwt_cache *c);

/* False when memory is short. */
bool jwt_cache_key(struct jwt_cache *c, struct str token, unsigned char ret[JWT_CACHE_KEY]);
/* NULL: it is not there. Valid until the next call that changes the cache. */
const struct jwt_claims *jwt_cache_get(struct jwt_cache *c, const unsigned char key[JWT_CACHE_KEY]);
/* Takes the claims over; the same as jwt_cache_get() then. NULL: no room for any, or memory is
 * short, and they stay the caller's. The key is not there yet. */
const struct jwt_claims *jwt_cache_put(struct jwt_cache *c, const unsigned char key[JWT_CACHE_KEY],
                                       struct jwt_claims *claims);
/* Harmless where it is not there. */
void jwt_cache_remove(struct jwt_cache *c, const unsigned char key[JWT_CACHE_KEY]);
void jwt_cache_flush(struct jwt_cache *c);
/* None is kept beyond it from now on. */
void jwt_cache_resize(struct jwt_cache *c, uint32_t max);
uint32_t jwt_cache_count(const struct jwt_cache *c);

#endif
