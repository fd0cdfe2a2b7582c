/* prestop.c - GET /prestop: the calls that are held, and how each is answered. */
#include "admin/control.h"

#include "admin/guard.h"
#include "base/mem.h"
#include "lifecycle/inherited.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char token_variable[] = "SLUICE_PRESTOP_TOKEN";
static const char token_field[] = "X-Sluice-Token";
/* The supervisor's word for a call's connection, and behind it what must be known of the call. No
 * name of a service manager has a colon. */
static const char held_prefix[] = "sluice:prestop:";

struct prestop_call {
    struct list link; /* on control_prestop.held */
    struct control *control;
    struct http_request *req;
    usec_t since;
    bool trusted;                /* it brought the token */
    bool kept;                   /* the supervisor has a copy of its connection */
    char name[CHANNEL_NAME_MAX]; /* there */
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
    log_warn("prestop: refused: %s", token == TOKEN_MISSING ? "no token was sent"
                                     : token == TOKEN_WRONG ? "the token is wrong"
                                                            : "there is no token");
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

/* It is not held any more. First of all at the supervisor: who comes after us should we crash must
 * not answer it again. Returns its request, which nobody tells us of any more. */
static struct http_request *let_go(struct prestop_call *call, enum prestop_result how)
{
    struct control_prestop *p = &call->control->prestop;
    struct http_request *req = call->req;
    if (call->kept)
        (void)channel_drop(call->control->channel, call->name);
    req->on_gone = NULL;
    list_remove(&call->link);
    p->n_held--;
    p->results[how]++;
    free(call);
    return req;
}

static void on_gone(struct http_request *req)
{
    (void)let_go(req->user, PRESTOP_CALL_CALLER_GONE);
}

static void answer(struct prestop_call *call)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "{\"held_ms\":%llu,\"phase\":\"%s\"}\n",
                     (unsigned long long)((clock_mono() - call->since) / USEC_PER_MSEC),
                     drain_phase_word(drain_now(&call->control->process.drain)));
    http_reply(let_go(call, PRESTOP_CALL_HELD), 200, "application/json", text, (size_t)n);
}

void control_prestop_answer_all(struct control *c)
{
    struct control_prestop *p = &c->prestop;
    if (p->n_held == 0)
        return;
    log_info("prestop: %u calls are answered (%s)", p->n_held,
             c->process.drain.started != 0 ? drain_phase_word(drain_now(&c->process.drain))
                                           : "the container's restart goes on");
    for (struct list *it; (it = list_pop(&p->held));)
        answer(LIST_ENTRY(it, struct prestop_call, link));
}

bool control_prestop_holds(const struct control *c)
{
    return c->prestop.n_held > 0;
}

static void refuse_one_more(struct http_request *req)
{
    http_reply_problem(req, 503, "too_many_calls", "Too many calls are held.");
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
        refuse_one_more(let_go(call, PRESTOP_CALL_TOO_MANY));
        return true;
    }
    return false;
}

/* NULL when memory is short. */
static struct prestop_call *hold(struct control *c, struct http_request *req, usec_t since,
                                 bool trusted)
{
    struct control_prestop *p = &c->prestop;
    struct prestop_call *call = mem_zalloc(sizeof(*call));
    if (!call)
        return NULL;
    call->control = c;
    call->req = req;
    call->since = since;
    call->trusted = trusted;
    req->user = call;
    req->on_gone = on_gone;
    list_push_back(&p->held, &call->link);
    p->n_held++;
    return call;
}

/* If this process dies, the connection stands, and the next one answers it. */
static void keep(struct prestop_call *call)
{
    struct control *c = call->control;
    (void)snprintf(call->name, sizeof(call->name), "%s%c%c:%llu:%u", held_prefix,
                   call->req->method == METHOD_HEAD ? 'h' : 'g', call->trusted ? 't' : '-',
                   (unsigned long long)call->since, ++c->prestop.n_ever);
    int rc = channel_hold(c->channel, call->name, http_request_fd(call->req));
    call->kept = rc == 0;
    if (rc < 0)
        log_warn("prestop: the supervisor does not keep the call: %s", strerror(-rc));
}

static void take(struct control *c, struct http_request *req, bool trusted)
{
    struct prestop_call *call =
        make_room(&c->prestop, trusted) ? hold(c, req, clock_mono(), trusted) : NULL;
    if (call) {
        keep(call);
        return;
    }
    c->prestop.results[PRESTOP_CALL_TOO_MANY]++;
    refuse_one_more(req);
}

void prestop_get(struct http_request *req, void *ctx)
{
    struct control *c = ctx;
    struct control_prestop *p = &c->prestop;
    struct prestop_facts f = control_prestop_facts(c);
    enum prestop_token token = token_of(c, req);
    char value[8];
    bool self = http_query_get(req, "self", value, sizeof(value)) && strcmp(value, "1") == 0;
    bool trusted = token == TOKEN_RIGHT;

    switch (prestop_called(&p->rules, self, trusted, &f, clock_mono())) {
    case PRESTOP_HOLD:
        /* What the supervisor knows of what runs comes before the connection. */
        control_prestop_step(c);
        take(c, req, trusted);
        break;
    case PRESTOP_ANSWER:
        p->results[PRESTOP_CALL_AT_ONCE]++;
        http_reply(req, 200, "application/json", "{\"held_ms\":0}\n", 14);
        break;
    case PRESTOP_REFUSE:
        p->results[PRESTOP_CALL_REFUSED]++;
        refuse(req, token);
        break;
    }
    control_prestop_step(c);
}

/* --- those of a process that died -------------------------------------------------------- */

/* "g-:1234567:3" */
static bool adopt(struct control *c, const char *name)
{
    const char *about = name + sizeof(held_prefix) - 1;
    size_t digits = about[0] && about[1] && about[2] == ':' ? strcspn(about + 3, ":") : 0;
    uint64_t since = clock_mono();
    if (digits > 0 && !str_to_u64((struct str){about + 3, digits}, &since))
        return false;
    int fd = inherited_take(name);
    if (fd < 0 || !c->health)
        return false;
    struct http_request *req =
        http_server_adopt(c->health, fd, about[0] == 'h' ? METHOD_HEAD : METHOD_GET);
    struct prestop_call *call = req ? hold(c, req, since, about[1] == 't') : NULL;
    if (!call) {
        if (!req)
            (void)close(fd);
        return false; /* the process is out of memory: it ends */
    }
    call->kept = true;
    (void)snprintf(call->name, sizeof(call->name), "%s", name);
    return true;
}

void control_prestop_adopt(struct control *c)
{
    size_t i = 0;
    while (i < inherited_left()) {
        char name[CHANNEL_NAME_MAX];
        (void)snprintf(name, sizeof(name), "%s", inherited_left_name(i));
        if (strncmp(name, held_prefix, sizeof(held_prefix) - 1) != 0 || !adopt(c, name))
            i++;
    }
    if (c->prestop.n_held > 0)
        log_warn("prestop: %u calls of the process before are held on", c->prestop.n_held);
}
