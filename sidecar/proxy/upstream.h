/* upstream.h - a connection to an endpoint: one HTTP/1 stream at a time, or bytes. */
#ifndef SLUICE_PROXY_UPSTREAM_H
#define SLUICE_PROXY_UPSTREAM_H

#include "http/h1_parse.h"
#include "io/conn.h"
#include "proxy/pool.h"
#include "proxy/side.h"

enum { UPSTREAM_MAGIC = 0x55505354 };

enum upstream_state {
    UPSTREAM_CONNECTING,
    UPSTREAM_IDLE,
    UPSTREAM_HEAD, /* leased; a response's head is awaited */
    UPSTREAM_BODY,
    UPSTREAM_RAW,
    UPSTREAM_CLOSED,
};

struct upstream_conn {
    uint32_t magic;
    uint8_t state; /* enum upstream_state */
    uint8_t tx;    /* enum body_kind of the request being sent */
    bool stalled;  /* reading is stopped until bytes are credited */
    bool keep;     /* the response leaves the connection usable */
    bool received; /* a byte of a response to the request in hand has come */
    bool write_failed;
    bool reset; /* it was the write that saw the peer's reset: reading will find a mere end */
    bool eof;
    bool pooled;               /* it has been idle: its server may close it at any time */
    struct endpoint *endpoint; /* a reference, until it is closed */
    struct worker *worker;
    struct pool *pool;
    struct conn conn;
    struct side side;
    struct list link;          /* pool's connecting or idle list (idle: latest used first) */
    struct list endpoint_link; /* endpoint's idle list, latest used first */
    struct stream *waiter;     /* while connecting: for whom */
    struct h1_head head;
    struct h1_body body;
    size_t uncredited;
    uint64_t requests;
    usec_t opened;
    usec_t idle_since;        /* while idle */
    usec_t told_idle_timeout; /* what its server told; USEC_NEVER: nothing, so the configured one */
    struct reap reap;
};

/* Begins to connect; NULL with *ret_reason. The pool learns the result by
 * pool_on_connected() or pool_on_connect_failed(). */
struct upstream_conn *upstream_connect(struct pool *p, struct endpoint *e, enum reason *ret_reason);
/* Gives it to a stream. */
void upstream_lease(struct upstream_conn *u, struct stream *s);
void upstream_close(struct upstream_conn *u);

#endif
