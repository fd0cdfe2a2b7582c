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

struct stream;
struct upstream_conn;
struct upstream_shared;
struct worker;

struct endpoint {
    const struct conf_endpoint *conf;
    struct list idle; /* upstream_conn.endpoint_link, latest used first */
    uint32_t active;
    usec_t avoid_until; /* it refused a connect: others are preferred until then */
    struct endpoint_stats stats;
};

struct pool {
    struct worker *worker;
    const struct conf_upstream *conf;
    struct upstream_shared *shared;
    uint32_t n_endpoints;
    struct endpoint *endpoints;
    struct list idle;       /* all endpoints', latest used first */
    struct list connecting; /* oldest first */
    struct list waiting;    /* pool_wait.link, oldest first */
    struct list active;     /* leased */
    struct list unadmitted; /* pool_wait.link of who waits to be in flight, oldest first */
    struct timer admission_timer;
    uint32_t n_idle, n_connecting;
    uint32_t cursor; /* round robin */
    bool closing;
    struct timer timer; /* idle times, connect times, queue times */
    struct upstream_stats stats;
};

/* 0 or -ENOMEM. */
int pool_init(struct pool *p, struct worker *w, const struct conf_upstream *conf,
              struct upstream_shared *shared);
void pool_free(struct pool *p);
/* Opens what minIdle asks for. */
void pool_fill(struct pool *p);

enum pool_lease { POOL_LEASED, POOL_WAITS, POOL_REFUSED };

/* A connection for s (s->up is set then), a place in the queue (stream_on_connected() or
 * stream_on_refused() comes later), or *ret_reason. `fresh`: no reused connection. */
enum pool_lease pool_lease(struct pool *p, struct stream *s, bool fresh, enum reason *ret_reason);
/* The stream does not wait any more. */
void pool_cancel(struct pool *p, struct stream *s);

/* From upstream.c. */
void pool_on_connected(struct pool *p, struct upstream_conn *u);
void pool_on_connect_failed(struct pool *p, struct upstream_conn *u, enum reason reason);
/* The exchange is over and the connection can carry another. */
void pool_on_idle(struct pool *p, struct upstream_conn *u);
/* It is closed: its place is free. */
void pool_on_closed(struct pool *p, struct upstream_conn *u);

/* Pending is who waits because the upstream is at a limit, not who waits for a connection that is
 * being made. False when `most` wait already. */
bool pool_count_pending(struct pool *p, struct stream *s, uint32_t most);
void pool_uncount_pending(struct pool *p, struct stream *s);

/* Runs fn with the same upstream's pool of another worker, on its thread. */
void pool_post(struct pool *p, uint32_t worker, void (*fn)(struct pool *));

/* Another worker needs a connection slot: an idle one of ours is closed. Or one became free. */
void pool_yield_idle(struct pool *p);
void pool_slot_free(struct pool *p);

#endif
