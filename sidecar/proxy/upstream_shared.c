/* upstream_shared.c - what all workers share of one upstream, and the list of its addresses. */
#include "proxy/upstream_shared.h"

#include "base/mem.h"
#include "proxy/address_table.h"
#include "proxy/endpoint_word.h"
#include "proxy/pool_levels.h"

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

struct concurrency *upstream_shared_concurrency(struct upstream_shared *u,
                                                const struct concurrency_rules *r)
{
    struct concurrency *c = atomic_load_explicit(&u->concurrency, memory_order_acquire), *had;
    if (c)
        return c;
    had = NULL;
    c = concurrency_new(u->n_workers, r);
    if (!c || atomic_compare_exchange_strong(&u->concurrency, &had, c))
        return c;
    (void)concurrency_free(c); /* another worker was first */
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
    (void)concurrency_free(u->concurrency);
    (void)tls_slot_unref(u->tls);
    free(u->endpoints);
    free(u->places);
    free(u->words);
    free(u);
}

/* --- who counts, and where --- */

/* Moves who stands elsewhere; true: somebody did. */
static bool take_places(struct upstream_shared *u, struct places *places)
{
    bool moved = false;
    free(u->places);
    u->places = places;
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        const struct place *at = places_at(places, i);
        if (standing_move(&u->group, &u->endpoints[i]->standing, at ? at->part : 0))
            moved = true;
    }
    return moved;
}

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
        outlier_begin_anew(&e->outlier);
        (void)standing_clear(&u->group, &e->standing, STANDING_UNLISTED);
    }
}

/* --- a list --- */

/* A list in the making. */
struct next_list {
    uint32_t n;
    struct endpoint_shared **at; /* with room for those that are kept behind them */
    struct places *places;
    uint8_t *at_place; /* by place in `list`, then by place in `at` */
    uint32_t *to;
};

static int next_init(struct next_list *next, const struct upstream_shared *u,
                     const struct endpoint_address *list, uint32_t n)
{
    uint64_t most = max_u64((uint64_t)n + u->n_endpoints + u->n_left, 1);
    *next = (struct next_list){0};
    next->at = mem_alloc(2 * most * sizeof(struct endpoint_shared *));
    next->at_place = mem_alloc(max_u64(n, 1));
    next->to = mem_alloc(max_u64(n, 1) * sizeof(*next->to));
    if (!next->at || !next->at_place || !next->to)
        return -ENOMEM;
    return places_of(u->places, list, n, &next->places, next->at_place);
}

/* But not its endpoints and places, if these are somebody's now. */
static void next_free(struct next_list *next)
{
    free(next->at);
    free(next->places);
    free(next->at_place);
    free(next->to);
}

/* The list's endpoints, known ones and new ones, each with a reference more. */
static int make_list(struct upstream_shared *u, const struct address_table *t,
                     const struct endpoint_address *list, uint32_t n, struct next_list *next)
{
    for (uint32_t i = 0; i < n; i++) {
        struct address_slot *s = address_table_find(t, &list[i].address);
        if (s->listed)
            continue;
        struct endpoint_shared *e =
            s->endpoint ? endpoint_shared_ref(s->endpoint) : endpoint_shared_new(u, &list[i]);
        if (!e) {
            unref_all(next->at, next->n);
            return -ENOMEM;
        }
        *s = (struct address_slot){.endpoint = e, .listed = true};
        next->at_place[next->n] = next->at_place[i];
        next->at[next->n++] = e;
    }
    return 0;
}

static void arrange(struct next_list *next, struct endpoint_shared **scratch)
{
    if (!next->places)
        return;
    places_arrange(next->places, next->at_place, next->n, next->to);
    for (uint32_t i = 0; i < next->n; i++)
        scratch[next->to[i]] = next->at[i];
    memcpy(next->at, scratch, next->n * sizeof(struct endpoint_shared *));
}

/* Behind the new list: who is not in it, and has references besides ours. Nobody takes a first
 * reference but this thread, so what it sees alone stays alone. */
static uint32_t keep_left(const struct upstream_shared *u, const struct address_table *t,
                          struct endpoint_shared **out)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < u->n_endpoints + u->n_left; i++) {
        struct endpoint_shared *e = u->endpoints[i];
        if (!address_table_find(t, &e->address)->listed &&
            atomic_load_explicit(&e->refs, memory_order_acquire) > 1)
            out[kept++] = endpoint_shared_ref(e);
    }
    return kept;
}

static bool same_list(const struct upstream_shared *u, const struct next_list *next)
{
    if (next->n != u->n_endpoints)
        return false;
    for (uint32_t i = 0; i < next->n; i++) {
        if (next->at[i] != u->endpoints[i])
            return false;
    }
    return true;
}

int upstream_shared_set(struct upstream_shared *u, const struct endpoint_address *list, uint32_t n,
                        bool *ret_changed)
{
    uint32_t n_was = u->n_endpoints + u->n_left, n_listed = u->n_endpoints;
    struct endpoint_shared **was = u->endpoints;
    struct next_list next;
    struct address_table t = {0};
    int rc = next_init(&next, u, list, n);
    if (rc == 0)
        rc = address_table_init(&t, (uint64_t)n + n_was);
    for (uint32_t i = 0; rc == 0 && i < n_was; i++)
        address_table_find(&t, &was[i]->address)->endpoint = was[i];
    if (rc == 0)
        rc = make_list(u, &t, list, n, &next);
    if (rc == 0) {
        arrange(&next, next.at + n + n_was);
        bool same = same_list(u, &next);
        u->n_left = keep_left(u, &t, next.at + next.n);
        u->endpoints = next.at;
        u->n_endpoints = next.n;
        *ret_changed = take_places(u, next.places) || !same;
        recount(u, was, n_listed);
        unref_all(was, n_was);
        next.at = was;
        next.places = NULL;
    }
    next_free(&next);
    free(t.slots);
    return rc;
}

int upstream_shared_keep(const struct upstream_shared *u, struct upstream_addresses *ret)
{
    struct endpoint_shared **at =
        mem_alloc(max_u64(u->n_endpoints, 1) * sizeof(struct endpoint_shared *));
    struct places *places = places_copy(u->places);
    if (!at || (u->places && !places)) {
        free(at);
        free(places);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        at[i] = endpoint_shared_ref(u->endpoints[i]);
    *ret = (struct upstream_addresses){u->n_endpoints, u->undelivered, at, places};
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
    (void)take_places(u, kept->places);
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
    free(kept->places);
    *kept = (struct upstream_addresses){0};
}

struct endpoint_list *endpoint_list_new(struct upstream_shared *u)
{
    struct endpoint_list *l =
        mem_zalloc(sizeof(*l) + u->n_endpoints * sizeof(struct endpoint_shared *));
    if (!l)
        return NULL;
    if (pool_levels_new(u, &l->levels) < 0) {
        free(l);
        return NULL;
    }
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
    free(l->levels);
    free(l);
    return NULL;
}
