/* control_app.c - the application as the control thread sees it: what the supervisor tells of our
 * child, what its end means for the drain, and when a child is told to end. */
#include "admin/control.h"

#include "admin/exposition.h"
#include "base/mem.h"
#include "proxy/upstream_shared.h"

#include <errno.h>
#include <stdio.h>

/* It ended by itself: what it has answered still gets so long to reach who asked. */
#define FLUSH       USEC_PER_SEC
#define FLUSH_EVERY (10 * USEC_PER_MSEC)
#define KILL_LEAD   (50 * USEC_PER_MSEC)

/* --- what the watch asks --- */

static uint64_t connections_to(const struct endpoint_shared *e)
{
    uint64_t n = 0;
    for (uint32_t k = 0; k < e->n_workers; k++)
        n += count_read(&e->worker[k].stats.connections);
    return n;
}

static bool is_of_app(const struct conf_app *app, const struct endpoint_shared *e)
{
    for (uint32_t i = 0; i < app->n_addresses; i++) {
        if (address_equal(&app->addresses[i], &e->address))
            return true;
    }
    return false;
}

/* To its ports; and all that anybody has with an outbound listener, for who that is is not told. */
uint64_t control_app_connections(const struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    uint64_t open = atomic_load(&c->process.open[DIRECTION_OUTBOUND]);
    for (uint32_t i = 0; c->generation && i < conf->n_upstreams; i++) {
        const struct upstream_shared *u = c->generation->upstreams[i];
        for (uint32_t k = 0; k < u->n_endpoints + u->n_left; k++) {
            if (is_of_app(&conf->app, u->endpoints[k]))
                open += connections_to(u->endpoints[k]);
        }
    }
    return open;
}

static void connections(void *ctx, uint64_t *ret_open, uint64_t *ret_opened)
{
    const struct control *c = ctx;
    *ret_open = control_app_connections(c);
    *ret_opened = 0;
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        *ret_opened += count_read(&c->workers[i].stats.arrived[DIRECTION_OUTBOUND]);
}

static bool sigterm_follows(void *ctx)
{
    const struct control *c = ctx;
    return drain_of_pod(&c->process.drain) && !c->exit_after_drain;
}

/* --- what follows from it --- */

static void on_gone(void *ctx, enum lease_proof proof)
{
    struct control *c = ctx;
    leases_holder_gone(c->leases, proof);
    /* The drain may be waiting for that; not from within one of its own steps. */
    ev_async_send(c->loop.ev, &c->poke);
}

static void on_back(void *ctx)
{
    (void)ctx;
}

/* What was answered is on its way to clients; nothing else comes. */
static void on_flush(struct timer *t)
{
    struct control *c = CONTAINER_OF(t, struct control, app.flush);
    usec_t now = clock_mono();
    uint64_t streams = 0;
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        streams += count_read(&c->workers[i].stats.streams);
    if (streams > 0 && now < c->app.flush_until) {
        timer_set(&c->loop, t, now + FLUSH_EVERY);
        return;
    }
    drain_app_has_gone(&c->process.drain);
    control_step(c);
}

static void ended_by_itself(struct control *c)
{
    log_info("the application has ended before it was told to: we end, too");
    c->exit_after_drain = true;
    if (drain_now(&c->process.drain) == DRAIN_EXIT) {
        loop_stop(&c->loop);
        return;
    }
    control_drain(c, DRAIN_BY_APP, 0);
    c->app.flush_until = clock_mono() + FLUSH;
    c->app.flush.at = 0;
    timer_set(&c->loop, &c->app.flush, clock_mono());
}

static void take_notice(struct control *c, const struct channel_notice *n, int fd)
{
    switch (n->kind) {
    case CHANNEL_APP_STARTED:
        app_child_started(c->app.watch, n->pid, fd);
        /* In a drain that goes on behind a crash it may have been waited for. */
        control_app_phase(c, drain_now(&c->process.drain));
        return; /* it has the fd */
    case CHANNEL_APP_ENDED:
        app_child_ended(c->app.watch, n->pid, n->status, n->released);
        if (!n->released && !c->retiring)
            ended_by_itself(c);
        else
            control_step(c);
        break;
    default: /* a newer supervisor's */
        break;
    }
    if (fd >= 0)
        (void)close(fd);
}

static void on_notice(struct ev_loop *ev, struct ev_io *io, int events)
{
    struct control *c = CONTAINER_OF(io, struct control, app.notices);
    struct channel_notice n;
    int fd, rc;
    (void)events;
    c->app.expected = false;
    while ((rc = channel_next_notice(c->channel, &n, &fd)) == 0)
        take_notice(c, &n, fd);
    if (rc == -EPIPE) {
        ev_io_stop(ev, io); /* it has died; SIGTERM tells us, too */
        c->app.supervisor_gone = true;
    }
}

/* One came while the answer to something else was waited for. */
static void on_late_notice(void *ctx)
{
    struct control *c = ctx;
    ev_feed_event(c->loop.ev, &c->app.notices, EV_READ);
}

/* --- what others ask and say --- */

/* An application that runs beside us ends when it likes, and not because we do; the end of a pod
 * is everybody's, and our child waits for us. */
