/* outcome.h - how a stream ended: the one word for it, wherever it is told.
 *
 * The same word stands in the access log, the metrics, Proxy-Status, the problem+json body and
 * the guide's table of what to do about it (docs/guide/reasons.md). Pure data, in base so that
 * the deciding layers (policies, canary) can read outcomes without seeing a connection. */
#ifndef SLUICE_BASE_OUTCOME_H
#define SLUICE_BASE_OUTCOME_H

#include "base/clock.h"
#include "base/str.h"

#include <stdint.h>

/* X(id, word, status, proxy-status error type (RFC 9209 §2.3), title)
 * status 0: no response can be given. */
#define REASON_TABLE(X)                                                                            \
    X(NONE, "none", 0, "", "")                                                                     \
    /* the client's message */                                                                     \
    X(BAD_REQUEST, "bad_request", 400, "http_request_error", "Bad request")                        \
    X(TARGET_TOO_LONG, "target_too_long", 414, "http_request_error", "Request target too long")    \
    X(HEADERS_TOO_LARGE, "headers_too_large", 431, "http_request_error",                           \
      "Request header fields too large")                                                           \
    X(METHOD_NOT_ALLOWED, "method_not_allowed", 405, "http_request_denied", "Method not allowed")  \
    X(VERSION_NOT_SUPPORTED, "version_not_supported", 505, "http_request_error",                   \
      "HTTP version not supported")                                                                \
    X(CODING_NOT_IMPLEMENTED, "coding_not_implemented", 501, "http_request_error",                 \
      "Transfer coding not implemented")                                                           \
    X(EXPECTATION_FAILED, "expectation_failed", 417, "http_request_error", "Expectation failed")   \
    X(CLIENT_TIMEOUT, "client_timeout", 408, "http_request_error", "Request not sent in time")     \
    X(CLIENT_ABORT, "client_abort", 0, "", "Client went away")                                     \
    X(TLS_FLOOD, "tls_flood", 0, "", "Too many TLS messages")                                      \
    X(H2_PROTOCOL, "h2_protocol", 0, "", "HTTP/2 protocol error")                                  \
    X(H2_RESET_FLOOD, "h2_reset_flood", 0, "", "Too many streams reset")                           \
    X(H2_PING_FLOOD, "h2_ping_flood", 0, "", "Too many PING or SETTINGS frames")                   \
    X(H2_EMPTY_DATA_FLOOD, "h2_empty_data_flood", 0, "", "Too many empty DATA frames")             \
    X(H2_PRIORITY_FLOOD, "h2_priority_flood", 0, "", "Too many PRIORITY or unknown frames")        \
    X(H2_WINDOW_UPDATE_FLOOD, "h2_window_update_flood", 0, "", "Too many WINDOW_UPDATE frames")    \
    X(H2_HEADER_FLOOD, "h2_header_flood", 0, "", "Header block too large or in too many pieces")   \
    /* our own decisions */                                                                        \
    X(NO_ROUTE, "no_route", 404, "destination_not_found", "No route")                              \
    X(ROUTE_LIMIT, "route_limit", 500, "proxy_configuration_error", "Route match limit reached")   \
    X(JWT_MISSING, "jwt_missing", 401, "http_request_denied", "Token required")                    \
    X(JWT_INVALID, "jwt_invalid", 401, "http_request_denied", "Token refused")                     \
    X(JWT_EXPIRED, "jwt_expired", 401, "http_request_denied", "Token expired")                     \
    X(JWT_NO_KEYS, "jwt_no_keys", 503, "proxy_configuration_error", "Tokens cannot be verified")   \
    X(FORBIDDEN, "forbidden", 403, "http_request_denied", "Not allowed")                           \
    X(CONNECTION_LIMIT, "connection_limit", 503, "connection_limit_reached",                       \
      "Connection limit reached")                                                                  \
    X(REQUEST_LIMIT, "request_limit", 503, "connection_limit_reached", "Request limit reached")    \
    X(PENDING_OVERFLOW, "pending_overflow", 503, "connection_limit_reached", "Wait queue full")    \
    X(QUEUE_TIMEOUT, "queue_timeout", 503, "connection_limit_reached", "Waited too long in queue") \
    X(BREAKER_OPEN, "breaker_open", 503, "destination_unavailable", "Circuit breaker open")        \
    X(CONCURRENCY_LIMIT, "concurrency_limit", 503, "connection_limit_reached",                     \
      "Too many requests in flight")                                                               \
    X(NO_ENDPOINT, "no_endpoint", 503, "destination_unavailable", "No endpoint available")         \
    X(RATE_LIMITED, "rate_limited", 429, "http_request_denied", "Too many requests")               \
    X(OVERLOADED, "overloaded", 503, "proxy_internal_response", "Overloaded")                      \
    X(LEARN_LIMIT, "learn_limit", 503, "connection_limit_reached",                                 \
      "Too many acquisitions at once")                                                             \
    X(LEARN_REFUSED, "learn_refused", 503, "proxy_internal_error", "Session cannot be kept")       \
    X(LEARN_TIMEOUT, "learn_timeout", 503, "proxy_internal_error", "Session was not kept in time") \
    X(DRAINING, "draining", 503, "destination_unavailable", "Shutting down")                       \
    X(FAULT_ABORT, "fault_abort", 503, "proxy_internal_response", "Fault injected")                \
    X(NO_SOCKET, "no_socket", 503, "proxy_internal_error", "No socket left for a connection")      \
    X(OUT_OF_MEMORY, "out_of_memory", 503, "proxy_internal_error", "Out of memory")                \
    X(INTERNAL, "internal", 500, "proxy_internal_error", "Internal error")                         \
    /* the upstream */                                                                             \
    X(CONNECT_REFUSED, "connect_refused", 502, "connection_refused", "Connection refused")         \
    X(CONNECT_FAILED, "connect_failed", 502, "destination_ip_unroutable", "Connect failed")        \
    X(CONNECT_TIMEOUT, "connect_timeout", 504, "connection_timeout", "Connect timed out")          \
    X(UPSTREAM_TLS, "upstream_tls", 502, "tls_protocol_error", "TLS with the upstream failed")     \
    X(UPSTREAM_CERTIFICATE, "upstream_certificate", 502, "tls_certificate_error",                  \
      "TLS certificate refused")                                                                   \
    X(UPSTREAM_CLOSED, "upstream_closed", 502, "connection_terminated",                            \
      "Upstream closed before it answered")                                                        \
    X(UPSTREAM_RESET, "upstream_reset", 502, "connection_terminated", "Upstream reset")            \
    X(UPSTREAM_UNREACHABLE, "upstream_unreachable", 504, "connection_timeout",                     \
      "Upstream unreachable")                                                                      \
    X(UPSTREAM_TRUNCATED, "upstream_truncated", 502, "http_response_incomplete",                   \
      "Upstream response incomplete")                                                              \
    X(UPSTREAM_PROTOCOL, "upstream_protocol", 502, "http_protocol_error",                          \
      "Upstream response invalid")                                                                 \
    X(UPSTREAM_HEADERS_TOO_LARGE, "upstream_headers_too_large", 502,                               \
      "http_response_header_section_size", "Upstream response header too large")                   \
    X(UPGRADE_FAILED, "upgrade_failed", 502, "http_upgrade_failed", "Upgrade failed")              \
    X(DEADLINE, "deadline", 504, "http_response_timeout", "Deadline passed")                       \
    X(FIRST_BYTE_TIMEOUT, "first_byte_timeout", 504, "connection_read_timeout",                    \
      "Upstream did not answer in time")                                                           \
    X(TRY_TIMEOUT, "try_timeout", 504, "connection_read_timeout",                                  \
      "Upstream did not answer in its time")                                                       \
    X(RETRY_BUDGET, "retry_budget", 0, "", "Not retried: the budget is used up")                   \
    X(WEBSOCKET_PROTOCOL, "websocket_protocol", 0, "", "WebSocket protocol error")                 \
    X(WEBSOCKET_FRAME_SIZE, "websocket_frame_size", 0, "", "WebSocket frame over the limit")       \
    X(WEBSOCKET_MESSAGE_RATE, "websocket_message_rate", 0, "", "Too many WebSocket messages")      \
    X(WEBSOCKET_LIFETIME, "websocket_lifetime", 0, "", "WebSocket open for too long")              \
    X(WEBSOCKET_DEAD, "websocket_dead", 0, "", "WebSocket peer does not answer pings")             \
    X(IDLE_TIMEOUT, "idle_timeout", 504, "connection_read_timeout", "Stream idle too long")        \
    /* the end of the process */                                                                   \
    X(LAST_CALL, "last_call", 503, "destination_unavailable", "Shutting down")                     \
    X(FORCED, "forced", 0, "", "Closed at the drain's deadline")                                   \
    X(ROUTE_REMOVED, "route_removed", 0, "", "A reload removed its route or listener")

