/* downstream.h - a client's connection: HTTP/1, or bytes. */
#ifndef SLUICE_PROXY_DOWNSTREAM_H
#define SLUICE_PROXY_DOWNSTREAM_H

#include "http/h1_parse.h"
#include "io/conn.h"
#include "lifecycle/report.h"
#include "proxy/side.h"
#include "proxy/worker.h"

struct listener;
struct downstream;

enum { DOWNSTREAM_MAGIC = 0x444f574e };

enum downstream_state {
    DOWNSTREAM_HEAD,   /* idle between requests, or reading a head */
    DOWNSTREAM_BODY,   /* reading a request's body */
    DOWNSTREAM_WAIT,   /* the request is whole, its response is awaited or being sent */
    DOWNSTREAM_RAW,    /* TCP, or a tunnel after 101 */
    DOWNSTREAM_LINGER, /* our end is sent; what still comes is discarded until theirs */
    DOWNSTREAM_CLOSED,
};

/* What the drain asks of a connection, whatever it speaks. */
struct drain_ops {
    void (*idle_close)(struct downstream *d); /* it is idle and its turn has come */
    void (*last_call)(struct downstream *d);
    void (*force)(struct downstream *d);
};

struct downstream {
    uint32_t magic;
    uint8_t state;     /* enum downstream_state */
    uint8_t direction; /* enum direction */
    bool request_eof;  /* the client has ended its direction */
    bool must_close;   /* the response in hand says (or means) Connection: close */
    bool stalled;      /* reading is stopped until bytes are credited */
    bool flushed;      /* some of the response has been handed to the kernel */
    bool idle_closed;  /* by the drain: bytes that come now have crossed our close */
    uint8_t tx;        /* enum body_kind of the response being sent */
    char peer[ADDRESS_IP_MAX];
    uint8_t peer_len;
    const struct drain_ops *drain;
    struct worker *worker;
    struct listener *listener;
    struct conn conn;
    struct side side;
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
    struct address address;
};

/* Takes fd over. NULL when memory is short (fd is closed then). */
struct downstream *downstream_open(struct worker *w, struct listener *l, int fd,
                                   const struct address *peer);
/* Closes at once and frees at the end of the turn. */
void downstream_close(struct downstream *d);

static inline bool downstream_idle(const struct downstream *d)
{
    return d->state == DOWNSTREAM_HEAD && !d->side.stream;
}

#endif
