/* jwks_refresh.h - issuers' keys kept fresh from their URLs, on the control thread's loop.
 *
 * What was good last stays in force whatever comes: no answer, no set of keys, a set without a key
 * that can be used. After a failure the next try comes after 1 s, then twice as long each time, as
 * long as an interval at most. A token that names a key which is not there asks for a fetch before
 * its time, jwks.unknownKeyInterval after the one before at the soonest: the keys may have been
 * rotated. What is known of an issuer hangs on its name and URL, and outlives reloads. */
#ifndef SLUICE_ADMIN_JWKS_REFRESH_H
#define SLUICE_ADMIN_JWKS_REFRESH_H

#include "admin/generation.h"
#include "config/jwks_files.h"

struct jwks_refresh;

/* X(id, word): what became of a fetch. The words are those of the metrics. */
#define JWKS_RESULT_TABLE(X)                                                                       \
    X(APPLIED, "applied")                                                                          \
    X(UNCHANGED, "unchanged")                                                                      \
    X(FAILED, "failed")                                                                            \
    X(REFUSED, "refused")

enum jwks_result {
#define X(id, word) JWKS_##id,
    JWKS_RESULT_TABLE(X)
#undef X
        JWKS_RESULTS,
};
const char *jwks_result_word(enum jwks_result r);

/* Of one issuer. */
struct jwks_fetched {
    uint64_t results[JWKS_RESULTS];
    uint32_t failures; /* in a row */
    usec_t at;         /* monotonic, of the last that was good; 0: none was */
    const char *why;   /* of the last that was not; empty: it was */
};

/* `set`: where the keys in force are told, that of the configuration in force. NULL when memory is
 * short. */
struct jwks_refresh *jwks_refresh_new(struct loop *l, struct jwks_set *set);
/* Before the set goes. NULL is harmless; returns NULL. */
struct jwks_refresh *jwks_refresh_free(struct jwks_refresh *r);

/* The generation is in force, and the set is its own. */
void jwks_refresh_configure(struct jwks_refresh *r, const struct generation *g);
/* A mail of jwt_slot_ask(); takes its reference over. r NULL: it is only put away. */
void jwks_refresh_asked(struct jwks_refresh *r, struct mail *mail);

/* False: the issuer has no URL. */
bool jwks_refresh_state(const struct jwks_refresh *r, const struct conf_jwt *j,
                        struct jwks_fetched *ret);

#endif
