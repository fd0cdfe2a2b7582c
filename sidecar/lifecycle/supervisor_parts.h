/* supervisor_parts.h - what the files of the supervisor share; nobody else includes it.
 *
 *   supervisor.c           its loop, signals, and what the end of a serving process means
 *   supervisor_setup.c     how it begins: signals, its program, what it was started with
 *   supervisor_start.c     starting one: environment, sockets, channel
 *   supervisor_channel.c   what they say
 *   supervisor_app.c       the application that it runs
 *   upgrade.c              a new program takes over from the old one
 *   succession.c           the supervisor executes the new program in its own place */
#ifndef SLUICE_LIFECYCLE_SUPERVISOR_PARTS_H
#define SLUICE_LIFECYCLE_SUPERVISOR_PARTS_H

#include "lifecycle/held.h"
#include "lifecycle/notify.h"

#include <limits.h>

enum {
    FD_FIRST = 3, /* where LISTEN_FDS begins */
    RETIRING_MAX = 8,
    PLACES = RETIRING_MAX + 2,
    EXIT_FAULT = 3,
    EXEC_FAILED = 126,
};

#define SUCCESSION_ENV "SLUICE_SUCCESSION"

enum { SIG_HUP = 1, SIG_USR1 = 2, SIG_INT = 4, SIG_TERM = 8, SUPERVISOR_FORWARDED = 4 };

/* What goes on to the serving processes, and its bit in `pending`. */
struct supervisor_signal {
    int number;
    unsigned bit;
};
extern const struct supervisor_signal supervisor_forwarded[SUPERVISOR_FORWARDED];

enum role {
    ROLE_NONE,     /* a free place */
    ROLE_SERVING,  /* at most one; its deaths lead to another */
    ROLE_COMING,   /* an upgrade's, at most one, until the old one has answered that it retires */
    ROLE_RETIRING, /* drains and exits; its death is only told */
    ROLE_DYING,    /* served, and has been replaced before the kernel was done with it; no exec
                      meanwhile, so that no successor sees it */
};

/* A serving process. */
struct serving {
    uint32_t role; /* enum role */
    int32_t pid;
    int32_t channel; /* -1: none */
    uint32_t ready;  /* it said READY */
    usec_t started;
    usec_t kill_at; /* SIGKILL then; USEC_NEVER: not */
};

enum app_life { APP_NONE, APP_RUNS, APP_ENDED };

/* The application, where we run it. */
struct supervised_app {
    uint32_t life;     /* enum app_life */
    int32_t pid;       /* also of its process group; 0: it could not be started */
    int32_t status;    /* once it has ended, as waitpid(2) gives it */
    uint32_t released; /* its SIGTERM was sent */
    uint32_t killed;   /* and SIGKILL */
    usec_t started, ended;
    usec_t kill_at; /* SIGKILL to its group then; USEC_NEVER: not */
};

/* All that outlives an exec of the supervisor, as it stands in the memfd. A change of its layout
 * or meaning needs another SUPERVISOR_STATE_VERSION: programs of different ones don't hand over to
 * each other (the supervisor then stays the old one). */
struct supervisor_state {
    uint32_t magic, version, size;
    uint32_t ever_ready;  /* some child said READY */
    uint32_t short_lives; /* in a row */
    uint32_t pending;     /* SIG_* bits that wait for READY */
    uint32_t terminating; /* SIGTERM or SIGINT has come */
    uint32_t stopping;    /* the service manager knows */
    uint32_t reloading;   /* and this, too */
    uint32_t upgrade_wanted;
    uint64_t mask;                      /* of signals, as it was before us: bit n - 1 is signal n */
    usec_t next_start;                  /* while nobody serves */
    usec_t pending_since;               /* of SIG_TERM or SIG_INT; 0: none */
    usec_t drain_start, drain_deadline; /* drain_start 0: no drain */
    char drain_trigger[CHANNEL_NAME_MAX];
    struct serving places[PLACES];
    struct supervised_app app;
    struct held_set held;
    char path[PATH_MAX]; /* where an upgrade looks for the program; absolute */
};

struct supervisor {
    struct supervisor_state state;
    char *const *argv;     /* of a serving process */
    char *const *own;      /* of the supervisor */
    char *const *app_argv; /* of the application; NULL: none, or it is not known yet */
    bool app_by_option;    /* and so the configuration's is not looked at */
    struct notify notify;
    int signal_fd;
    int program_fd; /* what a serving process is started from: the file, whatever its path leads to
                       by now */
    int exit_code;  /* -1: goes on */
    usec_t extend_at; /* when the service manager is next asked for time */

    struct held_set staged; /* what is held when ROLE_COMING takes over */
    int staged_program;
    uint32_t coming_version; /* of the state, that its program speaks */
    usec_t hand_over_by;     /* the old one is to answer until then; 0: it has not been told */
    bool exec_wanted;

