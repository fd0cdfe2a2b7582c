/* stats.h - a worker's counters: written by it alone, read by the control thread at any time. */
#ifndef SLUICE_PROXY_STATS_H
#define SLUICE_PROXY_STATS_H

#include "base/histogram.h"
#include "base/outcome.h"
#include "io/tls.h"
#include "policies/failover.h"
#include "policies/retry.h"

#include <stdatomic.h>

typedef _Atomic uint64_t counter_t;

/* Only the owner writes, so no locked instruction is needed. */
static inline void count_add(counter_t *c, int64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + (uint64_t)n,
                          memory_order_relaxed);
}

static inline uint64_t count_read(const counter_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* Handshakes; those of a listener or those with an upstream. */
struct tls_stats {
    counter_t done;
    counter_t resumed; /* of these */
    counter_t failed[TLS_FAILURES];
};

enum { CODE_CLASSES = 6 }; /* 0: no status was given; 1xx to 5xx */

struct listener_stats {
    counter_t accepted, open;
    counter_t refused; /* over maxConnections, or no memory */
    counter_t bytes_in, bytes_out;
    struct tls_stats tls;
};

/* A route's, of a request that would have ended by it where it is only counted. */
enum timeout_kind { TIMEOUT_WHOLE, TIMEOUT_FIRST_BYTE, TIMEOUT_KINDS };

enum authz_decision { AUTHZ_ALLOWED, AUTHZ_REFUSED, AUTHZ_DRY_RUN, AUTHZ_DECISIONS };

struct route_stats {
    counter_t requests[CODE_CLASSES];
    counter_t authz[AUTHZ_DECISIONS];          /* of a route with authz */
    counter_t timeouts_dry_run[TIMEOUT_KINDS]; /* with timeoutDryRun */
    /* Made by the worker at the first request, so that ten thousand unused routes cost little. */
    struct histogram *_Atomic duration;
    counter_t *_Atomic errors; /* REASON_COUNT of them */
    counter_t *_Atomic grpc;   /* GRPC_CODES of them */
};

/* Why a request went from one endpoint to another. */
enum moved {
    MOVED_UNREACHABLE, /* it is */
    MOVED_LOST,        /* its connection ended without a byte of a response */
    MOVED_CAUSES,
};

/* The limits of an upstream (struct conf_limits) that can be passed where they are only counted. */
#define LIMIT_TABLE(X)                                                                             \
    X(CONNECTIONS, "max_connections")                                                              \
    X(REQUESTS, "max_requests")                                                                    \
    X(CONNECTIONS_PER_ENDPOINT, "max_connections_per_endpoint")                                    \
    X(REQUESTS_PER_ENDPOINT, "max_requests_per_endpoint")                                          \
    X(RETRIES, "max_retries")

enum limit {
#define X(id, word) LIMIT_##id,
    LIMIT_TABLE(X)
#undef X
        LIMITS,
};

struct upstream_stats {
    counter_t connections, connecting, active, idle, pending;
    counter_t http2_streams; /* requests on connections that speak HTTP/2 */
    counter_t opened, reused, connect_failed, retried;
    counter_t endpoints_full; /* requests that found all endpoints at limits of their own */
    counter_t unreachable;    /* times that an endpoint was found to be */
    counter_t unreachable_dry_run;
    counter_t limits_dry_run[LIMITS]; /* what each would have held up */
    counter_t moved[MOVED_CAUSES];    /* requests that went from one endpoint to another */
    counter_t retries[RETRY_CONDITIONS];
    counter_t retries_refused[RETRY_VERDICTS];
    counter_t closed_idle; /* by the upstream, while idle */
    counter_t unsolicited; /* bytes on an idle connection */
    counter_t requests;
    counter_t breaker_refused;   /* by the circuit breaker */
    counter_t breaker_dry_run;   /* that it would have refused */
    counter_t ejections_refused; /* failures for which an endpoint may not be ejected */
    /* Where the endpoints are at several places: tries by priority, and where the own zone is
     * preferred by zone: [0] our own, [1] another. Of both [1]: with dryRun, where they would have
     * gone. */
    counter_t level_requests[2][FAILOVER_LEVELS_MAX], zone_requests[2][2];
    struct tls_stats tls;
    struct histogram *_Atomic first_byte;
};

struct endpoint_stats {
    counter_t connections, active, requests, errors;
    counter_t succeeded; /* tries that spoke well of it (base/result.h) */
    /* With outlier detection: tries that said something, how many of these failed; how many have a
     * latency, and its sum. */
    counter_t judged, failed, answered, latency_us;
};

/* The first Close of a WebSocket, by its code. */
enum websocket_close_class {
    WEBSOCKET_CLOSE_NORMAL, /* 1000, or no code */
    WEBSOCKET_CLOSE_GOING_AWAY,
    WEBSOCKET_CLOSE_PROTOCOL_ERROR,
    WEBSOCKET_CLOSE_POLICY,
    WEBSOCKET_CLOSE_TOO_BIG,
    WEBSOCKET_CLOSE_OTHER,       /* of the protocol's codes */
    WEBSOCKET_CLOSE_APPLICATION, /* 3000 and above */
    WEBSOCKET_CLOSE_ABNORMAL,    /* there was none */
    WEBSOCKET_CLOSE_CLASSES,
};

/* What became of requests that acquire or give back (proxy/learning.h). */
#define LEARN_COUNT_TABLE(X)                                                                       \
    X(ACQUIRED, "acquired")     /* held */                                                         \
    X(GIVEN_BACK, "given_back") /* by the application itself */                                    \
    X(NOT_FOUND, "not_found")   /* a value is missing, or cannot stand in the release */           \
    X(ENCODED, "encoded")       /* the body has a Content-Encoding */                              \
    X(TOO_LONG, "too_long")     /* the body is longer than maxBody */                              \
    X(UNREAD, "unread")         /* the response was not read to its end */                         \
    X(REFUSED, "refused")       /* the application got an error in its place */                    \
    X(LATE, "late")             /* the response went on without the journal's answer */            \
    X(LIMIT, "limit")           /* maxAcquisitions */

enum learn_count {
#define X(id, word) LEARN_COUNT_##id,
    LEARN_COUNT_TABLE(X)
#undef X
        LEARN_COUNTS,
};

/* Messages that header rules looked at (stream_headers.c). */
#define HEADER_COUNT_TABLE(X)                                                                      \
    X(CHANGED, "changed")                                                                          \
    X(DRY_RUN, "dry_run")   /* would have been */                                                  \
    X(LEFT_OUT, "left_out") /* fields that were not written: a part of the value is not there */   \
    X(REFUSED, "refused")   /* more than the rules may write */

enum header_count {
#define X(id, word) HEADER_COUNT_##id,
    HEADER_COUNT_TABLE(X)
#undef X
        HEADER_COUNTS,
};

/* What was shed for overload (worker_overload.h). */
#define SHED_TABLE(X)                                                                              \
    X(KEEP_ALIVE, "keep_alive") /* responses that ended their connection */                        \
    X(IDLE, "idle_closed")      /* idle connections */                                             \
    X(LOW, "refused_low")       /* requests of that priority */                                    \
    X(NORMAL, "refused_normal")

enum shed_action {
#define X(id, word) SHED_##id,
    SHED_TABLE(X)
#undef X
        SHED_ACTIONS,
};

struct worker_stats {
    counter_t connections, streams;
    counter_t arrived[2];            /* connections ever, by direction */
    counter_t requests[2];           /* that have ended, by direction */
    counter_t crossed;               /* keep-alive closes that crossed a request */
    counter_t accept_paused;         /* times that accepting was paused (limit, no fds) */
    counter_t loop_lag_us;           /* of the last ping by the control thread */
    counter_t swap_us;               /* how long the last snapshot's coming held the loop */
    counter_t reasons[REASON_COUNT]; /* of streams outside of any route too */
    counter_t websockets;            /* open */
    counter_t websocket_messages[2]; /* from clients, from servers */
    counter_t websocket_closes[WEBSOCKET_CLOSE_CLASSES];
    counter_t websocket_pings_missed;
    counter_t h2_crowded; /* times that a client had to wait (downstream_h2_crowd.c) */
    counter_t learned[LEARN_COUNTS];
    counter_t learn_pending;                  /* streams that may acquire */
    counter_t header_rules[2][HEADER_COUNTS]; /* of requests, of responses */
    counter_t shed[SHED_ACTIONS][2];          /* [1]: with dryRun */
};

static inline uint64_t requests_read(const struct worker_stats *w)
{
    return count_read(&w->requests[0]) + count_read(&w->requests[1]);
}

#endif
