/* prestop.h - what the calls of GET /prestop mean: the end of the pod, or a container of it that
 * restarts (DESIGN §3, "In Kubernetes").
 *
 * Pure: the caller passes the time, and what it knows of the application's ports. It holds no
 * connection: admin/prestop.c does, and begins the drain when the state becomes PRESTOP_END. */
#ifndef SLUICE_LIFECYCLE_PRESTOP_H
#define SLUICE_LIFECYCLE_PRESTOP_H

#include "base/clock.h"

#include <stdbool.h>

enum prestop_state {
    PRESTOP_IDLE,
    PRESTOP_ASKED,   /* a call came, and not yet the sidecar's own */
    PRESTOP_RESTART, /* that has not come: a container restarts. Held for a moment */
    PRESTOP_LEAVING, /* answered; the application's port does not refuse yet */
    PRESTOP_AWAY,    /* it has refused; until it accepts again */
    PRESTOP_END,     /* the pod ends: a drain runs, and there is no way back */
    PRESTOP_STATES,
};
const char *prestop_state_word(enum prestop_state s);

/* The ports of the application, as far as they are known. */
enum prestop_port {
    PRESTOP_PORT_UNKNOWN, /* there is none that could be asked */
    PRESTOP_PORT_ACCEPTS, /* all of them that did when the call came */
    PRESTOP_PORT_REFUSES, /* one of them */
};

struct prestop {
    enum prestop_state state;
    usec_t asked_at; /* the call that began it */
    usec_t until;    /* when ASKED, RESTART and LEAVING end at the latest; USEC_NEVER */
    /* The configuration's when it began. */
    usec_t restart_drain;
    usec_t leaving_max; /* for an application that never refuses */
};

/* How a call is answered. */
enum prestop_verdict {
    PRESTOP_HOLD,
    PRESTOP_ANSWER, /* at once */
    PRESTOP_REFUSE, /* at once: there is nothing to hold, and the caller may not begin it */
};

/* Of the process, besides. */
struct prestop_facts {
    bool drain_runs;             /* whatever began it; not PRESTOP_END's alone */
    bool released;               /* its inbound work is over: EGRESS_ONLY or later */
    usec_t restart_drain, grace; /* configured; grace 0: not told */
};

void prestop_init(struct prestop *p);
/* A call: `self` is the sidecar's own (?self=1), `may_begin` says that its token is right. Where
 * the state becomes PRESTOP_END here, the drain is to begin with p->asked_at as its start. */
enum prestop_verdict prestop_called(struct prestop *p, bool self, bool may_begin,
                                    const struct prestop_facts *f, usec_t now);
/* Time has passed, or a port was asked. Returns the state; look again at *ret_next. */
enum prestop_state prestop_step(struct prestop *p, enum prestop_port port, usec_t now,
                                usec_t *ret_next);
/* Who is held has been held long enough, as far as this decides: the drain's phase does in
 * PRESTOP_END and where nothing was asked. */
bool prestop_lets_go(const struct prestop *p);
/* Is /readyz to say 503? */
bool prestop_unready(const struct prestop *p);
/* A drain began for another reason: a restart is no longer looked at. */
void prestop_give_way(struct prestop *p);

/* As another serving process left it. `until` 0: not known. */
void prestop_resume(struct prestop *p, enum prestop_state s, usec_t asked_at, usec_t until,
                    const struct prestop_facts *f);

#endif
