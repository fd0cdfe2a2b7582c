/* cleanup_order.h - which release runs next. Pure.
 *
 * Last in, first out, several at once (`most`), so that one that hangs keeps no other from running;
 * one that is declared `after` others waits for the end of all of that name, however they ended.
 * With `most` 1 they run strictly one after another. Names that wait for each other in a circle
 * (the configuration's cannot; leases that are registered at run time might) are run all the same,
 * the newest first. */
#ifndef SLUICE_LIFECYCLE_CLEANUP_ORDER_H
#define SLUICE_LIFECYCLE_CLEANUP_ORDER_H

#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"

#include <stdint.h>

/* Embedded in what is to be released. */
struct cleanup_item {
    struct list link; /* on `waiting` or `running` */
    struct str name;
    const struct str *after;
    uint32_t n_after;
    uint64_t age; /* a higher number came later */
};

struct cleanup_order {
    struct list waiting; /* the newest first */
    struct list running;
    uint32_t n_waiting, n_running;
    uint32_t n_after; /* items of both that have an `after` */
};

void cleanup_order_init(struct cleanup_order *o);
void cleanup_order_add(struct cleanup_order *o, struct cleanup_item *i);
/* The next to start, which is running then; NULL: none may start now. */
struct cleanup_item *cleanup_order_next(struct cleanup_order *o, uint32_t most);
/* It has ended, or shall not run: it is in no list then. Harmless where it is in none. */
void cleanup_order_remove(struct cleanup_order *o, struct cleanup_item *i);

/* By when it must end, so that all that wait get a turn before `end`: what is left is shared among
 * the rounds that are needed, and by those that wait for it in a chain. */
usec_t cleanup_order_deadline(const struct cleanup_order *o, const struct cleanup_item *i,
                              uint32_t most, usec_t now, usec_t end);

#endif
