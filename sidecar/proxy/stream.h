/* stream.h - one exchange from its first byte to its outcome: the tour of the proxy.
 *
 * A state machine whose steps read top to bottom in stream.c, one function a step, one driver:
 *
 *   receive -> route -> [authorize ->] limit -> [fault ->] split -> pick -> connect -> forward ->
 *   respond -> finish
 *
 * (a try that failed may lead back to pick, behind a backoff: stream_retry.c.) Its two ends are
 * sides: HTTP/1 connections here, HTTP/2 streams alike. A TCP connection is a stream that begins at
 * route and whose body is the connection. The stream holds its snapshot until it finishes and never
 * looks at a newer one, but for long ones of old snapshots (view_reseat.h). */
#ifndef SLUICE_PROXY_STREAM_H
#define SLUICE_PROXY_STREAM_H

#include "proxy/downstream.h"
#include "proxy/relay.h"
#include "proxy/worker.h"

struct downstream;
struct learning;
struct websocket_tunnel;
struct endpoint;
struct upstream_conn;

enum {
    STREAM_MAGIC = 0x5354524d,
    STREAM_INTERIM_MAX = 16,
    CONNECT_TRIES = 3, /* before a retry is asked for */
};

enum stream_step {
    STREAM_RECEIVE,
    STREAM_ROUTE,
    STREAM_AUTHORIZE, /* of a route that asks for it */
    STREAM_LIMIT,
    STREAM_FAULT,
    STREAM_SPLIT,
    STREAM_BACKOFF, /* between two tries */
    STREAM_PICK,
    STREAM_CONNECT,
    STREAM_FORWARD,
    STREAM_RESPOND,
    STREAM_FINISHED,
};

/* What had come of a response when its connection failed. */
enum upstream_silence {
    UPSTREAM_SPOKE,  /* some of it; or that was not the connection's end */
    UPSTREAM_SILENT, /* not a byte, and the connection has ended */
    UPSTREAM_STALE,  /* the same, of a reused one: it was being closed, most likely */
};

/* What the driver does after a step. */
enum stream_next { STREAM_NEXT, STREAM_WAIT };

/* A place in a pool's queue, or bound to a connection that is being made. */
struct pool_wait {
    struct stream *stream;        /* whose it is */
    struct list link;             /* on the pool's queue; unlinked: not waiting */
    usec_t since;                 /* queue_timeout counts from here; not while making */
    struct upstream_conn *making; /* the connection made for it; NULL: none yet */
    struct list making_link;      /* on that connection's waiters */
    bool counted;                 /* as pending: there was no slot to make one */
    usec_t look_at;               /* it waits for its answer: its connection is looked at then */
    uint16_t refused_family;      /* of the last endpoint that refused; AF_UNSPEC: none did */
    uint32_t tried_version;       /* the pool's endpoints_version that those bits are of */
    uint64_t tried_endpoints;     /* bits of those that refused this request's connects */
};

/* What becomes of a request that may be sent once more (stream_retry.c). */
struct stream_retry {
    usec_t at;           /* in STREAM_BACKOFF: its end */
    usec_t try_deadline; /* of this try, until the head of its answer; 0: none; USEC_NEVER: it is
                            over, and with dryRun only counted */
    struct buf body;     /* all that has come of the request's */
    uint8_t made;        /* retries */
    bool body_lost;      /* it is too long, or is needed no more */
    bool counted;        /* in upstream_shared.retries */
    bool no_budget;      /* for one more */
};

/* What a stream needs only while it waits for a connection and exchanges heads. A tunnel does
 * neither, and ten thousand idle ones are no rarity: as its bytes begin to flow, this goes
 * (stream_end_exchange). What is asked for later does not belong here. */
struct exchange {
    struct pool_wait wait;
    struct message res;                      /* the response's head */
    usec_t delayed_until;                    /* while stream.delayed */
    usec_t timeout_dry_run;                  /* when the route's would be over; 0: none, or told */
    uint64_t limit_claims[RATE_LIMITS_MAX];  /* authorize's word to limit (stream_limit.c) */
    struct text asked_path, asked_authority; /* in front of the route's rewrite; once prepared */
    struct message_room req_room, res_room;
    struct stream_retry retry; /* stream.retries */
};

struct stream {
    uint32_t magic;
    uint8_t step; /* enum stream_step */
    bool tcp;
    bool request_ended;  /* its last byte has come in */
    bool ended_early;    /* the client's end came before its upgrade was answered */
    bool response_begun; /* a final head was given to the client's side */
    bool response_ended;
    bool tunnel;                    /* after a 101, or TCP */
    bool prepared;                  /* the request head has been made ready for the next hop */
    bool headers_changed;           /* by the route's rules: once, whatever the number of tries */
    bool deadline_told;             /* X-Request-Deadline is ours, of this try or one before */
    bool fault_drawn, fault_aborts; /* what its route's faults make of it (stream_fault.c) */
    bool delayed;                   /* it has a place among those that wait for that */
    bool fresh;                     /* no reused connection for this try */
    bool first_byte_told;           /* that it is late, where that is only counted */
    bool moved;                     /* from a connection that was lost to another endpoint */
    bool admitted;                  /* counted in upstream_shared.requests */
    bool result_told;               /* of this try */
    bool last_called;               /* answered by LAST_CALL */
    bool in_flight;                 /* under the upstream's adaptive limit (stream_flight.h) */
    bool permit_held;               /* of the upstream's circuit breaker (stream_permit.h) */
    bool permit_probe;              /* the same, while that is half-open */
    bool head_gone; /* of the request only what the log tells is left: it can't be sent again */
    bool retries;   /* exchange->retry is in use: it may be sent once more */
    uint8_t tries;
    uint8_t tries_before; /* of these, those before the last retry */
    uint8_t interims;
    uint16_t status; /* given to the client */
    uint32_t permit_epoch;
    uint8_t rate_limit;   /* of the route's, that refused it */
    uint32_t retry_after; /* s, that an answer of ours says; 0: as its status has it */
    enum reason reason;
    const char *detail; /* a literal; what was wrong with the message */

