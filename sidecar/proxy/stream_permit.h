/* stream_permit.h - a stream and its upstream's circuit breaker (policies/circuit_breaker.h).
 *
 * A permit is taken with the place in flight, just before a connection is looked for, and not
 * before a queue: what it lets through goes at once. It is kept over tries that say nothing, and
 * told or given back exactly once, with the try's result or at the stream's end. */
#ifndef SLUICE_PROXY_STREAM_PERMIT_H
#define SLUICE_PROXY_STREAM_PERMIT_H

#include "base/result.h"
#include "proxy/pool.h"
#include "proxy/stream.h"
#include "proxy/upstream_shared.h"

struct process;

/* Is there anything to ask? The others are for where there is. */
static inline bool stream_has_breaker(const struct stream *s)
{
    return s->pool->conf->breaker.enabled || breaker_is_forced(&s->pool->shared->breaker);
}

/* It is not to wait in a queue: it would be refused behind it. */
bool stream_permit_refused(struct stream *s);
/* Another try of it would be refused, for certain. */
bool stream_permit_would_fail(const struct stream *s);
/* False: it is refused. */
bool stream_permit_take(struct stream *s);
/* It has waited for its connection, and the breaker has opened meanwhile: it is refused. */
bool stream_permit_lost(struct stream *s);
/* How the try went; RESULT_NOTHING gives the permit back. Harmless without one. */
void stream_permit_report(struct stream *s, enum result r);
/* A probe's response begins: a long one does not keep the breaker half-open. */
void stream_permit_answered(struct stream *s);

/* REASON_BREAKER_OPEN: when it is worth while to come again, in seconds. */
unsigned stream_permit_retry_after(const struct stream *s);

/* Any thread: who waits for this upstream, on any worker, and would be refused now, is refused now.
 */
void stream_permits_recall(struct process *p, struct upstream_shared *u);

#endif
