/* h2_guard.h - when a peer does what no honest one does (INPUTS: rapid reset, MadeYouReset,
 * floods).
 *
 * Pure: the caller passes the time. One for each connection: a token bucket for each kind of thing
 * that costs us work and the peer nothing. An empty bucket ends the connection with
 * ENHANCE_YOUR_CALM. */
#ifndef SLUICE_HTTP_H2_GUARD_H
#define SLUICE_HTTP_H2_GUARD_H

#include "base/clock.h"
#include "base/outcome.h"

#include <stdbool.h>
#include <stdint.h>

enum h2_abuse {
    H2_ABUSE_RESET,         /* RST_STREAM from the peer, or ours for what it did; 500, 33/s */
    H2_ABUSE_PING,          /* and other frames that are answered: SETTINGS; 1,000, 33/s */
    H2_ABUSE_EMPTY_DATA,    /* without END_STREAM; 1,000, 33/s */
    H2_ABUSE_PRIORITY,      /* PRIORITY, PRIORITY_UPDATE, unknown frames; 1,000, 33/s */
    H2_ABUSE_WINDOW_UPDATE, /* over and above those that what we sent explains; 1,000, 33/s */
    H2_ABUSE_KINDS,
};

struct h2_bucket {
    usec_t at;       /* when `left` was true */
    uint32_t left_m; /* thousandths of a token */
};

struct h2_guard {
    struct h2_bucket bucket[H2_ABUSE_KINDS];
    uint32_t headers_bytes;        /* of the header block being read, as it came */
    uint32_t continuations;        /* of it */
    uint32_t fields, fields_bytes; /* that it has been unpacked to so far */
};

enum { H2_CONTINUATIONS_MAX = 8, H2_HEADER_BLOCK_MAX = 64 * 1024 };
/* A block that is unpacked to more than so many times what is allowed is a flood. */
enum { H2_FLOOD_TIMES = 4 };

void h2_guard_init(struct h2_guard *g);
/* It did it `n` times more. False: once too often. */
bool h2_guard_count(struct h2_guard *g, enum h2_abuse what, uint32_t n, usec_t now);
/* The reason that is told for it. */
enum reason h2_abuse_reason(enum h2_abuse what);

#endif
