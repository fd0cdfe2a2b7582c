/* prestop.c - GET /prestop: the calls that are held, and what they set going. */
#include "admin/control.h"

#include "admin/guard.h"
#include "base/mem.h"
#include "config/build.h"

#include <stdio.h>
#include <stdlib.h>

#define PORTS_EVERY (50 * USEC_PER_MSEC)
static const char token_variable[] = "SLUICE_PRESTOP_TOKEN";
static const char token_field[] = "X-Sluice-Token";

struct prestop_call {
    struct list link; /* on control_prestop.held */
    struct control *control;
    struct http_request *req;
    usec_t since;
    bool trusted; /* it brought the token */
};

/* --- who may begin it -------------------------------------------------------------------- */

enum prestop_token { TOKEN_RIGHT, TOKEN_MISSING, TOKEN_WRONG, TOKEN_UNSET };

static enum prestop_token token_of(struct control *c, struct http_request *req)
{
    const struct conf_lifecycle *l = &c->snapshot->conf->lifecycle;
    struct guard_token file = {0};
    struct str expected = STR_NONE;
    const char *text = getenv(token_variable);
    if (l->prestop_token_file.n > 0) {
        guard_token_init(&file, l->prestop_token_file.p);
        expected = (struct str){file.text, file.n};
    } else if (text) {
        expected = str_of(text);
    }
    struct str given = http_request_field(req, token_field);
    if (expected.n == 0)
        return TOKEN_UNSET;
    if (!given.p)
        return TOKEN_MISSING;
    return http_token_equal(str_trim(given), expected) ? TOKEN_RIGHT : TOKEN_WRONG;
}

/* Any answer releases the caller's container. */
static void refuse(struct http_request *req, enum prestop_token token)
{
    if (token == TOKEN_MISSING)
        http_reply_problem(req, 401, "token_required",
                           "The token goes into the field X-Sluice-Token.");
    else if (token == TOKEN_WRONG)
        http_reply_problem(req, 403, "token_wrong", "That is not the token.");
    else
        http_reply_problem(req, 403, "prestop_disabled",
                           "There is no token: set lifecycle.prestop.tokenFile, or "
                           "SLUICE_PRESTOP_TOKEN.");
}

/* --- the calls that are held ------------------------------------------------------------- */

static void forget(struct prestop_call *call)
{
    struct control_prestop *p = &call->control->prestop;
    list_remove(&call->link);
    p->n_held--;
    free(call);
}

static void on_gone(struct http_request *req)
{
    struct prestop_call *call = req->user;
    struct control_prestop *p = &call->control->prestop;
    p->results[PRESTOP_CALL_CALLER_GONE]++;
    forget(call);
}

static void answer(struct prestop_call *call)
{
    struct control *c = call->control;
    struct http_request *req = call->req;
    char text[96];
    int n = snprintf(text, sizeof(text), "{\"held_ms\":%llu,\"phase\":\"%s\"}\n",
                     (unsigned long long)((clock_mono() - call->since) / USEC_PER_MSEC),
                     drain_phase_word(drain_now(&c->process.drain)));
    c->prestop.results[PRESTOP_CALL_HELD]++;
    req->on_gone = NULL;
    forget(call);
    http_reply(req, 200, "application/json", text, (size_t)n);
}

/* One that brought no token makes room for one that did. */
static bool make_room(struct control_prestop *p, bool trusted)
{
    if (p->n_held < PRESTOP_HELD_MAX)
        return true;
    LIST_FOREACH (it, &p->held) {
        struct prestop_call *call = LIST_ENTRY(it, struct prestop_call, link);
        if (!trusted || call->trusted)
            continue;
        struct http_request *req = call->req;
        req->on_gone = NULL;
        forget(call);
        p->results[PRESTOP_CALL_TOO_MANY]++;
        http_reply_problem(req, 503, "too_many_calls", "Too many calls are held.");
        return true;
    }
    return false;
}

static void hold(struct control *c, struct http_request *req, bool trusted)
{
    struct control_prestop *p = &c->prestop;
    struct prestop_call *call = make_room(p, trusted) ? mem_zalloc(sizeof(*call)) : NULL;
    if (!call) {
        p->results[PRESTOP_CALL_TOO_MANY]++;
        http_reply_problem(req, 503, "too_many_calls", "Too many calls are held.");
        return;
    }
    call->control = c;
    call->req = req;
    call->since = clock_mono();
    call->trusted = trusted;
    req->user = call;
    req->on_gone = on_gone;
    list_push_back(&p->held, &call->link);
    p->n_held++;
}

static bool is_released(const struct control *c)
{
    const struct drain *d = &c->process.drain;
    if (d->started != 0)
        return drain_now(d) >= DRAIN_EGRESS_ONLY;
    return prestop_lets_go(&c->prestop.rules);
}

static void release(struct control *c)
{
    struct control_prestop *p = &c->prestop;
    if (p->n_held == 0 || !is_released(c))
        return;
    log_info("prestop: %u calls are answered (%s)", p->n_held,
             c->process.drain.started != 0 ? drain_phase_word(drain_now(&c->process.drain))
                                           : "the container's restart goes on");
    while (!list_empty(&p->held))
        answer(LIST_ENTRY(list_first(&p->held), struct prestop_call, link));
}

