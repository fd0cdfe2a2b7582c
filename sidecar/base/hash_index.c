/* hash_index.c - open addressing, at most half full. */
#include "base/hash_index.h"

#include "base/check.h"

#include <errno.h>

enum { SLOTS_FIRST = 16 };

#define HASH_PRIME UINT64_C(0x100000001b3)

uint64_t hash_bytes(uint64_t h, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * HASH_PRIME;
    return h;
}

uint64_t hash_number(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

uint32_t hash_end(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(h >> 32);
}

void hash_index_init(struct hash_index *x, struct arena *arena)
{
    *x = (struct hash_index){.arena = arena};
}

static void put(struct hash_slot *slots, uint32_t mask, struct hash_slot s)
{
    uint32_t i = s.hash & mask;
    while (slots[i].item != 0)
        i = (i + 1) & mask;
    slots[i] = s;
}

/* The old slots stay in the arena: together they are as large as the new ones. */
static int grow(struct hash_index *x)
{
    uint64_t slots = x->slots ? 2 * ((uint64_t)x->mask + 1) : SLOTS_FIRST;
    if (slots > UINT32_MAX / 2)
        return -ENOMEM;
    struct hash_slot *more = arena_alloc(x->arena, slots * sizeof(*more));
    if (!more)
        return -ENOMEM;
    for (uint32_t i = 0; x->slots && i <= x->mask; i++) {
        if (x->slots[i].item != 0)
            put(more, (uint32_t)slots - 1, x->slots[i]);
    }
    x->slots = more;
    x->mask = (uint32_t)slots - 1;
    return 0;
}

int hash_index_add(struct hash_index *x, uint32_t hash, uint32_t item)
{
    CHECK(item < HASH_NONE);
    if ((!x->slots || x->n > x->mask / 2) && grow(x) < 0)
        return -ENOMEM;
    put(x->slots, x->mask, (struct hash_slot){.hash = hash, .item = item + 1});
    x->n++;
    return 0;
}

uint32_t hash_index_next(const struct hash_index *x, uint32_t hash, uint32_t *at)
{
    while (x->slots) {
        const struct hash_slot *s = &x->slots[(hash + *at) & x->mask];
        (*at)++;
        if (s->item == 0)
            break;
        if (s->hash == hash)
            return s->item - 1;
    }
    return HASH_NONE;
}

uint32_t hash_index_longest(const struct hash_index *x)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; x->slots && i <= x->mask; i++) {
        uint32_t at = 0;
        while (x->slots[(i + at) & x->mask].item != 0)
            at++;
        longest = at > longest ? at : longest;
    }
    return longest;
}
