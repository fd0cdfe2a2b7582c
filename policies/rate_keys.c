/* rate_keys.c - keys in hash tables, each in the order of its use. */
#include "policies/rate_keys.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/siphash.h"

#include <pthread.h>

enum { TABLES = 64, LEAST = 16, OLD_AT_ONCE = 2 };

#define NONE UINT32_MAX

struct entry {
    uint64_t hash;
    rate_word word;
    uint32_t next;         /* of its chain */
    uint32_t newer, older; /* in the order of use */
};

/* Entries 0 to n - 1 are used; another takes the place of one that goes. */
struct table {
    _Alignas(64) pthread_mutex_t lock;
    uint32_t n, room; /* room: a power of two, or 0 */
    uint32_t newest, oldest;
    struct entry *entries;
    uint32_t *chains; /* as many as there is room */
    uint64_t forgotten;
};

struct rate_keys {
    uint64_t seed[2];
    _Atomic uint32_t most; /* of a table */
    struct table tables[TABLES];
};

static uint32_t share_of(uint32_t most)
{
    return (most + TABLES - 1) / TABLES;
}

struct rate_keys *rate_keys_new(uint32_t most, const uint64_t seed[2])
{
    struct rate_keys *k = mem_should_fail() ? NULL : aligned_alloc(64, sizeof(*k));
    if (!k)
        return NULL;
    memset(k, 0, sizeof(*k));
    k->seed[0] = seed[0];
    k->seed[1] = seed[1];
    atomic_init(&k->most, share_of(most));
    for (int i = 0; i < TABLES; i++) {
        (void)pthread_mutex_init(&k->tables[i].lock, NULL);
        k->tables[i].newest = k->tables[i].oldest = NONE;
    }
    return k;
}

struct rate_keys *rate_keys_free(struct rate_keys *k)
{
    for (int i = 0; k && i < TABLES; i++) {
        free(k->tables[i].entries);
        free(k->tables[i].chains);
        (void)pthread_mutex_destroy(&k->tables[i].lock);
    }
    free(k);
    return NULL;
}

void rate_keys_set_most(struct rate_keys *k, uint32_t most)
{
    atomic_store_explicit(&k->most, share_of(most), memory_order_relaxed);
}

/* --- one table --- */

static uint32_t *chain_of(const struct table *t, uint64_t hash)
{
    return &t->chains[hash & (t->room - 1)];
}

static uint32_t find(const struct table *t, uint64_t hash)
{
    uint32_t i = t->n > 0 ? *chain_of(t, hash) : NONE;
    while (i != NONE && t->entries[i].hash != hash)
        i = t->entries[i].next;
    return i;
}

/* The link that points at it: of its chain's head, or of the entry before it. */
static uint32_t *link_to(struct table *t, uint32_t i)
{
    uint32_t *at = chain_of(t, t->entries[i].hash);
    while (*at != i)
        at = &t->entries[*at].next;
    return at;
}

static void set_neighbours(struct table *t, uint32_t newer, uint32_t older, uint32_t to_newer,
                           uint32_t to_older)
{
    *(newer != NONE ? &t->entries[newer].older : &t->newest) = to_older;
    *(older != NONE ? &t->entries[older].newer : &t->oldest) = to_newer;
}

static void take_out(struct table *t, uint32_t i)
{
    const struct entry *e = &t->entries[i];
    set_neighbours(t, e->newer, e->older, e->newer, e->older);
}

static void put_newest(struct table *t, uint32_t i)
{
    t->entries[i].newer = NONE;
    t->entries[i].older = t->newest;
    *(t->newest != NONE ? &t->entries[t->newest].newer : &t->oldest) = i;
    t->newest = i;
}

/* The last entry moves into its place. */
static void drop(struct table *t, uint32_t i)
{
    uint32_t last = t->n - 1;
    *link_to(t, i) = t->entries[i].next;
    take_out(t, i);
    if (i != last) {
        *link_to(t, last) = i;
        set_neighbours(t, t->entries[last].newer, t->entries[last].older, i, i);
        t->entries[i].hash = t->entries[last].hash;
        t->entries[i].next = t->entries[last].next;
        t->entries[i].newer = t->entries[last].newer;
        t->entries[i].older = t->entries[last].older;
        atomic_init(&t->entries[i].word,
                    atomic_load_explicit(&t->entries[last].word, memory_order_relaxed));
    }
    t->n--;
}

