/* control.h - the control thread of the serving process: everything that is not traffic.
 *
 * It owns the sockets' fds, the drain, signals, the admin and health servers, the access log's
 * file and the workers' threads. */
#ifndef SLUICE_ADMIN_CONTROL_H
#define SLUICE_ADMIN_CONTROL_H

#include "admin/http_server.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "lifecycle/channel.h"
#include "proxy/worker.h"

struct access_log;
struct access_ring;

enum { CONTROL_MAGIC = 0x4354524c, CONTROL_SERVERS = 3 };

/* A ping to one worker, to see how far its loop is behind. */
struct control_ping {
    struct mail mail;
    _Atomic usec_t posted; /* 0: it has come back */
};

/* What the service manager is told (control_manager.c); nothing of it runs where there is none. */
struct control_manager {
    struct ev_timer status, beat;
    struct control_ping *pings; /* one a worker; NULL: no watchdog */
    usec_t told_at;
    uint64_t requests; /* in all, at told_at */
    char told[CHANNEL_TEXT_MAX];
};

struct control {
    uint32_t magic;
    struct loop loop;
    struct mailbox mailbox;
    struct process process;
    struct snapshot *snapshot;
    struct worker *workers;
    struct control_ping *pings;
    struct channel *channel;

    int *listen_fds; /* in the configuration's order; -1: closed */
    struct http_server *servers[CONTROL_SERVERS];
    uint32_t n_servers;
    int unix_admin; /* 1: the admin socket's path is ours to unlink */

    const char *last_good; /* directory of the copy for a bad start; NULL: none is kept */

    struct access_log *log;
    struct access_ring **rings;

    usec_t started;
    int last_phase; /* enum drain_phase that the workers were told */
    bool exit_after_drain;
    unsigned interrupts;
    usec_t interrupted_at;
    bool closing_listeners; /* between the SYN filter and the close */
    bool listeners_closed;
    bool retiring; /* a new process serves; from here on the sockets are its, and not ours */
    uint32_t acks_missing;    /* workers that still empty their listeners */
    struct drain_tally tally; /* of all workers, once they have stopped */

    struct ev_async poke; /* from a worker: something ended while draining */
    struct timer drain_timer, close_timer, retire_timer;
    struct control_manager manager;
    struct ev_timer second, log_tick;
    struct ev_signal signals[5];
};

/* The sockets (control_sockets.c). 0 or -errno, told in the log. */
int control_open_listeners(struct control *c);
int control_open_servers(struct control *c);

/* The drain (control_drain.c). init: the snapshot and the loop are there. */
void control_drain_init(struct control *c);
/* Begins a drain, or shortens the one that runs. budget 0: as configured. */
void control_drain(struct control *c, enum drain_trigger trigger, usec_t budget);
/* SIGTERM, SIGINT: drain and exit; the second SIGINT forces. */
void control_terminate(struct control *c, int signo);
/* Advances the drain as far as it goes now, and tells everybody. */
void control_step(struct control *c);
/* Goes on with the drain that an earlier serving process had begun, if one had. */
void control_resume_drain(struct control *c);

/* The upgrade (control_retire.c): another process serves the same sockets from now on. Stops
 * accepting at once, drains what it has by drainTimeout, and exits. */
void control_retire(struct control *c);

/* The service manager (control_manager.c): once the workers run. 0 or -ENOMEM. */
int control_manager_start(struct control *c);
/* A drain has come to another phase. */
void control_manager_drain(struct control *c);
void control_manager_free(struct control *c);

/* The HTTP interfaces: api.c. */
void api_admin(struct http_request *req, void *ctx);
void api_health(struct http_request *req, void *ctx);

/* The whole of /v1/status; the caller frees it. NULL when memory is short. */
char *status_json(struct control *c);
/* Prometheus text (0.0.4); the caller frees it. NULL when memory is short. */
char *metrics_text(struct control *c, size_t *ret_len);

/* Asks every worker on its own thread; `each` runs there and may fill part->user, `done` runs on
 * the control thread when all have answered. 0 or -ENOMEM. */
struct gather;
struct gather_part {
    struct mail mail;
    struct gather *gather;
    struct worker *worker;
    void *user;
};
struct gather {
    struct control *control;
    struct http_request *request; /* NULL when its client has gone */
    void (*each)(struct gather_part *);
    void (*done)(struct gather *);
    uint32_t missing;
    uint32_t n;
    struct gather_part parts[];
};
int gather_start(struct control *c, struct http_request *req, void (*each)(struct gather_part *),
                 void (*done)(struct gather *));

/* How far behind a worker's loop is, in microseconds. */
usec_t control_loop_lag(const struct control *c, uint32_t worker, usec_t now);
bool control_ready(const struct control *c);

#endif
