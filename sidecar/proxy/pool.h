/* pool.h - the connections of one worker to one upstream: idle ones, those being made, and the
 * streams that wait.
 *
 * A pool leases a stream on a connection (HTTP/1 has one, HTTP/2 many). The limits are the
 * upstream's, for the whole process: they are counted in struct upstream_shared. */
#ifndef SLUICE_PROXY_POOL_H
#define SLUICE_PROXY_POOL_H

#include "config/config.h"
#include "io/loop.h"
#include "proxy/stats.h"

struct endpoint;
struct endpoint_list;
struct mailbox;
struct pool_levels;
struct stream;
struct upstream_conn;
struct upstream_shared;
struct worker;

struct pool {
    struct worker *worker;
    const struct conf_upstream *conf; /* the newest, until pool_configure() or pool_free(); nobody
                                         keeps a pointer into it */
    struct upstream_shared *shared;   /* a reference */
    struct upstream_stats *stats;     /* this worker's, in there */
    uint32_t n_endpoints;
    struct endpoint **endpoints; /* a reference on each */
    uint32_t endpoints_version;  /* their indexes mean something else in the next one */
    struct pool_levels *levels;  /* NULL: all endpoints stand at one place */
    uint32_t endpoints_alive;    /* those that are not listed any more too */
    uint32_t views;              /* how many of the worker's views name it; not the pool's own */
    /* Connections by their state; a connection that carries streams and has room for more (HTTP/2)
     * is on `open` too. */
    struct list idle;       /* all endpoints', latest used first */
    struct list connecting; /* oldest first */
    struct list active;     /* leased */
    struct list open;       /* upstream_conn.open_link, latest used first */
    struct list waiting;    /* pool_wait.link, oldest first */
    struct list unadmitted; /* pool_wait.link of who waits to be in flight, oldest first */
    struct timer admission_timer;
    struct list unreachable; /* endpoint.unreachable_link */
    uint32_t n_idle, n_connecting;
    uint32_t cursor;           /* round robin */
    uint32_t tls_rules;        /* counts changes of conf.tls: who was verified by others goes */
    bool retired;              /* nothing becomes idle, nothing is opened ahead */
    struct conf_upstream last; /* retired: what it had, as that snapshot may go before it */
    bool closing;
    usec_t idle_look;   /* when the idle ones are looked at; USEC_NEVER: there are none */
    struct timer timer; /* idle times, connect times, queue times */
};

/* On the control thread, before any worker sees its pool of this upstream. Enters itself in
 * shared->worker[] and takes a reference; takes `list` over, also on failure. NULL when memory is
 * short. */
struct pool *pool_new(struct worker *w, const struct conf_upstream *conf,
                      struct upstream_shared *shared, struct endpoint_list *list);
/* From here on, on the worker. Opens what minIdle asks for. */
void pool_fill(struct pool *p);
/* Other limits and times from now on. Nothing is cut by a lower limit; who waits has the benefit of
 * a higher one, and of other times, at once. */
void pool_configure(struct pool *p, const struct conf_upstream *conf);
/* Other endpoints from now on. Those whose endpoint_shared stays keep connections and state; idle
 * connections of the others are closed, busy ones end with their stream and are not used again.
 * Takes list over. 0, or -ENOMEM and the old ones stay. */
int pool_set_endpoints(struct pool *p, struct endpoint_list *list);
/* No route of the newest snapshot names it: idle connections close, minIdle is not kept. Streams
 * under way may still lease, and the connection closes behind them. pool_configure() undoes it. */
void pool_retire(struct pool *p);
/* Closes idle connections that are out of use, as many as this turn may; the timer closes the
 * others. True: some are idle still, used or not. */
bool pool_close_some(struct pool *p);
/* Closes what is left; CHECKs that nobody waits, is active or names an endpoint. Also when the
 * worker has stopped, or has never seen it. NULL is harmless; returns NULL. */
struct pool *pool_free(struct pool *p);

enum pool_lease { POOL_LEASED, POOL_WAITS, POOL_REFUSED };

/* A connection for s (s->up is set then), a place in the queue (stream_on_connected() or
 * stream_on_refused() comes later), or *ret_reason. `fresh`: no reused connection. */
enum pool_lease pool_lease(struct pool *p, struct stream *s, bool fresh, enum reason *ret_reason);
/* The stream does not wait any more. */
void pool_cancel(struct pool *p, struct stream *s);

/* From upstream.c and what speaks on connections. */
void pool_on_connected(struct pool *p, struct upstream_conn *u);
void pool_on_connect_failed(struct pool *p, struct upstream_conn *u, enum reason reason);
/* A stream has let go of it. Not `keep`: it cannot carry another. */
void pool_on_released(struct pool *p, struct upstream_conn *u, bool keep);
/* It carries another number of streams from now on, or became free to carry some. */
void pool_on_room(struct pool *p, struct upstream_conn *u);
/* It takes no more streams, and closes behind the last of those that it has; at once when it has
 * none. */
