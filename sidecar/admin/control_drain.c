/* control_drain.c - the drain as the control thread drives it: its clock, its listeners, its
 * signals. */
#include "admin/control.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* SIGTERM at the end of a pod's grace: SIGKILL follows 2 s later. */
#define GRACE_OVER (1500 * USEC_PER_MSEC)
/* So that the results of what did not end are in the report. */
#define RESULTS_BEFORE_D (50 * USEC_PER_MSEC)

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

/* CLEANUP begins; the drain goes on when each release has its result. */
static void cleanups_done(struct control *c)
{
    c->cleanups_done = true;
    ev_async_send(c->loop.ev, &c->poke); /* perhaps from within a step */
}

static void begin_cleanups(struct control *c)
{
    const struct drain *d = &c->process.drain;
    c->cleanups_begun = true;
    control_leases_cleanup(c, d->budget.deadline - RESULTS_BEFORE_D, cleanups_done);
}

/* Hooks are told that the drain begins; and whoever is at work that D is sooner than it was. */
static void tell_deadline(struct control *c)
{
    usec_t deadline = c->process.drain.budget.deadline;
    if (c->retiring || deadline == c->told_deadline)
        return;
    c->told_deadline = deadline;
    control_leases_drain(c, deadline - RESULTS_BEFORE_D);
    if (c->cleanups_begun && !c->cleanups_done)
        control_leases_cleanup(c, deadline - RESULTS_BEFORE_D, cleanups_done);
}

static uint64_t arrived(const struct control *c)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        n += count_read(&c->workers[i].stats.arrived[DIRECTION_INBOUND]);
    return n;
}

/* Connections that have come, and requests that were answered. */
static uint64_t stirs(const struct control *c)
{
    uint64_t n = arrived(c);
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        n += count_read(&c->workers[i].stats.requests[DIRECTION_INBOUND]);
    return n;
}

void control_drain_sample(struct control *c)
{
    usec_t now = clock_mono(), look;
    if (c->process.drain.started != 0)
        return;
    quiet_sample(&c->quiet, arrived(c), now);
    (void)quiet_lull(&c->quiet, stirs(c), now, &look);
}

/* Nobody can come where listeners are closed in DRAIN, or are another process's. */
static bool may_come(struct control *c, usec_t now, usec_t *next)
{
    usec_t look = USEC_NEVER;
    if (drain_now(&c->process.drain) > DRAIN_DRAIN || c->process.close_listeners_at_drain ||
        c->retiring || quiet_lull(&c->quiet, stirs(c), now, &look))
        return false;
    *next = min_u64(*next, look);
    return true;
}

/* What is open is counted before who has come: nobody falls in between. */
static struct drain_facts facts_now(struct control *c, usec_t now, usec_t *next)
{
    struct process *p = &c->process;
    const struct drain *d = &p->drain;
    struct drain_facts f = {
        .inbound = atomic_load(&p->open[DIRECTION_INBOUND]),
        .outbound = atomic_load(&p->open[DIRECTION_OUTBOUND]),
        .app = control_app(c),
        .cleaned = c->cleanups_done,
    };
    /* What is to end with the others, and not behind them. */
    if (c->retiring)
        f.inbound += f.outbound;
    /* While listeners are being closed, somebody may still come out of their backlog. */
    if (c->closing_sockets && now < d->budget.force_at)
        f.inbound++;
    if (drain_now(d) == DRAIN_NOTICE && d->conf.notice_quiet)
        f.quiet = quiet_enough(&c->quiet, arrived(c), now, next);
    f.busy = may_come(c, now, next);
    return f;
}

/* What a phase that has come means to all. */
static void enter(struct control *c, enum drain_phase phase, usec_t now)
{
    struct process *p = &c->process;
    const struct drain *d = &p->drain;
    /* What lies between was passed through, and each part has its work. */
    for (int q = c->last_phase + 1; q <= (int)phase; q++) {
        if (d->began[q] != 0)
            tell_workers(c, (enum drain_phase)q);
    }
    c->last_phase = (int)phase;
    log_info("drain: %s, %llu connections open, %.1f s left", drain_phase_word(phase),
             (unsigned long long)atomic_load(&p->connections),
             d->budget.deadline > now ? (double)(d->budget.deadline - now) / 1e6 : 0.);
    control_manager_drain(c);
    control_prestop_drained(c);
    if (phase >= DRAIN_DRAIN)
        health_checks_stop(c->checks);
    if (phase == DRAIN_DRAIN && p->close_listeners_at_drain && !c->retiring) {
        control_mark_direction(c, DIRECTION_INBOUND);
        (void)control_close_marked(c);
    }
    if (phase == DRAIN_DRAIN)
        control_drain_tell_supervisor(c);
    control_app_phase(c, phase);
    if (phase == DRAIN_CLEANUP)
        begin_cleanups(c);
    if (phase == DRAIN_EXIT && !c->exit_after_drain) {
        stay_drained(c);
        control_report_message(c);
    }
}

