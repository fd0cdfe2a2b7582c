/* jwt_cache.c - tokens that were verified: chains by the digest's first bytes, and a list by use.
 */
#include "policies/jwt_cache.h"

#include "base/list.h"
#include "base/mem.h"

#include <openssl/evp.h>

enum { BUCKETS_MIN = 16 };

struct entry {
    struct list link;   /* on lru, the latest used first */
    struct entry *next; /* in its bucket */
    unsigned char key[JWT_CACHE_KEY];
    struct jwt_claims claims;
};

struct jwt_cache {
    uint32_t max, n, mask;
    EVP_MD_CTX *digest; /* set up once: that costs more than a token's hash */
    struct list lru;
    struct entry **buckets; /* NULL: nothing was put in yet */
};

struct jwt_cache *jwt_cache_new(uint32_t max)
{
    struct jwt_cache *c = mem_zalloc(sizeof(*c));
    if (!c)
        return NULL;
    c->max = max < JWT_CACHE_MAX ? max : JWT_CACHE_MAX;
    list_init(&c->lru);
    c->digest = EVP_MD_CTX_new();
    if (!c->digest || EVP_DigestInit_ex(c->digest, EVP_sha256(), NULL) != 1)
        return jwt_cache_free(c);
    return c;
}

struct jwt_cache *jwt_cache_free(struct jwt_cache *c)
{
    if (!c)
        return NULL;
    jwt_cache_flush(c);
    EVP_MD_CTX_free(c->digest);
    free(c->buckets);
    free(c);
    return NULL;
}

bool jwt_cache_key(struct jwt_cache *c, struct str token, unsigned char ret[JWT_CACHE_KEY])
{
    /* The digest that the context has already. */
    return EVP_DigestInit_ex(c->digest, NULL, NULL) == 1 &&
           EVP_DigestUpdate(c->digest, token.p, token.n) == 1 &&
           EVP_DigestFinal_ex(c->digest, ret, NULL) == 1;
}

/* Of a digest that nobody can choose: any of its bytes are as good as a hash. */
static struct entry **bucket_of(const struct jwt_cache *c, const unsigned char *key)
{
    uint32_t h;
    memcpy(&h, key, sizeof(h));
    return &c->buckets[h & c->mask];
}

static struct entry **find(const struct jwt_cache *c, const unsigned char *key)
{
    if (c->n == 0)
        return NULL;
    for (struct entry **e = bucket_of(c, key); *e; e = &(*e)->next) {
        if (memcmp((*e)->key, key, JWT_CACHE_KEY) == 0)
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

const struct jwt_claims *jwt_cache_get(struct jwt_cache *c, const unsigned char key[JWT_CACHE_KEY])
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

const struct jwt_claims *jwt_cache_put(struct jwt_cache *c, const unsigned char key[JWT_CACHE_KEY],
                                       struct jwt_claims *claims)
{
    if (c->max == 0 || (!c->buckets && !make_buckets(c)))
        return NULL;
    struct entry *e = mem_zalloc(sizeof(*e));
    if (!e)
        return NULL;
    shrink(c, c->max - 1);
    memcpy(e->key, key, JWT_CACHE_KEY);
    e->claims = *claims;
    *claims = (struct jwt_claims){0};
    struct entry **bucket = bucket_of(c, key);
    e->next = *bucket;
    *bucket = e;
    list_push_front(&c->lru, &e->link);
    c->n++;
    return &e->claims;
}

void jwt_cache_remove(struct jwt_cache *c, const unsigned char key[JWT_CACHE_KEY])
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
