/* retry_budget.c - how many retries an upstream is sent, against its requests. */
#include "policies/retry_budget.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static uint32_t second_of(usec_t now)
{
    return (uint32_t)(now / USEC_PER_SEC);
}

static uint64_t slot_of(uint32_t second, uint32_t n)
{
    return (uint64_t)second << 32 | n;
}

/* `a` is later than `b`, of seconds that wrap. */
static bool later(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

/* In the last n seconds, the running one included; what another worker's clock is ahead counts
 * too. */
static uint64_t sum(const struct retry_ring *r, uint32_t second, uint32_t n)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < RETRY_BUDGET_SLOTS; i++) {
        uint64_t v = atomic_load(&r->slots[i]);
        if (v != 0 && later((uint32_t)(v >> 32) + n, second))
            total += (uint32_t)v;
    }
    return total;
}

struct retry_budget *retry_budget_new(uint32_t n_workers)
{
    size_t bytes = sizeof(struct retry_budget) + n_workers * sizeof(struct retry_ring);
    /* A whole number of cache lines, as each ring is. */
    struct retry_budget *b = mem_should_fail() ? NULL : aligned_alloc(64, bytes);
    if (!b)
        return NULL;
    memset(b, 0, bytes);
    b->n_workers = n_workers;
    return b;
}

struct retry_budget *retry_budget_free(struct retry_budget *b)
{
    free(b);
    return NULL;
}

void retry_budget_request(struct retry_budget *b, uint32_t worker, usec_t now)
{
    uint32_t second = second_of(now);
    _Atomic uint64_t *slot = &b->requests[worker].slots[second % RETRY_BUDGET_SLOTS];
    uint64_t v = atomic_load_explicit(slot, memory_order_relaxed);
    if (v >> 32 != second)
        v = slot_of(second, 0);
    atomic_store_explicit(slot, v + 1, memory_order_relaxed);
}

static uint32_t seconds_of(const struct retry_budget_rules *r)
{
    return (uint32_t)(r->window / USEC_PER_SEC);
}

static uint64_t requests_in(const struct retry_budget *b, uint32_t second, uint32_t n)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < b->n_workers; i++)
        total += sum(&b->requests[i], second, n);
    return total;
}

static uint64_t most(const struct retry_budget *b, const struct retry_budget_rules *r,
                     uint32_t second)
{
    uint32_t n = seconds_of(r);
    uint64_t share = requests_in(b, second, n) * r->percent / 100;
    uint64_t floor = (uint64_t)r->min_per_second * n;
    return share > floor ? share : floor;
}

bool retry_budget_allows(const struct retry_budget *b, const struct retry_budget_rules *r,
                         usec_t now)
{
    uint32_t second = second_of(now);
    return sum(&b->retries, second, seconds_of(r) + 1) < most(b, r, second);
}

/* Adds to the slot of that second, or of a later one that is in its place; returns which. */
static uint32_t add(struct retry_ring *r, uint32_t second)
{
    _Atomic uint64_t *slot = &r->slots[second % RETRY_BUDGET_SLOTS];
    uint64_t v = atomic_load(slot), with;
    do {
        bool stale = v == 0 || later(second, (uint32_t)(v >> 32));
        with = stale ? slot_of(second, 1) : v + 1;
    } while (!atomic_compare_exchange_weak(slot, &v, with));
    return (uint32_t)(with >> 32);
}

/* What add() has done; unless the slot is another second's by now, and so without it. */
static void give_back(struct retry_ring *r, uint32_t second)
{
    _Atomic uint64_t *slot = &r->slots[second % RETRY_BUDGET_SLOTS];
    uint64_t v = atomic_load(slot);
    while (v >> 32 == second && !atomic_compare_exchange_weak(slot, &v, v - 1))
        ;
}

/* It is added first and counted then: of two that take the last one at the same time neither may
 * see the other too late, though both may be refused. */
bool retry_budget_take(struct retry_budget *b, const struct retry_budget_rules *r, usec_t now)
{
    uint32_t second = second_of(now);
    if (!retry_budget_allows(b, r, now))
        return false; /* the usual refusal writes nothing */
    uint32_t where = add(&b->retries, second);
    if (sum(&b->retries, second, seconds_of(r) + 1) <= most(b, r, second))
        return true;
    give_back(&b->retries, where);
    return false;
}

struct retry_budget_state retry_budget_state(const struct retry_budget *b,
                                             const struct retry_budget_rules *r, usec_t now)
{
    uint32_t second = second_of(now);
    return (struct retry_budget_state){
        .requests = requests_in(b, second, seconds_of(r)),
        .retries = sum(&b->retries, second, seconds_of(r)),
        .most = most(b, r, second),
    };
}
