/* cover.h - whether earlier routes leave any request for a later one.
 *
 * Each route is asked once, in file order, against a hash of what came before it, so that 20,000
 * routes cost 20,000 times a few look-ups. It errs on one side: what it calls covered is covered;
 * where expressions or conditions would have to be understood, it says nothing. */
#ifndef SLUICE_CONFIG_COVER_H
#define SLUICE_CONFIG_COVER_H

#include "base/hash_index.h"
#include "policies/route.h"

enum {
    COVER_LOOKUPS_MAX = 4 * 1000 * 1000, /* then nothing more is looked for: less than a second */
    COVER_ADD_COST = 16,                 /* in look-ups: memory is bounded by it too */
    COVER_BYTES_PER_LOOKUP = 16,         /* long hosts, paths and conditions count for more */
};

struct cover_entry {
    const struct route_match *match;
    uint32_t route, host, method; /* which of its hosts and methods */
};

struct cover {
    struct arena *arena;
    struct hash_index index;
    struct cover_entry *entries;
    uint32_t n, cap;
    uint64_t lookups;
};

void cover_init(struct cover *x, struct arena *arena);

/* Takes the next route; the match is kept. 0, or -ENOMEM.
 * *ret_by: HASH_NONE, or a route that was given before and takes what this one would have taken;
 * *ret_several: it needs others before it to take all of it. */
int cover_add(struct cover *x, const struct route_match *m, uint32_t route, uint32_t *ret_by,
              bool *ret_several);

#endif
