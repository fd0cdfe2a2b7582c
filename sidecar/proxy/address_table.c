/* address_table.c - endpoints, found by their address. */
#include "proxy/address_table.h"

#include "base/mem.h"
#include "base/rng.h"
#include "proxy/upstream_shared.h"

#include <errno.h>

static uint64_t mix(uint64_t h, uint64_t v)
{
    __extension__ unsigned __int128 product =
        (unsigned __int128)(h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_address(uint64_t seed, const struct address *a)
{
    const char *p = (const char *)&a->u;
    uint64_t h = seed, word;
    for (size_t left = a->len; left > 0;) {
        size_t n = min_u64(left, sizeof(word));
        word = 0;
        memcpy(&word, p, n);
        h = mix(h, word);
        p += n;
        left -= n;
    }
    return mix(h, seed);
}

int address_table_init(struct address_table *t, uint64_t entries)
{
    struct rng rng;
    uint64_t size = 16; /* half of the slots stay free, so that each search ends soon */
    while (size < 2 * entries)
        size *= 2;
    rng_init_random(&rng);
    t->seed = rng_next(&rng);
    t->mask = (uint32_t)(size - 1);
    t->slots = mem_zalloc(size * sizeof(*t->slots));
    return t->slots ? 0 : -ENOMEM;
}

struct address_slot *address_table_find(const struct address_table *t, const struct address *a)
{
    uint32_t i = (uint32_t)hash_address(t->seed, a) & t->mask;
    while (t->slots[i].endpoint && !address_equal(&t->slots[i].endpoint->address, a))
        i = (i + 1) & t->mask;
    return &t->slots[i];
}
