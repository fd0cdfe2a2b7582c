/* websocket_handshake.h - how a WebSocket begins, by HTTP/1.1 (RFC 6455 §4) and by HTTP/2
 * (RFC 8441), and the one form in which the rest of the proxy sees it.
 *
 * That form is HTTP/1.1's. A request for a WebSocket has m->websocket: GET, connection_upgrade,
 * `Upgrade: websocket`, no body. The answer that opens it has m->websocket: 101,
 * connection_upgrade, `Upgrade: websocket`, no body. What HTTP/2 carries instead is turned into it
 * (websocket_from_connect, websocket_from_ok) where it is read, and the fields that HTTP/2 does
 * not have (websocket_field_is_h1) are left out where it is written.
 *
 * Sec-WebSocket-Key and -Accept are HTTP/1.1's alone. The stream sees to them: a request that came
 * by HTTP/2 gets a key of our own (websocket_add_key) before it goes on, and an answer that came
 * by HTTP/2 gets the accept value for the key of the request (websocket_add_accept). A codec needs
 * neither random bits nor the other message. */
#ifndef SLUICE_HTTP_WEBSOCKET_HANDSHAKE_H
#define SLUICE_HTTP_WEBSOCKET_HANDSHAKE_H

#include "base/rng.h"
#include "http/message.h"

enum { WEBSOCKET_KEY_LEN = 24, WEBSOCKET_ACCEPT_LEN = 28 };

/* A whole HTTP/1 head: is it a request for a WebSocket, or a 101 that opens one? The parser sets
 * m->websocket by it. Whether the key and the accept value are right is not looked at. */
bool websocket_is_upgrade(const struct message *m);

/* Is `key` (Sec-WebSocket-Key) 16 bytes in base64? */
bool websocket_key_ok(struct str key);
/* And `accept` (Sec-WebSocket-Accept) the answer to it (RFC 6455 §4.2.2)? Both without surrounding
 * space. False too when the digest fails. */
bool websocket_accept_ok(struct str key, struct str accept);
/* The accept value for a key of 24 bytes. False when the digest fails. Not ended by NUL. */
bool websocket_accept_for(struct str key, char ret_accept[WEBSOCKET_ACCEPT_LEN]);

/* Gives the request a Sec-WebSocket-Key of our own, in place of any that it has. 0 or -ENOMEM. */
int websocket_add_key(struct message *req, struct rng *rng);
/* Gives the answer the accept value for `key`. 0 or -ENOMEM. */
int websocket_add_accept(struct message *res, struct str key);

/* --- HTTP/2 --- */

/* An extended CONNECT (RFC 8441 §4) whose fields are all there, `protocol` the value of :protocol.
 * Path, query, authority and the other fields are as sent; m becomes a GET in the form above (its
 * method, body and length are set here, and fields that belong to HTTP/1.1's handshake dropped).
 * 0; -EPROTONOSUPPORT: it is not for a WebSocket (501, or reset: the codec's choice); -ENOMEM. */
int websocket_from_connect(struct message *req, struct str protocol);

/* The final answer to an extended CONNECT of ours: a 2xx becomes a 101 in the form above, any other
 * is left as it is. 0 or -ENOMEM. */
int websocket_from_ok(struct message *res);

/* Fields of HTTP/1.1's handshake only: not written where m->websocket goes by HTTP/2, in either
 * direction. (Sec-WebSocket-Version, -Protocol and -Extensions go: RFC 8441 §4.) */
static inline bool websocket_field_is_h1(const struct field *f)
{
    return f->id == FIELD_UPGRADE || f->id == FIELD_CONNECTION ||
           f->id == FIELD_SEC_WEBSOCKET_KEY || f->id == FIELD_SEC_WEBSOCKET_ACCEPT;
}

#endif
