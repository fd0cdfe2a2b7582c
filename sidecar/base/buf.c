/* buf.c - bytes on their way out. */
#include "base/buf.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>

enum { SMALL = 256 }; /* for one that a few bytes pass through: a message's body, mostly */

static char *block_get(struct buf_pool *pool, size_t bytes)
{
    if (bytes == BUF_POOL_BLOCK && pool->n > 0)
        return pool->free[--pool->n];
    return bytes == SMALL ? heap_cache_alloc(&pool->small, bytes) : mem_alloc(bytes);
}

static void block_put(struct buf_pool *pool, char *p, size_t bytes)
{
    if (bytes == BUF_POOL_BLOCK && pool->n < BUF_POOL_KEEP)
        pool->free[pool->n++] = p;
    else if (bytes == SMALL)
        heap_cache_put(&pool->small, p);
    else
        free(p);
}

void buf_pool_free(struct buf_pool *pool)
{
    while (pool->n > 0)
        free(pool->free[--pool->n]);
    heap_cache_free(&pool->small);
}

char *buf_reserve(struct buf_pool *pool, struct buf *b, size_t n)
{
    if (b->p && (size_t)b->cap - b->len >= n)
        return b->p + b->len;
    size_t held = buf_len(b);
    if (n > BUF_MAX - held)
        return NULL;
    if (b->off > 0 && (size_t)b->cap - held >= n) {
        memmove(b->p, b->p + b->off, held);
    } else {
        size_t cap = held + n <= SMALL ? SMALL : BUF_POOL_BLOCK;
        while (cap < held + n)
            cap *= 2;
        char *p = block_get(pool, cap);
        if (!p)
            return NULL;
        if (b->p) {
            memcpy(p, b->p + b->off, held);
            block_put(pool, b->p, b->cap);
        }
        b->p = p;
        b->cap = (uint32_t)cap;
    }
    b->off = 0;
    b->len = (uint32_t)held;
    return b->p + b->len;
}

int buf_append(struct buf_pool *pool, struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return 0;
    char *to = buf_reserve(pool, b, n);
    if (!to)
        return -ENOMEM;
    memcpy(to, p, n);
    buf_commit(b, n);
    return 0;
}

void buf_consume(struct buf_pool *pool, struct buf *b, size_t n)
{
    CHECK(n <= buf_len(b));
    b->off += (uint32_t)n;
    if (b->off == b->len)
        buf_clear(pool, b);
}

void buf_clear(struct buf_pool *pool, struct buf *b)
{
    if (b->p)
        block_put(pool, b->p, b->cap);
    *b = (struct buf){0};
}
