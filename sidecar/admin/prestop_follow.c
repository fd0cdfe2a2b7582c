/* prestop_follow.c - what the calls of /prestop set going: the drain, a restart's moment, and what
 * the supervisor must know of both. */
#include "admin/control.h"

#define PORTS_EVERY (50 * USEC_PER_MSEC)

static bool is_released(const struct control *c)
{
    const struct drain *d = &c->process.drain;
    if (d->started != 0)
        return drain_now(d) >= DRAIN_EGRESS_ONLY;
    return prestop_lets_go(&c->prestop.rules);
}

static void release(struct control *c)
{
    if (is_released(c))
        control_prestop_answer_all(c);
}

struct prestop_facts control_prestop_facts(const struct control *c)
{
    const struct conf_lifecycle *l = &c->snapshot->conf->lifecycle;
    return (struct prestop_facts){
        .drain_runs = c->process.drain.started != 0,
        .released = c->process.drain.started != 0 && is_released(c),
        .restart_drain = l->restart_drain,
        .grace = l->termination_grace,
    };
}

/* Those that inbound routes lead to. `all`: those too that refuse now. */
static void find_ports(struct control *c, bool all)
{
    const struct conf *conf = c->snapshot->conf;
    for (uint32_t i = 0; c->generation && i < conf->n_listeners; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        for (uint32_t j = 0; l->direction == DIRECTION_INBOUND && j < l->n_routes; j++) {
            const struct conf_route *r = &l->routes[j];
            for (uint32_t b = 0; b < r->n_backends; b++) {
                const struct upstream_shared *u =
                    c->generation->upstreams[r->backends[b].upstream->index];
                for (uint32_t e = 0; e < u->n_endpoints; e++)
                    app_ports_add(&c->prestop.ports, &u->endpoints[e]->address, all);
            }
        }
    }
}

static void tell_leave(struct control *c, enum drain_leave leave)
{
    const struct prestop *r = &c->prestop.rules;
    drain_set_leave(&c->process.drain, leave, r->asked_at, r->asked_at + r->restart_drain);
    for (uint32_t i = 0; leave == DRAIN_LEAVE_ASKED && i < c->process.n_workers; i++)
        worker_leave(&c->workers[i]);
}

/* A drain tells of itself. */
static void tell_supervisor(struct control *c)
{
    const struct prestop *r = &c->prestop.rules;
    if (c->process.drain.started != 0 || c->retiring)
        return;
    if (r->state == PRESTOP_IDLE)
        (void)channel_drain(c->channel, 0, 0, "");
    else
        (void)channel_drain(c->channel, r->asked_at, r->until, prestop_state_word(r->state));
}

/* The rules have come to another state: what follows from it. */
static void tell(struct control *c)
{
    struct control_prestop *p = &c->prestop;
    if (p->told == p->rules.state)
        return;
    p->told = p->rules.state;
    switch (p->told) {
    case PRESTOP_ASKED:
        find_ports(c, false);
        tell_leave(c, DRAIN_LEAVE_OFFERED);
        break;
    case PRESTOP_RESTART:
        log_info("prestop: a container restarts; it is held for %.1f s, and /readyz says 503",
                 (double)p->rules.restart_drain / 1e6);
        tell_leave(c, DRAIN_LEAVE_ASKED);
        break;
    case PRESTOP_LEAVING:
    case PRESTOP_AWAY:
        tell_leave(c, DRAIN_LEAVE_ASKED);
        break;
    case PRESTOP_IDLE:
        log_info("prestop: the restart is over, serving again");
        p->ports.n = 0;
        tell_leave(c, DRAIN_LEAVE_NOT);
        break;
    case PRESTOP_END:
    case PRESTOP_STATES:
        log_info("prestop: the pod ends");
        control_drain(c, DRAIN_BY_PRESTOP, 0);
        tell_leave(c, DRAIN_LEAVE_NOT);
        break;
    }
    tell_supervisor(c);
    control_manager_drain(c);
}

void control_prestop_step(struct control *c)
{
    struct control_prestop *p = &c->prestop;
    usec_t now = clock_mono(), next;
    bool looks = p->rules.state != PRESTOP_IDLE && p->rules.state != PRESTOP_END;
    (void)prestop_step(&p->rules, looks ? app_ports_ask(&p->ports) : PRESTOP_PORT_UNKNOWN, now,
                       &next);
    tell(c);
    if (prestop_unready(&p->rules))
        next = min_u64(next, now + PORTS_EVERY);
    p->timer.at = 0;
    if (next != USEC_NEVER)
        timer_set(&c->loop, &p->timer, next);
    release(c);
}

static void on_timer(struct timer *t)
{
    control_prestop_step(CONTAINER_OF(t, struct control, prestop.timer));
}

void control_prestop_drained(struct control *c)
{
    struct control_prestop *p = &c->prestop;
    if (p->rules.state != PRESTOP_END && p->rules.state != PRESTOP_IDLE) {
        prestop_give_way(&p->rules);
        p->told = PRESTOP_IDLE;
        tell_leave(c, DRAIN_LEAVE_NOT);
        timer_stop(&c->loop, &p->timer);
    }
    release(c);
}

bool control_prestop_resume(struct control *c, const char *word, usec_t asked_at, usec_t until)
{
    struct control_prestop *p = &c->prestop;
    struct prestop_facts f = control_prestop_facts(c);
    for (int s = PRESTOP_ASKED; s < PRESTOP_END; s++) {
        if (strcmp(word, prestop_state_word((enum prestop_state)s)) != 0)
            continue;
        log_warn("prestop: what the process before was at goes on: %s", word);
        find_ports(c, true);
        prestop_resume(&p->rules, (enum prestop_state)s, asked_at, until, &f);
        control_prestop_step(c);
        return true;
    }
    return false;
}

void control_prestop_forgotten(struct control *c)
{
    struct prestop_facts f = control_prestop_facts(c);
    if (!control_prestop_holds(c))
        return;
    (void)prestop_called(&c->prestop.rules, false, true, &f, clock_mono());
    control_prestop_step(c);
}

void control_prestop_ends(struct control *c)
{
    struct prestop_facts f = control_prestop_facts(c);
    prestop_resume(&c->prestop.rules, PRESTOP_END, c->process.drain.started, 0, &f);
    c->prestop.told = PRESTOP_END;
}

void control_prestop_init(struct control *c)
{
    struct control_prestop *p = &c->prestop;
    prestop_init(&p->rules);
    list_init(&p->held);
    timer_init(&p->timer, on_timer);
}
