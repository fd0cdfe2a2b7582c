/* stream_flight.h - a stream and its upstream's adaptive limit (policies/concurrency.h).
 *
 * In flight is a request from when it is let through to its answer's head: a long answer, an event
 * stream, a WebSocket no more. It stays so over retries. */
#ifndef SLUICE_PROXY_STREAM_FLIGHT_H
#define SLUICE_PROXY_STREAM_FLIGHT_H

#include "base/result.h"
#include "proxy/pool.h"
#include "proxy/stream.h"

/* Is there anything to ask? */
static inline bool stream_needs_flight(const struct stream *s)
{
    return s->pool->conf->concurrency && !s->in_flight && !s->tcp;
}

/* False: it is refused. */
bool stream_flight_begin(struct stream *s);
/* The others are for s->in_flight. The head of its answer goes to the client. */
void stream_flight_answered(struct stream *s);
/* A try of it has ended so, or gets an answer now. */
void stream_flight_tried(struct stream *s, enum result result, enum reason reason);
void stream_flight_end(struct stream *s);

#endif
