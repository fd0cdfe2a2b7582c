/* serve.c - the serving process: set-up, the control thread's loop, the end. */
#include "serve.h"

#include "admin/control.h"
#include "admin/endpoint_api.h"
#include "admin/jwks_refresh.h"
#include "base/mem.h"
#include "config/build.h"
#include "lifecycle/inherited.h"
#include "proxy/access_log.h"
#include "proxy/access_redact.h"
#include "proxy/listener.h"
#include "proxy/upstream_shared.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    FD_RESERVE = 64, /* for admin, logs and what else must work when traffic has used all */
    LOG_TICK_MS = 100,
};

/* --- limits --- */

/* The container's CPU quota, rounded up; 1 where there is none. */
static uint32_t workers_from_quota(void)
{
    long long quota = -1, period = 0;
    char max[32];
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (f) {
        if (fscanf(f, "%31s %lld", max, &period) == 2 && strcmp(max, "max") != 0)
            quota = strtoll(max, NULL, 10);
        (void)fclose(f);
    } else if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re")) != NULL) {
        if (fscanf(f, "%lld", &quota) != 1)
            quota = -1;
        (void)fclose(f);
        f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re");
        if (f) {
            if (fscanf(f, "%lld", &period) != 1)
                period = 0;
            (void)fclose(f);
        }
    }
    if (quota <= 0 || period <= 0)
        return 1;
    return (uint32_t)min_u64((uint64_t)((quota + period - 1) / period), WORKERS_MAX);
}

static void raise_fd_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

/* What the fd limit leaves for clients, when the upstreams' connections have theirs. The limit can
 * be lowered while we run, so it is looked at every second. */
void control_update_max_connections(struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    uint64_t upstream = 16, fds = UINT32_MAX;
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur != RLIM_INFINITY)
        fds = r.rlim_cur;
    for (uint32_t i = 0; c->generation && i < conf->n_upstreams; i++)
        upstream += atomic_load(&c->generation->upstreams[i]->connections);
    uint64_t room = fds > FD_RESERVE + 1 ? fds - FD_RESERVE : 1;
    room -= min_u64(upstream, room / 2);
    if (conf->max_connections > 0)
        room = min_u64(room, conf->max_connections);
    atomic_store(&c->process.max_connections, (uint32_t)min_u64(room, UINT32_MAX));
}

/* --- signals and time --- */

static void on_signal(struct ev_loop *ev, struct ev_signal *s, int events)
{
    struct control *c = CONTAINER_OF(ev_userdata(ev), struct control, loop);
    (void)events;
    switch (s->signum) {
    case SIGUSR1:
        if (c->log) {
            int rc = access_log_reopen(c->log);
            if (rc < 0)
                log_error("access log: cannot reopen: %s; the old file stays", strerror(-rc));
            else
                log_info("access log reopened");
        }
        break;
    case SIGHUP:
        control_reload(c, CONFIG_BY_SIGNAL, NULL);
        break;
    case SIGUSR2:
        control_retire(c);
        break;
    default:
        control_terminate(c, s->signum);
        break;
    }
}

/* A key that has leaked opens what was recorded in these hours, and nothing more. */
static void on_tickets_old(struct timer *t)
{
    struct control *c = CONTAINER_OF(t, struct control, tickets_timer);
    int rc = tls_tickets_rotate();
    if (rc < 0)
        log_warn("TLS session tickets keep their key: no random numbers: %s", strerror(-rc));
    timer_set(&c->loop, t, clock_mono() + TLS_TICKETS_PERIOD_S * USEC_PER_SEC);
}

static void on_ping(struct mail *m, void *owner)
{
    struct control_ping *ping = CONTAINER_OF(m, struct control_ping, mail);
    struct worker *w = owner;
    usec_t lag = clock_mono() - atomic_load(&ping->posted);
    atomic_store(&w->stats.loop_lag_us, lag);
    atomic_store(&ping->posted, 0);
    if (atomic_exchange(&ping->trim, false))
        worker_trim(w);
}

void control_ping_workers(struct control *c, bool trim)
{
    for (uint32_t i = 0; i < c->process.n_workers; i++) {
        struct control_ping *ping = &c->pings[i];
        if (trim)
            atomic_store(&ping->trim, true); /* of the one that is on its way, too */
        if (atomic_load(&ping->posted) != 0)
            continue;
        atomic_store(&ping->posted, clock_mono());
        mailbox_post(&c->workers[i].mailbox, &ping->mail, on_ping);
    }
}

