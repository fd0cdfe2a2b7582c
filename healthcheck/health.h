/* health.h - what a row of checks says of an endpoint: healthy or not, and when to look again.
 *
 * Pure: the caller passes the time, random bits and what a check came to, and does the looking. One
 * struct health an endpoint, for as long as it is checked; rules may change under it. */
#ifndef SLUICE_HEALTHCHECK_HEALTH_H
#define SLUICE_HEALTHCHECK_HEALTH_H

#include "base/clock.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* HAProxy's words: the layer that the check got to, and how it ended there.
 * X(id, word, well, meaning) */
#define CHECK_TABLE(X)                                                                             \
    X(NONE, "INI", false, "not checked yet")                                                       \
    X(SOCKERR, "SOCKERR", false, "no socket, or no memory, on our side")                           \
    X(L4OK, "L4OK", true, "connected")                                                             \
    X(L4TOUT, "L4TOUT", false, "no connection in time")                                            \
    X(L4CON, "L4CON", false, "connection refused, or no way there")                                \
    X(L6OK, "L6OK", true, "TLS agreed on")                                                         \
    X(L6TOUT, "L6TOUT", false, "no TLS in time")                                                   \
    X(L6RSP, "L6RSP", false, "TLS failed")                                                         \
    X(L7OK, "L7OK", true, "answered as expected")                                                  \
    X(L7TOUT, "L7TOUT", false, "no answer in time")                                                \
    X(L7RSP, "L7RSP", false, "no valid answer, or not the one expected")                           \
    X(L7STS, "L7STS", false, "answered with another status")                                       \
    X(PROCOK, "PROCOK", true, "the command says so")                                               \
    X(PROCTOUT, "PROCTOUT", false, "the command was killed after its timeout")                     \
    X(PROCERR, "PROCERR", false, "the command failed, or could not run")

enum check_word {
#define X(id, word, well, meaning) CHECK_##id,
    CHECK_TABLE(X)
#undef X
        CHECK_WORDS,
};

const char *check_word(enum check_word w);
const char *check_meaning(enum check_word w);
bool check_well(enum check_word w);

/* What one check came to. */
struct check_result {
    enum check_word word;
    uint16_t code; /* with L7*: the HTTP status, or of gRPC; PROCERR: the exit code; 0: none */
    usec_t took;
};

/* "L7STS/503", "L4CON": returns out. */
enum { CHECK_TEXT_MAX = 24 };
char *check_text(const struct check_result *r, char out[CHECK_TEXT_MAX]);

/* How often is looked, and how many looks decide. */
struct health_rules {
    usec_t interval; /* between two looks at what is healthy; 5 s */
    usec_t
        unhealthy_interval;   /* at what is not, or is about to change; 1 s, never above interval */
    usec_t timeout;           /* of one look; 1 s */
    uint32_t rise;            /* good ones in a row make it healthy; 2 */
    uint32_t fall;            /* bad ones in a row make it unhealthy; 3 */
    uint32_t jitter;          /* percent of the wait by which it varies either way; 10 */
    bool initially_unhealthy; /* until `rise`; false */
    bool skip_while_serving;  /* true */
};

/* Looks that may be skipped in a row: what the check asks for (a path by which an application says
 * that it wants no more traffic) is something else than whether requests succeed. */
enum { HEALTH_SKIPS = 2 };

struct health {
    bool healthy;
    uint8_t skipped;          /* looks since the last check */
    uint32_t streak;          /* results in a row that speak against `healthy` */
    struct check_result last; /* CHECK_NONE: there was none yet */
    usec_t checked_at;        /* when it ended; 0: never */
    usec_t since;             /* healthy, or not, since then */
    uint64_t passed, failed;  /* in all */
    uint64_t changes;
};

void health_init(struct health *h, const struct health_rules *r, usec_t now);
/* The rules are others: what was counted of a change is not, what it is stays. */
void health_begin_anew(struct health *h);

/* A check has ended; one that we could not make (SOCKERR) speaks neither way. True: it is healthy
 * now and was not, or the other way round. */
bool health_note(struct health *h, const struct health_rules *r, const struct check_result *result,
                 usec_t now);

/* It is due. `served`: requests succeeded there since the last look, and none failed for want of
 * a connection or an answer. True: that is as good as a check, and counts as one skipped. */
bool health_skip(struct health *h, const struct health_rules *r, bool served);

/* From the beginning of one look to that of the next; `random`: 32 bits. */
usec_t health_wait(const struct health *h, const struct health_rules *r, uint32_t random);

/* The first look at the i-th of n that begin together, from now: spread over the interval, so that
 * neither they nor we meet them all at once; the first of them is looked at now. */
usec_t health_first_wait(const struct health_rules *r, uint32_t i, uint32_t n);

#endif