void control_step(struct control *c)
{
    struct process *p = &c->process;
    usec_t next = USEC_NEVER;
    if (drain_now(&p->drain) == DRAIN_SERVING)
        return;
    control_reload_unwatch(c);
    tell_deadline(c);
    for (;;) {
        usec_t now = clock_mono(), look = USEC_NEVER;
        struct drain_facts f = facts_now(c, now, &look);
        enum drain_phase phase = drain_step(&p->drain, &f, now, &next);
        next = min_u64(next, look);
        if ((int)phase == c->last_phase)
            break;
        enter(c, phase, now);
        if (phase == DRAIN_EXIT)
            break;
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

/* If we die, the next one goes on: in words, so that it knows how. Of a drain by a signal it exits
 * behind it; what a program that knows other words makes of these is the same. */
void control_drain_tell_supervisor(struct control *c)
{
    const struct drain *d = &c->process.drain;
    char words[CHANNEL_TRIGGER_MAX];
    if (c->retiring || d->started == 0)
        return; /* ours is not the drain of the whole */
    if (!drain_of_pod(d))
        (void)snprintf(words, sizeof(words), "%s", c->exit_after_drain ? "signal" : "admin");
    else
        (void)snprintf(words, sizeof(words), "prestop%s%s%s", c->exit_after_drain ? " signal" : "",
                       d->ready_in_notice ? " ready" : "",
                       drain_now(d) > DRAIN_NOTICE ? " noticed" : "");
    (void)channel_drain(c->channel, d->started, d->budget.deadline, words);
}

void control_drain(struct control *c, enum drain_trigger trigger, usec_t budget)
{
    struct drain *d = &c->process.drain;
    usec_t now = clock_mono();
    usec_t since = trigger == DRAIN_BY_PRESTOP ? c->prestop.rules.asked_at : now;
    if (c->retiring && d->started == 0)
        return; /* it begins in a moment anyway */
    /* Behind a SIGTERM the end is near, whatever it is the end of. */
    if (trigger == DRAIN_BY_PRESTOP && d->started != 0 && c->exit_after_drain)
        return;
    bool unready = prestop_unready(&c->prestop.rules);
    bool first = drain_begin(d, &c->snapshot->conf->lifecycle, trigger, budget, since, now);
    if (first) {
        c->last_phase = DRAIN_SERVING;
        d->ready_in_notice = d->ready_in_notice && !unready;
        quiet_begin(&c->quiet, arrived(c), now);
        log_info("drain begins (%s), deadline in %.1f s", drain_trigger_word(trigger),
                 (double)(d->budget.deadline - now) / 1e6);
    }
    control_drain_tell_supervisor(c);
    control_step(c);
}

/* In a pod whose end has begun. The kubelet sends it behind the application's exit; or when the
 * grace is over, and then SIGKILL follows within 2 s. */
static void terminate_in_pod(struct control *c, usec_t now)
{
    struct drain *d = &c->process.drain;
    control_app_look(c);
    if (control_prestop_holds(c) || control_app(c) == DRAIN_APP_ALIVE) {
        log_warn("SIGTERM while the application is there: the pod's grace is over");
        drain_shorten(d, now + GRACE_OVER, now);
    } else {
        control_app_sigterm(c);
        drain_app_has_gone(d);
    }
    control_drain_tell_supervisor(c);
    control_step(c);
}

void control_terminate(struct control *c, int signo)
{
    usec_t now = clock_mono();
    c->exit_after_drain = true;
    if (drain_now(&c->process.drain) == DRAIN_EXIT) {
        control_app_release(c, now + c->process.drain.conf.app_cleanup);
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
    } else if (draining && drain_of_pod(&c->process.drain)) {
        terminate_in_pod(c, now);
        return;
    } else if (!draining && control_prestop_holds(c)) {
        /* It was taken for a restart; but no restart reaches us. */
        control_drain(c, DRAIN_BY_SIGNAL, GRACE_OVER);
    } else if (!draining) {
        control_drain(c, DRAIN_BY_SIGNAL, 0);
    }
    if (draining)
        control_drain_tell_supervisor(c);
}

/* A drain that an earlier serving process had begun goes on where it was. */
void control_resume_drain(struct control *c)
{
    struct drain_resumed r = {0};
    char words[CHANNEL_TRIGGER_MAX];
    usec_t now = clock_mono();
    if (!channel_drain_state(&r.started, &r.deadline, words, sizeof(words))) {
        control_prestop_forgotten(c);
        return;
    }
    if (control_prestop_resume(c, words, r.started, r.deadline))
        return;
    r.pod = strncmp(words, "prestop", 7) == 0;
    r.ready_in_notice = strstr(words, " ready") != NULL;
    r.notice_over = strstr(words, " noticed") != NULL;
    c->exit_after_drain = r.pod ? strstr(words, " signal") != NULL : strcmp(words, "admin") != 0;
    drain_resume(&c->process.drain, &c->snapshot->conf->lifecycle, &r, now);
    quiet_begin(&c->quiet, arrived(c), now);
    if (r.pod)
        control_prestop_ends(c);
    log_warn("the drain that began %.1f s ago (%s) goes on", (double)(now - r.started) / 1e6,
             words);
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
    control_prestop_init(c);
    timer_init(&c->drain_timer, on_drain_timer);
    ev_async_init(&c->poke, on_poke);
    ev_async_start(c->loop.ev, &c->poke);
}