usec_t control_loop_lag(const struct control *c, uint32_t worker, usec_t now)
{
    usec_t posted = atomic_load(&c->pings[worker].posted);
    usec_t last = count_read(&c->workers[worker].stats.loop_lag_us);
    return posted != 0 && now > posted ? max_u64(now - posted, last) : last;
}

static void on_second(struct ev_loop *ev, struct ev_timer *t, int events)
{
    struct control *c = CONTAINER_OF(t, struct control, second);
    (void)ev;
    (void)events;
    control_update_max_connections(c);
    control_drain_sample(c);
    leases_tick(c->leases);
    if (c->generation)
        generation_deliver_missed(c->generation);
    if (c->generation)
        control_endpoints_tick(c);
    control_ping_workers(c, true);
}

static void on_log_tick(struct ev_loop *ev, struct ev_timer *t, int events)
{
    struct control *c = CONTAINER_OF(t, struct control, log_tick);
    (void)ev;
    (void)events;
    (void)access_log_drain(c->log);
}

/* --- set-up --- */

static int open_log(struct control *c)
{
    const struct conf_access_log *conf = &c->snapshot->conf->access_log;
    int error = 0;
    if (!conf->enabled)
        return 0;
    c->rings = mem_zalloc(c->process.n_workers * sizeof(struct access_ring *));
    if (!c->rings)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->process.n_workers; i++) {
        c->rings[i] = access_ring_new(conf->buffer_bytes);
        if (!c->rings[i])
            return -ENOMEM;
    }
    /* A crash must not end what goes on, for a file that was good when it began. */
    bool lenient = channel_restarted();
    const char *why = NULL;
    struct access_redact *redact = access_redact_new(conf, lenient, &why);
    if (why)
        log_error("access log: redaction: %.*s%s%s%s", STR_FMT(conf->salt_file),
                  conf->salt_file.n ? ": " : "", why,
                  redact ? "; a random salt stands in for it until a reload finds it" : "");
    if (!redact)
        return -EINVAL;
    c->log = access_log_open(conf->path.p, c->rings, c->process.n_workers, redact, lenient, &error);
    if (error < 0)
        log_error("access log: cannot open %.*s: %s%s", STR_FMT(conf->path), strerror(-error),
                  c->log ? "; what it would tell is lost until it is reopened (SIGUSR1)" : "");
    return c->log ? 0 : error;
}