enum drain_app control_app(const struct control *c)
{
    const struct app *a = c->app.watch;
    if (!a || c->retiring)
        return DRAIN_APP_UNKNOWN;
    if (c->app.expected && c->exit_after_drain)
        return DRAIN_APP_ALIVE;
    if (app_now(a) == APP_GONE) {
        /* The pidfd is first; how it ended is told in a moment. */
        const struct app_child *child = app_child_now(a);
        bool told = child->pid == 0 || child->ended || c->app.supervisor_gone;
        return told || !c->exit_after_drain ? DRAIN_APP_GONE : DRAIN_APP_ALIVE;
    }
    bool waits =
        drain_of_pod(&c->process.drain) || (app_child_now(a)->pid != 0 && c->exit_after_drain);
    return waits && app_now(a) == APP_ALIVE ? DRAIN_APP_ALIVE : DRAIN_APP_UNKNOWN;
}

void control_app_look(struct control *c)
{
    if (c->app.watch)
        (void)app_look(c->app.watch);
}

void control_app_sigterm(struct control *c)
{
    if (c->app.watch)
        app_sigterm(c->app.watch);
}

/* In time for its end to be known when the cleanups begin. */
static usec_t kill_at(const struct drain *d, usec_t now)
{
    usec_t at = d->budget.cleanup_at;
    return at > now ? at - min_u64((at - now) / 10, KILL_LEAD) : at;
}

void control_app_release(struct control *c, usec_t deadline)
{
    const struct app_child *child = c->app.watch ? app_child_now(c->app.watch) : NULL;
    if (child && child->pid != 0 && !child->ended && !c->retiring)
        (void)channel_app_release(c->channel, deadline);
}

void control_app_phase(struct control *c, enum drain_phase phase)
{
    const struct drain *d = &c->process.drain;
    const struct app *a = c->app.watch;
    if (!a || c->retiring || !c->exit_after_drain)
        return;
    if (phase >= DRAIN_EGRESS_ONLY)
        control_app_release(c, kill_at(d, clock_mono()));
    if (phase == DRAIN_CLEANUP)
        app_deadline(c->app.watch);
}

void control_app_configure(struct control *c)
{
    if (c->app.watch && app_configure(c->app.watch, &c->snapshot->conf->app) < 0)
        log_warn("the application is watched as before: out of memory");
    control_leaks_configure(c);
}

json_t *control_app_json(const struct control *c)
{
    return c->app.watch ? app_json(c->app.watch) : json_null();
}

void control_app_metrics(const struct control *c, struct exposition *t)
{
    enum app_state now = c->app.watch ? app_now(c->app.watch) : APP_UNKNOWN;
    metric_family(t, "app_state", "gauge", "1 for what is known of the application.");
    for (int s = 0; s < APP_STATES; s++)
        metric_put(t, "sluice_app_state{state=\"%s\"} %d\n", app_state_word((enum app_state)s),
                   (int)now == s);
    metric_family(t, "app_ends_total", "counter",
                  "Times that the application had gone, by what proved it.");
    for (int p = 0; p < LEASE_PROOFS; p++)
        metric_put(
            t, "sluice_app_ends_total{proof=\"%s\"} %llu\n", app_proof_word((enum lease_proof)p),
            c->app.watch ? (unsigned long long)app_ends(c->app.watch, (enum lease_proof)p) : 0ull);
}

/* --- beginning and end --- */

/* The supervisor starts it once, whatever serving processes come and go. */
static void tell_command(struct control *c)
{
    const struct conf_app *app = &c->snapshot->conf->app;
    size_t n = 0;
    if (app->n_command == 0)
        return;
    if (!c->channel) {
        log_warn("app.command is not run: its parent would be the supervisor, and there is none");
        return;
    }
    for (uint32_t i = 0; i < app->n_command; i++)
        n += app->command[i].n + 1;
    char *words = mem_zalloc(n), *at = words;
    for (uint32_t i = 0; words && i < app->n_command; i++) {
        if (app->command[i].n > 0)
            memcpy(at, app->command[i].p, app->command[i].n);
        at += app->command[i].n + 1;
    }
    int rc = words ? channel_app(c->channel, words, n) : -ENOMEM;
    free(words);
    if (rc < 0)
        log_error("app.command is not run: %s", strerror(-rc));
}

void control_app_start(struct control *c)
{
    struct app_source source = {connections, sigterm_follows, c};
    struct app_events events = {on_gone, on_back, c};
    timer_init(&c->app.flush, on_flush);
    c->app.watch = app_new(&c->loop, &source, &events);
    if (!c->app.watch) {
        log_warn("the application is not watched: out of memory");
        return;
    }
    c->process.app = c->app.watch;
    control_leaks_start(c);
    control_app_configure(c);
    c->app.expected = channel_runs_app();
    if (c->channel) {
        ev_io_init(&c->app.notices, on_notice, channel_fd(c->channel), EV_READ);
        ev_io_start(c->loop.ev, &c->app.notices);
        channel_on_notice(c->channel, on_late_notice, c);
    }
    tell_command(c);
}

void control_app_stop(struct control *c)
{
    if (!c->app.watch)
        return;
    control_leaks_stop(c);
    app_stop(c->app.watch);
    timer_stop(&c->loop, &c->app.flush);
}

void control_app_free(struct control *c)
{
    if (!c->app.watch)
        return;
    control_app_stop(c);
    if (c->channel)
        ev_io_stop(c->loop.ev, &c->app.notices);
    channel_on_notice(c->channel, NULL, NULL);
    control_leaks_free(c);
    c->process.app = NULL;
    c->app.watch = app_free(c->app.watch);
}