enum reason {
#define X(id, word, status, error, title) REASON_##id,
    REASON_TABLE(X)
#undef X
        REASON_COUNT,
};

struct reason_info {
    const char *word;         /* stable: it is an interface */
    uint16_t status;          /* the HTTP status that sluice answers with; 0: none */
    const char *proxy_status; /* RFC 9209 error type */
    const char *title;        /* for people; no internals */
};

extern const struct reason_info reason_table[REASON_COUNT];

/* It was for us to have what was missing: that speaks neither for an endpoint nor against it. */
static inline bool reason_is_shortage(enum reason r)
{
    return r == REASON_OUT_OF_MEMORY || r == REASON_NO_SOCKET;
}

static inline const char *reason_word(enum reason r)
{
    return reason_table[r].word;
}

/* Told once, at the end of a stream (trailers and truncation included). */
struct outcome {
    struct str upstream; /* empty: none was chosen */
    struct str endpoint; /* its address; empty: none was reached */
    uint16_t status;     /* what the client saw; 0: nothing */
    enum reason reason;  /* NONE: the application's own answer, complete */
    usec_t latency;      /* first byte in to last byte out */
    usec_t first_byte;   /* request sent to response head; 0: none came */
    uint64_t bytes_in;   /* body bytes from the client */
    uint64_t bytes_out;  /* body bytes to the client */
    uint8_t tries;       /* connections that the request was sent on */
    int8_t grpc_status;  /* enum grpc_code, as the client was told it; -1: not gRPC */
};

#endif
