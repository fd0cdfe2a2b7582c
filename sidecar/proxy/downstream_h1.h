/* downstream_h1.h - HTTP/1 from a client, or bytes (TCP, a tunnel after 101). */
#ifndef SLUICE_PROXY_DOWNSTREAM_H1_H
#define SLUICE_PROXY_DOWNSTREAM_H1_H

#include "proxy/downstream.h"

extern const struct downstream_ops downstream_h1_ops;
/* What a stream may ask of it; in downstream_h1_side.c. */
extern const struct side_ops downstream_h1_side;

struct h1_beginning {
    bool raw;        /* whatever the bytes are they pass: the stream begins now */
    struct str name; /* raw: of the server that the client asked for */
    const char *p;   /* what has been read already; nothing: HTTP/2 may still come */
    size_t n;
};
/* It speaks HTTP/1, or bytes. It may be closed on return. */
void downstream_h1_begin(struct downstream *d, const struct h1_beginning *b);
/* From the side, when the stream has let go and the connection can carry another. */
void downstream_h1_next(struct downstream *d);
/* From the side, after a write. */
static inline void downstream_h1_note_blocked(struct downstream *d)
{
    d->side.blocked = d->conn.blocked;
    downstream_note_blocked(d);
}

#endif
