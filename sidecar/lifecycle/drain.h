/* drain.h - the end, by one deadline (DESIGN §3): which phase it is, and what each may last.
 *
 * Pure apart from the atomics: the caller passes the time. The control thread advances it, the
 * workers read `phase` on each response. It knows no protocol: workers act on what it says,
 * through each protocol's drain operations. */
#ifndef SLUICE_LIFECYCLE_DRAIN_H
#define SLUICE_LIFECYCLE_DRAIN_H

#include "base/clock.h"
#include "config/config.h"
#include "lifecycle/budget.h"

#include <stdatomic.h>
#include <stdbool.h>

enum drain_phase {
    DRAIN_SERVING,
    DRAIN_NOTICE,      /* still accepting; responses offer Connection: close */
    DRAIN_DRAIN,       /* what is open ends; idle connections are closed, spread */
    DRAIN_LAST_CALL,   /* unsent responses become 503 */
    DRAIN_FORCE,       /* what is left is closed */
    DRAIN_EGRESS_ONLY, /* the application is released; its own way out stays open */
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
    DRAIN_BY_PRESTOP, /* the end of a Kubernetes pod */
    DRAIN_BY_APP,     /* the application that we run has ended by itself */
    DRAIN_TRIGGERS,
};

const char *drain_trigger_word(enum drain_trigger t);

/* Whether the application that we serve is there. */
enum drain_app {
    DRAIN_APP_UNKNOWN,
    DRAIN_APP_ALIVE,
    DRAIN_APP_GONE,
};

/* Are peers asked to leave although nothing ends? The application's container restarts, or may be
 * about to (prestop.h). */
enum drain_leave {
    DRAIN_LEAVE_NOT,
    DRAIN_LEAVE_OFFERED, /* responses carry Connection: close */
    DRAIN_LEAVE_ASKED,   /* and idle connections are closed */
};

struct drain {
    _Atomic int phase;                      /* enum drain_phase; only ever grows */
    _Atomic int leave;                      /* enum drain_leave; of use while SERVING */
    _Atomic usec_t leave_from, leave_until; /* in which idle connections are closed then */
    enum drain_trigger trigger;
    _Atomic bool upgrade; /* the trigger is DRAIN_BY_UPGRADE; for the workers */
    bool ready_in_notice; /* /readyz stays 200 through NOTICE */
    bool app_gone;        /* proved: nothing that needs it is waited for */
    usec_t started;       /* monotonic; 0: not draining */
    usec_t started_wall;
    struct budget budget;
    usec_t began[DRAIN_PHASES]; /* when each phase began; 0: it did not */
    /* The budget's; the workers look at it while a second trigger may move it. */
    _Atomic usec_t last_call_at;
    struct conf_lifecycle conf;
};

static inline enum drain_phase drain_now(const struct drain *d)
{
    return (enum drain_phase)atomic_load_explicit(&d->phase, memory_order_acquire);
}

/* The phase as a connection of this direction meets it. The application's own way out stays open
 * until CLEANUP, but for an upgrade: a new process is there for it. */
static inline enum drain_phase drain_now_for(const struct drain *d, enum direction dir)
{
    if (dir == DIRECTION_OUTBOUND && !atomic_load_explicit(&d->upgrade, memory_order_relaxed))
        return DRAIN_SERVING;
    return drain_now(d);
}

static inline enum drain_leave drain_leave_for(const struct drain *d, enum direction dir)
{
    if (dir == DIRECTION_OUTBOUND)
        return DRAIN_LEAVE_NOT;
    return (enum drain_leave)atomic_load_explicit(&d->leave, memory_order_acquire);
}

static inline bool drain_by_upgrade(const struct drain *d)
{
    return atomic_load_explicit(&d->upgrade, memory_order_relaxed);
}

static inline bool drain_of_pod(const struct drain *d)
{
    return d->started != 0 && d->budget.kind == BUDGET_POD;
}

void drain_init(struct drain *d);
/* D as budget_begin() says, from `since` on, a moment that may lie a little before now; `budget` >
 * 0 shortens it further (it counts from now). A second call only shortens; DRAIN_BY_PRESTOP makes
 * the drain that runs a pod's end. True when this call began the drain. */
bool drain_begin(struct drain *d, const struct conf_lifecycle *c, enum drain_trigger trigger,
                 usec_t budget, usec_t since, usec_t now);

/* What another process had begun. */
struct drain_resumed {
    usec_t started, deadline;
    bool pod;
    bool ready_in_notice;
    bool notice_over;
};
/* Takes up that drain: its start and D stay. */
void drain_resume(struct drain *d, const struct conf_lifecycle *c, const struct drain_resumed *r,
                  usec_t now);
/* D becomes `at`, if that is earlier. */
void drain_shorten(struct drain *d, usec_t at, usec_t now);
/* D becomes now: a second SIGINT. */
void drain_force(struct drain *d, usec_t now);
/* It is certain that the application has gone: on to CLEANUP. */
void drain_app_has_gone(struct drain *d);

/* How things are, for drain_step(). */
struct drain_facts {
    uint64_t inbound, outbound; /* connections that are open */
    enum drain_app app;
    bool quiet;   /* nobody comes any more (quiet.h) */
    bool busy;    /* listeners stay open, and somebody may come again at once (quiet_lull()) */
    bool cleaned; /* every cleanup has its result */
};

/* Moves on by one phase when one has ended by its time, or because nothing is left. Returns the
 * phase; call again until it stays the same, and at *ret_next (USEC_NEVER: only when something
 * changes). */
enum drain_phase drain_step(struct drain *d, const struct drain_facts *facts, usec_t now,
                            usec_t *ret_next);

/* When the phase that it is in ends at the latest; 0: it does not by itself. */
usec_t drain_phase_end(const struct drain *d);

/* Peers are asked to leave for a while, or no longer (DRAIN_LEAVE_NOT; the times do not count).
 * Control thread. */
void drain_set_leave(struct drain *d, enum drain_leave leave, usec_t from, usec_t until);

/* Idle keep-alive connections are closed between these two points, evenly. For the workers. None is
 * closed before it has been idle for DRAIN_IDLE_LEAD: the request of one that has just come is on
 * its way. A listener that leaves by a reload has the same lead and window. */
#define DRAIN_IDLE_LEAD       (500 * USEC_PER_MSEC)
#define DRAIN_IDLE_WINDOW_MAX (5 * USEC_PER_SEC)
void drain_idle_window(const struct drain *d, usec_t *ret_from, usec_t *ret_until);
/* Of n that wait to be closed, how many go at `now`, where somebody looks each `tick`: all are gone
 * by `until`, and few are spread as evenly as many. */
uint32_t drain_due(uint32_t n, usec_t now, usec_t until, usec_t tick);

#endif
