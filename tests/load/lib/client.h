/* client.h - connections that send requests over raw epoll and judge how each of them ended. */
#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include "options.h"
#include "report.h"
#include "response.h"

#include "base/list.h"

enum { CLIENT_READ_BYTES = 256 * 1024, CLIENT_WHEEL_SLOTS = 1024 };

enum conn_state {
    CONN_CLOSED, /* no socket; a timer brings it back, or it has ended */
    CONN_CONNECTING,
    CONN_SENDING,
    CONN_READING,
    CONN_READY,     /* open, no request on it */
    CONN_AWAIT_FIN, /* answered for the last time; the peer closes first and keeps TIME_WAIT */
};

enum conn_role { ROLE_LOAD, ROLE_IDLE, ROLE_STUCK };

struct conn {
    int fd;
    uint8_t state;     /* enum conn_state */
    uint8_t role;      /* enum conn_role */
    bool reused;       /* an answer came on it before */
    bool got_bytes;    /* of the present answer */
    bool in_pieces;    /* the present request did not go out in one send */
    uint8_t method;    /* index in options.request */
    uint32_t interest; /* epoll events armed; 0: not yet in epoll */
    const struct request *request;
    size_t sent; /* bytes of the request; with --tcp also what has been compared below */
    size_t echoed;
    uint64_t sent_turn; /* loop turn in which the request's first byte went */
    usec_t sent_at;     /* and when */
    usec_t started;     /* what its latency counts from; 0: no request is due on it */
    usec_t connect_at;
    uint64_t due_ms; /* in the wheel */
    struct list timer;
    struct list ready; /* in client.ready: may take the next request (--rate) */
    struct response response;
};

struct client {
    const struct options *o;
    struct report report;
    int epoll;
    bool stopping; /* no new requests */
    usec_t now;
    usec_t checked; /* when time-outs were last looked for */
    uint64_t turn;
    uint64_t next_method, next_number;
    uint64_t rate_started; /* requests of --rate that were given to a connection */
    uint32_t in_flight;    /* requests sent and not ended */
    uint32_t idle_served;  /* connections of --idle that got their answer */
    uint32_t idle_started;
    uint32_t rng;
    uint32_t n_timers;
    uint64_t wheel_ms;
    struct list wheel[CLIENT_WHEEL_SLOTS];
    struct list ready;
    struct conn *conns;
    uint32_t n_conns;
    char *in;
};

/* 0 or a negative errno. */
int client_init(struct client *cl, const struct options *o);
void client_free(struct client *cl);
void client_start(struct client *cl);
void client_event(struct client *cl, struct conn *c, uint32_t events);
/* Timers, requests that are due, and (now and then) time-outs; once a loop turn. Returns how long
 * the loop may sleep, in milliseconds. */
int client_tick(struct client *cl);
/* No further requests; those in flight go on. */
void client_stop(struct client *cl);
/* Counts what is still in flight as unfinished and closes everything. */
void client_end(struct client *cl);

#endif
