/* endpoint_word.c - the operator's word on an endpoint: how much of its share it gets, or nothing.
 */
#include "proxy/endpoint_word.h"

#include "base/mem.h"

#include <errno.h>

static struct endpoint_word *find(const struct upstream_shared *u, const struct address *a)
{
    for (uint32_t i = 0; i < u->n_words; i++) {
        if (address_equal(&u->words[i].address, a))
            return &u->words[i];
    }
    return NULL;
}

const struct endpoint_word *endpoint_word_find(const struct upstream_shared *u,
                                               const struct address *a)
{
    return find(u, a);
}

static void apply(struct upstream_shared *u, struct endpoint_shared *e, bool drained,
                  uint32_t percent)
{
    bool was_drained = (standing_word(&e->standing) & STANDING_DRAINED) != 0;
    atomic_store_explicit(&e->percent, percent, memory_order_relaxed);
    if (drained) {
        (void)standing_set(&u->group, &e->standing, STANDING_DRAINED);
    } else if (was_drained) {
        outlier_begin_anew(&e->outlier);
        endpoint_shared_well(e, clock_mono());
        (void)standing_clear(&u->group, &e->standing, STANDING_DRAINED);
    }
}

void endpoint_word_apply(struct upstream_shared *u, struct endpoint_shared *e)
{
    const struct endpoint_word *w = find(u, &e->address);
    apply(u, e, w && w->drained, w ? w->percent : 100);
}

static void forget(struct upstream_shared *u, struct endpoint_word *w)
{
    if (w)
        *w = u->words[--u->n_words];
}

static int remember(struct upstream_shared *u, struct endpoint_word *old,
                    const struct endpoint_word *w)
{
    if (!old) {
        if (u->n_words >= ENDPOINT_WORDS_MAX)
            return -EUSERS;
        struct endpoint_word *more = mem_realloc(u->words, (u->n_words + 1) * sizeof(*more));
        if (!more)
            return -ENOMEM;
        u->words = more;
        old = &more[u->n_words++];
    }
    *old = *w;
    return 0;
}

int endpoint_word_set(struct upstream_shared *u, const struct endpoint_word *w)
{
    struct endpoint_word *old = find(u, &w->address);
    bool back = !w->drained && w->percent == 100;
    int rc = 0;
    if (back)
        forget(u, old);
    else
        rc = remember(u, old, w);
    for (uint32_t i = 0; rc == 0 && i < u->n_endpoints + u->n_left; i++) {
        if (address_equal(&u->endpoints[i]->address, &w->address))
            apply(u, u->endpoints[i], w->drained, w->percent);
    }
    return rc;
}
