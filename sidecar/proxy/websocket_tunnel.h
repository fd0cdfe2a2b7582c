/* websocket_tunnel.h - what watches over a stream that is a WebSocket.
 *
 * It stands between the two sides of a tunnel that a 101 has opened: bytes go through it from relay
 * to side, as they are, followed by a frame reader (http/websocket.h) in each direction. It adds
 * frames of its own between theirs, and leaves out what belongs to these:
 *
 *   heartbeat   a peer that is silent for pingInterval gets a ping, whose pong is not passed on
 *   closing     by a limit, a fault of a peer, or the drain: a Close to both ends. What a peer sent
 *               before it saw that is dropped, its echo is awaited and not passed on, then FIN. A
 *               client by HTTP/2 gets that last, because its stream is gone then
 *
 * A Close goes between two messages of the direction that it goes in; where one does not end, at
 * LAST_CALL (or in CLOSE_WAIT, for other reasons) between two frames. What cannot be closed in this
 * way is cut. All on the worker's thread; nothing is freed before the stream is. */
#ifndef SLUICE_PROXY_WEBSOCKET_TUNNEL_H
#define SLUICE_PROXY_WEBSOCKET_TUNNEL_H

#include "http/websocket.h"
#include "proxy/stream.h"

enum { WEBSOCKET_TUNNEL_MAGIC = 0x57534f43 };

/* Also the direction of what it sends. */
enum websocket_who { WEBSOCKET_CLIENT, WEBSOCKET_SERVER };

struct websocket_peer {
    struct websocket_reader reader; /* of what it sends */
    bool close_pending;             /* our Close waits for the end of a message towards it */
    bool closed;                    /* it has got a Close: ours, or the other one's */
    bool said_close;                /* its Close has come (or is not waited for) */
    bool lost;                      /* dead, at fault, or ended: nothing is expected of it */
    bool ended;                     /* we have ended our direction to it */
    bool ping_pending;              /* our ping waits for the end of a frame towards it */
    bool pinged;                    /* our ping is with it, unanswered */
    uint8_t missed;                 /* pings in a row that it left unanswered */
    usec_t beat;                    /* its last byte, or our last ping */
    usec_t ping_at, pong_at;        /* our last one to it, its last one to us; 0: none */
};

struct websocket_tunnel {
    uint32_t magic;
    bool closing;          /* by us */
    bool ending;           /* all is said: our ends are sent, theirs are waited for */
    bool at_frame;         /* a message need not be ended for our Close */
    uint16_t code;         /* of our Close */
    uint16_t first_code;   /* of the first that was sent or came; 0: none yet */
    enum reason reason;    /* why we close */
    struct stream *stream; /* whose first_byte is when it was opened */
    struct list link;      /* in its population's websockets, until it is closing */
    struct websocket_peer peers[2];
    uint64_t ping_tag; /* what our pings carry */
    usec_t give_up_at; /* an echo or an end is not waited for any longer; 0: nothing is */
    usec_t rate_at;    /* maxMessageRate: when what has come would have been due */
};

/* After the 101's head: s->websocket watches from here on. 0 or -ENOMEM. */
int websocket_tunnel_begin(struct stream *s);
/* From stream_finish(), before the client's side is let go: it is counted no more. */
void websocket_tunnel_end(struct websocket_tunnel *t);
/* From the stream's reaper. */
void websocket_tunnel_free(struct worker *w, struct websocket_tunnel *t);

/* Bytes from a peer, to be passed on. The stream may have finished after it. */
void websocket_tunnel_data(struct websocket_tunnel *t, enum websocket_who from, const char *p,
                           size_t n);
/* The peer has ended its direction. True: the other one has our Close, and gets the end when it has
 * answered (or has had the time); else the end goes on to it. */
bool websocket_tunnel_ended(struct websocket_tunnel *t, enum websocket_who from);

/* When there is something to do, and that. Idle time too. */
usec_t websocket_tunnel_deadline(const struct websocket_tunnel *t);
void websocket_tunnel_check(struct websocket_tunnel *t, usec_t now);

/* Begins to close it with that code: between two messages. More calls change nothing. */
void websocket_tunnel_close(struct websocket_tunnel *t, enum websocket_code code,
                            enum reason reason);
/* The drain's last call: between two frames, then. */
void websocket_tunnel_last_call(struct websocket_tunnel *t);

#endif
