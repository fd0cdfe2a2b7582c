/* control_drain.c - the drain as the control thread drives it: its clock, its listeners, its
 * signals. */
#include "admin/control.h"

#include "io/socket.h"
#include "lifecycle/inherited.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Handshakes under way get this long before a listener closes. */
enum { LISTENER_GRACE_MS = 100 };

static void tell_workers(struct control *c, enum drain_phase phase)
{
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        worker_drain(&c->workers[i], phase);
}

static void unlink_if_unix(const struct address *a)
{
    if (a->u.sa.sa_family == AF_UNIX && !inherited_path_is_activated(a))
        (void)unlink(a->u.un.sun_path);
}

static bool is_open(const struct control *c, uint32_t i, enum direction direction)
{
    return c->snapshot->conf->listeners[i].direction == direction && c->listen_fds[i] >= 0;
}

/* The supervisor's copies: from here on nobody holds the sockets but us. */
static void drop_listeners(struct control *c, enum direction direction)
{
    const struct conf *conf = c->snapshot->conf;
    char name[ADDRESS_TEXT_MAX];
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        if (is_open(c, i, direction))
            (void)channel_drop(c->channel, address_format(&conf->listeners[i].address, name));
    }
}

/* No worker looks at them any more. */
static void close_fds(struct control *c, enum direction direction)
{
    for (uint32_t i = 0; i < c->snapshot->conf->n_listeners; i++) {
        if (is_open(c, i, direction)) {
            (void)close(c->listen_fds[i]);
            c->listen_fds[i] = -1;
        }
    }
    log_info("%s listeners are closed", direction == DIRECTION_INBOUND ? "inbound" : "outbound");
}

static void emptied(struct gather *g)
{
    struct control *c = g->control;
    close_fds(c, DIRECTION_INBOUND);
    c->closing_listeners = false;
    c->listeners_closed = true;
    control_step(c);
}

static void empty_listeners(struct gather_part *part)
{
    worker_close_listeners(part->worker);
}

/* The handshakes under way have been finished. */
static void on_close_timer(struct timer *t)
{
    struct control *c = CONTAINER_OF(t, struct control, close_timer);
    drop_listeners(c, DIRECTION_INBOUND);
    if (gather_start(c, NULL, empty_listeners, emptied) < 0)
        timer_set(&c->loop, t, c->loop.now + LISTENER_GRACE_MS * USEC_PER_MSEC);
}

static void close_listeners(struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    if (c->closing_listeners || c->listeners_closed)
        return;
    c->closing_listeners = true;
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        if (!is_open(c, i, DIRECTION_INBOUND))
            continue;
        unlink_if_unix(&conf->listeners[i].address);
        if (conf->listeners[i].address.u.sa.sa_family != AF_UNIX)
            socket_stop_syns(c->listen_fds[i]);
    }
    timer_set(&c->loop, &c->close_timer, clock_mono() + LISTENER_GRACE_MS * USEC_PER_MSEC);
}

static void nothing(struct gather_part *part)
{
    (void)part;
}

static void outbound_left(struct gather *g)
{
    drop_listeners(g->control, DIRECTION_OUTBOUND);
    close_fds(g->control, DIRECTION_OUTBOUND);
}

/* The drain is over and we stay: who connects outbound is refused, and does not wait in a backlog
 * that nobody empties. When all workers have answered they have left these listeners too. */
static void stay_drained(struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        if (is_open(c, i, DIRECTION_OUTBOUND))
            unlink_if_unix(&conf->listeners[i].address);
    }
    if (gather_start(c, NULL, nothing, outbound_left) < 0)
        log_warn("outbound listeners stay open: out of memory");
}

void control_step(struct control *c)
{
    struct process *p = &c->process;
    usec_t next = USEC_NEVER;
    if (drain_now(&p->drain) == DRAIN_SERVING)
        return;
    for (;;) {
        usec_t now = clock_mono();
        uint64_t inbound = atomic_load(&p->open[DIRECTION_INBOUND]);
        /* What is to end with the others, and not behind them. */
        if (c->retiring)
            inbound += atomic_load(&p->open[DIRECTION_OUTBOUND]);
        /* While listeners are being closed, somebody may still come out of their backlog. */
        if (c->closing_listeners && now < p->drain.force_at)
            inbound++;
        enum drain_phase phase =
            drain_step(&p->drain, inbound, atomic_load(&p->open[DIRECTION_OUTBOUND]), now, &next);
        if ((int)phase == c->last_phase)
            break;
        /* What lies between was passed through, and each part has its work. */
        for (int q = c->last_phase + 1; q <= (int)phase; q++) {
            if (p->drain.began[q] != 0)
                tell_workers(c, (enum drain_phase)q);
        }
        c->last_phase = (int)phase;
        log_info("drain: %s, %llu connections open, %.1f s left", drain_phase_word(phase),
                 (unsigned long long)atomic_load(&p->connections),
                 p->drain.deadline > now ? (double)(p->drain.deadline - now) / 1e6 : 0.);
        control_manager_drain(c);
        if (phase == DRAIN_DRAIN && p->close_listeners_at_drain && !c->retiring)
            close_listeners(c);
        if (phase == DRAIN_EXIT) {
            if (!c->exit_after_drain)
                stay_drained(c);
            break;
        }
    }
    if (drain_now(&p->drain) == DRAIN_EXIT) {
        if (c->exit_after_drain)
            loop_stop(&c->loop);
        return;
    }
    if (next != USEC_NEVER) {
        c->drain_timer.at = 0;
        timer_set(&c->loop, &c->drain_timer, next);
    }
}

