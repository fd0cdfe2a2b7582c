/* channel.h - the serving process's line to its supervisor.
 *
 * SOCK_SEQPACKET, one struct a message. Used by one thread only (the control thread). All
 * functions take NULL for ch (no supervisor) and do nothing then, with 0. */
#ifndef SLUICE_LIFECYCLE_CHANNEL_H
#define SLUICE_LIFECYCLE_CHANNEL_H

#include "base/clock.h"

#include <stdbool.h>

enum {
    CHANNEL_MAX_HELD = 256,   /* sockets that a supervisor holds */
    CHANNEL_NAME_MAX = 96,    /* bytes of a socket's name with its NUL */
    CHANNEL_TRIGGER_MAX = 64, /* bytes of a drain's trigger with its NUL */
    CHANNEL_TEXT_MAX = 256,
    CHANNEL_APP_TEXT_MAX = 64 * 1024, /* bytes of the application's arguments */
    CHANNEL_APP_ARGS_MAX = 1024,
};

struct channel;

/* NULL when the process was started without a supervisor, or memory is short. Takes the variable
 * out of the environment. */
struct channel *channel_open_from_env(void);
/* The process ends by itself, and its exit code tells how: where the channel closes without this
 * having been said, the supervisor takes it for dead. */
struct channel *channel_free(struct channel *ch);

/* The supervisor keeps a copy of fd under this name, for the next serving process; fd stays the
 * caller's. A name that is held already gets the new socket in place of the old. Waits (at most
 * 1 s) until it is done. 0; -ENOSPC when too many are held, -EINVAL for a name that is too long
 * or empty, -ETIMEDOUT, -EPIPE when the supervisor is gone. */
int channel_hold(struct channel *ch, const char *name, int fd);

/* The supervisor closes its copy; on return (waits at most 1 s) it has. So a listener closes in
 * this order: channel_drop(), accept until EAGAIN, close(): no connection falls in between. The
 * path of a Unix socket is the caller's to unlink here (what is still held when the supervisor
 * exits, it unlinks itself, unless it came by socket activation).
 * 0; -ENOENT, -ETIMEDOUT, -EPIPE. */
int channel_drop(struct channel *ch, const char *name);

/* Serving: sockets are listening, signal handlers are in place. */
int channel_ready(struct channel *ch);

/* In answer to SIGUSR2: another process serves from now on, and this one exits by `deadline`
 * (monotonic). From here on it may not hold or drop: -EPERM. */
int channel_retire(struct channel *ch, usec_t deadline);

/* The configuration is read again; or that has ended, whichever way. Calls may nest in no way: the
 * last one counts. */
int channel_reloading(struct channel *ch, bool now);

/* Every worker's loop turns: call it each channel_watchdog() / 4. Never waits. */
int channel_beat(struct channel *ch);

/* Does a service manager listen to what channel_status() says? */
bool channel_manager_listens(const struct channel *ch);
/* The time without a beat after which it acts; 0: it does not watch. */
usec_t channel_watchdog(const struct channel *ch);

/* A drain runs, times on the monotonic clock in µs; if this process dies, the next one learns
 * these through channel_drain_state(). Call again when the deadline changes; start 0: the drain was
 * cancelled. */
int channel_drain(struct channel *ch, usec_t start, usec_t deadline, const char *trigger);

/* One line for the service manager (systemd's STATUS=). Never waits; cut to fit. */
int channel_status(struct channel *ch, const char *text);

/* --- the application (app.command, --exec), whose parent is the supervisor -------------- */

/* How it is to be started: argv, each with its NUL, one behind the other. It is once, when this
 * process has said READY; a supervisor that has started one, or was given one on its command line,
 * keeps that. 0; -E2BIG, -EPIPE, or -errno when there is no memory for it. */
int channel_app(struct channel *ch, const char *argv, size_t n);

