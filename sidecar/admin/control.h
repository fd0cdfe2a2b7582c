/* control.h - the control thread of the serving process: everything that is not traffic.
 *
 * It owns the sockets' fds, the drain, signals, the admin and health servers, the access log's
 * file and the workers' threads. */
#ifndef SLUICE_ADMIN_CONTROL_H
#define SLUICE_ADMIN_CONTROL_H

#include "admin/certificates.h"
#include "admin/config_state.h"
#include "admin/control_sockets.h"
#include "admin/generation.h"
#include "admin/http_server.h"
#include "admin/overload_watch.h"
#include "admin/prestop.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "lifecycle/app.h"
#include "lifecycle/channel.h"
#include "lifecycle/hooks.h"
#include "lifecycle/lease.h"
#include "proxy/discovery.h"
#include "proxy/health_checks.h"
#include "proxy/worker.h"

struct access_log;
struct access_ring;
struct jwks_refresh;
struct reload;

enum { CONTROL_MAGIC = 0x4354524c, CONTROL_SERVERS = 3 };

/* A ping to one worker, to see how far its loop is behind. */
struct control_ping {
    struct mail mail;
    _Atomic usec_t posted; /* 0: it has come back */
    _Atomic bool trim;     /* with it the worker gives back memory that a burst has used */
};

/* What the service manager is told (control_manager.c); nothing of it runs where there is none. */
struct control_manager {
    struct ev_timer status, beat;
    struct control_ping *pings; /* one a worker; NULL: no watchdog */
    usec_t told_at;
    uint64_t requests; /* in all, at told_at */
    char told[CHANNEL_TEXT_MAX];
};

/* The application (control_app.c). */
struct control_app {
    struct app *watch;        /* NULL: nothing serves yet, or memory was short */
    struct ev_io notices;     /* of the supervisor */
    bool expected;            /* the supervisor runs it, and will tell of it in a moment */
    bool supervisor_gone;     /* nothing is told any more */
    struct leak_watch *leaks; /* NULL likewise */
    struct timer flush;       /* it ended by itself, and its answers are on their way */
    usec_t flush_until;
};

struct control {
    uint32_t magic;
    struct loop loop;
    struct mailbox mailbox;
    struct process process;
    struct snapshot *snapshot;     /* in force; before the first generation: the one to be */
    struct generation *generation; /* in force; NULL before the first */
    bool words_held;               /* operator_words.h: the supervisor has some */
    bool series_dropped;           /* at the last look at /metrics; told in the log */
    struct list generations;       /* generation.link, oldest first: all that are alive */
    struct config_state config;
    struct certificates certificates;
    struct jwks_refresh *jwks_refresh; /* of certificates.set.jwks */
    struct discovery *discovery;
    struct health_checks *checks;
    uint32_t app_forwards; /* of /app-probe/, under way */
    struct reload *reload;
    struct cleanup_engine *cleanups;
    struct leases *leases;
    struct hooks *hooks;
    void (*cleaned)(struct control *c); /* CLEANUP waits for it; NULL: nobody waits */
    struct worker *workers;
    struct control_ping *pings;
    struct channel *channel;

    struct control_socket *sockets; /* control_sockets.h */
    struct timer close_timer;
    bool closing_sockets; /* a round runs, between the SYN filter and the close */
    bool closing_for_drain;
    struct http_server *servers[CONTROL_SERVERS];
    uint32_t n_servers;
    struct http_server *health; /* one of them; NULL: off */
    struct str *allowed_hosts;  /* copies: the snapshot of the start may go */
    char *token_file;           /* likewise; NULL: none */

    const char *last_good; /* directory of the copy for a bad start; NULL: none is kept */

    struct access_log *log;
    struct access_ring **rings;

    usec_t started;
    bool failed;    /* it could not start */
    int last_phase; /* enum drain_phase that the workers were told */
    bool exit_after_drain;
    unsigned interrupts;
    usec_t interrupted_at;
    bool retiring; /* a new process serves; from here on the sockets are its, and not ours */
    struct drain_tally tally; /* of all workers, once they have stopped */

    struct overload_watch overload;
    struct control_prestop prestop;
    struct control_app app;
    struct quiet quiet;
    bool cleanups_begun, cleanups_done;
    usec_t told_deadline; /* of the drain, to hooks and cleanups; 0: not yet */

