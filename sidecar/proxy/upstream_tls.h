/* upstream_tls.h - TLS towards an endpoint: the transport, and what is told of a handshake. */
#ifndef SLUICE_PROXY_UPSTREAM_TLS_H
#define SLUICE_PROXY_UPSTREAM_TLS_H

#include "config/config.h"
#include "base/outcome.h"
#include "io/transport.h"

struct endpoint;
struct pool;
struct upstream_conn;

/* A transport over fd, of the kind that the upstream asks for. 0, or the failure's errno with
 * *ret_reason (fd is the caller's still). */
int upstream_transport(struct pool *p, struct endpoint *e, int fd, struct transport *ret,
                       enum reason *ret_reason);
/* The handshake is done: counted. */
void upstream_tls_done(struct upstream_conn *u);
/* A connection that failed before it stood, with this errno: counted and told; the reason, or
 * REASON_NONE when it was not TLS that failed. */
enum reason upstream_tls_failed(struct upstream_conn *u);
/* connectTimeout passed; harmless where TLS had not begun. */
void upstream_tls_timed_out(struct upstream_conn *u);

/* The same server would be believed, and be told the same of us. */
bool upstream_tls_same_rules(const struct conf_upstream_tls *a, const struct conf_upstream_tls *b);

#endif
