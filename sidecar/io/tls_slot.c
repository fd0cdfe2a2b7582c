/* tls_slot.c - the context in force of a listener or an upstream. */
#include "base/mem.h"
#include "io/tls_parts.h"

struct tls_slot {
    _Atomic uint32_t refs;
    pthread_mutex_t lock; /* a connection takes it once */
    struct tls_context *context;
};

struct tls_slot *tls_slot_new(struct tls_context *c)
{
    struct tls_slot *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->refs = 1;
    (void)pthread_mutex_init(&s->lock, NULL);
    s->context = c;
    return s;
}

struct tls_slot *tls_slot_ref(struct tls_slot *s)
{
    s->refs++;
    return s;
}

struct tls_slot *tls_slot_unref(struct tls_slot *s)
{
    if (!s || --s->refs > 0)
        return NULL;
    (void)tls_context_unref(s->context);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

void tls_slot_set(struct tls_slot *s, struct tls_context *c)
{
    (void)pthread_mutex_lock(&s->lock);
    struct tls_context *before = s->context;
    s->context = c;
    (void)pthread_mutex_unlock(&s->lock);
    (void)tls_context_unref(before);
}

struct tls_context *tls_slot_get(struct tls_slot *s)
{
    (void)pthread_mutex_lock(&s->lock);
    struct tls_context *c = s->context ? tls_context_ref(s->context) : NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return c;
}