    char app_text[CHANNEL_APP_TEXT_MAX];       /* what app_argv points to, where the */
    char *app_words[CHANNEL_APP_ARGS_MAX + 1]; /* serving process has told it */

    char **env; /* the environment without our own variables, then places for those and NULL */
    size_t n_env;
    char *manager_env[3]; /* for our successor: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID */
    char listen_fds[32], listen_pid[32], channel_fd[32], drain[192], manager[48], succession[48];
    char activated[sizeof(CHANNEL_ACTIVATED_ENV "=") + CHANNEL_MAX_HELD];
    char fdnames[sizeof("LISTEN_FDNAMES=") + CHANNEL_MAX_HELD * (CHANNEL_NAME_MAX * 3 + 1)];
};

/* The one with that role, or NULL. */
struct serving *supervisor_find(struct supervisor *s, enum role role);
size_t supervisor_count(const struct supervisor *s, enum role role);

/* --- the beginning (supervisor_setup.c) --- */

/* 1: goes on where another program was; 0: from the beginning; or -errno. */
int supervisor_set_up(struct supervisor *s);

/* --- starting (supervisor_start.c) --- */

/* The one allocation. 0 or -ENOMEM. */
int supervisor_build_environment(struct supervisor *s);
/* A process of that role from program_fd with these sockets. NULL: told in the log. */
struct serving *supervisor_launch(struct supervisor *s, enum role role, int program_fd,
                                  const struct held_set *sockets);
void supervisor_fill_successor_environment(struct supervisor *s, int memfd);
/* As they were before us: for a child behind fork(). */
void supervisor_restore_signals(const struct supervisor *s);
/* Its channel is closed, its place is free. */
void supervisor_forget(struct serving *c);

/* --- what they say (supervisor_channel.c) --- */

/* All that waits; a closed channel becomes -1. True when it closed without CHANNEL_END: its process
 * is dying. */
bool supervisor_read_channel(struct supervisor *s, struct serving *c);
bool supervisor_drain_runs(const struct supervisor *s, usec_t now);
/* STOPPING=1, once. */
void supervisor_tell_stopping(struct supervisor *s);

/* --- its end (supervisor.c) --- */

/* No other is started; the program exits with that code when all that still runs has ended. */
void supervisor_end(struct supervisor *s, int code);
/* --- the application (supervisor_app.c) --- */

/* Takes the fd: CHANNEL_APP's. */
void supervisor_app_command(struct supervisor *s, struct serving *c, int fd);
/* c serves from now on: the application is started if it was not, and c is told of it. */
void supervisor_app_ready(struct supervisor *s, struct serving *c);
void supervisor_app_release(struct supervisor *s, usec_t deadline);
/* Is this child the application? It has died, and is not reaped yet: its group goes with it. */
bool supervisor_app_dies(struct supervisor *s, pid_t pid);
void supervisor_app_ended(struct supervisor *s, int status);
static inline bool supervisor_app_runs(const struct supervisor *s)
{
    return s->state.app.life == APP_RUNS;
}
/* Kills it when its time is over; ends us when it has gone and nobody is there to see to it. */
void supervisor_app_step(struct supervisor *s, usec_t now);
/* When supervisor_app_step() is next needed without an event. */
usec_t supervisor_app_next_time(struct supervisor *s);
/* What remains of its time is over. */
void supervisor_app_hurry(struct supervisor *s);
/* What the whole program exits with, when the serving process ended it with `code`. */
int supervisor_app_exit_code(const struct supervisor *s, int code);

/* --- the upgrade (upgrade.c) --- */

/* How long a newcomer may take to its READY; a test shortens it. */
extern usec_t upgrade_ready_patience;
/* SIGUSR2. */
void upgrade_ask(struct supervisor *s);
/* Starts one that waits, and ends what takes too long. */
void upgrade_step(struct supervisor *s, usec_t now);
/* When upgrade_step() is next needed without an event. */
usec_t upgrade_next_time(struct supervisor *s);
/* The newcomer said READY, or the old one that it retires by `deadline`. */
void upgrade_ready(struct supervisor *s, struct serving *c, uint32_t version);
void upgrade_retires(struct supervisor *s, struct serving *c, usec_t deadline);
/* The newcomer becomes the serving process. */
void upgrade_take_over(struct supervisor *s);
/* The newcomer goes, and nothing has changed. number: the signal that it gets, 0 when it is dead
 * already. Nothing when no upgrade is under way. */
void upgrade_undo(struct supervisor *s, const char *why, int number);

/* --- the supervisor's own exec (succession.c) --- */

/* Executes program_fd in our place; returns only when that fails, and all is as it was. */
void succession_exec(struct supervisor *s);
/* Is this process such a successor? 1: s->state is filled; 0: it is not; or -errno. */
int succession_take(struct supervisor *s);

/* Our own fds live from here on, above what a child's sockets are placed on, so that placing them
 * never overwrites one: FD_FIRST and a place for each, or half of the descriptors that there may
 * be. */
int supervisor_fd_base(void);

#endif
