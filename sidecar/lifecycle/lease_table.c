/* lease_table.c - the entries, found by id and by what they are known by. */
#include "lifecycle/lease_parts.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>

static struct list *bucket_of_id(const struct leases *ls, uint64_t id)
{
    return &ls->ids[id % LEASE_BUCKETS];
}

static struct list *bucket_of_digest(const struct leases *ls, const unsigned char *digest)
{
    return &ls->digests[((unsigned)digest[0] << 8 | digest[1]) % LEASE_BUCKETS];
}

/* 32 KB that only who holds something pays for. */
static int make_table(struct leases *ls)
{
    if (ls->ids)
        return 0;
    struct list *both = mem_alloc(2 * LEASE_BUCKETS * sizeof(*both));
    if (!both)
        return -ENOMEM;
    for (size_t i = 0; i < (size_t)2 * LEASE_BUCKETS; i++)
        list_init(&both[i]);
    ls->ids = both;
    ls->digests = both + LEASE_BUCKETS;
    return 0;
}

/* Salted, so that who chooses keys chooses no bucket, and that what is shown tells nothing. */
static void digest_of(const struct leases *ls, struct str name, struct str key,
                      unsigned char out[LEASE_DIGEST])
{
    unsigned char all[EVP_MAX_MD_SIZE], text[LEASE_NAME_MAX + 1 + LEASE_KEY_MAX];
    unsigned n = 0;
    memcpy(text, name.p, name.n);
    text[name.n] = 0;
    if (key.n > 0)
        memcpy(text + name.n + 1, key.p, key.n);
    if (!HMAC(EVP_sha256(), ls->salt, LEASE_SALT, text, name.n + 1 + key.n, all, &n))
        memset(all, 0, sizeof(all)); /* one bucket for all: slow, and right */
    memcpy(out, all, LEASE_DIGEST);
}

struct lease *lease_find(const struct leases *ls, uint64_t id)
{
    if (!ls->ids)
        return NULL;
    LIST_FOREACH (it, bucket_of_id(ls, id)) {
        struct lease *l = LIST_ENTRY(it, struct lease, by_id);
        if (l->id == id)
            return l;
    }
    return NULL;
}

static bool is_held(const struct lease *l)
{
    return l->state == LEASE_PENDING || l->state == LEASE_HELD;
}

/* One that is held before one whose release has begun. */
struct lease *lease_find_key(const struct leases *ls, struct str name, struct str key)
{
    unsigned char digest[LEASE_DIGEST];
    struct lease *best = NULL;
    if (!ls->ids || name.n > LEASE_NAME_MAX || key.n > LEASE_KEY_MAX)
        return NULL;
    digest_of(ls, name, key, digest);
    LIST_FOREACH (it, bucket_of_digest(ls, digest)) {
        struct lease *l = LIST_ENTRY(it, struct lease, by_digest);
        if (l->kind == LEASE_STATIC || memcmp(l->digest, digest, LEASE_DIGEST) != 0 ||
            !str_eq(str_of(l->name), name) || !str_eq(l->key, key))
            continue;
        if (!best || (is_held(l) && !is_held(best)) ||
            (is_held(l) == is_held(best) && l->item.age > best->item.age))
            best = l;
    }
    return best;
}

/* Not 0, and known to nobody before it is told. */
static uint64_t new_id(const struct leases *ls)
{
    uint64_t id = 0;
    while (id == 0 || lease_find(ls, id)) {
        if (RAND_bytes((unsigned char *)&id, sizeof(id)) != 1)
            return 0;
        id >>= 1; /* what takes signed numbers takes it too */
    }
    return id;
}

struct lease *lease_add(struct leases *ls, uint64_t id, enum lease_kind kind, struct str name,
                        struct str key)
{
    if (name.n > LEASE_NAME_MAX || key.n > LEASE_KEY_MAX || make_table(ls) < 0)
        return NULL;
    if (id == 0)
        id = new_id(ls);
    struct lease *l = id != 0 ? mem_zalloc(sizeof(*l)) : NULL;
    if (!l)
        return NULL;
    l->owner = ls;
    l->id = id;
    l->kind = kind;
    l->refs = 1;
    l->name = mem_strndup(name);
    char *copy = mem_strndup(key);
    l->key = (struct str){copy, key.n};
    if (!l->name || !copy) {
        free(l->name);
        free(copy);
        free(l);
        return NULL;
    }
    digest_of(ls, name, key, l->digest);
    l->item.name = str_of(l->name);
    l->place = ++ls->sequence;
    l->item.age = l->place;
    list_push_back(&ls->all, &l->by_age);
    list_push_front(bucket_of_id(ls, id), &l->by_id);
    list_push_front(bucket_of_digest(ls, l->digest), &l->by_digest);
    if (kind != LEASE_STATIC)
        ls->n++;
    return l;
}

int lease_set_after(struct lease *l, const struct str *after, uint32_t n)
{
    size_t bytes = n * sizeof(struct str);
    for (uint32_t i = 0; i < n; i++)
        bytes += after[i].n + 1;
    if (n == 0)
        return 0;
    char *block = mem_zalloc(bytes);
    if (!block)
        return -ENOMEM;
    struct str *names = (struct str *)(void *)block;
    char *at = block + n * sizeof(struct str);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(at, after[i].p, after[i].n);
        names[i] = (struct str){at, after[i].n};
        at += after[i].n + 1;
    }
    free(l->after);
    l->after = names;
    l->item.after = names;
    l->item.n_after = n;
    return 0;
}

int lease_set_action(struct lease *l, const struct cleanup_action *a, const char *idempotency_key)
{
    struct cleanup_action with_key = *a;
    unsigned char random[16];
    char text[2 * sizeof(random) + 1];
    if (!idempotency_key) {
        if (RAND_bytes(random, sizeof(random)) != 1)
            return -ENOMEM;
        for (size_t i = 0; i < sizeof(random); i++)
            (void)snprintf(text + 2 * i, 3, "%02x", random[i]);
        idempotency_key = text;
    }
    with_key.idempotency_key = idempotency_key;
    struct cleanup_action *copy = cleanup_action_copy(&with_key);
    if (!copy)
        return -ENOMEM;
    free(l->action);
    l->action = copy;
    return 0;
}

void lease_free(struct lease *l)
{
    cleanup_cancel(&l->run);
    cleanup_order_remove(&l->owner->order, &l->item);
    list_remove(&l->by_age);
    list_remove(&l->by_id);
    list_remove(&l->by_digest);
    if (l->kind != LEASE_STATIC)
        l->owner->n--;
    free(l->name);
    free((char *)(uintptr_t)l->key.p);
    free(l->after);
    free(l->action);
    free(l);
}

void lease_key_shown(const struct lease *l, char out[LEASE_KEY_SHOWN])
{
    for (int i = 0; i < (LEASE_KEY_SHOWN - 1) / 2; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", l->digest[i]);
}
