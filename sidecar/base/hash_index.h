/* hash_index.h - items found by a hash of their key, in an arena.
 *
 * Holds numbers, not keys: the caller has the items, and compares. Grows by itself; read without
 * locks by any thread once nothing is added any more. The hash is no secret: for what an operator
 * writes, not for what a peer sends. */
#ifndef SLUICE_BASE_HASH_INDEX_H
#define SLUICE_BASE_HASH_INDEX_H

#include "base/arena.h"

struct hash_slot {
    uint32_t hash;
    uint32_t item; /* plus 1; 0: free */
};

struct hash_index {
    struct arena *arena;
    struct hash_slot *slots; /* NULL: nothing was added */
    uint32_t mask, n;
};

/* FNV-1a, begun with HASH_BEGIN or with the hash of what stands before. */
#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)
uint64_t hash_bytes(uint64_t h, struct str s);
uint64_t hash_number(uint64_t h, uint64_t v);
/* What the index takes. */
uint32_t hash_end(uint64_t h);

void hash_index_init(struct hash_index *x, struct arena *arena);
/* item < UINT32_MAX. Several items may have one hash. 0, or -ENOMEM and nothing was added. */
int hash_index_add(struct hash_index *x, uint32_t hash, uint32_t item);

/* The items of a hash one by one; *at is 0 before the first call. UINT32_MAX: no more. */
#define HASH_NONE UINT32_MAX
uint32_t hash_index_next(const struct hash_index *x, uint32_t hash, uint32_t *at);

/* The most slots that any look-up passes: what a test can hold it to. */
uint32_t hash_index_longest(const struct hash_index *x);

#endif
