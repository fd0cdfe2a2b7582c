/* standing.h - why an endpoint is not used, and of how many that is so: exact over all threads.
 *
 * Each endpoint has one word, the reasons against it and the part of its group that it stands in;
 * its group has another, how many endpoints there are, are ejected and may be used, and such counts
 * for each part. All are read on a request's way and written only when something changes. Pure:
 * atomics, and nothing else. */
#ifndef SLUICE_POLICIES_STANDING_H
#define SLUICE_POLICIES_STANDING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum standing_bit {
    STANDING_UNLISTED = 1 << 0,        /* not, or no longer, an endpoint of the group */
    STANDING_DRAINED = 1 << 1,         /* by the operator: his word stands whatever else is so */
    STANDING_UNHEALTHY = 1 << 2,       /* by its active check */
    STANDING_EJECTED = 1 << 3,         /* by outlier detection */
    STANDING_EJECTED_DRY_RUN = 1 << 4, /* the same with dryRun: counted as ejected, and used */
    STANDING_UNREACHABLE = 1 << 5,     /* packets to it are lost */
    STANDING_UNREACHABLE_DRY_RUN = 1 << 6, /* the same with dryRun: said once, and used */
};
enum {
    STANDING_NOT_THERE = STANDING_UNLISTED | STANDING_DRAINED,
    STANDING_OUT =
        STANDING_NOT_THERE | STANDING_UNHEALTHY | STANDING_EJECTED | STANDING_UNREACHABLE,
    STANDING_EJECTIONS = STANDING_EJECTED | STANDING_EJECTED_DRY_RUN,
};

/* bits of enum standing_bit, and above them the part, so that who changes the one or the other
 * knows for certain where it was counted. Ejected and not there at once it never is. */
struct standing {
    _Atomic uint32_t word;
};

enum { STANDING_PARTS = 64, STANDING_PART_SHIFT = 8 };

/* Written behind an endpoint's word: for an instant one may be counted twice, or not at all. */
struct standing_part {
    _Atomic int32_t there, usable;
};

/* three counts in a word: standing_read(). */
struct standing_group {
    _Atomic uint64_t word;
    _Atomic uint32_t changes; /* of parts, each counted behind it */
    struct standing_part parts[STANDING_PARTS];
};

struct standing_counts {
    uint32_t there;   /* endpoints that are listed and not drained */
    uint32_t ejected; /* of these; with dryRun those that would be */
    uint32_t usable;  /* of these: neither ejected, unhealthy nor unreachable */
};

/* Of a new endpoint, which counts nowhere before STANDING_UNLISTED is cleared. */
static inline void standing_init(struct standing *s)
{
    atomic_init(&s->word, STANDING_UNLISTED);
}
static inline uint32_t standing_word(const struct standing *s)
{
    return atomic_load_explicit(&s->word, memory_order_relaxed);
}
struct standing_counts standing_read(const struct standing_group *g);

/* The same of one part, without `ejected`. Exact as soon as who changes something has returned. */
struct standing_counts standing_read_part(const struct standing_group *g, uint32_t part);
/* Another number: some part has changed since. What standing_read_part() says is no older. */
static inline uint32_t standing_changes(const struct standing_group *g)
{
    return atomic_load_explicit(&g->changes, memory_order_acquire);
}
static inline uint32_t standing_part_of(uint32_t word)
{
    return word >> STANDING_PART_SHIFT;
}
/* It stands in that part from now on; nothing else of it changes. False: it did already. */
bool standing_move(struct standing_group *g, struct standing *s, uint32_t part);

/* A reason more, or one less; not an ejection. Who goes or is drained is ejected no more. Returns
 * whether that changed anything. */
bool standing_set(struct standing_group *g, struct standing *s, enum standing_bit bit);
bool standing_clear(struct standing_group *g, struct standing *s, enum standing_bit bit);

/* Ejects it (`dry`: says that it would be), unless it is already, or is not there, or more than
 * max_percent of the group would be ejected then, or none usable would be left. Among threads that
 * call at once exactly one ejects. */
bool standing_eject(struct standing_group *g, struct standing *s, uint32_t max_percent, bool dry);
/* False: it is not ejected. */
bool standing_return(struct standing_group *g, struct standing *s);

/* More are ejected than max_percent: the group has become smaller. */
bool standing_is_over(const struct standing_group *g, uint32_t max_percent);

/* So few are usable that all those that are there are used, whatever stands against them. */
static inline bool standing_panics(struct standing_counts c, uint32_t threshold_percent)
{
    return (uint64_t)c.usable * 100 < (uint64_t)c.there * threshold_percent;
}

#endif
