/* view.h - a snapshot as one worker sees it: what its indexes mean at run time.
 *
 * What changes at run time (listeners, pools, route states) is keyed by name and outlives
 * snapshots. A view maps the indexes of one snapshot to those objects. The control thread builds a
 * view for each worker, with everything that memory is needed for; the worker takes it in between
 * two events, in a time that does not depend on how long the old streams go on: first the pools,
 * in as many turns of the loop as thousands of endpoints need, then all that is left in one.
 *
 *   control: build ──view_post──▸ worker: take in ──▸ control: entered
 *   worker: the last stream of an old view ends ──▸ control: left ──▸ (worker: pools that nothing
 *   names any more are closed) ──▸ control: freed */
#ifndef SLUICE_PROXY_VIEW_H
#define SLUICE_PROXY_VIEW_H

#include "config/snapshot.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "proxy/stats.h"

struct endpoint_list;
struct jwt_state;
struct listener;
struct pool;
struct route_split;
struct route_limits;
struct route_state;
struct stream;
struct worker;

struct route_slot {
    struct route_state *state;
    uint64_t shape;              /* generation in which its backends became what they are */
    struct route_limits *limits; /* the generation's; NULL: it has none */
};

/* A route of the same name whose backends are others than before. */
struct route_change {
    const struct conf_route *was; /* in the snapshot before */
    const struct conf_route *now;
    struct route_split *fresh; /* for the new one; afterwards the old one's, to be freed */
};

/* A listener that the new snapshot does not have. */
struct listener_change {
    struct listener *listener;
    bool keeps_fd; /* another one of the new snapshot goes on with its socket */
};

/* What the worker has to do besides changing one pointer; control frees it when it has entered. */
struct view_change {
    uint32_t n_routes, n_leaving, n_retired;
    struct route_change *routes;
    struct listener_change *leaving;
    struct pool **retired;        /* pools that the new snapshot does not name */
    struct endpoint_list **lists; /* by conf_upstream.index; NULL: as before */
    uint32_t n_taken;             /* upstreams whose pools have theirs */
    usec_t drain_timeout;         /* for the listeners that leave */
    usec_t last_call;
};

struct view {
    struct worker *worker;
    struct snapshot *snapshot;
    struct listener **listeners; /* by conf_listener.index */
    struct route_slot *routes;   /* by conf_route.index */
    struct pool **pools;         /* by conf_upstream.index */
    struct jwt_state **jwts;     /* by conf_jwt.index */
    counter_t held;              /* by streams, and by listeners that left with it */
    struct list streams;         /* stream.link, oldest first */
    struct list link;            /* on worker->old_views, oldest first; unlinked: in force */
    usec_t replaced;             /* monotonic; 0: in force */
    struct view_change *change;
    struct generation *generation; /* the control thread's */
    struct mail in, out;           /* to the worker and back: entered; left and back: freed */
    uint32_t n_dead;
    struct pool **dead; /* to be closed by the worker after it has left */
    struct timer bury;  /* while they have connections */
    struct reap reap;
    bool leaving;       /* handed to the reaper */
    bool names_dropped; /* the control thread's: its names are not counted any more */
};

/* A zeroed one. */
void view_init(struct view *v, struct worker *w);
/* From the control thread: in force for new streams as soon as the worker gets to it. */
void view_post(struct view *v);
/* From the control thread, after `left`: the pools in v->dead are closed and freed, then `freed`.
 */
void view_post_dead(struct view *v);

/* On the worker. A stream begins and ends with it. */
void view_hold(struct view *v, struct stream *s);
void view_release(struct view *v, struct stream *s);
/* A listener's hold, while its last connections go. */
void view_hold_listener(struct view *v);
void view_release_listener(struct view *v);

static inline bool view_in_force(const struct view *v)
{
    return v->replaced == 0;
}

#endif
