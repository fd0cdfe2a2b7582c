/* listener.c - accepting, within the limits. */
#include "proxy/listener.h"

#include "io/socket.h"
#include "proxy/downstream.h"
#include "proxy/worker.h"

#include <errno.h>
#include <unistd.h>

/* One event takes at most this many, so that a burst of connections does not starve requests. */
enum { ACCEPT_BATCH = 32 };

/* A connection more would be over the process's limit. Workers that look at the same moment may go
 * over it by one each; so with a listener's. */
static bool process_full(const struct process *p)
{
    return atomic_load_explicit(&p->connections, memory_order_relaxed) >=
           atomic_load_explicit(&p->max_connections, memory_order_relaxed);
}

static bool listener_full(const struct listener *l)
{
    const struct process *p = l->worker->process;
    ptrdiff_t mine = l - l->worker->listeners;
    uint64_t open = 0;
    for (uint32_t i = 0; i < p->n_workers; i++)
        open += count_read(&p->workers[i].listeners[mine].stats.open);
    return open >= l->conf->max_connections;
}

/* False when there is nothing more to accept now. */
static bool accept_one(struct listener *l)
{
    struct address peer;
    if (process_full(l->worker->process)) {
        worker_pause_accept(l->worker);
        return false;
    }
    if (listener_full(l)) {
        worker_pause_listener(l->worker, l);
        return false;
    }
    int fd = socket_accept(l->fd, &peer);
    if (fd < 0) {
        /* No fds, no memory: the connections wait in the backlog, and the loop does not spin. */
        if (fd != -EAGAIN)
            worker_pause_accept(l->worker);
        return false;
    }
    count_add(&l->stats.accepted, 1);
    if (!downstream_open(l->worker, l, fd, &peer))
        count_add(&l->stats.refused, 1);
    return true;
}

static void on_acceptable(struct ev_loop *ev, struct ev_io *w, int events)
{
    struct listener *l = CONTAINER_OF(w, struct listener, io);
    (void)ev;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH && l->accepting; i++) {
        if (!accept_one(l))
            return;
    }
}

void listener_init(struct listener *l, struct worker *w, const struct conf_listener *conf, int fd)
{
    *l = (struct listener){.worker = w, .conf = conf, .fd = fd};
    ev_io_init(&l->io, on_acceptable, fd, EV_READ);
}

void listener_start(struct listener *l)
{
    if (l->accepting || l->fd < 0)
        return;
    l->accepting = true;
    ev_io_start(l->worker->loop.ev, &l->io);
}

void listener_stop(struct listener *l)
{
    l->accepting = false;
    ev_io_stop(l->worker->loop.ev, &l->io);
}

void listener_empty(struct listener *l)
{
    while (accept_one(l))
        ;
}
