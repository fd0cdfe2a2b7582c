/* upstream_h1.h - an upstream connection that speaks HTTP/1, one stream at a time, or passes bytes.
 */
#ifndef SLUICE_PROXY_UPSTREAM_H1_H
#define SLUICE_PROXY_UPSTREAM_H1_H

#include "http/h1_parse.h"
#include "proxy/side.h"

struct upstream_conn;

enum upstream_h1_phase {
    UPSTREAM_H1_HEAD, /* a response's head is awaited */
    UPSTREAM_H1_BODY,
    UPSTREAM_H1_RAW,
};

struct upstream_h1 {
    uint8_t phase; /* enum upstream_h1_phase; while leased */
    uint8_t tx;    /* enum body_kind of the request being sent */
    bool stalled;  /* reading is stopped until bytes are credited */
    bool keep;     /* the response leaves the connection usable */
    bool received; /* a byte of a response to the request in hand has come */
    bool write_failed;
    bool reset; /* it was the write that saw the peer's reset: reading will find a mere end */
    bool eof;
    struct side side;
    struct h1_head head;
    struct h1_body body;
    size_t uncredited;
};

/* The connection stands: reads on it from here on. */
void upstream_h1_start(struct upstream_conn *u);

#endif
