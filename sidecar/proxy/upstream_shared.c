/* upstream_shared.c - what all workers share of one upstream, and the list of its addresses. */
#include "proxy/upstream_shared.h"

#include "base/mem.h"
#include "base/rng.h"
#include "proxy/endpoint_word.h"

#include <errno.h>

enum { LINE_BYTES = 64 };

/* Zeroed, and on cache lines of its own. */
static void *alloc_lines(size_t bytes)
{
    bytes = (bytes + LINE_BYTES - 1) & ~(size_t)(LINE_BYTES - 1);
    void *p = mem_should_fail() ? NULL : aligned_alloc(LINE_BYTES, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

/* --- one address --- */

static struct endpoint_shared *endpoint_shared_new(struct upstream_shared *u,
                                                   const struct endpoint_address *a)
{
    uint32_t n_workers = u->n_workers;
    struct endpoint_shared *e;
    size_t bytes = sizeof(*e) + n_workers * sizeof(e->worker[0]);
    e = alloc_lines(bytes + a->text.n + 1);
    if (!e)
        return NULL;
    atomic_init(&e->refs, 1);
    e->n_workers = n_workers;
    e->group = &u->group;
    standing_init(&e->standing);
    atomic_init(&e->percent, 100);
    e->address = a->address;
    char *text = (char *)e + bytes;
    if (a->text.n > 0)
        memcpy(text, a->text.p, a->text.n);
    e->text = (struct str){text, a->text.n};
    return e;
}

struct endpoint_shared *endpoint_shared_ref(struct endpoint_shared *e)
{
    (void)atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void endpoint_shared_unref(struct endpoint_shared *e)
{
    if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1)
        free(e);
}

void endpoint_shared_set_unhealthy(struct endpoint_shared *e, bool unhealthy)
{
    if (unhealthy)
        (void)standing_set(e->group, &e->standing, STANDING_UNHEALTHY);
    else if (standing_clear(e->group, &e->standing, STANDING_UNHEALTHY))
        endpoint_shared_well(e, clock_mono());
}

static void unref_all(struct endpoint_shared **list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        endpoint_shared_unref(list[i]);
}

/* --- the upstream --- */

struct upstream_shared *upstream_shared_new(uint32_t n_workers)
{
    struct upstream_shared *u;
    u = alloc_lines(sizeof(*u) + n_workers * sizeof(u->worker[0]));
    if (!u)
        return NULL;
    atomic_init(&u->refs, 1);
    u->n_workers = n_workers;
    u->tls = tls_slot_new(NULL);
    if (u->tls)
        return u;
    free(u);
    return NULL;
}

struct retry_budget *upstream_shared_budget(struct upstream_shared *u)
{
    struct retry_budget *b = atomic_load_explicit(&u->retry_budget, memory_order_acquire), *had;
    if (b)
        return b;
    had = NULL;
    b = retry_budget_new(u->n_workers);
    if (!b || atomic_compare_exchange_strong(&u->retry_budget, &had, b))
        return b;
    (void)retry_budget_free(b); /* another worker was first */
    return had;
}

struct upstream_shared *upstream_shared_ref(struct upstream_shared *u)
{
    (void)atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
    return u;
}

void upstream_shared_unref(struct upstream_shared *u)
{
    if (!u || atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) != 1)
        return;
    unref_all(u->endpoints, u->n_endpoints + u->n_left);
    for (uint32_t i = 0; i < u->n_workers; i++) {
        CHECK(!u->worker[i].pool);
        free(u->worker[i].stats.first_byte);
    }
    (void)retry_budget_free(u->retry_budget);
    (void)tls_slot_unref(u->tls);
    free(u->endpoints);
    free(u->words);
    free(u);
}

/* --- who counts --- */

/* Who is not listed any more counts for nothing, and is ejected no more; who is new starts slowly,
 * but for the first ones: of these none has a larger share to begin with. */
static void recount(struct upstream_shared *u, struct endpoint_shared **was, uint32_t n_was)
{
    usec_t now = clock_mono();
    for (uint32_t i = 0; i < n_was; i++)
        was[i]->named = false;
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        u->endpoints[i]->named = true;
    for (uint32_t i = 0; i < n_was; i++) {
        if (!was[i]->named)
            (void)standing_set(&u->group, &was[i]->standing, STANDING_UNLISTED);
    }
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        struct endpoint_shared *e = u->endpoints[i];
        if (!(standing_word(&e->standing) & STANDING_UNLISTED))
            continue;
        if (n_was > 0)
            endpoint_shared_well(e, now);
        endpoint_word_apply(u, e);
        (void)standing_clear(&u->group, &e->standing, STANDING_UNLISTED);
    }
}

/* --- addresses, found by hash --- */

struct slot {
    struct endpoint_shared *endpoint; /* NULL: free */
    bool listed;                      /* in the new list */
};

