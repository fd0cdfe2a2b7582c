/* control_retire.c - the end of a serving process whose sockets a new one serves by now.
 *
 * Nothing is taken from the new one: no SYN is dropped, no backlog emptied, no path unlinked, no
 * name dropped at the supervisor. */
#include "admin/control.h"

#include "base/log.h"

enum { RETRY_MS = 100 };

static void leave_listeners(struct gather_part *part)
{
    worker_leave_listeners(part->worker);
    loop_forget(&part->worker->loop);
}

static void nothing(struct gather_part *part)
{
    (void)part;
}

/* Our own copies: one that stayed open would keep the socket listening when the new process closes
 * its own. */
static void close_copies(struct gather *g)
{
    control_close_sockets(g->control);
}

/* The workers' loops have turned since they left the sockets. */
static void on_left_for_a_while(struct timer *t)
{
    struct control *c = CONTAINER_OF(t, struct control, retire_timer);
    if (gather_start(c, NULL, nothing, close_copies) < 0)
        timer_set(&c->loop, t, clock_mono() + RETRY_MS * USEC_PER_MSEC);
}

/* No worker accepts any more, and what was accepted is counted: now the drain can see its end. */
static void left(struct gather *g)
{
    struct control *c = g->control;
    struct drain *d = &c->process.drain;
    usec_t now = clock_mono();
    c->last_phase = DRAIN_SERVING;
    (void)drain_begin(d, &c->snapshot->conf->lifecycle, DRAIN_BY_UPGRADE, 0, now, now);
    log_info("retiring: a new process serves; what is open here ends within %.1f s",
             (double)(d->budget.deadline - d->started) / 1e6);
    timer_init(&c->retire_timer, on_left_for_a_while);
    timer_set(&c->loop, &c->retire_timer, now + RETRY_MS * USEC_PER_MSEC);
    control_step(c);
}

static void leave(struct control *c)
{
    if (gather_start(c, NULL, leave_listeners, left) < 0)
        timer_set(&c->loop, &c->retire_timer, clock_mono() + RETRY_MS * USEC_PER_MSEC);
}

static void on_retry(struct timer *t)
{
    leave(CONTAINER_OF(t, struct control, retire_timer));
}

void control_retire(struct control *c)
{
    if (!c->channel) {
        log_warn("SIGUSR2 is not used without a supervisor: there is nobody to hand over to");
        return;
    }
    if (c->retiring)
        return;
    if (c->process.drain.started != 0 || c->prestop.rules.state != PRESTOP_IDLE) {
        /* The supervisor learns of the drain by its own message, and gives up the upgrade. */
        log_warn("no upgrade while a drain runs: the drain goes on");
        return;
    }
    c->retiring = c->exit_after_drain = true;
    control_leases_retire(c);
    control_app_stop(c);
    for (uint32_t i = 0; i < c->n_servers; i++)
        http_server_stop(c->servers[i]);
    loop_forget(&c->loop);
    (void)channel_retire(c->channel, clock_mono() + c->snapshot->conf->lifecycle.drain_timeout);
    timer_init(&c->retire_timer, on_retry);
    leave(c);
}
