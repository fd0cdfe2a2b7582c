/* drain.h - the end, by one deadline (DESIGN §3): which phase it is, and what each may last.
 *
 * Pure apart from the atomics: the caller passes the time. The control thread advances it, the
 * workers read `phase` on each response. It knows no protocol: workers act on what it says,
 * through each protocol's drain operations. */
#ifndef SLUICE_LIFECYCLE_DRAIN_H
#define SLUICE_LIFECYCLE_DRAIN_H

#include "base/clock.h"
#include "config/config.h"

#include <stdatomic.h>
#include <stdbool.h>

enum drain_phase {
    DRAIN_SERVING,
    DRAIN_NOTICE,      /* still accepting; responses offer Connection: close */
    DRAIN_DRAIN,       /* what is open ends; idle connections are closed, spread */
    DRAIN_LAST_CALL,   /* unsent responses become 503 */
    DRAIN_FORCE,       /* what is left is closed */
    DRAIN_EGRESS_ONLY, /* the application's own way out stays open */
    DRAIN_CLEANUP,
    DRAIN_EXIT,
    DRAIN_PHASES,
};

const char *drain_phase_word(enum drain_phase p);

enum drain_trigger {
    DRAIN_BY_SIGNAL,
    DRAIN_BY_ADMIN,
    DRAIN_BY_RESUME,
    DRAIN_BY_UPGRADE, /* another process serves by now: this one ends, both directions alike */
};

struct drain {
    _Atomic int phase; /* enum drain_phase; only ever grows */
    enum drain_trigger trigger;
    _Atomic bool upgrade; /* the trigger is DRAIN_BY_UPGRADE; for the workers */
    usec_t started;       /* monotonic; 0: not draining */
    usec_t started_wall;
    usec_t deadline;            /* D, absolute monotonic */
    usec_t began[DRAIN_PHASES]; /* when each phase began; 0: it did not */
    /* absolute ends derived from D; the workers look at last_call_at while a second trigger may
     * move it */
    usec_t notice_end, force_at;
    _Atomic usec_t last_call_at;
    struct conf_lifecycle conf;
};

static inline enum drain_phase drain_now(const struct drain *d)
{
    return (enum drain_phase)atomic_load_explicit(&d->phase, memory_order_relaxed);
}

/* The phase as a connection of this direction meets it. The application's own way out stays open
 * until CLEANUP, but for an upgrade: a new process is there for it. */
static inline enum drain_phase drain_now_for(const struct drain *d, enum direction dir)
{
    if (dir == DIRECTION_OUTBOUND && !atomic_load_explicit(&d->upgrade, memory_order_relaxed))
        return DRAIN_SERVING;
    return drain_now(d);
}

static inline bool drain_by_upgrade(const struct drain *d)
{
    return atomic_load_explicit(&d->upgrade, memory_order_relaxed);
}

void drain_init(struct drain *d);
/* D = start + min(configured sum, grace) - 500 ms (less when the sum is short; for an upgrade
 * start + drainTimeout, and no NOTICE). `budget` > 0 shortens it further. A second call only
 * shortens. True when this call began the drain. */
bool drain_begin(struct drain *d, const struct conf_lifecycle *c, enum drain_trigger trigger,
                 usec_t budget, usec_t now);
/* Takes up a drain that another process began: its start and D stay. */
void drain_resume(struct drain *d, const struct conf_lifecycle *c, usec_t started, usec_t deadline,
                  usec_t now);
/* D becomes now: a second SIGINT. */
void drain_force(struct drain *d, usec_t now);

/* Moves on when a phase has ended by its time, or because nothing is left (`inbound_open`,
 * `outbound_open` are connections). Returns the phase; call again at *ret_next (USEC_NEVER: only
 * when something changes). */
enum drain_phase drain_step(struct drain *d, uint64_t inbound_open, uint64_t outbound_open,
                            usec_t now, usec_t *ret_next);

/* Idle keep-alive connections are closed between these two points, evenly. */
void drain_idle_window(const struct drain *d, usec_t *ret_from, usec_t *ret_until);

#endif