/* Its SIGTERM now, and SIGKILL to its process group at `deadline` (monotonic). Again: the earlier
 * deadline counts. */
int channel_app_release(struct channel *ch, usec_t deadline);

/* What the supervisor says of its own accord. */
enum channel_notice_kind {
    CHANNEL_APP_STARTED = 1, /* pid; with a pidfd */
    CHANNEL_APP_ENDED,       /* pid, status, released */
};
struct channel_notice {
    uint32_t kind; /* enum channel_notice_kind */
    int32_t pid;
    int32_t status;    /* as waitpid(2) gives it */
    uint32_t released; /* it had been sent its SIGTERM */
    uint32_t unused[12];
};

/* Was it started, or has it ended, before this process was? Then a notice comes behind READY. */
bool channel_runs_app(void);

/* Readable when a notice waits; -1: no supervisor. */
int channel_fd(const struct channel *ch);
/* Called when one came while an answer was waited for, so that channel_fd() does not tell of it. */
void channel_on_notice(struct channel *ch, void (*fn)(void *ctx), void *ctx);
/* The next one, with its fd (-1: none), which is the caller's. 0; -EAGAIN: none waits; -EPIPE: the
 * supervisor is gone. */
int channel_next_notice(struct channel *ch, struct channel_notice *ret, int *ret_fd);

/* Was this process started because an earlier one, which had served, died? Not for an upgrade. */
bool channel_restarted(void);

/* The drain that an earlier serving process had begun: true, and the values as it gave them. */
bool channel_drain_state(usec_t *ret_start, usec_t *ret_deadline, char *ret_trigger, size_t cap);

/* --- the wire, for both sides -----------------------------------------------------------
 *
 * Spoken between releases: at an upgrade the old supervisor starts the new serving process. What
 * is here stays as it is; a kind that the other side does not know is passed over. */

/* Which form of supervisor_state this program reads and writes (supervisor_parts.h). */
enum { SUPERVISOR_STATE_VERSION = 2 };

enum channel_kind {
    CHANNEL_HOLD = 1,  /* name, one fd; answered */
    CHANNEL_DROP,      /* name; answered */
    CHANNEL_READY,     /* start = SUPERVISOR_STATE_VERSION */
    CHANNEL_DRAIN,     /* start, deadline, name = trigger */
    CHANNEL_STATUS,    /* text */
    CHANNEL_RETIRE,    /* deadline */
    CHANNEL_RELOADING, /* start: 1 begins, 0 has ended */
    CHANNEL_BEAT,
    CHANNEL_END,         /* the last one: it exits by itself */
    CHANNEL_APP = 16,    /* one fd: a memfd with its arguments */
    CHANNEL_APP_RELEASE, /* deadline */
};

#define CHANNEL_ENV         "SLUICE_CHANNEL"
#define CHANNEL_DRAIN_ENV   "SLUICE_DRAIN"
#define CHANNEL_RESTART_ENV "SLUICE_RESTART"
#define CHANNEL_APP_ENV     "SLUICE_APP"
/* A 1 for each of LISTEN_FDS that came from the service manager, a 0 for the others. */
#define CHANNEL_ACTIVATED_ENV "SLUICE_ACTIVATED"
/* The watchdog's interval in µs, 0: none. Not there: no service manager. */
#define CHANNEL_MANAGER_ENV "SLUICE_MANAGER"

struct channel_message {
    uint32_t kind;     /* enum channel_kind */
    uint32_t sequence; /* comes back in the answer */
    usec_t start, deadline;
    char name[CHANNEL_NAME_MAX]; /* NUL-terminated */
    char text[CHANNEL_TEXT_MAX]; /* NUL-terminated */
};

struct channel_answer {
    uint32_t sequence;
    int32_t result; /* 0 or a negative errno */
};

/* Answers and notices are told apart by their sizes. */
_Static_assert(sizeof(struct channel_notice) == 64, "the wire's");

#endif
