/* report.h - what came of the requests: counts under the names of the design, and times. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include "options.h"
#include "response.h"

/* X(id, name): how a request failed. */
#define FAILURE_TABLE(X)                                                                           \
    X(PROXY_ERROR, "proxy_error") /* an answer that sluice made up */                              \
    X(RESET_IN_RESPONSE, "reset_in_response")                                                      \
    X(TRUNCATED, "truncated")                 /* FIN before the answer's end */                    \
    X(RESET_FRESH, "reset_before_response")   /* a connection's first request: RST */              \
    X(CLOSED_FRESH, "closed_before_response") /* a connection's first request: FIN */              \
    X(UNANSWERED, "closed_unanswered")        /* taken on a reused connection, then closed */      \
    X(MALFORMED, "malformed")                                                                      \
    X(TIMEOUT, "timeout")

enum failure {
#define X(id, name) FAILURE_##id,
    FAILURE_TABLE(X)
#undef X
        FAILURE_COUNT,
};

enum { LATENCY_SUB = 64, LATENCY_BUCKETS = LATENCY_SUB * 28, MAX_VERSIONS = 16, MAX_WORDS = 16 };

struct word_count {
    char word[RESPONSE_PROXY_STATUS_MAX];
    uint64_t count;
};

struct version_count {
    char version[RESPONSE_VERSION_MAX];
    uint64_t by_method[LOAD_METHODS];
};

struct report {
    usec_t start, end;
    uint64_t sent;      /* == answered + app_error + failed + crossed + unfinished */
    uint64_t answered;  /* complete, below 500, from the application */
    uint64_t app_error; /* complete, 5xx, from the application */
    uint64_t failed[FAILURE_COUNT];
    uint64_t crossed;          /* idle_close_crossed */
    uint64_t crossed_by_reset; /* of them */
    uint64_t unfinished;       /* still open when the client itself ended */
    /* not requests */
    uint64_t connects; /* that succeeded */
    uint64_t refused;
    uint64_t refused_timeout;
    uint64_t refused_reset; /* reset before a byte was sent: the backlog of a closed listener */
    uint64_t local_error;   /* no port, no fd: our own trouble */
    uint64_t idle_closed;   /* keep-alive connections that ended with no request on them */
    uint64_t idle_reset;    /* the same by RST */
    uint64_t bytes_in, bytes_out;
    uint64_t status[600];
    struct word_count words[MAX_WORDS]; /* of proxy errors */
    struct version_count versions[MAX_VERSIONS];
    usec_t last_success, longest_gap;
    usec_t outage_start, longest_outage; /* first refusal to the next success */
    uint64_t latency_sum, latency_max;
    uint64_t latency[LATENCY_BUCKETS];
};

void report_answer(struct report *r, const struct response *res, uint32_t method, usec_t latency,
                   usec_t now);
/* An answer of --tcp. */
void report_echo(struct report *r, usec_t latency, usec_t now);
void report_refused(struct report *r, uint64_t *counter, usec_t now);
uint64_t report_failed(const struct report *r);
void report_print(const struct report *r, const struct options *o);

#endif
