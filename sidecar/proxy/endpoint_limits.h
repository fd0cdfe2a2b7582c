/* endpoint_limits.h - maxConnectionsPerEndpoint and maxRequestsPerEndpoint, exact over all workers.
 *
 * Both are counts in struct endpoint_shared. Connections are always counted; a request takes a
 * place only where its upstream has that limit, and keeps it from when it is bound to the endpoint,
 * by a connection that is being made or that it got, until its try ends. At the limit another
 * endpoint is chosen; where all are at it, requests wait in the pool's queue as at the upstream's
 * own limit. */
#ifndef SLUICE_PROXY_ENDPOINT_LIMITS_H
#define SLUICE_PROXY_ENDPOINT_LIMITS_H

#include "proxy/endpoint.h"
#include "proxy/pool.h"
#include "proxy/stream.h"

static inline bool endpoint_limits_set(const struct conf_upstream *conf)
{
    return (conf->bounds.connections_per_endpoint | conf->bounds.requests_per_endpoint) != 0;
}

/* Its upstream has such limits: has it no place for a request, or neither a connection with room
 * for it nor a place for a new one? */
bool endpoint_is_full(const struct endpoint *e, const struct stream *s);
/* It takes no more requests, s apart. */
bool endpoint_has_no_place(const struct endpoint *e, const struct stream *s);

/* A connection of it; false: it has as many as it may. */
bool endpoint_take_connection(struct endpoint *e);
void endpoint_give_connection(struct endpoint *e);

/* s is among its requests from now on, and no longer among another's; false: it has as many as it
 * may. */
bool endpoint_take_place(struct endpoint *e, struct stream *s);
static inline bool endpoint_place(struct endpoint *e, struct stream *s)
{
    return (e->pool->conf->limits.requests_per_endpoint == 0 && !s->place) ||
           endpoint_take_place(e, s);
}
/* Who waits is told. Harmless without one. */
void endpoint_leave_place(struct stream *s);

/* s waits for a place: others tell this worker when one may be free. */
void endpoint_limits_wait(struct pool *p, const struct stream *s);
/* A place, or a connection's, has become free. */
void endpoint_limits_tell(struct pool *p);

#endif
