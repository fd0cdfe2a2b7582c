/* app.h - the application that this sidecar serves: is it there, and when is it certain that it has
 * gone (DESIGN §4)? On the control thread.
 *
 * Proofs: a pidfd (our child by `--exec`/app.command, whose parent is the supervisor; or a process
 * found in a shared PID namespace, app.process); or every port of it refuses and every connection
 * that it held with us is closed, both for deathGrace (app_proof.h); or our own SIGTERM as a native
 * sidecar. A listener that is closed alone proves nothing. While a pidfd says that it lives, its
 * ports prove nothing.
 *
 * A process that is known by its name has gone when no older one of that name is left: a server's
 * workers outlive their parent. */
#ifndef SLUICE_LIFECYCLE_APP_H
#define SLUICE_LIFECYCLE_APP_H

#include "base/clock.h"
#include "config/config.h"
#include "lifecycle/lease.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct app;
struct loop;

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

/* What the watch must know of us. */
struct app_source {
    /* Connections that the application may have with us, in either direction: open, and ever. */
    void (*connections)(void *ctx, uint64_t *ret_open, uint64_t *ret_opened);
    /* Our SIGTERM will follow its end (the end of a pod): silence alone proves nothing until then,
     * because one that was told to end closes its ports long before it has ended. */
    bool (*sigterm_follows)(void *ctx);
    void *ctx;
};

/* NULL when memory is short. It looks from the first app_configure() on. */
struct app *app_new(struct loop *loop, const struct app_source *source,
                    const struct app_events *events);
struct app *app_free(struct app *a);
/* app.process, the ports, deathGrace; copied. Any time. 0, or -ENOMEM and all is as before. */
int app_configure(struct app *a, const struct conf_app *conf);

/* Our child, by the supervisor: takes the pidfd (-1: it could not be had). */
void app_child_started(struct app *a, pid_t pid, int pidfd);
/* status as waitpid(2) gives it; `released`: it had got its SIGTERM from us. */
void app_child_ended(struct app *a, pid_t pid, int status, bool released);

/* Looks at once, where that is not known from a pidfd, and returns the state. */
enum app_state app_look(struct app *a);
/* It acquires something: where it is known by its name and was not found yet, or had gone, it is
 * looked for now, so that its end is seen however soon that comes. */
void app_acquires(struct app *a);
/* Our own SIGTERM at the end of a pod: proof, unless another look finds the application alive. */
void app_sigterm(struct app *a);
/* D, or the end of the time that it had: it counts as gone. */
void app_deadline(struct app *a);
/* Another process serves: no event any more. */
void app_stop(struct app *a);

enum app_state app_now(const struct app *a);
/* Of our child. */
struct app_child {
    pid_t pid; /* 0: there is none */
    bool ended, released;
    int status;
};
const struct app_child *app_child_now(const struct app *a);
/* Its process, child or found by its name, while it lives; 0: which one it is is not known. */
pid_t app_pid(const struct app *a);

/* For /v1/status and the report; NULL when memory is short. */
json_t *app_json(const struct app *a);
/* How often it has gone, by the proof. */
uint64_t app_ends(const struct app *a, enum lease_proof proof);
const char *app_proof_word(enum lease_proof proof);

#endif