static void on_drain_timer(struct timer *t)
{
    control_step(CONTAINER_OF(t, struct control, drain_timer));
}

static void on_poke(struct ev_loop *ev, struct ev_async *a, int events)
{
    (void)ev;
    (void)events;
    control_step(CONTAINER_OF(a, struct control, poke));
}

static void poke(struct process *p)
{
    struct control *c = CONTAINER_OF(p, struct control, process);
    ev_async_send(c->loop.ev, &c->poke);
}

/* If we die, the next one goes on, and knows whether to exit behind it. */
static void tell_supervisor(struct control *c)
{
    const struct drain *d = &c->process.drain;
    if (c->retiring)
        return; /* ours is not the drain of the whole */
    (void)channel_drain(c->channel, d->started, d->deadline,
                        c->exit_after_drain ? "signal" : "admin");
}

void control_drain(struct control *c, enum drain_trigger trigger, usec_t budget)
{
    struct drain *d = &c->process.drain;
    if (c->retiring && d->started == 0)
        return; /* it begins in a moment anyway */
    bool first = drain_begin(d, &c->snapshot->conf->lifecycle, trigger, budget, clock_mono());
    if (first) {
        c->last_phase = DRAIN_SERVING;
        log_info("drain begins (%s), deadline in %.1f s",
                 trigger == DRAIN_BY_ADMIN ? "admin" : "signal",
                 (double)(d->deadline - d->started) / 1e6);
    }
    tell_supervisor(c);
    control_step(c);
}

void control_terminate(struct control *c, int signo)
{
    usec_t now = clock_mono();
    c->exit_after_drain = true;
    if (drain_now(&c->process.drain) == DRAIN_EXIT) {
        loop_stop(&c->loop);
        return;
    }
    bool draining = c->process.drain.started != 0;
    /* A terminal sends its interrupt to every process of the group, and the supervisor sends it
     * on: one key press is one interrupt. */
    if (signo == SIGINT && now > c->interrupted_at + 100 * USEC_PER_MSEC) {
        c->interrupted_at = now;
        c->interrupts++;
    }
    if (signo == SIGINT && c->interrupts >= 2) {
        log_warn("second interrupt: what is open is closed now");
        drain_force(&c->process.drain, now);
        control_step(c);
    } else if (!draining) {
        control_drain(c, DRAIN_BY_SIGNAL, 0);
    }
    if (draining)
        tell_supervisor(c);
}

/* A drain that an earlier serving process had begun goes on where it was. */
void control_resume_drain(struct control *c)
{
    usec_t start, deadline;
    char trigger[CHANNEL_TRIGGER_MAX];
    if (!channel_drain_state(&start, &deadline, trigger, sizeof(trigger)))
        return;
    c->exit_after_drain = strcmp(trigger, "admin") != 0;
    drain_resume(&c->process.drain, &c->snapshot->conf->lifecycle, start, deadline, clock_mono());
    log_warn("the drain that began %.1f s ago (%s) goes on", (double)(clock_mono() - start) / 1e6,
             trigger);
    control_step(c);
}

static bool closes_listeners_at_drain(const struct conf_lifecycle *l)
{
    if (l->close_listeners != CLOSE_LISTENERS_AUTO)
        return l->close_listeners == CLOSE_LISTENERS_AT_DRAIN;
    return getenv("KUBERNETES_SERVICE_HOST") == NULL;
}

void control_drain_init(struct control *c)
{
    drain_init(&c->process.drain);
    c->process.changed = poke;
    c->process.close_listeners_at_drain = closes_listeners_at_drain(&c->snapshot->conf->lifecycle);
    timer_init(&c->drain_timer, on_drain_timer);
    timer_init(&c->close_timer, on_close_timer);
    ev_async_init(&c->poke, on_poke);
    ev_async_start(c->loop.ev, &c->poke);
}
