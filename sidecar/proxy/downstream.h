/* downstream.h - a client's connection, whatever it speaks: opened, counted, timed, drained,
 * closed.
 *
 * What it speaks is behind its ops: HTTP/1 and bytes in downstream_h1*.c, HTTP/2 in
 * downstream_h2*.c. */
#ifndef SLUICE_PROXY_DOWNSTREAM_H
#define SLUICE_PROXY_DOWNSTREAM_H

#include "http/h1_parse.h"
#include "io/conn.h"
#include "lifecycle/report.h"
#include "proxy/side.h"
#include "proxy/worker.h"

struct listener;
struct downstream;
struct downstream_h2;

enum { DOWNSTREAM_MAGIC = 0x444f574e };

enum downstream_state {
    DOWNSTREAM_HEAD,   /* idle between requests, or reading a head */
    DOWNSTREAM_BODY,   /* reading a request's body */
    DOWNSTREAM_WAIT,   /* the request is whole, its response is awaited or being sent */
    DOWNSTREAM_RAW,    /* TCP, or a tunnel after 101 */
    DOWNSTREAM_LINGER, /* our end is sent; what still comes is discarded until theirs */
    DOWNSTREAM_CLOSED,
};

/* In which order the drain forces what is left (DESIGN §3): each rank with those before it. */
enum force_rank {
    FORCE_TUNNELS,   /* and what is idle */
    FORCE_STREAMING, /* a response is under way */
    FORCE_ALL,
};

/* What is asked of a connection, whatever it speaks. */
struct downstream_ops {
    struct conn_ops conn;
    /* When there is something to look at next (monotonic; USEC_NEVER: nothing), and the look. */
    usec_t (*next_deadline)(const struct downstream *d);
    void (*check)(struct downstream *d, usec_t now);
    /* The client has gone (CLIENT_ABORT), or takes nothing (CLIENT_TIMEOUT): all ends. */
    void (*gone)(struct downstream *d, enum reason reason);
    /* The drain (or its listener's leaving) has begun: the peer is told, where its protocol can. */
    void (*notice)(struct downstream *d);
    /* It is idle and its turn to be closed has come (downstream_idle_close()). */
    void (*idle_close)(struct downstream *d);
    void (*last_call)(struct downstream *d);
    /* Ends its streams of that rank, and with the last one the connection. */
    void (*force)(struct downstream *d, enum force_rank rank);
};

/* Which sessions its connection carries, where that matters (learn_use.c). */
struct learn_carrier {
    uint64_t holder;  /* its number; 0: it has none, and carries none */
    uint64_t session; /* a hash of the last one */
    uint32_t ends;    /* process.carriers_ended when that was told */
};

struct downstream {
    uint32_t magic;
    uint8_t state;     /* enum downstream_state */
    uint8_t direction; /* enum direction */
    bool request_eof;  /* the client has ended its direction */
    bool must_close;   /* the response in hand says (or means) Connection: close */
    bool stalled;      /* reading is stopped until bytes are credited */
    bool flushed;      /* some of the response has been handed to the kernel */
    bool behind;       /* the client does not take what we send as fast as it comes */
    bool idle;         /* which of its population's lists it is on */
    bool sniffs;       /* nothing has been read yet that is not the beginning of HTTP/2's preface */
    bool idle_closed;  /* by the drain: bytes that come now have crossed our close */
    uint8_t tx;        /* enum body_kind of the response being sent */
    char peer[ADDRESS_IP_MAX];
    uint8_t peer_len;
    struct ip peer_ip;
    const struct downstream_ops *ops;
    struct downstream_h2 *h2; /* NULL: it speaks something else */
    struct worker *worker;
    struct listener *listener;
    struct conn conn;
    struct side side;
    struct learn_carrier carrier;
    struct timer timer;
    struct list link; /* in its population's idle or active list */
    struct h1_head head;
    struct h1_body body;
    struct buf pipelined; /* bytes behind the request in hand */
    size_t uncredited;    /* body bytes delivered and not yet taken by the other side */
    uint64_t requests;
    usec_t opened;
    usec_t since;     /* idle since; or when the head began; or last body byte */
    size_t sent_mark; /* while blocked: bytes that the client had not taken at sent_mark_at */
    usec_t sent_mark_at;
    struct reap reap;
};

/* Takes fd over. NULL when memory is short (fd is closed then). */
struct downstream *downstream_open(struct worker *w, struct listener *l, int fd,
                                   const struct address *peer);
/* Its handshake is done: it begins to speak what ALPN agreed on. It may be closed on return. */
void downstream_secured(struct downstream *d, struct str alpn);
/* Closes at once and frees at the end of the turn. No stream may be left on it. */
void downstream_close(struct downstream *d);
/* Our end is sent, what still comes is discarded until the client's. */
void downstream_linger(struct downstream *d);
/* It speaks that from now on. */
void downstream_set_ops(struct downstream *d, const struct downstream_ops *ops);
/* After a write: whether the client is behind, and since when. */
void downstream_note_blocked(struct downstream *d);
/* Why reading failed. Counted here unless a request is in hand, which tells it. */
enum reason downstream_read_failed(struct downstream *d);
/* Sets the timer to what the connection has to look at next. */
void downstream_arm(struct downstream *d);
/* Idle: between requests, closed by the drain in its own time. */
void downstream_set_population(struct downstream *d, bool idle);
/* The drain, or its listener's leaving, closes it as idle; but not before DRAIN_IDLE_LEAD. */
void downstream_idle_close(struct downstream *d);
/* For the drain's report: an idle connection ended. A listener that a reload removed is no drain.
 */
void downstream_tally_idle(struct downstream *d, enum drain_class cls, enum drain_how how);
/* A connection that failed while idle lingered: bytes that come now have crossed our close. */
void downstream_note_crossed(struct downstream *d);

#endif
