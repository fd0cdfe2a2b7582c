/* result.h - what one try at an endpoint says about who should have answered it.
 *
 * Told once a try, at its end (trailers and truncation included), to what decides by it: circuit
 * breakers, outlier detection. A try that the protocol lets go elsewhere unseen (a reused
 * connection that was being closed, REFUSED_STREAM) tells nothing. */
#ifndef SLUICE_BASE_RESULT_H
#define SLUICE_BASE_RESULT_H

#include <stdbool.h>

enum result {
    RESULT_NOTHING, /* the client's cancel, an answer or an end of ours */
    RESULT_SUCCESS, /* an answer, whatever its status below 500; gRPC: what is the caller's fault */
    RESULT_LIMITED, /* 429, RESOURCE_EXHAUSTED: it is well, and has too much to do */
    /* failures: its own words */
    RESULT_ERROR,   /* 500 and above; UNKNOWN, INTERNAL, DATA_LOSS */
    RESULT_GATEWAY, /* 502, 503, 504; UNAVAILABLE, DEADLINE_EXCEEDED */
    /* failures: what is seen from here ("local origin") */
    RESULT_CONNECT, /* no connection */
    RESULT_RESET,   /* it ended before its answer did, or that was no HTTP */
    RESULT_TIMEOUT, /* no answer in time */
    RESULTS,
};

static inline bool result_failed(enum result r)
{
    return r >= RESULT_ERROR;
}

static inline bool result_local(enum result r)
{
    return r >= RESULT_CONNECT;
}

#endif
