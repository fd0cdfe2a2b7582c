/* jwt_cache.c - tokens that were verified: chains by the key's first bits, and a list by use. */
#include "policies/jwt_cache.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/siphash.h"

enum { BUCKETS_MIN = 16 };

struct entry {
    struct list link;   /* on lru, the latest used first */
    struct entry *next; /* in its bucket */
    struct jwt_cache_key key;
    struct jwt_claims claims;
};

struct jwt_cache {
    uint32_t max, n, mask;
    uint64_t secret[2];
    struct list lru;
    struct entry **buckets; /* NULL: nothing was put in yet */
};

struct jwt_cache *jwt_cache_new(uint32_t max, const uint64_t secret[2])
{
    struct jwt_cache *c = mem_zalloc(sizeof(*c));
    if (!c)
        return NULL;
    c->max = max < JWT_CACHE_MAX ? max : JWT_CACHE_MAX;
    memcpy(c->secret, secret, sizeof(c->secret));
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

struct jwt_cache_key jwt_cache_key(const struct jwt_cache *c, struct str token)
{
    struct jwt_cache_key key = {{0, 0}};
    siphash_128(c->secret, token, key.bits);
    return key;
}

/* What nobody can choose: any of its bits are as good as a hash. */
static struct entry **bucket_of(const struct jwt_cache *c, struct jwt_cache_key key)
{
    return &c->buckets[(uint32_t)key.bits[0] & c->mask];
}

static struct entry **find(const struct jwt_cache *c, struct jwt_cache_key key)
{
    if (c->n == 0)
        return NULL;
    for (struct entry **e = bucket_of(c, key); *e; e = &(*e)->next) {
        if ((*e)->key.bits[0] == key.bits[0] && (*e)->key.bits[1] == key.bits[1])
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
    free(e);
    c->n--;
}

const struct jwt_claims *jwt_cache_get(struct jwt_cache *c, struct jwt_cache_key key)
{
    struct entry **where = find(c, key);
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
    uint32_t n = BUCKETS_MIN;
    while (n < c->max)
        n *= 2;
    c->buckets = mem_zalloc(n * sizeof(struct entry *));
    c->mask = n - 1;
    return c->buckets != NULL;
}

/* Down to that many, the least recently used first. */
static void shrink(struct jwt_cache *c, uint32_t most)
{
    while (c->n > most) {
        const struct entry *e = LIST_ENTRY(list_last(&c->lru), struct entry, link);
        struct entry **where = find(c, e->key);
        CHECK(where && *where == e);
        drop(c, where);
    }
}

const struct jwt_claims *jwt_cache_put(struct jwt_cache *c, struct jwt_cache_key key,
                                       struct jwt_claims *claims)
{
    if (c->max == 0 || (!c->buckets && !make_buckets(c)))
        return NULL;
    struct entry *e = mem_zalloc(sizeof(*e));
    if (!e)
        return NULL;
    shrink(c, c->max - 1);
    e->key = key;
    e->claims = *claims;
    *claims = (struct jwt_claims){0};
    struct entry **bucket = bucket_of(c, key);
    e->next = *bucket;
    *bucket = e;
    list_push_front(&c->lru, &e->link);
    c->n++;
    return &e->claims;
}

void jwt_cache_remove(struct jwt_cache *c, struct jwt_cache_key key)
{
    struct entry **where = find(c, key);
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
