/* jwt_state.c - an issuer at run time: keys that change under traffic, and what they verified. */
#include "proxy/jwt_state.h"

#include "base/mem.h"

#include <pthread.h>
#include <sys/random.h>

struct jwt_slot {
    _Atomic uint32_t refs;
    _Atomic uint64_t version; /* grows with each change, under the lock */
    pthread_mutex_t lock;
    struct jwt_keys *keys;
    _Atomic bool asked;
    struct mail mail; /* under way while asked, or answered before it was */
};

struct jwt_slot *jwt_slot_new(void)
{
    struct jwt_slot *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->refs = 1;
    (void)pthread_mutex_init(&s->lock, NULL);
    return s;
}

struct jwt_slot *jwt_slot_ref(struct jwt_slot *s)
{
    s->refs++;
    return s;
}

struct jwt_slot *jwt_slot_unref(struct jwt_slot *s)
{
    if (!s || --s->refs > 0)
        return NULL;
    (void)jwt_keys_unref(s->keys);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

void jwt_slot_set(struct jwt_slot *s, struct jwt_keys *keys)
{
    (void)pthread_mutex_lock(&s->lock);
    struct jwt_keys *before = s->keys;
    s->keys = keys;
    s->version++;
    (void)pthread_mutex_unlock(&s->lock);
    (void)jwt_keys_unref(before);
}

struct jwt_keys *jwt_slot_keys(struct jwt_slot *s)
{
    (void)pthread_mutex_lock(&s->lock);
    struct jwt_keys *keys = s->keys ? jwt_keys_ref(s->keys) : NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return keys;
}

void jwt_slot_ask(struct jwt_slot *s, struct mailbox *to,
                  void (*fn)(struct mail *mail, void *owner))
{
    if (s->asked || atomic_exchange(&s->asked, true))
        return;
    (void)jwt_slot_ref(s);
    mailbox_post(to, &s->mail, fn);
}

struct jwt_slot *jwt_slot_of(struct mail *mail)
{
    return CONTAINER_OF(mail, struct jwt_slot, mail);
}

void jwt_slot_answered(struct jwt_slot *s)
{
    s->asked = false;
}

struct jwt_state *jwt_state_new(struct jwt_slot *slot)
{
    struct jwt_state *st = mem_zalloc(sizeof(*st));
    if (!st)
        return NULL;
    uint64_t secret;
    bool have = getrandom(&secret, sizeof(secret), 0) == (ssize_t)sizeof(secret);
    st->cache = have ? jwt_cache_new(0, secret) : NULL; /* of a size with the first rules */
    if (!st->cache) {
        free(st);
        return NULL;
    }
    st->slot = jwt_slot_ref(slot);
    return st;
}

struct jwt_state *jwt_state_free(struct jwt_state *st)
{
    if (!st)
        return NULL;
    st->cache = jwt_cache_free(st->cache);
    (void)jwt_keys_unref(st->keys);
    (void)jwt_slot_unref(st->slot);
    free(st);
    return NULL;
}

/* What was verified by other keys, or other rules, is not known any more. */
static void look_for_changes(struct jwt_state *st, const struct conf_jwt *conf)
{
    if (st->version != atomic_load_explicit(&st->slot->version, memory_order_acquire)) {
        struct jwt_keys *before = st->keys;
        (void)pthread_mutex_lock(&st->slot->lock);
        st->keys = st->slot->keys ? jwt_keys_ref(st->slot->keys) : NULL;
        st->version = st->slot->version;
        (void)pthread_mutex_unlock(&st->slot->lock);
        (void)jwt_keys_unref(before);
        jwt_cache_flush(st->cache);
    }
    if (st->identity != conf->identity) {
        st->identity = conf->identity;
        jwt_cache_flush(st->cache);
        jwt_cache_resize(st->cache, conf->cache_size);
    }
}

static enum jwt_result verify(struct jwt_state *st, const struct conf_jwt *conf, struct str token,
                              int64_t now, struct jwt_claims *own,
                              const struct jwt_claims **ret_claims)
{
    enum jwt_result result = jwt_verify(&conf->rules, st->keys, token, now, own);
    count_add(&st->results[result], 1);
    if (result != JWT_VALID)
        return result;
    const struct jwt_claims *kept = jwt_cache_put(st->cache, token, own);
    *ret_claims = kept ? kept : own;
    return JWT_VALID;
}

enum jwt_result jwt_state_check(struct jwt_state *st, const struct conf_jwt *conf, struct str token,
                                int64_t now, struct jwt_claims *own,
                                const struct jwt_claims **ret_claims)
{
    look_for_changes(st, conf);
    if (token.n > JWT_TOKEN_MAX) {
        count_add(&st->results[JWT_MALFORMED], 1);
        return JWT_MALFORMED;
    }
    const struct jwt_claims *known = jwt_cache_get(st->cache, token);
    if (!known)
        return verify(st, conf, token, now, own, ret_claims);
    enum jwt_result result = jwt_check_time(&conf->rules, known, now);
    if (result == JWT_VALID) {
        count_add(&st->cached, 1);
        *ret_claims = known;
        return JWT_VALID;
    }
    count_add(&st->results[result], 1);
    jwt_cache_remove(st->cache, token);
    return result;
}
