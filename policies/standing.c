/* standing.c - why an endpoint is not used, and of how many that is so. */
#include "policies/standing.h"

enum { BITS = 21 };
#define FIELD_MASK  ((UINT64_C(1) << BITS) - 1)
#define ONE_THERE   UINT64_C(1)
#define ONE_EJECTED (UINT64_C(1) << BITS)
#define ONE_USABLE  (UINT64_C(1) << (2 * BITS))

static struct standing_counts unpack(uint64_t w)
{
    return (struct standing_counts){
        .there = (uint32_t)(w & FIELD_MASK),
        .ejected = (uint32_t)(w >> BITS & FIELD_MASK),
        .usable = (uint32_t)(w >> (2 * BITS) & FIELD_MASK),
    };
}

struct standing_counts standing_read(const struct standing_group *g)
{
    return unpack(atomic_load_explicit(&g->word, memory_order_relaxed));
}

struct standing_counts standing_read_part(const struct standing_group *g, uint32_t part)
{
    int32_t there = atomic_load_explicit(&g->parts[part].there, memory_order_relaxed);
    int32_t usable = atomic_load_explicit(&g->parts[part].usable, memory_order_relaxed);
    struct standing_counts c = {.there = there > 0 ? (uint32_t)there : 0};
    c.usable = usable <= 0 ? 0 : (uint32_t)usable < c.there ? (uint32_t)usable : c.there;
    return c;
}

/* --- an endpoint's share in the counts --- */

static void add_to_part(struct standing_group *g, uint32_t part, int32_t there, int32_t usable)
{
    if (there != 0)
        (void)atomic_fetch_add_explicit(&g->parts[part].there, there, memory_order_relaxed);
    if (usable != 0)
        (void)atomic_fetch_add_explicit(&g->parts[part].usable, usable, memory_order_relaxed);
}

/* Its word is another one. */
static void count_part(struct standing_group *g, uint32_t was, uint32_t is)
{
    int32_t was_there = (was & STANDING_NOT_THERE) == 0, was_usable = (was & STANDING_OUT) == 0;
    int32_t is_there = (is & STANDING_NOT_THERE) == 0, is_usable = (is & STANDING_OUT) == 0;
    uint32_t from = standing_part_of(was), to = standing_part_of(is);
    if (from == to) {
        add_to_part(g, to, is_there - was_there, is_usable - was_usable);
    } else {
        add_to_part(g, to, is_there, is_usable);
        add_to_part(g, from, -was_there, -was_usable);
    }
    if (from != to || is_there != was_there || is_usable != was_usable)
        (void)atomic_fetch_add_explicit(&g->changes, 1, memory_order_release);
}

/* What an endpoint with these bits adds to its group. */
static uint64_t share(uint32_t bits)
{
    if (bits & STANDING_NOT_THERE)
        return 0;
    return ONE_THERE + (bits & STANDING_EJECTIONS ? ONE_EJECTED : 0) +
           (bits & STANDING_OUT ? 0 : ONE_USABLE);
}

/* From one word to another. The group never says that there is more room than there is: what
 * makes it smaller is counted before it is so, what makes room afterwards. */
static bool change(struct standing_group *g, struct standing *s, uint32_t was, uint32_t is)
{
    uint64_t by = share(is) - share(was); /* wraps, and so takes away field by field */
    bool first = (is & STANDING_OUT & ~was) != 0;
    if (first)
        (void)atomic_fetch_add(&g->word, by);
    bool done = atomic_compare_exchange_strong(&s->word, &was, is);
    if (done != first)
        (void)atomic_fetch_add(&g->word, done ? by : 0 - by);
    if (done)
        count_part(g, was, is);
    return done;
}

bool standing_move(struct standing_group *g, struct standing *s, uint32_t part)
{
    uint32_t was = atomic_load(&s->word), is;
    do {
        if (standing_part_of(was) == part)
            return false;
        is = (was & ((1u << STANDING_PART_SHIFT) - 1)) | part << STANDING_PART_SHIFT;
    } while (!atomic_compare_exchange_weak(&s->word, &was, is));
    count_part(g, was, is);
    return true;
}

bool standing_set(struct standing_group *g, struct standing *s, enum standing_bit bit)
{
    for (;;) {
        uint32_t was = atomic_load(&s->word);
        if (was & bit)
            return false;
        if ((bit & STANDING_NOT_THERE) && (was & STANDING_EJECTIONS))
            (void)standing_return(g, s);
        else if (change(g, s, was, was | bit))
            return true;
    }
}

static bool clear(struct standing_group *g, struct standing *s, uint32_t bits)
{
    for (;;) {
        uint32_t was = atomic_load(&s->word);
        if (!(was & bits))
            return false;
        if (change(g, s, was, was & ~bits))
            return true;
    }
}

bool standing_clear(struct standing_group *g, struct standing *s, enum standing_bit bit)
{
    return clear(g, s, bit);
}

bool standing_return(struct standing_group *g, struct standing *s)
{
    return clear(g, s, STANDING_EJECTIONS);
}

static bool is_over(struct standing_counts c, uint32_t max_percent)
{
    return (uint64_t)c.ejected * 100 > (uint64_t)c.there * max_percent ||
           (c.ejected > 0 && c.ejected >= c.there);
}

bool standing_is_over(const struct standing_group *g, uint32_t max_percent)
{
    return is_over(standing_read(g), max_percent);
}

/* Takes the place that an ejection needs; false: there is none. */
static bool take_place(struct standing_group *g, uint64_t by, bool usable, uint32_t max_percent)
{
    uint64_t was = atomic_load(&g->word);
    do {
        struct standing_counts c = unpack(was);
        c.ejected++;
        if (is_over(c, max_percent) || (usable && c.usable <= 1))
            return false;
    } while (!atomic_compare_exchange_weak(&g->word, &was, was + by));
    return true;
}

bool standing_eject(struct standing_group *g, struct standing *s, uint32_t max_percent, bool dry)
{
    uint32_t bit = dry ? STANDING_EJECTED_DRY_RUN : STANDING_EJECTED;
    for (;;) {
        uint32_t was = atomic_load(&s->word);
        if (was & (STANDING_NOT_THERE | STANDING_EJECTIONS))
            return false;
        uint64_t by = share(was | bit) - share(was);
        if (!take_place(g, by, !(was & STANDING_OUT), max_percent))
            return false;
        if (atomic_compare_exchange_strong(&s->word, &was, was | bit)) {
            count_part(g, was, was | bit);
            return true;
        }
        (void)atomic_fetch_sub(&g->word, by);
    }
}
