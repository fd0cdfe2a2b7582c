/* journal_index.c - the records that live, by id. */
#include "lifecycle/journal_index.h"

#include "base/hash_index.h"
#include "base/mem.h"

#include <errno.h>

enum { SLOTS_FIRST = 64, SLOTS_MAX = 1 << 24 };

void journal_index_init(struct journal_index *x)
{
    *x = (struct journal_index){0};
    list_init(&x->live);
}

void journal_index_clear(struct journal_index *x)
{
    LIST_FOREACH_SAFE (it, &x->live)
        free(LIST_ENTRY(it, struct journal_live, link));
    free(x->slots);
    journal_index_init(x);
}

static struct journal_live **slot_of(const struct journal_index *x, uint64_t id)
{
    return &x->slots[hash_end(hash_number(HASH_BEGIN, id)) & (x->n_slots - 1)];
}

struct journal_live *journal_index_find(const struct journal_index *x, uint64_t id)
{
    struct journal_live *l = x->n_slots ? *slot_of(x, id) : NULL;
    while (l && l->id != id)
        l = l->next;
    return l;
}

/* A failure to grow only makes look-ups slower, but for the first time. */
static int make_room(struct journal_index *x)
{
    if (x->n < x->n_slots || x->n_slots == SLOTS_MAX)
        return 0;
    uint32_t n = x->n_slots ? x->n_slots * 2 : SLOTS_FIRST;
    struct journal_live **more = mem_zalloc(n * sizeof(struct journal_live *));
    if (!more)
        return x->n_slots ? 0 : -ENOMEM;
    free(x->slots);
    x->slots = more;
    x->n_slots = n;
    LIST_FOREACH (it, &x->live) {
        struct journal_live *l = LIST_ENTRY(it, struct journal_live, link);
        struct journal_live **slot = slot_of(x, l->id);
        l->next = *slot;
        *slot = l;
    }
    return 0;
}

int journal_index_put(struct journal_index *x, uint64_t id, uint64_t at, uint32_t bytes)
{
    struct journal_live *l = journal_index_find(x, id);

    if (!l) {
        if (make_room(x) < 0 || !(l = mem_zalloc(sizeof(*l))))
            return -ENOMEM;
        struct journal_live **slot = slot_of(x, id);
        l->id = id;
        l->next = *slot;
        *slot = l;
        list_push_back(&x->live, &l->link);
        x->n++;
    }
    x->bytes += bytes;
    x->bytes -= l->bytes;
    l->at = at;
    l->bytes = bytes;
    return 0;
}

void journal_index_drop(struct journal_index *x, uint64_t id)
{
    if (!x->n_slots)
        return;
    for (struct journal_live **l = slot_of(x, id); *l; l = &(*l)->next) {
        struct journal_live *it = *l;
        if (it->id != id)
            continue;
        *l = it->next;
        list_remove(&it->link);
        x->bytes -= it->bytes;
        x->n--;
        free(it);
        return;
    }
}