struct table {
    uint64_t seed; /* addresses come from outside: nobody may choose ones that collide */
    uint32_t mask;
    struct slot *slots;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
    __extension__ unsigned __int128 product =
        (unsigned __int128)(h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_address(uint64_t seed, const struct address *a)
{
    const char *p = (const char *)&a->u;
    uint64_t h = seed, word;
    for (size_t left = a->len; left > 0;) {
        size_t n = min_u64(left, sizeof(word));
        word = 0;
        memcpy(&word, p, n);
        h = mix(h, word);
        p += n;
        left -= n;
    }
    return mix(h, seed);
}

/* Half of the slots stay free, so that each search ends soon. */
static int table_init(struct table *t, uint64_t entries)
{
    struct rng rng;
    uint64_t size = 16;
    while (size < 2 * entries)
        size *= 2;
    rng_init_random(&rng);
    t->seed = rng_next(&rng);
    t->mask = (uint32_t)(size - 1);
    t->slots = mem_zalloc(size * sizeof(*t->slots));
    return t->slots ? 0 : -ENOMEM;
}

/* Where the address is, or the free slot where it would be. */
static struct slot *table_find(const struct table *t, const struct address *a)
{
    uint32_t i = (uint32_t)hash_address(t->seed, a) & t->mask;
    while (t->slots[i].endpoint && !address_equal(&t->slots[i].endpoint->address, a))
        i = (i + 1) & t->mask;
    return &t->slots[i];
}

/* The list's endpoints, known ones and new ones, each with a reference more; how many. */
static int make_list(struct upstream_shared *u, const struct table *t,
                     const struct endpoint_address *list, uint32_t n, struct endpoint_shared **out,
                     uint32_t *ret_n)
{
    uint32_t made = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct slot *s = table_find(t, &list[i].address);
        if (s->listed)
            continue;
        struct endpoint_shared *e =
            s->endpoint ? endpoint_shared_ref(s->endpoint) : endpoint_shared_new(u, &list[i]);
        if (!e) {
            unref_all(out, made);
            return -ENOMEM;
        }
        *s = (struct slot){.endpoint = e, .listed = true};
        out[made++] = e;
    }
    *ret_n = made;
    return 0;
}

/* Behind the new list: who is not in it, and has references besides ours. Nobody takes a first
 * reference but this thread, so what it sees alone stays alone. */
static uint32_t keep_left(const struct upstream_shared *u, const struct table *t,
                          struct endpoint_shared **out)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < u->n_endpoints + u->n_left; i++) {
        struct endpoint_shared *e = u->endpoints[i];
        if (!table_find(t, &e->address)->listed &&
            atomic_load_explicit(&e->refs, memory_order_acquire) > 1)
            out[kept++] = endpoint_shared_ref(e);
    }
    return kept;
}

int upstream_shared_set(struct upstream_shared *u, const struct endpoint_address *list, uint32_t n,
                        bool *ret_changed)
{
    uint32_t n_was = u->n_endpoints + u->n_left, n_now = 0;
    uint64_t most = (uint64_t)n + n_was;
    struct table t;
    if (table_init(&t, most) < 0)
        return -ENOMEM;
    struct endpoint_shared **now = mem_alloc(max_u64(most, 1) * sizeof(struct endpoint_shared *));
    for (uint32_t i = 0; now && i < n_was; i++)
        table_find(&t, &u->endpoints[i]->address)->endpoint = u->endpoints[i];
    if (!now || make_list(u, &t, list, n, now, &n_now) < 0) {
        free(now);
        free(t.slots);
        return -ENOMEM;
    }
    *ret_changed = n_now != u->n_endpoints;
    for (uint32_t i = 0; !*ret_changed && i < n_now; i++)
        *ret_changed = now[i] != u->endpoints[i];
    uint32_t n_left = keep_left(u, &t, now + n_now), n_listed = u->n_endpoints;
    struct endpoint_shared **was = u->endpoints;
    u->endpoints = now;
    u->n_endpoints = n_now;
    u->n_left = n_left;
    recount(u, was, n_listed);
    unref_all(was, n_was);
    free(was);
    free(t.slots);
    return 0;
}

int upstream_shared_keep(const struct upstream_shared *u, struct upstream_addresses *ret)
{
    struct endpoint_shared **at =
        mem_alloc(max_u64(u->n_endpoints, 1) * sizeof(struct endpoint_shared *));
    if (!at)
        return -ENOMEM;
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        at[i] = endpoint_shared_ref(u->endpoints[i]);
    *ret = (struct upstream_addresses){u->n_endpoints, u->undelivered, at};
    return 0;
}

void upstream_shared_restore(struct upstream_shared *u, struct upstream_addresses *kept)
{
    if (!kept->endpoints)
        return;
    struct endpoint_shared **was = u->endpoints;
    uint32_t n_listed = u->n_endpoints, n_was = u->n_endpoints + u->n_left;
    u->endpoints = kept->endpoints;
    u->n_endpoints = kept->n;
    u->n_left = 0;
    recount(u, was, n_listed);
    unref_all(was, n_was);
    free(was);
    u->undelivered = kept->undelivered;
    *kept = (struct upstream_addresses){0};
}

void upstream_addresses_free(struct upstream_addresses *kept)
{
    unref_all(kept->endpoints, kept->n);
    free(kept->endpoints);
    *kept = (struct upstream_addresses){0};
}

struct endpoint_list *endpoint_list_new(struct upstream_shared *u)
{
    struct endpoint_list *l =
        mem_zalloc(sizeof(*l) + u->n_endpoints * sizeof(struct endpoint_shared *));
    if (!l)
        return NULL;
    l->upstream = u;
    l->n = u->n_endpoints;
    for (uint32_t i = 0; i < l->n; i++)
        l->at[i] = endpoint_shared_ref(u->endpoints[i]);
    return l;
}

struct endpoint_list *endpoint_list_free(struct endpoint_list *l)
{
    if (!l)
        return NULL;
    unref_all(l->at, l->n);
    free(l);
    return NULL;
}
