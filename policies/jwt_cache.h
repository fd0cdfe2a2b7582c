/* jwt_cache.h - tokens that were verified, so that each is verified once: the least recently used
 * goes where there are too many.
 *
 * Known by 128 bits of SipHash of their text, which itself is not kept: a MAC, by a secret that
 * nobody outside knows, so that no text can be made that is taken for a token that was verified,
 * and quicker than a digest. One worker's, and of one issuer's rules and keys: whoever changes
 * these flushes it. The time is the caller's to look at (jwt_check_time) with each use. */
#ifndef SLUICE_POLICIES_JWT_CACHE_H
#define SLUICE_POLICIES_JWT_CACHE_H

#include "policies/jwt.h"

enum { JWT_CACHE_MAX = 1 << 20 };

struct jwt_cache_key {
    uint64_t bits[2];
};

struct jwt_cache;

/* max: tokens at once, 0: none is kept. secret: of the kernel's random bytes. NULL when memory is
 * short. */
struct jwt_cache *jwt_cache_new(uint32_t max, const uint64_t secret[2]);
struct jwt_cache *jwt_cache_free(struct jwt_cache *c);

struct jwt_cache_key jwt_cache_key(const struct jwt_cache *c, struct str token);
/* NULL: it is not there. Valid until the next call that changes the cache. */
const struct jwt_claims *jwt_cache_get(struct jwt_cache *c, struct jwt_cache_key key);
/* Takes the claims over; the same as jwt_cache_get() then. NULL: no room for any, or memory is
 * short, and they stay the caller's. The key is not there yet. */
const struct jwt_claims *jwt_cache_put(struct jwt_cache *c, struct jwt_cache_key key,
                                       struct jwt_claims *claims);
/* Harmless where it is not there. */
void jwt_cache_remove(struct jwt_cache *c, struct jwt_cache_key key);
void jwt_cache_flush(struct jwt_cache *c);
/* None is kept beyond it from now on. */
void jwt_cache_resize(struct jwt_cache *c, uint32_t max);
uint32_t jwt_cache_count(const struct jwt_cache *c);

#endif