/* Room for as many; false when memory is short, and nothing has changed. */
static bool make_room(struct table *t, uint32_t room)
{
    uint32_t *chains = mem_alloc(room * sizeof(*chains));
    struct entry *entries = chains ? mem_realloc(t->entries, room * sizeof(*entries)) : NULL;
    if (!entries) {
        free(chains);
        return false;
    }
    free(t->chains);
    t->entries = entries;
    t->chains = chains;
    t->room = room;
    for (uint32_t i = 0; i < room; i++)
        chains[i] = NONE;
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t *head = chain_of(t, entries[i].hash);
        entries[i].next = *head;
        *head = i;
    }
    return true;
}

static void forget_oldest(struct table *t, const struct rate_rule *r, usec_t now)
{
    t->forgotten += !rate_is_unused(&t->entries[t->oldest].word, r, now);
    drop(t, t->oldest);
}

/* A new key pays for its coming: of the oldest, those that are as good as new go. */
static void clear_old(struct table *t, const struct rate_rule *r, usec_t now, uint32_t most)
{
    for (int i = 0; i < OLD_AT_ONCE && t->n > 0; i++) {
        if (t->n < most && !rate_is_unused(&t->entries[t->oldest].word, r, now))
            return;
        forget_oldest(t, r, now);
    }
    if (t->room > LEAST && t->n < t->room / 4)
        (void)make_room(t, t->room / 2);
}

static uint32_t insert(struct table *t, const struct rate_rule *r, uint64_t hash, usec_t now,
                       uint32_t most)
{
    clear_old(t, r, now, most);
    if (t->n == t->room && !make_room(t, t->room > 0 ? 2 * t->room : LEAST)) {
        if (t->n == 0)
            return NONE;
        forget_oldest(t, r, now);
    }
    uint32_t i = t->n++, *head = chain_of(t, hash);
    t->entries[i].hash = hash;
    t->entries[i].next = *head;
    atomic_init(&t->entries[i].word, 0);
    *head = i;
    put_newest(t, i);
    return i;
}

/* --- all of them --- */

static struct table *table_of(struct rate_keys *k, uint64_t hash)
{
    return &k->tables[hash >> 58];
}
_Static_assert(TABLES == 1 << (64 - 58), "the upper bits of a hash choose its table");

struct rate_verdict rate_keys_take(struct rate_keys *k, const struct rate_rule *r, struct str key,
                                   usec_t now)
{
    uint64_t hash = siphash(k->seed, key);
    struct table *t = table_of(k, hash);
    struct rate_verdict v = {.allowed = true};
    (void)pthread_mutex_lock(&t->lock);
    uint32_t i = find(t, hash);
    if (i == NONE)
        i = insert(t, r, hash, now, atomic_load_explicit(&k->most, memory_order_relaxed));
    else if (t->newest != i) {
        take_out(t, i);
        put_newest(t, i);
    }
    if (i != NONE)
        v = rate_take(&t->entries[i].word, r, now);
    (void)pthread_mutex_unlock(&t->lock);
    return v;
}

uint64_t rate_keys_hash(const struct rate_keys *k, struct str key)
{
    return siphash(k->seed, key);
}

void rate_keys_give_back(struct rate_keys *k, struct str key, const struct rate_verdict *v)
{
    uint64_t hash = siphash(k->seed, key);
    struct table *t = table_of(k, hash);
    (void)pthread_mutex_lock(&t->lock);
    uint32_t i = find(t, hash);
    if (i != NONE)
        rate_give_back(&t->entries[i].word, v);
    (void)pthread_mutex_unlock(&t->lock);
}

uint32_t rate_keys_held(struct rate_keys *k)
{
    uint32_t n = 0;
    for (int i = 0; i < TABLES; i++) {
        (void)pthread_mutex_lock(&k->tables[i].lock);
        n += k->tables[i].n;
        (void)pthread_mutex_unlock(&k->tables[i].lock);
    }
    return n;
}

uint64_t rate_keys_forgotten(struct rate_keys *k)
{
    uint64_t n = 0;
    for (int i = 0; i < TABLES; i++) {
        (void)pthread_mutex_lock(&k->tables[i].lock);
        n += k->tables[i].forgotten;
        (void)pthread_mutex_unlock(&k->tables[i].lock);
    }
    return n;
}
