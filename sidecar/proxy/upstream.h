/* upstream.h - a connection to an endpoint, whatever it speaks: how it comes, which state it is in,
 * how it goes. What passes on it is the protocol's: upstream_h1.h. */
#ifndef SLUICE_PROXY_UPSTREAM_H
#define SLUICE_PROXY_UPSTREAM_H

#include "io/conn.h"
#include "proxy/pool.h"
#include "proxy/upstream_h1.h"

enum { UPSTREAM_MAGIC = 0x55505354 };

enum upstream_state {
    UPSTREAM_CONNECTING,
    UPSTREAM_IDLE,
    UPSTREAM_ACTIVE, /* leased */
    UPSTREAM_CLOSED,
};

struct upstream_conn {
    uint32_t magic;
    uint8_t state;             /* enum upstream_state */
    bool pooled;               /* it has been idle: its server may close it at any time */
    struct endpoint *endpoint; /* a reference, until it is closed */
    struct worker *worker;
    struct pool *pool;
    struct conn conn;
    struct list link;          /* pool's connecting, idle (latest used first) or active list */
    struct list endpoint_link; /* endpoint's idle list, latest used first */
    struct stream *waiter;     /* while connecting: for whom */
    uint64_t requests;
    usec_t opened;
    usec_t idle_since;        /* while idle */
    usec_t told_idle_timeout; /* what its server told; USEC_NEVER: nothing, so the configured one */
    struct upstream_h1 h1;
    struct reap reap;
};

/* Begins to connect; NULL with *ret_reason. The pool learns the result by
 * pool_on_connected() or pool_on_connect_failed(). */
struct upstream_conn *upstream_connect(struct pool *p, struct endpoint *e, enum reason *ret_reason);
/* Gives it to a stream. */
void upstream_lease(struct upstream_conn *u, struct stream *s);
/* No stream has it any more. */
void upstream_close(struct upstream_conn *u);
/* The same, when it is seen while idle that the server has closed it, or has broken it. */
void upstream_close_idle(struct upstream_conn *u);

#endif
