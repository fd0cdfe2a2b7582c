/* upstream.h - a connection to an endpoint, whatever it speaks: how it comes, which state it is in,
 * how it goes. What passes on it is the protocol's: upstream_h1.h, upstream_h2.h. */
#ifndef SLUICE_PROXY_UPSTREAM_H
#define SLUICE_PROXY_UPSTREAM_H

#include "io/conn.h"
#include "proxy/pool.h"
#include "proxy/upstream_h1.h"

struct upstream_h2;

enum { UPSTREAM_MAGIC = 0x55505354 };

/* Which of its pool's lists it is on; pool_conn.c moves it. */
enum upstream_state {
    UPSTREAM_CONNECTING,
    UPSTREAM_IDLE,
    UPSTREAM_ACTIVE, /* carries streams */
    UPSTREAM_CLOSED,
};

/* What depends on what it speaks; once it stands. */
struct upstream_ops {
    /* Gives it to a stream: s->up is set. False when memory is short. */
    bool (*lease)(struct upstream_conn *u, struct stream *s);
    /* It goes: says what the peer should hear. False: not now, as it is busy with the connection;
     * then it calls upstream_end() as soon as it is not. */
    bool (*goodbye)(struct upstream_conn *u);
    /* At the end of the turn: its memory. */
    void (*free)(struct upstream_conn *u);
    /* When its oldest stream began. */
    usec_t (*oldest)(const struct upstream_conn *u);
};

struct upstream_conn {
    uint32_t magic;
    uint8_t state;    /* enum upstream_state */
    bool pooled : 1;  /* it has been idle: its server may close it at any time */
    bool raw : 1;     /* made for a TCP stream, which speaks what it likes */
    bool orderly : 1; /* it goes with nothing under way: over TLS the server is told so */
    bool leaving : 1; /* carries what it has, and nothing more: closes behind the last */
    const struct upstream_ops *ops;
    struct endpoint *endpoint; /* a reference, until it is closed */
    struct worker *worker;
    struct pool *pool;
    struct conn conn;
    struct list link;          /* pool's connecting, idle (latest used first) or active list */
    struct list endpoint_link; /* endpoint's idle or open list, latest used first */
    struct list open_link;     /* pool's open list: active, and has room */
    struct list waiters;       /* while connecting: pool_wait.making_link, oldest first */
    uint32_t n_waiters;
    uint32_t tls_rules; /* the pool's, by which its server was verified */
    uint32_t streams;   /* that it carries */
    uint32_t most;      /* that the server takes; while connecting, that it is expected to take */
    uint64_t requests;
    usec_t opened;
    usec_t idle_since;        /* while idle */
    usec_t told_idle_timeout; /* what its server told; USEC_NEVER: nothing, so the configured one */
    struct upstream_h2 *h2;   /* NULL: it speaks HTTP/1 */
    struct upstream_h1 h1;
    struct reap reap;
};

/* Begins to connect, for a TCP stream or for requests; NULL with *ret_reason. The pool learns the
 * result by pool_on_connected() or pool_on_connect_failed(). */
struct upstream_conn *upstream_connect(struct pool *p, struct endpoint *e, bool raw,
                                       enum reason *ret_reason);
/* Gives it to a stream. False when memory is short. */
bool upstream_lease(struct upstream_conn *u, struct stream *s);
/* No stream has it any more. */
void upstream_close(struct upstream_conn *u);
/* The same, when it is seen while idle that the server has closed it, or has broken it. */
void upstream_close_idle(struct upstream_conn *u);
/* From its protocol: goodbye has been said. */
void upstream_end(struct upstream_conn *u);

#endif
