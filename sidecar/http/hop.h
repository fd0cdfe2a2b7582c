/* hop.h - what a message loses and gains at this hop (RFC 9110 §7.6, RFC 9112 §9). */
#ifndef SLUICE_HTTP_HOP_H
#define SLUICE_HTTP_HOP_H

#include "base/rng.h"
#include "http/message.h"

struct hop_request {
    struct str peer;   /* the connection's other end, address only: "192.0.2.1", "unix" */
    struct str scheme; /* "http" or "https": how the client came to us */
    struct str via;    /* our name in Via; empty: no Via */
    bool peer_trusted; /* X-Forwarded-*, Forwarded, X-Request-Id are believed and extended,
                        * not replaced */
    bool keep_upgrade; /* Upgrade is forwarded (the route allows it) */
    struct rng *rng;   /* for trace and request ids */
};

/* Marks dropped: Connection and every field that it names (never end-to-end ones that we rely on,
 * such as Host, Content-Length or our own X-Forwarded-*), Keep-Alive, Proxy-Connection,
 * Proxy-Authenticate/-Authorization, TE, Trailer when it isn't chunked, Transfer-Encoding,
 * Content-Length, Host, Upgrade, HTTP2-Settings.
 * Adds: Via, X-Forwarded-For (peer appended when trusted, else replaced), -Proto, -Host,
 * traceparent (kept when valid per W3C Trace Context §3.2, else made), X-Request-Id.
 * An Upgrade that names h2c is dropped too; connection_upgrade is cleared when no Upgrade is left.
 * A trusted peer's Forwarded gets an element of ours behind it; from others, every X-Forwarded-…
 * and X-Real-IP goes. From HTTP/1.0 Upgrade and Expect go, which it cannot ask for.
 * 0 or -ENOMEM (the message is then of no use). */
int hop_request(struct message *req, const struct hop_request *h);

/* The response's part of it; `via` empty: none. */
int hop_response(struct message *res, struct str via, bool keep_upgrade);

/* The client's address as the hops in front told it: with trusted_hops n, the n-th from the right
 * of X-Forwarded-For, where our peer itself counts as none; the peer's address when there are not
 * so many. Asked with 0 for a peer that is not trusted; before or after hop_request(), which keeps
 * what came. */
struct str hop_client_address(const struct message *req, struct str peer, uint32_t trusted_hops);

/* The 32 hex digits of the trace id of a request that hop_request() has seen; empty if none. */
struct str hop_trace_id(const struct message *req);

#endif
