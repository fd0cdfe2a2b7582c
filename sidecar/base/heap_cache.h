/* heap_cache.h - small blocks of the heap, kept for who needs one of that size next; one a thread.
 *
 * For libraries that allocate and free with each request (nghttp2: half a dozen blocks a stream):
 * a block comes back warm in cache, for a sixth of the instructions that malloc and free take when
 * a burst has more blocks in flight than malloc keeps at hand. Blocks are malloc's: any of them may
 * be given to free() instead, and others' blocks may be put here. */
#ifndef SLUICE_BASE_HEAP_CACHE_H
#define SLUICE_BASE_HEAP_CACHE_H

#include <stddef.h>
#include <stdint.h>

enum {
    HEAP_CACHE_STEP = 32, /* sizes are rounded up to it */
    HEAP_CACHE_SIZES = 64,
    /* Bytes that are kept: those of a thousand HTTP/2 requests that come and go together. Where it
     * is less than a burst frees, malloc merges and splits the rest again and again. */
    HEAP_CACHE_MOST = 2 * 1024 * 1024,
};

/* Zero is valid, and empty. */
struct heap_cache {
    struct heap_cached *free[HEAP_CACHE_SIZES];
    uint32_t n[HEAP_CACHE_SIZES];     /* blocks in free */
    uint32_t least[HEAP_CACHE_SIZES]; /* since the last trim */
    size_t bytes;
};

/* As mem_alloc(): NULL when memory is short, and counted in failing-allocation runs whether the
 * block was kept or is new. */
void *heap_cache_alloc(struct heap_cache *c, size_t bytes);
/* Keeps it or frees it. NULL does nothing. */
void heap_cache_put(struct heap_cache *c, void *p);
/* Gives half of the blocks back that nobody has needed since the last time. Once a second or so: a
 * burst's go away in a few of them, and a steady load's stay. */
void heap_cache_trim(struct heap_cache *c);
void heap_cache_free(struct heap_cache *c);

#endif
