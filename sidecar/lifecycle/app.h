/* app.h - the application that this sidecar serves: is it there, and when is it certain that it has
 * gone (DESIGN §4)? On the control thread.
 *
 * Proofs: a pidfd (our child by `--exec`/app.command, whose parent is the supervisor; or a process
 * found in a shared PID namespace, app.process); or every port of it refuses and every connection
 * that it held with us is closed, both for deathGrace; or our own SIGTERM as a native sidecar.
 * A listener that is closed alone proves nothing. */
#ifndef SLUICE_LIFECYCLE_APP_H
#define SLUICE_LIFECYCLE_APP_H

#include "base/clock.h"
#include "lifecycle/lease.h"

struct app;

enum app_state {
    APP_UNKNOWN, /* nothing is known of it (no port, no process configured) */
    APP_ALIVE,
    APP_DOUBTFUL, /* ports refuse, or no connection: deathGrace runs */
    APP_GONE,
    APP_STATES,
};
const char *app_state_word(enum app_state s);

struct app_events {
    void (*gone)(void *ctx,
                 enum lease_proof proof); /* leases_holder_gone, drain's EGRESS_ONLY end */
    void (*back)(void *ctx);              /* it accepts again (container restart) */
    void *ctx;
};

enum app_state app_now(const struct app *a);

#endif
