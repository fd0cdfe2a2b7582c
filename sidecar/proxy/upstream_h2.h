/* upstream_h2.h - an upstream connection that speaks HTTP/2: many streams, each a side of its own.
 *
 * upstream_h2.c is the connection (what is read and written, how it ends), upstream_h2_side.c its
 * streams. Frames are made once a loop turn, whatever asked for them. */
#ifndef SLUICE_PROXY_UPSTREAM_H2_H
#define SLUICE_PROXY_UPSTREAM_H2_H

#include "http/h2.h"
#include "io/loop.h"
#include "proxy/side.h"

struct endpoint;
struct upstream_conn;
struct worker;

struct upstream_h2 {
    struct upstream_conn *u;
    struct h2 codec;
    struct list streams; /* upstream_h2_stream.link, oldest first */
    struct list left;    /* the same, of those that nobody has and that end on the wire */
    struct list touched; /* upstream_h2_stream.touched_link: to be flushed behind the event */
    struct turn_end turn_end;
    struct timer ping;
    usec_t heard;  /* the last byte */
    usec_t pinged; /* 0: no answer is awaited */
    bool busy;     /* in h2_feed() or h2_pull() */
    bool broken;   /* no word of goodbye would be understood */
};

/* Made for a lease; ends at the end of a turn, when neither the stream nor the codec has it. */
struct upstream_h2_stream {
    struct side side;
    struct h2_stream st;
    struct upstream_h2 *h2;
    struct worker *worker;
    struct list link, touched_link;
    usec_t since;       /* the lease */
    bool not_taken;     /* by the codec: another connection may take it */
    bool unsent;        /* the head waits for the server's SETTINGS */
    bool bodiless;      /* the response has a head only, which waits for the stream's end */
    bool replayable;    /* `sent` is the whole body so far */
    struct buf sent;    /* for another try, until the response begins */
    enum reason failed; /* of a call that could not tell it; REASON_NONE: none */
    const char *failed_detail;
    struct reap reap;
};

/* After so many its stream numbers come to their end (RFC 9113 §5.1.1). */
enum { UPSTREAM_H2_REQUESTS = 1 << 30 };

/* Streams that a new connection is thought to take until the server's SETTINGS have come. */
uint32_t upstream_h2_expected(const struct endpoint *e);
/* The connection stands: HTTP/2 from here on. 0 or -ENOMEM. */
int upstream_h2_start(struct upstream_conn *u);

/* Between the two files. */
extern const struct h2_ops upstream_h2_ops;
/* NULL when memory is short. */
struct upstream_h2_stream *upstream_h2_stream_new(struct upstream_h2 *h2, struct stream *s);
void upstream_h2_stream_free(struct upstream_h2_stream *hs);
/* Something is to be sent, at the end of the turn. */
void upstream_h2_schedule(struct upstream_h2 *h2);
/* What was told to the streams goes on to their clients, and what could not be told at once is. */
void upstream_h2_flush(struct upstream_h2 *h2);

#endif