static int start_workers(struct control *c)
{
    struct process *p = &c->process;
    c->workers = p->workers = mem_zalloc(p->n_workers * sizeof(*p->workers));
    c->pings = mem_zalloc(p->n_workers * sizeof(*c->pings));
    if (!p->workers || !c->pings)
        return -ENOMEM;
    for (uint32_t i = 0; i < p->n_workers; i++) {
        int rc = worker_init(&p->workers[i], i, p);
        if (rc < 0)
            return rc;
        p->workers[i].access_ring = c->rings ? c->rings[i] : NULL;
    }
    for (uint32_t i = 0; i < p->n_workers; i++) {
        int rc = worker_start(&p->workers[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void start_watchers(struct control *c)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    struct ev_loop *ev = c->loop.ev;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        ev_signal_init(&c->signals[i], on_signal, signals[i]);
        ev_signal_start(ev, &c->signals[i]);
    }
    timer_init(&c->tickets_timer, on_tickets_old);
    timer_set(&c->loop, &c->tickets_timer, clock_mono() + TLS_TICKETS_PERIOD_S * USEC_PER_SEC);
    ev_timer_init(&c->second, on_second, 1., 1.);
    ev_timer_start(ev, &c->second);
    if (c->log) {
        ev_timer_init(&c->log_tick, on_log_tick, LOG_TICK_MS / 1e3, LOG_TICK_MS / 1e3);
        ev_timer_start(ev, &c->log_tick);
    }
}

/* The workers have stopped, or were never there. */
static void control_free(struct control *c)
{
    uint32_t n = c->workers ? c->process.n_workers : 0;
    c->process.stopping = true;
    control_app_free(c);
    control_close_servers(c);
    if (c->log)
        (void)access_log_drain(c->log);
    c->log = access_log_close(c->log);
    for (uint32_t i = 0; i < n; i++) {
        if (c->workers[i].magic == WORKER_MAGIC)
            worker_end(&c->workers[i]);
    }
    control_reload_join(c);
    control_leases_free(c); /* the disk's last answers come by the mailbox */
    if (c->loop.ev)
        mailbox_free(&c->mailbox);
    c->jwks_refresh = jwks_refresh_free(c->jwks_refresh);
    control_reload_free(c);
    c->checks = health_checks_free(c->checks);
    while (c->generations.next && !list_empty(&c->generations)) {
        struct generation *g = LIST_ENTRY(c->generations.next, struct generation, link);
        generation_tear_down(g, g == c->generation);
    }
    if (!c->generation)
        c->snapshot = snapshot_free(c->snapshot);
    for (uint32_t i = 0; i < n; i++) {
        if (c->workers[i].magic == WORKER_MAGIC)
            worker_free(&c->workers[i]);
    }
    for (uint32_t i = 0; c->rings && i < c->process.n_workers; i++)
        c->rings[i] = access_ring_free(c->rings[i]);
    if (c->loop.ev)
        loop_free(&c->loop);
    control_close_sockets(c);
    free(c->rings);
    free(c->workers);
    free(c->pings);
    overload_watch_free(c);
    control_manager_free(c);
    c->channel = channel_free(c->channel);
}

/* From control_reload.c: the first generation is in force, or cannot be. */
void control_started(struct control *c, bool ok)
{
    if (ok && control_open_servers(c) == 0) {
        control_prestop_adopt(c);
        (void)inherited_close_rest(c->channel);
        (void)channel_ready(c->channel);
        control_app_start(c);
        if (control_manager_start(c) < 0)
            log_warn("the service manager is not told how we fare: out of memory");
        log_info("sluice %s serves: %u listeners, %u workers, pid %d", SLUICE_VERSION,
                 c->snapshot->conf->n_listeners, c->process.n_workers, (int)getpid());
        control_leases_start(c);
        overload_watch_start(c);
        control_resume_drain(c);
        return;
    }
    c->failed = true;
    loop_stop(&c->loop);
}

static int set_up(struct control *c)
{
    int rc = loop_init(&c->loop);
    if (rc < 0)
        return rc;
    mailbox_init(&c->mailbox, &c->loop, c);
    control_drain_init(c);
    c->checks = health_checks_new(&c->loop);
    c->jwks_refresh = jwks_refresh_new(&c->loop, &c->certificates.set.jwks);
    if (!c->checks || !c->jwks_refresh || control_leases_init(c) < 0)
        return -ENOMEM;
    rc = open_log(c);
    if (rc < 0)
        return rc;
    start_watchers(c);
    return start_workers(c);
}

/* An arena for each worker, one for the control thread and one for all the others. Of a lock in
 * malloc that two threads share, the one that the kernel takes the processor from keeps the other
 * waiting until it has it again, in the middle of a turn. */
static void share_out_heap(uint32_t n_workers)
{
    (void)mallopt(M_ARENA_MAX, (int)n_workers + 2);
}

int serve(const char *config_file, const char *last_good_dir)
{
    static struct control control; /* large, and there is one */
    struct control *c = &control;

    /* Freed memory goes back. */
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    /* A thread that the disk holds (journal_close, leases_abandon_opening) may still use OpenSSL
     * when main() has returned: it takes nothing down at exit. */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    mem_fail_from_env();
    raise_fd_limit();
    c->magic = CONTROL_MAGIC;
    list_init(&c->process.acquisitions);
    c->started = clock_mono();
    c->last_good = last_good_dir;
    c->config.file = config_file;
    c->channel = channel_open_from_env();
    if (!control_load(c)) {
        control_free(c);
        return 1;
    }
    const struct conf *conf = c->snapshot->conf;
    log_set_level(conf->log_level);
    c->process.n_workers = conf->workers ? conf->workers : workers_from_quota();
    share_out_heap(c->process.n_workers);
    int rc = set_up(c);
    if (rc < 0) {
        log_error("cannot start: %s", strerror(-rc));
        c->failed = true;
    } else {
        control_first_reload(c);
        if (!c->failed)
            loop_run(&c->loop);
    }
    for (uint32_t i = 0; c->workers && i < c->process.n_workers; i++)
        worker_stop(&c->workers[i]);
    int code = c->failed ? 1 : 0;
    if (!c->failed)
        control_report_end(c);
    control_free(c);
    return code;
}
