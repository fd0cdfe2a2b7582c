/* list.h - doubly linked lists whose links live inside what they link.
 *
 * An unlinked node has next == NULL, so "is it on a list" needs no flag. Iteration with
 * LIST_FOREACH_SAFE survives removal of the current item only: whoever calls out of a loop takes
 * the items off first (list_move), and puts each back before the call (list_step). */
#ifndef SLUICE_BASE_LIST_H
#define SLUICE_BASE_LIST_H

#include "base/check.h"

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != NULL;
}

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_between(node, head, head->next);
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_between(node, head->prev, head);
}

/* Harmless on a node that is on no list. */
static inline void list_remove(struct list *node)
{
    if (!node->next)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

static inline struct list *list_last(const struct list *head)
{
    return list_empty(head) ? NULL : head->prev;
}

/* The first, off the list; NULL: there is none. */
static inline struct list *list_pop(struct list *head)
{
    struct list *it = list_first(head);
    if (!it)
        return NULL;
    head->next = it->next;
    it->next->prev = head;
    it->next = it->prev = NULL;
    return it;
}

/* All of `from` goes behind what `to` has. */
static inline void list_move(struct list *from, struct list *to)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* The first of `rest`, which goes back to the end of its list; NULL: there is none left. */
static inline struct list *list_step(struct list *rest, struct list *back_to)
{
    struct list *it = list_first(rest);
    if (it) {
        list_remove(it);
        list_push_back(back_to, it);
    }
    return it;
}

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)

#define LIST_FOREACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)

#define LIST_FOREACH_SAFE(it, head)                                                                \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

#endif