    struct ev_async poke; /* from a worker: something ended while draining */
    struct timer drain_timer, retire_timer, tickets_timer;
    struct control_manager manager;
    struct ev_timer second, log_tick;
    struct ev_signal signals[5];
};

/* The admin and health servers (control_servers.c). 0 or -errno, told in the log. */
int control_open_servers(struct control *c);
void control_close_servers(struct control *c);

/* Configurations into force (control_reload.c). */
/* Reads and checks the first one, or what stands in for it: then c->snapshot is there. False: told
 * on stderr, exit 1. */
bool control_load(struct control *c);
/* Puts it in force, at once or, where names must be resolved first, a little later on the loop;
 * then control_started() is called. The workers run. */
void control_first_reload(struct control *c);
/* Any time; `req` (NULL: nobody) is answered when it is done. */
void control_reload(struct control *c, enum config_trigger trigger, struct http_request *req);
/* A drain begins: nothing changes any more. The kernel takes some 15 ms to let go of a watch, which
 * at the deadline would be too late. */
void control_reload_unwatch(struct control *c);
/* The whole of /v1/config; a new reference, NULL when memory is short. */
json_t *control_config_json(const struct control *c);
/* At the end: its thread, then (nobody posts any more) the rest. */
void control_reload_join(struct control *c);
void control_reload_free(struct control *c);
/* serve.c: the first generation is in force (ok), or cannot be. */
void control_started(struct control *c, bool ok);
/* What is to be closed is closed (control_sockets.c tells both). */
void control_reload_sockets_closed(struct control *c);
void control_drain_sockets_closed(struct control *c);
/* From the limits and what upstreams use. */
void control_update_max_connections(struct control *c);

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
/* The supervisor keeps what the next serving process must know of it. */
void control_drain_tell_supervisor(struct control *c);
/* Once a second: what is usual, for quiet.h. */
void control_drain_sample(struct control *c);
bool control_closes_listeners_at_drain(const struct conf_lifecycle *l);

/* The drain's report (drain_report.c), as it stands: GET /v1/drain. */
void control_report_get(struct http_request *req, void *ctx);
/* At the end, when the workers have stopped: in the log, and as the termination message. */
void control_report_end(struct control *c);
/* The message alone, while we wait for the signal to end: SIGKILL may come in its place. */
void control_report_message(struct control *c);

/* The application (control_app.c). Once this process has said READY: it is watched from here on,
 * and app.command is told to the supervisor. */
void control_app_start(struct control *c);
/* The configuration in force is another one. */
void control_app_configure(struct control *c);
/* Whether it is known to be there, as far as a drain has to wait for that. */
enum drain_app control_app(const struct control *c);
/* Now, and not as of the last look. */
void control_app_look(struct control *c);
/* Our SIGTERM at the end of a pod, and nothing says that it lives. */
void control_app_sigterm(struct control *c);
/* The drain has come there: our child is told to end. */
void control_app_phase(struct control *c, enum drain_phase phase);
/* Our child, if it runs, gets its SIGTERM, and is killed at `deadline`. */
void control_app_release(struct control *c, usec_t deadline);
json_t *control_app_json(const struct control *c);
/* Connections that it has with us, in either direction. */
uint64_t control_app_connections(const struct control *c);
void control_app_metrics(const struct control *c, struct exposition *t);
/* Another process serves: it has nothing to say any more. */
void control_app_stop(struct control *c);
void control_app_free(struct control *c);

/* What the application takes, beside its watch (control_leaks.c). */
void control_leaks_start(struct control *c);
void control_leaks_configure(struct control *c);
void control_leaks_stop(struct control *c);
void control_leaks_free(struct control *c);
json_t *control_leaks_json(const struct control *c);
void control_leaks_metrics(const struct control *c, struct exposition *t);

/* The upgrade (control_retire.c): another process serves the same sockets from now on. Stops
 * accepting at once, drains what it has by drainTimeout, and exits. */
void control_retire(struct control *c);

/* The service manager (control_manager.c): once the workers run. 0 or -ENOMEM. */
int control_manager_start(struct control *c);
/* A drain has come to another phase, or /prestop to another state. */
void control_manager_drain(struct control *c);
void control_manager_free(struct control *c);

/* What is held for the application, and who is told of us (control_leases.c). */
int control_leases_init(struct control *c); /* 0 or -ENOMEM */
void control_leases_free(struct control *c);
void control_leases_configure(struct control *c); /* a configuration is in force */
void control_leases_start(struct control *c);     /* we serve */
void control_leases_retire(struct control *c);    /* another process serves */
/* The drain has begun, or its deadline is sooner. */
void control_leases_drain(struct control *c, usec_t deadline);
/* CLEANUP; `done` is called once, perhaps from within, when all has a result. Again when the
 * deadline is sooner. */
