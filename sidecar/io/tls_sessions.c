/* tls_sessions.c - a client's sessions: the last one of each endpoint, bounded.
 *
 * They hang on the context that verified the peer: with other CAs or rules there is another
 * context, and nothing is resumed that those would refuse. Connections get copies: OpenSSL writes
 * to a session while a connection has it, and connections are on several threads. */
#include "base/mem.h"
#include "io/tls_parts.h"

#include <errno.h>

enum { BUCKETS = 64 };

struct tls_session {
    struct list link, bucket_link;
    uint64_t key;
    SSL_SESSION *session;
};

int tls_sessions_init(struct tls_sessions *s)
{
    s->buckets = mem_alloc(BUCKETS * sizeof(*s->buckets));
    if (!s->buckets)
        return -ENOMEM;
    for (int i = 0; i < BUCKETS; i++)
        list_init(&s->buckets[i]);
    list_init(&s->recent);
    s->n = 0;
    (void)pthread_mutex_init(&s->lock, NULL);
    return 0;
}

static void drop(struct tls_sessions *s, struct tls_session *e)
{
    list_remove(&e->link);
    list_remove(&e->bucket_link);
    SSL_SESSION_free(e->session);
    free(e);
    s->n--;
}

void tls_sessions_free(struct tls_sessions *s)
{
    if (!s->buckets)
        return;
    LIST_FOREACH_SAFE (it, &s->recent)
        drop(s, LIST_ENTRY(it, struct tls_session, link));
    (void)pthread_mutex_destroy(&s->lock);
    free(s->buckets);
    s->buckets = NULL;
}

static struct tls_session *find(const struct tls_sessions *s, uint64_t key)
{
    LIST_FOREACH (it, &s->buckets[key % BUCKETS]) {
        struct tls_session *e = LIST_ENTRY(it, struct tls_session, bucket_link);
        if (e->key == key)
            return e;
    }
    return NULL;
}

void tls_sessions_put(struct tls_sessions *s, uint64_t key, SSL_SESSION *session)
{
    (void)pthread_mutex_lock(&s->lock);
    struct tls_session *e = find(s, key);
    if (e) {
        list_remove(&e->link);
        SSL_SESSION_free(e->session);
    } else {
        if (s->n >= TLS_SESSIONS_MAX)
            drop(s, LIST_ENTRY(list_last(&s->recent), struct tls_session, link));
        e = mem_zalloc(sizeof(*e));
        if (!e) {
            (void)pthread_mutex_unlock(&s->lock);
            SSL_SESSION_free(session);
            return;
        }
        e->key = key;
        list_push_front(&s->buckets[key % BUCKETS], &e->bucket_link);
        s->n++;
    }
    e->session = session;
    list_push_front(&s->recent, &e->link);
    (void)pthread_mutex_unlock(&s->lock);
}

SSL_SESSION *tls_sessions_get(struct tls_sessions *s, uint64_t key)
{
    SSL_SESSION *found = NULL;
    (void)pthread_mutex_lock(&s->lock);
    struct tls_session *e = find(s, key);
    if (e && SSL_SESSION_is_resumable(e->session))
        found = SSL_SESSION_dup(e->session);
    (void)pthread_mutex_unlock(&s->lock);
    return found;
}
