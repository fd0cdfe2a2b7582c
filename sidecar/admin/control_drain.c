/* control_drain.c - the drain as the control thread drives it: its clock, its listeners, its
 * signals. */
#include "admin/control.h"

#include <signal.h>
#include <stdlib.h>

static void tell_workers(struct control *c, enum drain_phase phase)
{
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        worker_drain(&c->workers[i], phase);
}

/* While listeners are being closed, somebody may still come out of their backlog. */
void control_drain_sockets_closed(struct control *c)
{
    control_step(c);
}

/* The supervisor has them until it hears of it. */
static void forget(struct gather_part *part)
{
    loop_forget(&part->worker->loop);
}

static void outbound_left(struct gather *g)
{
    control_close_unused(g->control, DIRECTION_OUTBOUND);
}

/* The drain is over and we stay: who connects outbound is refused, and does not wait in a backlog
 * that nobody empties. When all workers have answered they have left these listeners too. */
static void stay_drained(struct control *c)
{
    if (gather_start(c, NULL, forget, outbound_left) < 0)
        log_warn("outbound listeners stay open: out of memory");
}

void control_step(struct control *c)
{
    struct process *p = &c->process;
    usec_t next = USEC_NEVER;
    if (drain_now(&p->drain) == DRAIN_SERVING)
        return;
    control_reload_unwatch(c);
    for (;;) {
        usec_t now = clock_mono();
        uint64_t inbound = atomic_load(&p->open[DIRECTION_INBOUND]);
        /* What is to end with the others, and not behind them. */
        if (c->retiring)
            inbound += atomic_load(&p->open[DIRECTION_OUTBOUND]);
        /* While listeners are being closed, somebody may still come out of their backlog. */
        if (c->closing_sockets && now < p->drain.force_at)
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
        if (phase == DRAIN_DRAIN && p->close_listeners_at_drain && !c->retiring) {
            control_mark_direction(c, DIRECTION_INBOUND);
            (void)control_close_marked(c);
        }
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

bool control_closes_listeners_at_drain(const struct conf_lifecycle *l)
{
    if (l->close_listeners != CLOSE_LISTENERS_AUTO)
        return l->close_listeners == CLOSE_LISTENERS_AT_DRAIN;
    return getenv("KUBERNETES_SERVICE_HOST") == NULL;
}

void control_drain_init(struct control *c)
{
    drain_init(&c->process.drain);
    c->process.changed = poke;
    c->process.close_listeners_at_drain =
        control_closes_listeners_at_drain(&c->snapshot->conf->lifecycle);
    timer_init(&c->drain_timer, on_drain_timer);
    ev_async_init(&c->poke, on_poke);
    ev_async_start(c->loop.ev, &c->poke);
}