bool control_prestop_holds(const struct control *c)
{
    return c->prestop.n_held > 0;
}

/* --- what the state means for the rest --------------------------------------------------- */

static struct prestop_facts facts_of(const struct control *c)
{
    const struct conf_lifecycle *l = &c->snapshot->conf->lifecycle;
    return (struct prestop_facts){
        .drain_runs = c->process.drain.started != 0,
        .released = c->process.drain.started != 0 && is_released(c),
        .restart_drain = l->restart_drain,
        .grace = l->termination_grace,
    };
}

/* Those that inbound routes lead to. */
static void find_ports(struct control *c)
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
                    app_ports_add(&c->prestop.ports, &u->endpoints[e]->address);
            }
        }
    }
}

static void tell_leave(struct control *c, enum drain_leave leave)
{
    const struct prestop *r = &c->prestop.rules;
    bool ask = leave == DRAIN_LEAVE_ASKED;
    drain_set_leave(&c->process.drain, leave, r->asked_at, r->asked_at + r->restart_drain);
    for (uint32_t i = 0; ask && i < c->process.n_workers; i++)
        worker_leave(&c->workers[i]);
}

/* The rules have come to another state: what follows from it. */
static void tell(struct control *c)
{
    struct control_prestop *p = &c->prestop;
    enum prestop_state before = p->told, now = p->rules.state;
    if (before == now)
        return;
    p->told = now;
    switch (now) {
    case PRESTOP_ASKED:
        find_ports(c);
        tell_leave(c, DRAIN_LEAVE_OFFERED);
        break;
    case PRESTOP_RESTART:
        log_info("prestop: a container restarts; it is held for %.1f s, and /readyz says 503",
                 (double)p->rules.restart_drain / 1e6);
        tell_leave(c, DRAIN_LEAVE_ASKED);
        break;
    case PRESTOP_LEAVING:
    case PRESTOP_AWAY:
        break;
    case PRESTOP_IDLE:
        p->ports.n = 0;
        tell_leave(c, DRAIN_LEAVE_NOT);
        log_info("prestop: the restart is over, serving again");
        break;
    case PRESTOP_END:
    case PRESTOP_STATES:
        log_info("prestop: the pod ends");
        control_drain(c, DRAIN_BY_PRESTOP, 0);
        tell_leave(c, DRAIN_LEAVE_NOT);
        break;
    }
}

static void step(struct control *c)
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
    step(CONTAINER_OF(t, struct control, prestop.timer));
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

void prestop_get(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    struct control_prestop *p = &c->prestop;
    struct prestop_facts f = facts_of(c);
    enum prestop_token token = token_of(c, req);
    char value[8];
    bool self = http_query_get(req, "self", value, sizeof(value)) && strcmp(value, "1") == 0;
    bool trusted = token == TOKEN_RIGHT;

    switch (prestop_called(&p->rules, self, trusted, &f, clock_mono())) {
    case PRESTOP_HOLD:
        hold(c, req, trusted);
        break;
    case PRESTOP_ANSWER:
        p->results[PRESTOP_CALL_AT_ONCE]++;
        http_reply(req, 200, "application/json", "{\"held_ms\":0}\n", 14);
        break;
    case PRESTOP_REFUSE:
        p->results[PRESTOP_CALL_REFUSED]++;
        log_warn("prestop: refused: %s", token == TOKEN_MISSING ? "no token was sent"
                                         : token == TOKEN_WRONG ? "the token is wrong"
                                                                : "there is no token");
        refuse(req, token);
        break;
    }
    step(c);
}

void control_prestop_init(struct control *c)
{
    struct control_prestop *p = &c->prestop;
    prestop_init(&p->rules);
    list_init(&p->held);
    timer_init(&p->timer, on_timer);
}

/* --- what is told of it ------------------------------------------------------------------ */

void prestop_metrics(const struct control_prestop *p, struct exposition *t)
{
    static const char *const results[PRESTOP_CALL_RESULTS] = {"held", "at_once", "refused",
                                                              "too_many", "caller_gone"};
    metric_family(t, "prestop_held", "gauge", "Calls of /prestop that are held.");
    metric_put(t, "sluice_prestop_held %u\n", p->n_held);
    metric_family(t, "prestop_calls_total", "counter", "Calls of /prestop, by how they ended.");
    for (int i = 0; i < PRESTOP_CALL_RESULTS; i++)
        metric_put(t, "sluice_prestop_calls_total{result=\"%s\"} %llu\n", results[i],
                   (unsigned long long)p->results[i]);
    metric_family(t, "prestop_state", "gauge", "1 for what the calls of /prestop mean now.");
    for (int i = 0; i < PRESTOP_STATES; i++)
        metric_put(t, "sluice_prestop_state{state=\"%s\"} %d\n",
                   prestop_state_word((enum prestop_state)i), i == (int)p->rules.state);
}

json_t *prestop_json(const struct control_prestop *p)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "state", json_string(prestop_state_word(p->rules.state)));
    (void)json_object_set_new(o, "held", json_integer(p->n_held));
    return o;
}
