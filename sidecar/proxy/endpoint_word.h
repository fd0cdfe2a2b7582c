/* endpoint_word.h - the operator's word on an endpoint: how much of its share it gets, or nothing.
 *
 * Kept by address beside the upstream until it is taken back, so that neither a reload nor DNS that
 * loses and finds the address again undoes it. Lost when a reload removes the upstream; the next
 * process has it from the supervisor (admin/operator_words.h). The control thread's; workers see
 * what it comes to in struct endpoint_shared. */
#ifndef SLUICE_PROXY_ENDPOINT_WORD_H
#define SLUICE_PROXY_ENDPOINT_WORD_H

#include "proxy/upstream_shared.h"

enum { ENDPOINT_WORDS_MAX = 4096 }; /* of an upstream */

struct endpoint_word {
    struct address address;
    bool drained;     /* nothing new goes there; what is under way ends */
    uint32_t percent; /* of its share; 1 to 100 */
};

/* An address of the upstream, or one that it had: the word on it. NULL: there is none. */
const struct endpoint_word *endpoint_word_find(const struct upstream_shared *u,
                                               const struct address *a);
/* Takes effect at once for new requests; that idle connections of a drained one close is the
 * pools' (generation_tell()). Not drained and 100 percent takes the word back. 0, -ENOMEM, or
 * -EUSERS: there are too many. */
int endpoint_word_set(struct upstream_shared *u, const struct endpoint_word *w);
/* For an endpoint that is to be listed. */
void endpoint_word_apply(struct upstream_shared *u, struct endpoint_shared *e);

#endif
