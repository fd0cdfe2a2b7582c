/* heap_cache.c - small blocks of the heap, by size. */
#include "base/heap_cache.h"

#include "base/mem.h"

#include <malloc.h>

/* Under AddressSanitizer nothing is kept, so that a block that was freed stays forbidden. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEP_NOTHING 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define KEEP_NOTHING 1
#endif
#ifndef KEEP_NOTHING
#define KEEP_NOTHING 0
#endif

struct heap_cached {
    struct heap_cached *next;
};

static struct heap_cached *take(struct heap_cache *c, size_t i)
{
    struct heap_cached *p = c->free[i];
    c->free[i] = p->next;
    c->n[i]--;
    c->bytes -= (i + 1) * HEAP_CACHE_STEP;
    return p;
}

void *heap_cache_alloc(struct heap_cache *c, size_t bytes)
{
    size_t i = bytes > 0 ? (bytes - 1) / HEAP_CACHE_STEP : 0;
    if (i >= HEAP_CACHE_SIZES)
        return mem_alloc(bytes);
    struct heap_cached *p = c->free[i];
    if (!p)
        return mem_alloc((i + 1) * HEAP_CACHE_STEP);
    if (mem_should_fail())
        return NULL;
    p = take(c, i);
    if (c->n[i] < c->least[i])
        c->least[i] = c->n[i];
    return p;
}

void heap_cache_put(struct heap_cache *c, void *p)
{
    if (!p)
        return;
    size_t i = malloc_usable_size(p) / HEAP_CACHE_STEP - 1; /* wraps when it is smaller */
    if (KEEP_NOTHING || i >= HEAP_CACHE_SIZES ||
        c->bytes + (i + 1) * HEAP_CACHE_STEP > HEAP_CACHE_MOST) {
        free(p);
        return;
    }
    struct heap_cached *kept = p;
    kept->next = c->free[i];
    c->free[i] = kept;
    c->n[i]++;
    c->bytes += (i + 1) * HEAP_CACHE_STEP;
}

void heap_cache_trim(struct heap_cache *c)
{
    for (size_t i = 0; i < HEAP_CACHE_SIZES; i++) {
        for (uint32_t half = (c->least[i] + 1) / 2; half > 0; half--)
            free(take(c, i));
        c->least[i] = c->n[i];
    }
}

void heap_cache_free(struct heap_cache *c)
{
    for (size_t i = 0; i < HEAP_CACHE_SIZES; i++) {
        while (c->free[i])
            free(take(c, i));
        c->least[i] = 0;
    }
}
