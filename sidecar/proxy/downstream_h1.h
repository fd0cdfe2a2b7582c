/* downstream_h1.h - the HTTP/1 side towards a client: what a stream may ask of it. */
#ifndef SLUICE_PROXY_DOWNSTREAM_H1_H
#define SLUICE_PROXY_DOWNSTREAM_H1_H

#include "proxy/downstream.h"

extern const struct side_ops downstream_h1_side;

/* Called by the side when the stream has let go: the next request, or the end. In downstream.c. */
void downstream_next_request(struct downstream *d);
void downstream_linger(struct downstream *d);
/* After a write: whether the client is behind, and since when. */
void downstream_note_blocked(struct downstream *d);
/* Sets the timer to what the connection has to look at next. */
void downstream_arm(struct downstream *d);
void downstream_set_population(struct downstream *d, bool idle);

#endif
