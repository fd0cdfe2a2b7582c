/* cleanup_order.c - last in, first out, but for `after`. */
#include "lifecycle/cleanup_order.h"

/* Longer chains share as if they ended here, and so do those that branch too often to be followed.
 */
enum { CHAIN_MAX = 16, CHAIN_STEPS = 64 };

void cleanup_order_init(struct cleanup_order *o)
{
    *o = (struct cleanup_order){0};
    list_init(&o->waiting);
    list_init(&o->running);
}

void cleanup_order_add(struct cleanup_order *o, struct cleanup_item *i)
{
    struct list *at = o->waiting.next;
    while (at != &o->waiting && LIST_ENTRY(at, struct cleanup_item, link)->age > i->age)
        at = at->next;
    list_insert_between(&i->link, at->prev, at);
    o->n_waiting++;
    o->n_after += i->n_after > 0;
}

static bool waits_for(const struct cleanup_item *i, const struct cleanup_item *other)
{
    for (uint32_t k = 0; k < i->n_after; k++) {
        /* Two of one name do not wait for each other. */
        if (str_eq(i->after[k], other->name) && !str_eq(i->name, other->name))
            return true;
    }
    return false;
}

static bool is_blocked(const struct cleanup_order *o, const struct cleanup_item *i)
{
    if (i->n_after == 0)
        return false;
    LIST_FOREACH (it, &o->running) {
        if (waits_for(i, LIST_ENTRY(it, struct cleanup_item, link)))
            return true;
    }
    LIST_FOREACH (it, &o->waiting) {
        const struct cleanup_item *other = LIST_ENTRY(it, struct cleanup_item, link);
        if (other != i && waits_for(i, other))
            return true;
    }
    return false;
}

static struct cleanup_item *start(struct cleanup_order *o, struct cleanup_item *i)
{
    list_remove(&i->link);
    list_push_back(&o->running, &i->link);
    o->n_waiting--;
    o->n_running++;
    return i;
}

struct cleanup_item *cleanup_order_next(struct cleanup_order *o, uint32_t most)
{
    if (o->n_waiting == 0 || o->n_running >= most)
        return NULL;
    LIST_FOREACH (it, &o->waiting) {
        struct cleanup_item *i = LIST_ENTRY(it, struct cleanup_item, link);
        if (!is_blocked(o, i))
            return start(o, i);
    }
    /* All wait for each other. */
    return o->n_running == 0 ? start(o, LIST_ENTRY(o->waiting.next, struct cleanup_item, link))
                             : NULL;
}

static bool is_running(const struct cleanup_order *o, const struct cleanup_item *i)
{
    LIST_FOREACH (it, &o->running) {
        if (it == &i->link)
            return true;
    }
    return false;
}

void cleanup_order_remove(struct cleanup_order *o, struct cleanup_item *i)
{
    if (!list_linked(&i->link))
        return;
    if (is_running(o, i))
        o->n_running--;
    else
        o->n_waiting--;
    o->n_after -= i->n_after > 0;
    list_remove(&i->link);
}

/* How many turns are needed one after the other from this one on. */
static uint32_t chain(const struct cleanup_order *o, const struct cleanup_item *i, uint32_t depth,
                      uint32_t *steps)
{
    uint32_t longest = 0;
    if (depth >= CHAIN_MAX || (*steps)++ >= CHAIN_STEPS)
        return 1;
    LIST_FOREACH (it, &o->waiting) {
        const struct cleanup_item *other = LIST_ENTRY(it, struct cleanup_item, link);
        if (other->n_after > 0 && waits_for(other, i)) {
            uint32_t n = chain(o, other, depth + 1, steps);
            longest = n > longest ? n : longest;
        }
    }
    return longest + 1;
}

usec_t cleanup_order_deadline(const struct cleanup_order *o, const struct cleanup_item *i,
                              uint32_t most, usec_t now, usec_t end)
{
    if (end <= now)
        return end;
    /* It runs already, and those that wait come behind it, `most` at a time. */
    uint32_t turns = 1 + (o->n_waiting + most - 1) / most;
    if (o->n_waiting == 0 || o->n_waiting + o->n_running <= most)
        turns = 1;
    if (o->n_after > 0) {
        uint32_t steps = 0, n = chain(o, i, 0, &steps);
        turns = n > turns ? n : turns;
    }
    return now + (end - now) / turns;
}
