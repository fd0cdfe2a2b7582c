/* jwt_cache.c - tokens that were verified: chains by the ends of their signatures, and a list by
 * use. */
#include "policies/jwt_cache.h"

#include "base/list.h"
#include "base/mem.h"

#include <string.h>

enum { BUCKET_BITS_MIN = 4 };

struct entry {
    struct list link;   /* on lru, the latest used first */
    struct entry *next; /* in its bucket */
    struct jwt_claims claims;
    uint64_t tail;
    size_t n;
    char text[];
};

struct jwt_cache {
    uint32_t max, n;
    unsigned bucket_bits;
    uint64_t secret; /* odd */
    struct list lru;
    struct entry **buckets; /* NULL: nothing was put in yet */
};

struct jwt_cache *jwt_cache_new(uint32_t max, uint64_t secret)
{
    struct jwt_cache *c = mem_zalloc(sizeof(*c));
    if (!c)
        return NULL;
    c->max = max < JWT_CACHE_MAX ? max : JWT_CACHE_MAX;
    c->secret = secret | 1;
    list_init(&c->lru);
    return c;
}

struct jwt_cache *jwt_cache_free(struct jwt_cache *c)
{
    if (!c)
        return NULL;
    jwt_cache_flush(c);
    free(c->buckets);
    free(c);
    return NULL;
}

/* The last bytes of the signature: of those that verify, nobody can choose them. */
static uint64_t tail_of(struct str token)
{
    uint64_t tail = 0;
    size_t n = token.n < sizeof(tail) ? token.n : sizeof(tail);
    if (n > 0)
        memcpy(&tail, token.p + token.n - n, n);
    return tail;
}

/* Multiplicative hashing: two tails share a bucket for no more than a share of the secrets. */
static struct entry **bucket_of(const struct jwt_cache *c, uint64_t tail)
{
    return &c->buckets[tail * c->secret >> (64 - c->bucket_bits)];
}

static struct entry **find(const struct jwt_cache *c, struct str token)
{
    uint64_t tail = tail_of(token);
    if (c->n == 0)
        return NULL;
    for (struct entry **e = bucket_of(c, tail); *e; e = &(*e)->next) {
        if ((*e)->tail == tail && str_eq((struct str){(*e)->text, (*e)->n}, token))
            return e;
    }
    return NULL;
}

static void drop(struct jwt_cache *c, struct entry **where)
{
    struct entry *e = *where;
    *where = e->next;
    list_remove(&e->link);
    jwt_claims_free(&e->claims);
    explicit_bzero(e->text, e->n);
    free(e);
    c->n--;
}

const struct jwt_claims *jwt_cache_get(struct jwt_cache *c, struct str token)
{
    struct entry **where = find(c, token);
    if (!where)
        return NULL;
    struct entry *e = *where;
    if (c->lru.next != &e->link) {
        list_remove(&e->link);
        list_push_front(&c->lru, &e->link);
    }
    return &e->claims;
}

static bool make_buckets(struct jwt_cache *c)
{
    unsigned bits = BUCKET_BITS_MIN;
    while (UINT32_C(1) << bits < c->max)
        bits++;
    c->buckets = mem_zalloc(sizeof(struct entry *) << bits);
    c->bucket_bits = bits;
    return c->buckets != NULL;
}

/* Down to that many, the least recently used first. */
static void shrink(struct jwt_cache *c, uint32_t most)
{
    while (c->n > most) {
        const struct entry *e = LIST_ENTRY(list_last(&c->lru), struct entry, link);
        struct entry **where = find(c, (struct str){e->text, e->n});
        CHECK(where && *where == e);
        drop(c, where);
    }
}

const struct jwt_claims *jwt_cache_put(struct jwt_cache *c, struct str token,
                                       struct jwt_claims *claims)
{
    if (c->max == 0 || (!c->buckets && !make_buckets(c)))
        return NULL;
    struct entry *e = mem_alloc(sizeof(*e) + token.n);
    if (!e)
        return NULL;
    shrink(c, c->max - 1);
    e->claims = *claims;
    *claims = (struct jwt_claims){0};
    e->tail = tail_of(token);
    e->n = token.n;
    if (token.n > 0)
        memcpy(e->text, token.p, token.n);
    struct entry **bucket = bucket_of(c, e->tail);
    e->next = *bucket;
    *bucket = e;
    list_push_front(&c->lru, &e->link);
    c->n++;
    return &e->claims;
}

void jwt_cache_remove(struct jwt_cache *c, struct str token)
{
    struct entry **where = find(c, token);
    if (where)
        drop(c, where);
}

void jwt_cache_flush(struct jwt_cache *c)
{
    shrink(c, 0);
}

void jwt_cache_resize(struct jwt_cache *c, uint32_t max)
{
    if (max > JWT_CACHE_MAX)
        max = JWT_CACHE_MAX;
    if (max == c->max)
        return;
    jwt_cache_flush(c);
    free(c->buckets);
    c->buckets = NULL;
    c->max = max;
}

uint32_t jwt_cache_count(const struct jwt_cache *c)
{
    return c->n;
}
