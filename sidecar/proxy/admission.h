/* admission.h - how many requests may be in flight to an upstream, over all workers.
 *
 * At maxRequests a request waits, for queueTimeout at most, until another one has ended; at most
 * maxPendingRequests wait. A place is a count in struct upstream_shared, so the limit is exact. */
#ifndef SLUICE_PROXY_ADMISSION_H
#define SLUICE_PROXY_ADMISSION_H

#include "base/outcome.h"

struct pool;
struct stream;

enum admission { ADMISSION_GRANTED, ADMISSION_WAITS, ADMISSION_REFUSED };

void admission_init(struct pool *p);
/* Nobody may wait any more. */
void admission_free(struct pool *p);

/* The limit or the time is another now: soon it is seen who may go on. */
void admission_look(struct pool *p);

/* A place for s, or one in the queue (stream_on_admitted() or stream_on_refused() comes later;
 * pool_cancel() leaves it), or *ret_reason. A stream that has its place keeps it. */
enum admission admission_ask(struct pool *p, struct stream *s, enum reason *ret_reason);
/* The stream has ended: its place is free. Harmless for one without a place. */
void admission_leave(struct pool *p, struct stream *s);

#endif
