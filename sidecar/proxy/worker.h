/* worker.h - one thread that serves: its loop, its connections, its pools, its counters.
 *
 * A connection lives and dies on one worker. What is shared by all workers is in struct process,
 * and written on a request's way only where a limit has to be exact. */
#ifndef SLUICE_PROXY_WORKER_H
#define SLUICE_PROXY_WORKER_H

#include "base/slab.h"
#include "config/snapshot.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "lifecycle/drain.h"
#include "lifecycle/report.h"
#include "policies/overload.h"
#include "proxy/authz_audit.h"
#include "proxy/learning.h"
#include "proxy/stats.h"

#include <pthread.h>

struct access_ring;
struct app;
struct leases;
struct listener;
struct view;
struct worker;

struct process {
    struct drain drain;
    _Atomic uint32_t overload; /* overload_word(), of the control thread */
    uint32_t n_workers;
    struct worker *workers;
    _Atomic uint32_t connections; /* downstream, all workers */
    _Atomic uint32_t max_connections;
    _Atomic uint64_t open[2]; /* by direction: what the drain waits for */
    bool close_listeners_at_drain;
    /* From a worker: a connection or stream ended while draining. */
    void (*changed)(struct process *);
    /* From a worker to the control thread's mailbox: a view is taken in, left, freed (view.h). */
    struct mailbox *control;
    void (*on_view_entered)(struct mail *, void *owner);
    void (*on_view_left)(struct mail *, void *owner);
    void (*on_view_freed)(struct mail *, void *owner);
    void (*on_unknown_key)(struct mail *, void *owner); /* jwt_state.h */
    _Atomic bool stopping;                              /* nobody reads that mailbox any more */
    struct leases *leases;                              /* the control thread's; NULL: none */
    struct app *app;                                    /* the same */
    struct list acquisitions;        /* the control thread's: acquisition.link, not answered yet */
    _Atomic uint32_t carriers_ended; /* connections on which learned sessions were used */
};

/* Connections of one direction. */
struct population {
    struct list idle; /* keep-alive, longest idle first */
    struct list active;
    struct list websockets; /* websocket_tunnel.link: those that nobody closes yet, oldest first */
    /* The drain: when the next of them is closed. */
    usec_t idle_next, websockets_next;
};

/* A phase of the drain on its way to a worker: one of each is enough, as none comes twice. */
struct phase_mail {
    struct mail mail;
    enum drain_phase phase;
};

/* worker_overload.h */
struct worker_overload {
    struct mail mail;
    _Atomic bool posted;
    bool stopped;
    enum overload_stage acts; /* which it has taken in */
    struct timer tick;        /* spreads the closing of idle connections */
    usec_t idle_until;        /* by then all that are idle from now on are closed */
    usec_t idle_next[2];      /* by enum direction: the next one is not closed before */
};

struct worker {
    uint32_t magic;
    uint32_t id;
    struct loop loop;
    struct mailbox mailbox;
    struct process *process;
    struct view *view;     /* what is in force here; NULL: nothing yet */
    struct list old_views; /* view.link, oldest first */
    struct list leaving;   /* listener.link: those that a reload removed */
    pthread_t thread;
    bool running;

    struct slab exchanges, websockets;
    struct slab downstreams, h2_requests, streams, upstreams, upstream_streams;
    struct population population[2]; /* by enum direction */
    struct route_scratch *route_scratch;
    struct access_ring *access_ring; /* NULL: no access log */

    struct timer drain_tick;   /* spreads the closing of idle connections */
    struct timer accept_retry; /* while accepting is paused */
    struct timer leave_timer;  /* while listeners leave */
    struct timer reseat_timer; /* while there are many old views */
    struct worker_overload overload;
    struct learn_worker learn;
    struct authz_audit authz_audit;
    struct drain_tally tally;
    struct phase_mail phase_mails[DRAIN_PHASES];
    struct mail leave_mail;
    _Atomic bool leave_posted;
    struct mail stop_mail;
    struct worker_stats stats;
};

enum { WORKER_MAGIC = 0x574f524b };

/* Everything but the thread. It serves nothing before its first view (view_post()). 0 or -errno. */
int worker_init(struct worker *w, uint32_t id, struct process *p);
int worker_start(struct worker *w);
/* Asks it to end (its connections are closed), and waits for the thread. */
void worker_stop(struct worker *w);
/* Its mails are run and its loop is freed; what it holds of views is the control thread's to tear
 * down between this and worker_free(). */
void worker_end(struct worker *w);
void worker_free(struct worker *w);

/* From the control thread, once for each phase that the drain enters. */
void worker_drain(struct worker *w, enum drain_phase phase);
/* From the control thread: drain_leave_for() says that peers are asked to leave for a while. */
void worker_leave(struct worker *w);
/* On the worker's own thread. The last connections of the backlogs are taken in, then the sockets
 * are left: of the listeners of a direction, or of those that a reload has removed. */
void worker_close_listeners(struct worker *w, enum direction d);
void worker_close_left(struct worker *w);
/* They are left as they are, with what waits in their backlogs: another process serves them. */
void worker_leave_listeners(struct worker *w);
/* On the worker's own thread, about once a second: memory that a burst has used goes back. */
void worker_trim(struct worker *w);
/* A downstream connection is open (+1) or closed (-1). */
void worker_count_connection(struct worker *w, enum direction d, int change);
/* Accepting is paused until a connection ends or a short time has passed: on one listener that is
 * full, or on all of them. */
void worker_pause_listener(struct worker *w, struct listener *l);
void worker_pause_accept(struct worker *w);

/* All that it has, those that leave too. */
void worker_each_listener(struct worker *w, void (*fn)(struct listener *));
/* Closes the first ones of a list, as many as bring the rest to zero at `until`. Returns how long
 * to wait before the next, and notes it in *next: few are spread over the time as evenly as many.
 * worker_drain.c */
usec_t worker_close_some(struct list *list, void (*close)(struct list *it), usec_t *next,
                         usec_t now, usec_t until);

/* What is decided about overload; 0: nothing is shed. */
static inline uint32_t worker_overload(const struct worker *w)
{
    return atomic_load_explicit(&w->process->overload, memory_order_relaxed);
}

static inline enum drain_phase worker_phase_for(const struct worker *w, enum direction dir)
{
    return drain_now_for(&w->process->drain, dir);
}

/* A client that is answered now is told to close its connection. */
static inline bool worker_offers_close(const struct worker *w, enum direction dir)
{
    return worker_phase_for(w, dir) != DRAIN_SERVING ||
           drain_leave_for(&w->process->drain, dir) != DRAIN_LEAVE_NOT;
}

static inline enum drain_phase worker_phase(const struct worker *w)
{
    return drain_now(&w->process->drain);
}

#endif
