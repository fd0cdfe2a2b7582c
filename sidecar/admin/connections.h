/* connections.h - GET /v1/connections: what is open, connection by connection.
 *
 * Each worker lists its own on its own thread, a bounded number of them; the control thread joins
 * the lists. */
#ifndef SLUICE_ADMIN_CONNECTIONS_H
#define SLUICE_ADMIN_CONNECTIONS_H

#include "admin/http_server.h"

/* ctx: struct control. ?limit=1..10000 (1000), ?class=http1|http2|websocket|tcp. */
void connections_get(struct http_request *req, void *ctx);

#endif
