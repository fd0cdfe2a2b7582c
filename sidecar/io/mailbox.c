/* mailbox.c - work handed to another thread's loop. */
#include "io/mailbox.h"

static void run_all(struct mailbox *m)
{
    for (m->rests = false; !m->rests;) {
        (void)pthread_mutex_lock(&m->lock);
        struct list *first = list_first(&m->waiting);
        if (first)
            list_remove(first);
        (void)pthread_mutex_unlock(&m->lock);
        if (!first)
            return;
        struct mail *mail = LIST_ENTRY(first, struct mail, link);
        mail->fn(mail, m->owner);
    }
}

static void on_wake(struct ev_loop *ev, struct ev_async *w, int events)
{
    (void)ev;
    (void)events;
    run_all(CONTAINER_OF(w, struct mailbox, wake));
}

void mailbox_init(struct mailbox *m, struct loop *l, void *owner)
{
    (void)pthread_mutex_init(&m->lock, NULL);
    list_init(&m->waiting);
    m->loop = l;
    m->owner = owner;
    ev_async_init(&m->wake, on_wake);
    ev_async_start(l->ev, &m->wake);
}

void mailbox_free(struct mailbox *m)
{
    do {
        m->loop->pieces = LOOP_PIECES; /* there are no turns any more */
        run_all(m);
    } while (m->rests);
    ev_async_stop(m->loop->ev, &m->wake);
    (void)pthread_mutex_destroy(&m->lock);
}

void mailbox_post(struct mailbox *m, struct mail *mail, void (*fn)(struct mail *, void *owner))
{
    mail->link = (struct list){0};
    mail->fn = fn;
    (void)pthread_mutex_lock(&m->lock);
    list_push_back(&m->waiting, &mail->link);
    (void)pthread_mutex_unlock(&m->lock);
    ev_async_send(m->loop->ev, &m->wake);
}

void mailbox_again(struct mailbox *m, struct mail *mail)
{
    m->rests = true;
    (void)pthread_mutex_lock(&m->lock);
    list_push_front(&m->waiting, &mail->link);
    (void)pthread_mutex_unlock(&m->lock);
    ev_async_send(m->loop->ev, &m->wake);
}
