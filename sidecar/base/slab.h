/* slab.h - objects of one size, for one thread.
 *
 * Allocating pops a free list; freeing pushes on it, so that the next object is warm in cache.
 * Blocks whose objects are all free go back to the kernel by slab_trim(). */
#ifndef SLUICE_BASE_SLAB_H
#define SLUICE_BASE_SLAB_H

#include "base/list.h"

#include <stdint.h>

struct slab {
    uint32_t object_bytes;
    uint32_t per_block;
    size_t live;         /* objects handed out */
    size_t blocks;       /* blocks held */
    struct list partial; /* blocks with a free object */
    struct list full;
    size_t empty; /* blocks kept without a live object */
};

void slab_init(struct slab *s, size_t object_bytes);
/* Gives every block back; CHECKs that nothing is live. */
void slab_free_all(struct slab *s);

/* NULL when memory is short. The memory is not cleared. */
void *slab_alloc(struct slab *s);
void slab_free(struct slab *s, void *object);

/* Gives half of the empty blocks back to the kernel. Once a second or so: what a burst has used
 * goes away in a few of them, and a steady load never maps. */
void slab_trim(struct slab *s);

#endif
