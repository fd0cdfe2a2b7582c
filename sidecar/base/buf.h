/* buf.h - bytes on their way out: appended at the end, taken from the front.
 *
 * Holds no memory while it is empty, so that ten thousand idle connections cost nothing here.
 * Small blocks come from a per-thread pool and are warm in cache. */
#ifndef SLUICE_BASE_BUF_H
#define SLUICE_BASE_BUF_H

#include "base/heap_cache.h"
#include "base/str.h"

enum { BUF_POOL_BLOCK = 4096, BUF_POOL_KEEP = 16, BUF_MAX = 1 << 30 };

/* Free blocks of BUF_POOL_BLOCK bytes, and smaller ones for others than buffers; one a thread. Zero
 * is a valid empty pool. */
struct buf_pool {
    void *free[BUF_POOL_KEEP];
    uint32_t n;
    struct heap_cache small;
};

void buf_pool_free(struct buf_pool *pool);

struct buf {
    char *p;
    uint32_t off; /* first byte not yet taken */
    uint32_t len; /* end of the bytes; off <= len <= cap */
    uint32_t cap;
};

static inline size_t buf_len(const struct buf *b)
{
    return b->len - b->off;
}

static inline const char *buf_data(const struct buf *b)
{
    return b->p ? b->p + b->off : NULL;
}

/* Makes room for n more bytes and returns where they go, NULL when memory is short or the buffer
 * would hold more than BUF_MAX (it is unchanged then). Follow with buf_commit(). */
char *buf_reserve(struct buf_pool *pool, struct buf *b, size_t n);

static inline void buf_commit(struct buf *b, size_t n)
{
    b->len += (uint32_t)n;
}

/* 0, or -ENOMEM with nothing appended. */
int buf_append(struct buf_pool *pool, struct buf *b, const void *p, size_t n);

/* Drops n bytes from the front; the memory goes back once it is empty. */
void buf_consume(struct buf_pool *pool, struct buf *b, size_t n);
void buf_clear(struct buf_pool *pool, struct buf *b);

#endif
