/* jwt_state.h - an issuer at run time: its keys, shared by all workers, and the tokens that a
 * worker has verified. Keyed by the issuer's name, so that a reload loses nothing but what its
 * changes make unknown. */
#ifndef SLUICE_PROXY_JWT_STATE_H
#define SLUICE_PROXY_JWT_STATE_H

#include "config/conf_authz.h"
#include "io/mailbox.h"
#include "policies/jwt_cache.h"
#include "proxy/stats.h"

/* The keys in force. Put there by the control thread, taken by a worker when the version is another
 * than the one that it has. */
struct jwt_slot;

/* Empty; with one reference. NULL when memory is short. */
struct jwt_slot *jwt_slot_new(void);
struct jwt_slot *jwt_slot_ref(struct jwt_slot *s);
struct jwt_slot *jwt_slot_unref(struct jwt_slot *s);
/* Takes the reference over. */
void jwt_slot_set(struct jwt_slot *s, struct jwt_keys *keys);
/* A reference to them; NULL: there are none. */
struct jwt_keys *jwt_slot_keys(struct jwt_slot *s);

/* A worker has met a token with a key that is not there: `fn` comes to `to` with a mail and a
 * reference to the slot. Only the first counts until jwt_slot_answered(). */
void jwt_slot_ask(struct jwt_slot *s, struct mailbox *to,
                  void (*fn)(struct mail *mail, void *owner));
/* What came with a mail; the reference is the caller's. */
struct jwt_slot *jwt_slot_of(struct mail *mail);
void jwt_slot_answered(struct jwt_slot *s);

/* A worker's. Made by the control thread, written by its worker; the counters are read by the
 * control thread at any time; freed by it when no view of the worker names it any more. */
struct jwt_state {
    struct jwt_slot *slot;
    struct jwt_keys *keys; /* a reference; NULL: none yet */
    uint64_t version;      /* of the slot, when they were taken */
    uint64_t identity;     /* of the rules that the cache is about */
    struct jwt_cache *cache;
    counter_t results[JWT_RESULTS]; /* of each token that was verified */
    counter_t cached;               /* tokens that needed no verification */
    uint32_t views;                 /* the control thread's: views of its worker that name it */
};

/* Takes a reference to the slot. NULL when memory is short. */
struct jwt_state *jwt_state_new(struct jwt_slot *slot);
struct jwt_state *jwt_state_free(struct jwt_state *st);

/* On the worker: is the token valid by those rules, at `now` (seconds since 1970)? JWT_VALID with
 * *ret_claims, valid until the next call; `own` is empty before, and holds them where the cache
 * does not: jwt_claims_free() in any case. */
enum jwt_result jwt_state_check(struct jwt_state *st, const struct conf_jwt *conf, struct str token,
                                int64_t now, struct jwt_claims *own,
                                const struct jwt_claims **ret_claims);

#endif