void pool_leave(struct pool *p, struct upstream_conn *u);
/* It is closed: its place is free. */
void pool_on_closed(struct pool *p, struct upstream_conn *u);

/* So many there were before this one: with limitsDryRun it is counted where `most` does not let it
 * in. */
static inline void pool_count_over(struct pool *p, enum limit limit, uint32_t before, uint32_t most)
{
    if (p->conf->limits_dry_run && before >= most)
        count_add(&p->stats->limits_dry_run[limit], 1);
}

/* Pending is who waits because the upstream is at a limit, not who waits for a connection that is
 * being made. False when `most` wait already. */
bool pool_count_pending(struct pool *p, struct stream *s, uint32_t most);
void pool_uncount_pending(struct pool *p, struct stream *s);

/* Runs fn with the same upstream's pool of another worker, on its thread, if it has one then. */
void pool_post(struct pool *p, uint32_t worker, void (*fn)(struct pool *));
/* From any thread: the same, for whoever has no pool at hand. */
void pool_post_shared(struct upstream_shared *u, struct worker *w, void (*fn)(struct pool *));

/* From the control thread: pool_set_endpoints() for the worker's pool of list->upstream, if it has
 * one when the mail arrives. Takes the list over. */
void pool_post_endpoints(struct mailbox *worker, struct endpoint_list *list);

/* Between the pool's own files: pool.c (who gets what), pool_conn.c (connections), pool_time.c,
 * pool_ask.c (other workers), pool_change.c. */

static inline uint64_t pool_bit(uint32_t worker)
{
    return UINT64_C(1) << worker;
}
/* Another worker waits for a slot. */
bool pool_others_starve(const struct pool *p);
/* The timer looks after everything that has a time, at `at` or before. */
void pool_wake_at(struct pool *p, usec_t at);
/* When one that is being made is looked at next. */
usec_t pool_connect_look(const struct pool *p, const struct upstream_conn *u, usec_t now);
/* One more is idle. */
void pool_look_at_idle(struct pool *p, const struct upstream_conn *u);
void pool_on_timer(struct timer *t);

uint32_t pool_connections_now(const struct pool *p);
/* More are open, in all or to e, than there may be: a reload has lowered that limit, or has made it
 * hold. What is idle then closes. */
bool pool_beyond(const struct pool *p, const struct endpoint *e);
/* Under way to e, its place in the limit already taken (and given back on failure). */
struct upstream_conn *pool_open(struct pool *p, struct endpoint *e, bool raw,
                                enum reason *ret_reason);
/* A place in the process-wide limit; false when there is none. */
bool pool_take_slot(struct pool *p);
/* The same for a connection to e that no request has asked for: without it nobody would wait, so it
 * keeps to limits that are only counted too. */
bool pool_take_spare_slot(struct pool *p, const struct endpoint *e);
void pool_give_slot(struct pool *p);
/* Out of use, and so not leased again: old, used up, of an endpoint that is not listed, of a
 * protocol that is not configured any more. */
bool pool_worn(const struct pool *p, const struct upstream_conn *u);
/* One idle connection more may be closed in this turn. False: the timer closes it in one of the
 * next.
 */
bool pool_may_close(struct pool *p);
/* It takes another stream. */
bool pool_has_room(const struct pool *p, const struct upstream_conn *u);
/* On the open lists as long as it is active and has room. */
void pool_look_for_room(struct pool *p, struct upstream_conn *u);
/* False when memory is short. */
bool pool_lease_on(struct pool *p, struct upstream_conn *u, struct stream *s);
/* Gives a stream of it to the first that may have it; false when nobody waits. */
bool pool_hand_over(struct pool *p, struct upstream_conn *u);
/* The stream is out of the queue. */
void pool_leave_queue(struct pool *p, struct stream *s);
/* What was being made for the stream did not come, for that reason: another one is made, or it
 * waits for a slot, or it is refused. */
void pool_seek_again(struct pool *p, struct stream *s, enum reason reason);

/* We wait, and the slots may be held as idle connections elsewhere: others are asked. */
void pool_ask_others(struct pool *p);
/* A slot is free, and others have asked. Our own bit stays: nobody else would know that we wait. */
void pool_tell_starving(struct pool *p);
/* Another worker has asked: an idle connection of ours is closed. Or it says that one is free. */
void pool_yield_idle(struct pool *p);
/* The same for a connection that carries streams and may never be idle: it is asked to end. */
void pool_yield_busy(struct pool *p);
void pool_slot_free(struct pool *p);

#endif
