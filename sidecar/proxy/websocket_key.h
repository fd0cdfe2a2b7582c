/* websocket_key.h - did the server really agree to a WebSocket? (RFC 6455 §4.2.2) */
#ifndef SLUICE_PROXY_WEBSOCKET_KEY_H
#define SLUICE_PROXY_WEBSOCKET_KEY_H

#include "base/str.h"

/* Is `key` (Sec-WebSocket-Key) 16 bytes in base64, and `accept` (Sec-WebSocket-Accept) the answer
 * to it? Both without surrounding space. False too when the digest fails. */
bool websocket_accept_ok(struct str key, struct str accept);

#endif
