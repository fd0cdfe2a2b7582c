/* rate_keys.h - a rate limit for each key: one of each header value, one of each client.
 *
 * Bounded: of `most` keys, the one that nobody has asked for the longest is forgotten for a new
 * one, and begins anew if it comes again. Keys that are as good as new go by themselves. 40 bytes a
 * key, in pieces that grow and shrink: none of them is worked on for more than a millisecond.
 *
 * Shared by all workers: a few tables, each with a lock that is held for one look-up. What stands
 * for a key is its hash with a secret seed (base/siphash.h): a million keys are mistaken for each
 * other with a chance of 1 in 30 million. */
#ifndef SLUICE_POLICIES_RATE_KEYS_H
#define SLUICE_POLICIES_RATE_KEYS_H

#include "base/str.h"
#include "policies/rate_limit.h"

enum { RATE_KEYS_MAX = 10000000 };

struct rate_keys;

/* seed: random. NULL when memory is short. */
struct rate_keys *rate_keys_new(uint32_t most, const uint64_t seed[2]);
struct rate_keys *rate_keys_free(struct rate_keys *k);
/* A lower one takes effect as keys come. */
void rate_keys_set_most(struct rate_keys *k, uint32_t most);

/* As rate_take() for the key's own word. Where memory is short for a new key, the oldest is
 * forgotten for it; where there is none at all it is allowed. */
struct rate_verdict rate_keys_take(struct rate_keys *k, const struct rate_rule *r, struct str key,
                                   usec_t now);
/* What may stand for a key that is long, or soon gone: its hash with the same seed. */
uint64_t rate_keys_hash(const struct rate_keys *k, struct str key);
void rate_keys_give_back(struct rate_keys *k, struct str key, const struct rate_verdict *v);

/* From any thread: keys held now, and keys forgotten ever that were not as good as new. */
uint32_t rate_keys_held(struct rate_keys *k);
uint64_t rate_keys_forgotten(struct rate_keys *k);

#endif
