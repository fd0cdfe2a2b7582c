/* downstream_h2.h - HTTP/2 from a client: one connection, many streams.
 *
 * The codec (http/h2.h) makes messages of frames; here each of its streams becomes a side of a
 * struct stream. Frames are made and sent once at the end of a loop turn, whatever the turn
 * brought. */
#ifndef SLUICE_PROXY_DOWNSTREAM_H2_H
#define SLUICE_PROXY_DOWNSTREAM_H2_H

#include "http/h2.h"
#include "proxy/downstream.h"

enum { DOWNSTREAM_H2_MAGIC = 0x44483243, H2_REQUEST_MAGIC = 0x48325251 };

enum h2_goodbye {
    H2_STAYS,
    H2_NOTICED, /* GOAWAY(2^31-1) and PING are sent: the PING's ACK, or a second, is awaited */
    H2_FINAL,   /* GOAWAY(last id) is sent: the connection ends with its last stream */
};

struct downstream_h2 {
    uint32_t magic;
    uint8_t goodbye; /* enum h2_goodbye */
    bool failed;     /* counted: the client broke the protocol, or flooded us */
    struct downstream *d;
    struct h2 h2;
    struct list touched; /* h2_request.touched: what came for them goes on behind the feed */
    struct turn_end pump;
    uint32_t walk;     /* counts walks over the requests */
    struct buf unread; /* came while its requests were too large together (downstream_h2_crowd.c) */
    usec_t look_at;    /* whether they are still; 0: they are not */
    usec_t noticed_at;
    usec_t drained_at; /* the client has taken what the connection kept; 0: never kept */
    struct reap reap;
};

/* A request: one stream of the connection. Lives until the codec and the stream have let go. */
struct h2_request {
    uint32_t magic;
    bool pending_end;              /* of `pending` */
    bool arrived;                  /* its head, of which its stream has not been told yet */
    const struct message *pending; /* the response's head, not yet given to the codec */
    struct worker *worker;
    struct downstream_h2 *conn; /* NULL once it is on its way to the reaper */
    struct h2_stream st;
    struct side side;
    struct list touched;
    uint32_t walk;   /* the last that has seen it */
    usec_t since;    /* it began, or its last body byte came */
    uint64_t marked; /* body bytes sent at marked_at, while some were waiting */
    usec_t marked_at;
    struct reap reap;
};

extern const struct side_ops downstream_h2_side;

/* The client speaks HTTP/2: p[0..n) are its first bytes (the preface), n may be 0. From here on the
 * connection is d->h2's; it may be closed on return. */
void downstream_h2_begin(struct downstream *d, const char *p, size_t n);

/* Between its files. */

/* Bytes from the client; the connection may be closed on return. */
void downstream_h2_feed(struct downstream_h2 *c, const char *p, size_t n);

/* Frames are made at the end of the turn. */
static inline void downstream_h2_pump_soon(struct downstream_h2 *c)
{
    loop_at_turn_end(&c->d->worker->loop, &c->pump);
}
/* Something has to be looked at, at `at` or before. */
void downstream_h2_wake_at(struct downstream_h2 *c, usec_t at);
/* What has gone on of its requests is given back; true: it is crowded no more. */
bool downstream_h2_make_room(struct downstream_h2 *c);
/* These wait until it is so; nothing more is read. 0 or -ENOMEM. */
int downstream_h2_hold(struct downstream_h2 *c, const char *p, size_t n);
/* At the end of a turn: what waits goes on, if it can. The connection may be closed on return. */
void downstream_h2_go_on(struct downstream_h2 *c);
/* The codec has let go of it (st.h2 is NULL) and no stream has it: freed at the end of the turn. */
void downstream_h2_free_request(struct h2_request *r);

#endif
