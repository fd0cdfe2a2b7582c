/* journal_index.h - the records that live, by id: where each stands in the file. */
#ifndef SLUICE_LIFECYCLE_JOURNAL_INDEX_H
#define SLUICE_LIFECYCLE_JOURNAL_INDEX_H

#include "base/list.h"

#include <stdint.h>

struct journal_live {
    struct list link; /* in the order in which the ids were first put */
    struct journal_live *next;
    uint64_t id;
    uint64_t at;    /* in the file */
    uint32_t bytes; /* of the whole record */
};

/* All zero but for the list is a valid empty one. */
struct journal_index {
    struct list live;
    struct journal_live **slots;
    uint32_t n_slots; /* a power of two; 0: none yet */
    uint64_t n;
    uint64_t bytes; /* of all that live */
};

void journal_index_init(struct journal_index *x);
void journal_index_clear(struct journal_index *x);
struct journal_live *journal_index_find(const struct journal_index *x, uint64_t id);
/* 0, or -ENOMEM and nothing has changed. One that is there keeps its place in the order. */
int journal_index_put(struct journal_index *x, uint64_t id, uint64_t at, uint32_t bytes);
/* Harmless when it is not there. */
void journal_index_drop(struct journal_index *x, uint64_t id);

#endif