void control_leases_cleanup(struct control *c, usec_t deadline, void (*done)(struct control *c));

/* The HTTP interfaces: api.c. */
void api_admin(struct http_request *req, void *ctx);
void api_health(struct http_request *req, void *ctx);

/* app_forward.c: GET /app-probe/NAME. */
void app_forward_get(struct http_request *req, void *ctx);

/* The whole of /v1/status; the caller frees it. NULL when memory is short. */
char *status_json(struct control *c);
/* metrics_job.c: GET /metrics. */
void metrics_get(struct http_request *req, void *ctx);
/* metrics.c: Prometheus text (0.0.4), put together in parts, each of them again while
 * exposition.at is not 0. False: there is no such part, they all are. The caller frees t->p. */
void metrics_begin(struct exposition *t, const struct control *c);
bool metrics_part(struct exposition *t, struct control *c, uint32_t i);
void metrics_end(struct exposition *t, struct control *c);

/* metrics_routes.c: requests by route, and how long they took. */
void metrics_routes(struct exposition *t, const struct control *c);
void metrics_durations(struct exposition *t, const struct control *c);
/* Of a route with timeoutDryRun, by all workers. */
uint64_t route_timeouts_dry_run(const struct control *c, const struct conf_route *r,
                                enum timeout_kind kind);

/* metrics_leases.c: leases, releases, the journal, hooks. */
void metrics_leases(struct exposition *t, const struct control *c);
/* metrics_jwt.c: tokens and their keys; who may pass, by route. */
void metrics_jwt(struct exposition *t, const struct control *c);
void metrics_authz(struct exposition *t, const struct control *c);

/* metrics_actions.c: what routes do to messages on their way. */
void metrics_actions(struct exposition *t, const struct control *c);
/* metrics_limits.c: the families rate_limit_*; a route's limits for /v1/status. */
void metrics_limits(struct exposition *t, const struct control *c);
json_t *limits_json(const struct control *c, const struct conf_route *r);
/* policies_show.c, for /v1/status: adds to a route what its policies are and did; what header rules
 * did; what the access log lost and hid, null where there is none. */
void route_policies_json(const struct control *c, const struct conf_route *r, json_t *o);
json_t *header_rules_json(const struct control *c);
json_t *access_log_json(const struct control *c);
/* upstream_limits.c: an upstream's, for /v1/status, and what they would have held up. */
json_t *upstream_limits_json(const struct conf_upstream *u, const struct upstream_shared *shared);
void metrics_upstream_limits(struct exposition *t, const struct control *c);
/* metrics_retries.c: the families upstream_retries_*. */
void metrics_retries(struct exposition *t, const struct control *c);

/* metrics_health.c: health checks of endpoints. */
void metrics_health(struct exposition *t, const struct control *c);
void metrics_each_healthy(struct exposition *t, const struct control *c);

/* metrics_breakers.c: the families breaker_*. */
void metrics_breakers(struct exposition *t, const struct control *c);

/* metrics_concurrency.c: the families concurrency_*; an upstream's for /v1/status, NULL: it has no
 * limit, or had no request under it. */
void metrics_concurrency(struct exposition *t, const struct control *c);
json_t *concurrency_json(const struct conf_upstream *u, const struct upstream_shared *shared);

/* metrics_tls.c: the families [upstream_]tls_*. */
void metrics_tls(struct exposition *t, const struct control *c);

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
    uint32_t ask[2]; /* for `each`, from gather_ask() */
    struct gather_part parts[];
};
int gather_start(struct control *c, struct http_request *req, void (*each)(struct gather_part *),
                 void (*done)(struct gather *));
/* The same, with two numbers that `each` finds in gather->ask. */
int gather_ask(struct control *c, struct http_request *req, void (*each)(struct gather_part *),
               void (*done)(struct gather *), uint32_t ask0, uint32_t ask1);

/* Each worker whose last ping has come back is sent another. */
void control_ping_workers(struct control *c, bool trim);
/* How far behind a worker's loop is, in microseconds. */
usec_t control_loop_lag(const struct control *c, uint32_t worker, usec_t now);
bool control_ready(const struct control *c);

#endif
