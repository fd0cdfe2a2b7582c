/* listener.h - a listening socket as one worker sees it.
 *
 * Keyed by name, address, protocol and direction: a reload that keeps these keeps the object, its
 * counters and its connections. One that the newest snapshot does not have leaves: it goes on
 * accepting until the control thread has closed the socket without a reset, its connections are
 * told to close, and what is left at the deadline is closed. */
#ifndef SLUICE_PROXY_LISTENER_H
#define SLUICE_PROXY_LISTENER_H

#include "config/config.h"
#include "io/loop.h"
#include "io/tls.h"
#include "proxy/stats.h"

struct listener_change;
struct view;
struct view_change;
struct worker;

/* What the workers share of it. */
struct listener_shared {
    _Atomic uint32_t refs; /* who made it, and the workers' listeners */
    _Atomic uint32_t open; /* connections, for maxConnections */
    struct tls_slot *tls;  /* never NULL; empty while conf_listener.tls is not enabled */
};

struct listener {
    struct worker *worker;
    struct view *view;                /* the newest that has it; held once it leaves */
    const struct conf_listener *conf; /* of that view's snapshot */
    struct listener_shared *shared;
    int fd;         /* shared by all workers, not closed here; -1: no more */
    bool accepting; /* but for pauses */
    bool leaving;
    bool noticed, last_called; /* its connections were told */
    struct ev_io io;
    struct listener_stats stats;
    /* While it leaves; monotonic. */
    struct list link; /* on worker->leaving */
    usec_t idle_from, idle_until, last_call_at, force_at;
    usec_t idle_next, websockets_next; /* the next idle one is not closed before */
    struct reap reap;
};

struct listener_shared *listener_shared_new(void);
void listener_shared_unref(struct listener_shared *s);

/* On the control thread, before the worker sees it. NULL when memory is short. */
struct listener *listener_new(struct worker *w, struct listener_shared *shared, int fd);
/* One that no worker has seen, or whose worker has stopped. */
struct listener *listener_free(struct listener *l);

/* On the worker: it is in this view, and accepts. */
void listener_enter(struct listener *l, struct view *v, const struct conf_listener *conf);
/* On the worker: the view that it was in is replaced by one that does not have it. */
void listener_leave(struct listener *l, const struct listener_change *how,
                    const struct view_change *change);

void listener_start(struct listener *l);
void listener_stop(struct listener *l);
/* Takes in all that waits, regardless of fairness, and leaves the socket: before it is closed. */
void listener_empty(struct listener *l);

/* A connection came, or has gone. */
void listener_count(struct listener *l, int change);

/* worker_leave.c: the time of those that leave. */
void worker_leave_tick(struct timer *t);

#endif