    struct worker *worker;
    struct view *view; /* whose snapshot it holds */
    struct listener *accepted_on;
    const struct conf_listener *listener;
    const struct conf_route *route;       /* NULL before ROUTE */
    const struct conf_upstream *upstream; /* NULL before SPLIT */
    struct route_state *route_state;
    struct pool *pool;
    struct endpoint *endpoint;      /* a reference from lease to finish; NULL: none */
    struct endpoint *place;         /* a reference: it is among its requests (endpoint_limits.h) */
    const struct ip *peer_ip;       /* of the connection */
    struct str peer;                /* the same as text */
    const struct transport *client; /* of the connection; NULL: not told */

    struct side *down, *up; /* NULL when let go of */
    struct relay request, response;
    struct websocket_tunnel *websocket; /* NULL: it is none, or not open yet */
    struct learning *learn;             /* NULL: nothing is learned from it */
    struct message *trailers[2];        /* request, response; made when a chunked body begins */

    usec_t began, sent, first_byte;
    usec_t active_at;     /* last byte either way */
    usec_t deadline;      /* route timeout; once the response has begun, call_deadline */
    usec_t call_deadline; /* of a gRPC call, until its last byte; 0: none */
    void (*deadline_changed)(struct stream *);

    struct list link; /* on view->streams */
    struct reap reap;
    struct exchange *exchange; /* NULL once it is a tunnel */
    struct message req;
};

/* Begun by the downstream at the first byte (or at accept for TCP); NULL when memory is short. */
struct stream *stream_new(struct worker *w, struct listener *l, struct side *down,
                          const struct ip *peer_ip, struct str peer);
/* It carries bytes, for the server of that name (empty: none was given), and not a request. 0, or
 * -ENOMEM and it has ended. */
int stream_begin_raw(struct stream *s, struct str name);

/* From the downstream side. The request's head is in s->req. */
void stream_on_request(struct stream *s);
void stream_on_request_body(struct stream *s, const char *p, size_t n);
void stream_on_request_end(struct stream *s);
/* The message is bad, or came too slowly: an answer is given and the connection ends. */
void stream_on_request_error(struct stream *s, enum reason reason, const char *detail);
/* The client's HTTP/2 stream, a tunnel, has ended in both directions as it should. */
void stream_on_client_done(struct stream *s);
/* The client is gone (CLIENT_ABORT), or too slow in taking the response (CLIENT_TIMEOUT). */
void stream_on_client_gone(struct stream *s, enum reason reason);

/* From admission and from the pool: what the stream waited for has come (s->admitted, s->up), or
 * will not come. */
void stream_on_admitted(struct stream *s);
void stream_on_connected(struct stream *s);
/* From stream_check(): an injected delay is over. */
void stream_on_delay_over(struct stream *s);
void stream_on_refused(struct stream *s, enum reason reason);

/* From the upstream side. The response's head is in s->exchange->res. */
void stream_on_interim(struct stream *s);
void stream_on_response(struct stream *s);
void stream_on_response_body(struct stream *s, const char *p, size_t n);
void stream_on_response_end(struct stream *s);
/* The connection failed or misbehaved. */
void stream_on_upstream_failed(struct stream *s, enum reason reason, const char *detail,
                               enum upstream_silence silence);
/* The server says that it did not look at the request (RFC 9113 §8.7): it goes elsewhere, whatever
 * its method. `sent` is what has gone out of its body; NULL: that is no longer known. */
void stream_on_upstream_unprocessed(struct stream *s, const char *detail, const struct str *sent);

/* A side takes bytes again. */
void stream_on_writable(struct stream *s, struct side *side);

/* The earliest point at which stream_check() has something to do; USEC_NEVER: none. */
usec_t stream_next_deadline(const struct stream *s);
/* Ends the stream when one of its deadlines has passed. */
void stream_check(struct stream *s, usec_t now);

/* The drain's operations. */
void stream_last_call(struct stream *s);
/* At once: FORCED by a drain, ROUTE_REMOVED by a reload. */
void stream_force(struct stream *s);
/* In which order they are let go of: tunnels and TCP, responses under way, the others. */
enum force_rank stream_force_rank(const struct stream *s);

/* The request's head (and its trailers) have gone on: what they hold beyond the stream's own room
 * is given back, and with it the right to send them again. False: they are needed still. */
bool stream_let_head_go(struct stream *s);

/* It may try one more endpoint for the connection that it is waiting for. */
static inline bool stream_may_connect(const struct stream *s)
{
    return s->tries - s->tries_before < CONNECT_TRIES;
}

/* How many hops in front of us, the connection's peer first, are believed in X-Forwarded-For. */
uint32_t stream_trusted_hops(const struct stream *s);
/* The client's address: what the first of these hops tells, or without any the peer's. Not known
 * where it is told something else than an address, or the peer is a Unix socket's. */
struct ip stream_client_ip(const struct stream *s);

/* The message that collects trailers; NULL when memory is short. */
struct message *stream_trailers(struct stream *s, bool request);

#endif
