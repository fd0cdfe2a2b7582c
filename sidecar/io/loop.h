/* loop.h - one thread's event loop (libev) and what every connection on it shares. */
#ifndef SLUICE_IO_LOOP_H
#define SLUICE_IO_LOOP_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/rng.h"

#include <ev.h>

/* What one turn does of work that is divided among turns: pieces of 10 to 20 us, which is what the
 * close of a connection takes. */
enum { LOOP_PIECES = 32 };

/* So many descriptors' events are a turn's; what else is ready is the next ones'. */
enum { LOOP_EVENTS = 64 };

/* One read takes at most this much: what a stalled stream holds in each direction. */
enum { LOOP_SCRATCH_BYTES = 64 * 1024 };

/* An object that must not be freed inside a callback: unlinked and disarmed at once, freed by the
 * reaper at the end of the loop turn, when no stack frame can still point at it. */
struct reap {
    struct list link;
    void (*free)(struct reap *);
};

/* Work that many events of one turn ask for and that is done once, behind them all: the writing of
 * an HTTP/2 connection. Embedded in whose work it is. */
struct turn_end {
    struct list link;
    void (*fn)(struct turn_end *);
};

struct loop {
    struct ev_loop *ev;
    usec_t now;      /* monotonic, when this turn's events were fetched */
    uint32_t pieces; /* that this turn has left */
    struct list dead;
    struct list turn_ends;
    struct list killed; /* child.c: commands that the kernel has not ended yet */
    struct buf_pool bufs;
    struct rng rng;
    char *scratch; /* LOOP_SCRATCH_BYTES; where reads go. Valid until the callback ends */
    struct ev_prepare before_wait;
    struct ev_prepare turn_end; /* never started: fed, with the lowest priority */
    struct ev_check after_wait;
};

/* 0 or -ENOMEM. `is_default` is for the one thread that handles signals and children. */
int loop_init(struct loop *l);
void loop_free(struct loop *l);
void loop_run(struct loop *l);
/* From a callback: loop_run() returns at the end of this turn. */
void loop_stop(struct loop *l);

/* For work that a reload, a burst or the like makes much of at once, whoever has it: true, and this
 * turn may do so many pieces of it more; false, and the rest is for the next turn. One that is more
 * than is left is begun all the same. */
static inline bool loop_spend(struct loop *l, uint32_t pieces)
{
    if (l->pieces == 0)
        return false;
    l->pieces -= pieces < l->pieces ? pieces : l->pieces;
    return true;
}

/* What was stopped is forgotten by the kernel too, before the loop waits again: libev leaves it to
 * the descriptor's close, which does not do it for a socket that another process has as well. The
 * next event there would have libev change what it watches under that number, which another thread
 * may have by then. Costs a call for each descriptor that is watched. */
void loop_forget(struct loop *l);

/* Hands an object to the reaper; once only. */
void loop_reap(struct loop *l, struct reap *r, void (*free_fn)(struct reap *));

static inline void turn_end_init(struct turn_end *t, void (*fn)(struct turn_end *))
{
    *t = (struct turn_end){.fn = fn};
}
/* fn is called once behind the events of this turn; harmless when it waits already. */
void loop_at_turn_end(struct loop *l, struct turn_end *t);
/* Before the memory goes. */
static inline void turn_end_cancel(struct turn_end *t)
{
    list_remove(&t->link);
}

/* A timer that is cheap to move later: setting it to a later time only notes it, and when it
 * fires too early it arms itself again for the rest. Embedded in what it times. */
struct timer {
    struct ev_timer ev;
    usec_t at;    /* monotonic; 0: off */
    usec_t armed; /* what libev was told; 0: nothing */
    void (*fn)(struct timer *);
};

void timer_init(struct timer *t, void (*fn)(struct timer *));
/* at: absolute monotonic; 0 turns it off without touching libev. */
void timer_set(struct loop *l, struct timer *t, usec_t at);
/* Before the memory goes. */
void timer_stop(struct loop *l, struct timer *t);

#endif
