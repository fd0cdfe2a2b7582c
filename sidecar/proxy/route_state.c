/* route_state.c - a route's counters and split, over reloads. */
#include "proxy/route_state.h"

#include "base/mem.h"
#include "proxy/fault_shared.h"

struct route_state *route_state_new(const struct conf_route *r, uint64_t shape,
                                    const struct route_state *like)
{
    struct route_state *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->shape = shape;
    s->fault = like ? fault_shared_ref(like->fault) : fault_shared_new();
    if (!s->fault)
        return route_state_free(s);
    if (r->n_backends > 1) {
        struct route_split *split = mem_zalloc(sizeof(*split));
        if (!split)
            return route_state_free(s);
        atomic_init(&s->split, split);
    }
    return s;
}

struct route_state *route_state_free(struct route_state *s)
{
    if (!s)
        return NULL;
    fault_shared_unref(s->fault);
    free(atomic_load(&s->split));
    free(atomic_load(&s->stats.duration));
    free(atomic_load(&s->stats.errors));
    free(atomic_load(&s->stats.grpc));
    free(s);
    return NULL;
}

static bool same_upstreams(const struct conf_route *a, const struct conf_route *b)
{
    if (a->n_backends != b->n_backends)
        return false;
    for (uint32_t i = 0; i < a->n_backends; i++) {
        if (!str_eq(a->backends[i].upstream->name, b->backends[i].upstream->name))
            return false;
    }
    return true;
}

bool route_same_shape(const struct conf_route *a, const struct conf_route *b)
{
    return same_upstreams(a, b) && memcmp(a->ppm, b->ppm, a->n_backends * sizeof(a->ppm[0])) == 0;
}

static uint64_t picked_by_name(const struct route_state *s, const struct conf_route *r,
                               struct str upstream)
{
    for (uint32_t i = 0; i < r->n_backends; i++) {
        if (str_eq(r->backends[i].upstream->name, upstream))
            return route_state_picked(s, r, i);
    }
    return 0;
}

struct route_split *route_state_adopt(struct route_state *s, const struct conf_route *was,
                                      const struct conf_route *now, struct route_split *fresh,
                                      uint64_t shape, struct rng *rng)
{
    struct route_split *old = atomic_load_explicit(&s->split, memory_order_relaxed);
    uint64_t single =
        now->n_backends == 1 ? picked_by_name(s, was, now->backends[0].upstream->name) : 0;
    CHECK((now->n_backends > 1) == (fresh != NULL));
    for (uint32_t i = 0; fresh && i < now->n_backends; i++)
        atomic_store_explicit(&fresh->picked[i],
                              picked_by_name(s, was, now->backends[i].upstream->name),
                              memory_order_relaxed);
    if (fresh && old && old->ready && same_upstreams(was, now)) {
        fresh->split = old->split;
        split_set(&fresh->split, now->ppm, now->n_backends, rng);
        fresh->ready = true;
    }
    atomic_store_explicit(&s->picked_single, single, memory_order_relaxed);
    atomic_store_explicit(&s->split, fresh, memory_order_release);
    s->shape = shape;
    return old;
}

/* By the weights of a snapshot that is not in force any more: its few last streams are not what the
 * exact split is about. */
static uint32_t pick_at_random(const struct conf_route *r, struct rng *rng)
{
    uint32_t at = rng_below(rng, SPLIT_WHOLE_PPM), i = 0;
    while (i + 1 < r->n_backends && at >= r->ppm[i])
        at -= r->ppm[i++];
    return i;
}

uint32_t route_state_pick(struct route_state *s, const struct conf_route *r, uint64_t shape,
                          struct rng *rng)
{
    struct route_split *rs = atomic_load_explicit(&s->split, memory_order_relaxed);
    if (shape != s->shape)
        return r->n_backends > 1 ? pick_at_random(r, rng) : 0;
    if (r->n_backends == 1) {
        count_add(&s->picked_single, 1);
        return 0;
    }
    if (!rs->ready) {
        split_init(&rs->split, r->ppm, r->n_backends, rng);
        rs->ready = true;
    }
    uint32_t backend = split_next(&rs->split, rng);
    count_add(&rs->picked[backend], 1);
    return backend;
}

uint64_t route_state_picked(const struct route_state *s, const struct conf_route *r,
                            uint32_t backend)
{
    if (r->n_backends == 1)
        return count_read(&s->picked_single);
    const struct route_split *rs = atomic_load_explicit(&s->split, memory_order_acquire);
    return rs ? count_read(&rs->picked[backend]) : 0;
}
