/* arena.c - memory that is freed all at once. */
#include "base/arena.h"

#include "base/mem.h"

enum { ARENA_BLOCK = 8 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    _Alignas(16) char bytes[];
};

struct arena {
    struct arena_block *blocks;
    size_t total;
};

struct arena *arena_new(void)
{
    return mem_zalloc(sizeof(struct arena));
}

struct arena *arena_free(struct arena *a)
{
    if (!a)
        return NULL;
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    free(a);
    return NULL;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t need = (bytes + 15) & ~(size_t)15;
    struct arena_block *b = a->blocks;
    if (!b || b->cap - b->used < need) {
        size_t cap = need > ARENA_BLOCK / 2 ? need : ARENA_BLOCK;
        b = mem_zalloc(sizeof(*b) + cap);
        if (!b)
            return NULL;
        b->cap = cap;
        a->total += cap;
        if (cap == need && a->blocks) { /* a full block goes behind the one in use */
            b->next = a->blocks->next;
            a->blocks->next = b;
        } else {
            b->next = a->blocks;
            a->blocks = b;
        }
    }
    void *p = b->bytes + b->used;
    b->used += need;
    return p;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (!p)
        return STR_NONE;
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct str){p, s.n};
}

size_t arena_bytes(const struct arena *a)
{
    return a->total;
}
