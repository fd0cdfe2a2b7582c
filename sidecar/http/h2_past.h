/* h2_past.h - what became of the streams that a client has opened lately.
 *
 * A frame on a stream that is closed is a mistake of its sender's (RFC 9113 §5.1), but for those
 * that crossed our own RST_STREAM, and but for an identifier that was passed over, which is another
 * mistake (§5.1.1). nghttp2 remembers too little, or too much memory. Pure. */
#ifndef SLUICE_HTTP_H2_PAST_H
#define SLUICE_HTTP_H2_PAST_H

#include <stdbool.h>
#include <stdint.h>

enum { H2_PAST_STREAMS = 256 }; /* a frame on an older one is let pass */

enum h2_past_state {
    H2_PAST_RESET_BY_PEER, /* for good: what its client sends on it now has crossed nothing */
    H2_PAST_SKIPPED,       /* never opened, and a later one was */
    H2_PAST_OPENED,
    H2_PAST_RESET, /* by us */
    H2_PAST_NONE,  /* new, or too long ago to tell */
};

struct h2_past {
    int32_t last;                       /* the highest that was opened; 0: none */
    uint8_t state[H2_PAST_STREAMS / 4]; /* two bits for each, by (id / 2) modulo their number */
};

void h2_past_init(struct h2_past *p);
/* A new stream of a client's (an odd identifier above all before), or the newest after all, which
 * h2_past_reset() was told of as it began. */
void h2_past_opened(struct h2_past *p, int32_t id);
/* We reset it, or it is new and may yet be refused. */
void h2_past_reset(struct h2_past *p, int32_t id);
void h2_past_reset_by_peer(struct h2_past *p, int32_t id);
enum h2_past_state h2_past_of(const struct h2_past *p, int32_t id);

#endif
