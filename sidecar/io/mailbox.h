/* mailbox.h - work handed to another thread's loop, in order. Off the request's way. */
#ifndef SLUICE_IO_MAILBOX_H
#define SLUICE_IO_MAILBOX_H

#include "io/loop.h"

#include <pthread.h>

/* Embedded in what is sent; the receiver owns it from then on. */
struct mail {
    struct list link;
    void (*fn)(struct mail *, void *owner);
};

struct mailbox {
    pthread_mutex_t lock;
    struct list waiting;
    bool rests; /* what waits is for the next turn */
    struct ev_async wake;
    struct loop *loop;
    void *owner; /* handed to each fn */
};

void mailbox_init(struct mailbox *m, struct loop *l, void *owner);
/* On the receiving thread, when nobody posts any more; what waits is run first. */
void mailbox_free(struct mailbox *m);
/* From any thread. */
void mailbox_post(struct mailbox *m, struct mail *mail, void (*fn)(struct mail *, void *owner));
/* From the fn of a mail that has more to do than a turn may take: it is called again in the next
 * one, before all that waits. */
void mailbox_again(struct mailbox *m, struct mail *mail);

#endif
