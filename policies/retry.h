/* retry.h - whether a request that failed is sent once more, and when.
 *
 * Pure: what happened, the time that is left and random bits are arguments. What it may cost an
 * upstream in all is retry_budget.h. */
#ifndef SLUICE_POLICIES_RETRY_H
#define SLUICE_POLICIES_RETRY_H

#include "base/clock.h"
#include "base/str.h"

/* What is retried: X(id, word), as `on` names it, and as it is counted. */
#define RETRY_CONDITION_TABLE(X)                                                                   \
    X(CONNECT_FAILURE, "connect-failure") /* no endpoint took a connection */                      \
    X(REFUSED_STREAM, "refused-stream")   /* the server did not look at it (RFC 9113 §8.7) */     \
    X(RESET, "reset-before-response")     /* it ended, or ran out of time, without an answer */    \
    X(GATEWAY_ERROR, "gateway-error")     /* 502, 503, 504 */                                      \
    X(5XX, "5xx")                         /* 500 to 599, and all of the above */                   \
    X(4XX, "retriable-4xx")               /* 409 */                                                \
    X(CANCELLED, "cancelled")             /* from here on: grpc-status of a call */                \
    X(DEADLINE_EXCEEDED, "deadline-exceeded")                                                      \
    X(RESOURCE_EXHAUSTED, "resource-exhausted")                                                    \
    X(INTERNAL, "internal")                                                                        \
    X(UNAVAILABLE, "unavailable")

enum retry_condition {
#define X(id, word) RETRY_ON_##id,
    RETRY_CONDITION_TABLE(X)
#undef X
        RETRY_CONDITIONS,
};

#define RETRY_BIT(condition) (UINT32_C(1) << (condition))

/* Where `on` is not given. */
#define RETRY_ON_DEFAULT                                                                           \
    (RETRY_BIT(RETRY_ON_CONNECT_FAILURE) | RETRY_BIT(RETRY_ON_REFUSED_STREAM) |                    \
     RETRY_BIT(RETRY_ON_RESET) | RETRY_BIT(RETRY_ON_GATEWAY_ERROR) |                               \
     RETRY_BIT(RETRY_ON_UNAVAILABLE))

enum { RETRY_ATTEMPTS_MAX = 10 };

struct retry_rules {
    uint32_t attempts;      /* tries besides the first; 1 */
    uint32_t on;            /* RETRY_BIT() */
    uint32_t methods;       /* that may be repeated: bits of enum http_method */
    usec_t per_try_timeout; /* until the answer's head; 0: none */
    usec_t base, max;       /* of the backoff; 25 and 250 ms */
    uint64_t max_body;      /* of the request, kept for the next try; 64 KiB */
    bool dry_run;           /* decided and counted only */
};

/* Longest wait that a server may ask for where nothing else bounds it. */
#define RETRY_WAIT_MAX (60 * USEC_PER_SEC)

enum retry_what {
    RETRY_NO_CONNECTION, /* nothing was sent */
    RETRY_UNPROCESSED,   /* the server says that it did not look at it */
    RETRY_NO_ANSWER,
    RETRY_ANSWER,
};

struct retry_failure {
    enum retry_what what;
    uint16_t status; /* RETRY_ANSWER */
    int8_t grpc;     /* as the client would be told it; -1: it is no gRPC call */
};

/* The first condition of `on` that it is; false: none. */
bool retry_fits(uint32_t on, const struct retry_failure *f, enum retry_condition *ret);

/* Why not. In the order in which they are asked; told as metrics (retry_refusal_word). */
#define RETRY_VERDICT_TABLE(X)                                                                     \
    X(YES, "yes")                                                                                  \
    X(OTHER, "other")       /* nothing that is retried: not counted */                             \
    X(METHOD, "method")     /* it may not be repeated, and may have been acted on */               \
    X(ATTEMPTS, "attempts") /* used up */                                                          \
    X(PUSHBACK, "pushback") /* the server wants none (gRFC A6) */                                  \
    X(DEADLINE, "deadline") /* it would come too late */                                           \
    X(BODY, "body")         /* it is not kept whole: longer than maxBody */                        \
    X(BUDGET, "budget")     /* of the upstream */                                                  \
    X(LIMIT, "limit")       /* maxRetries */                                                       \
    X(BREAKER, "breaker")   /* it is open: the next try would be refused */                        \
    X(DRY_RUN, "dry_run")   /* else it would have been */

enum retry_verdict {
#define X(id, word) RETRY_##id,
    RETRY_VERDICT_TABLE(X)
#undef X
        RETRY_VERDICTS,
};

const char *retry_condition_word(enum retry_condition c);
const char *retry_verdict_word(enum retry_verdict v);

struct retry_ask {
    uint32_t made;    /* retries of this request so far */
    uint32_t method;  /* its bit */
    bool body_kept;   /* all that came of the body can be sent again */
    usec_t left;      /* until the deadline; USEC_NEVER: there is none */
    usec_t told_wait; /* retry_after() or retry_pushback(); 0: nothing was told */
    uint64_t random;  /* 64 bits */
};

/* RETRY_YES, with when in *ret_wait; or why not, RETRY_BODY at the last: the budget is the caller's
 * to ask. *ret_condition is set unless it is RETRY_OTHER. */
enum retry_verdict retry_decide(const struct retry_rules *r, const struct retry_failure *f,
                                const struct retry_ask *ask, usec_t *ret_wait,
                                enum retry_condition *ret_condition);

/* Uniform between 0 and min(max, base * 2^made): full jitter, so that those who failed together do
 * not come again together. */
usec_t retry_backoff(const struct retry_rules *r, uint32_t made, uint64_t random);

/* Retry-After (RFC 9110 §10.2.3), seconds or an IMF-fixdate, as a wait; 0: neither, or past. */
usec_t retry_after(struct str value, usec_t wall);
/* grpc-retry-pushback-ms (gRFC A6); USEC_NEVER: no retry, which a negative number says, and what is
 * no number. */
usec_t retry_pushback(struct str value);

#endif
