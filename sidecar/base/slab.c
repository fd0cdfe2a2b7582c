/* slab.c - objects of one size in aligned blocks, found again by masking the address. */
#include "base/slab.h"

#include "base/mem.h"

#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_POISON 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SLAB_POISON 1
#endif

/* Under AddressSanitizer a freed object is as forbidden as freed heap memory. */
#ifdef SLAB_POISON
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { BLOCK_BYTES = 64 * 1024 };

struct free_object {
    struct free_object *next;
};

struct block {
    struct list link;
    struct free_object *free;
    uint32_t used;  /* objects handed out */
    uint32_t fresh; /* objects never handed out start at this index */
    _Alignas(16) unsigned char objects[];
};

void slab_init(struct slab *s, size_t object_bytes)
{
    size_t size = (object_bytes + 15) & ~(size_t)15;
    CHECK(size >= sizeof(struct free_object));
    CHECK(size <= BLOCK_BYTES / 2);
    *s = (struct slab){.object_bytes = (uint32_t)size};
    s->per_block = (uint32_t)((BLOCK_BYTES - sizeof(struct block)) / size);
    list_init(&s->partial);
    list_init(&s->full);
}

/* Twice the size is mapped and trimmed, so that the block is aligned to its own size. */
static struct block *block_map(void)
{
    if (mem_should_fail())
        return NULL;
    char *raw =
        mmap(NULL, 2 * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    char *aligned = (char *)(((uintptr_t)raw + BLOCK_BYTES - 1) & ~(uintptr_t)(BLOCK_BYTES - 1));
    if (aligned > raw)
        (void)munmap(raw, (size_t)(aligned - raw));
    size_t tail = (size_t)(raw + 2 * BLOCK_BYTES - (aligned + BLOCK_BYTES));
    if (tail > 0)
        (void)munmap(aligned + BLOCK_BYTES, tail);
    return (struct block *)(void *)aligned;
}

static void block_unmap(struct slab *s, struct block *b)
{
    list_remove(&b->link);
    s->blocks--;
    UNPOISON(b, BLOCK_BYTES);
    (void)munmap(b, BLOCK_BYTES);
}

void *slab_alloc(struct slab *s)
{
    struct list *first = list_first(&s->partial);
    struct block *b;
    if (first) {
        b = LIST_ENTRY(first, struct block, link);
    } else {
        b = block_map();
        if (!b)
            return NULL;
        b->free = NULL;
        b->used = b->fresh = 0;
        list_push_front(&s->partial, &b->link);
        s->blocks++;
    }
    if (b->used == 0 && b->fresh > 0) /* it was used before, and kept */
        s->empty--;
    void *object;
    if (b->free) {
        object = b->free;
        UNPOISON(object, s->object_bytes);
        b->free = b->free->next;
    } else {
        object = b->objects + (size_t)b->fresh * s->object_bytes;
        b->fresh++;
    }
    b->used++;
    s->live++;
    if (!b->free && b->fresh == s->per_block) {
        list_remove(&b->link);
        list_push_front(&s->full, &b->link);
    }
    return object;
}

void slab_free(struct slab *s, void *object)
{
    struct block *b = (struct block *)((uintptr_t)object & ~(uintptr_t)(BLOCK_BYTES - 1));
    bool was_full = !b->free && b->fresh == s->per_block;
    struct free_object *f = object;
    f->next = b->free;
    b->free = f;
    POISON(object, s->object_bytes);
    CHECK(b->used > 0);
    b->used--;
    s->live--;
    if (was_full) {
        list_remove(&b->link);
        list_push_front(&s->partial, &b->link);
    }
    if (b->used > 0)
        return;
    /* It is kept until slab_trim(), so that a load that comes and goes with each loop turn does not
     * map and unmap; and it is filled last. */
    s->empty++;
    list_remove(&b->link);
    list_push_back(&s->partial, &b->link);
}

void slab_trim(struct slab *s)
{
    for (size_t n = s->empty / 2; n > 0; n--) {
        block_unmap(s, LIST_ENTRY(s->partial.prev, struct block, link));
        s->empty--;
    }
}

void slab_free_all(struct slab *s)
{
    CHECK(s->live == 0);
    s->empty = 0;
    while (!list_empty(&s->partial))
        block_unmap(s, LIST_ENTRY(s->partial.next, struct block, link));
}
