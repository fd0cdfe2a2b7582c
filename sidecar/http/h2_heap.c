/* h2_heap.c - where a session's memory comes from.
 *
 * Ours, so that failing-allocation runs see it, and what comes and goes with each stream is kept
 * for the next one. A session has a buffer for the largest frame, of
 * which a connection that has only small ones touches the first page: so it is mapped, and the
 * others cost nothing. Out of the heap it would be pages that others have used before, all of them
 * resident. */
#include "http/h2_parts.h"

#include "base/mem.h"

#include <sys/mman.h>

enum { MAPPED_LEAST = 16 * 1024 };

static void *map(struct h2 *h, size_t n)
{
    if (mem_should_fail())
        return NULL;
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    h->frame_map = p;
    h->frame_map_bytes = n;
    return p;
}

static void *heap_alloc(size_t n, void *user)
{
    struct h2 *h = user;
    return n >= MAPPED_LEAST && !h->frame_map ? map(h, n) : heap_cache_alloc(&h->bufs->small, n);
}

static void heap_free(void *p, void *user)
{
    struct h2 *h = user;
    if (!p || p != h->frame_map) {
        heap_cache_put(&h->bufs->small, p);
        return;
    }
    (void)munmap(p, h->frame_map_bytes);
    h->frame_map = NULL;
}

static void *heap_zalloc(size_t n, size_t size, void *user)
{
    size_t bytes;
    (void)user;
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : mem_zalloc(bytes);
}

static void *heap_realloc(void *p, size_t n, void *user)
{
    struct h2 *h = user;
    if (!p)
        return heap_alloc(n, h);
    if (p != h->frame_map)
        return mem_realloc(p, n);
    void *moved = mem_alloc(n);
    if (moved) {
        memcpy(moved, p, min_u64(n, h->frame_map_bytes));
        heap_free(p, h);
    }
    return moved;
}

nghttp2_mem h2_heap(struct h2 *h)
{
    return (nghttp2_mem){h, heap_alloc, heap_free, heap_zalloc, heap_realloc};
}
