/* stream.c - the tour: a request from its head to the connection that it is sent on. */
#include "proxy/stream.h"

#include "http/hop.h"
#include "http/path.h"
#include "http/websocket_handshake.h"
#include "proxy/admission.h"
#include "proxy/learning.h"
#include "proxy/listener.h"
#include "proxy/pool.h"
#include "proxy/route_state.h"
#include "proxy/stream_flight.h"
#include "proxy/stream_permit.h"
#include "proxy/stream_steps.h"
#include "proxy/upstream.h"
#include "proxy/view.h"
#include "proxy/websocket_tunnel.h"
#include "proxy/worker_overload.h"

#include <errno.h>

struct stream *stream_new(struct worker *w, struct listener *l, struct side *down,
                          const struct ip *peer_ip, struct str peer)
{
    struct stream *s = slab_alloc(&w->streams);
    struct exchange *ex = slab_alloc(&w->exchanges);
    if (!s || !ex) {
        if (s)
            slab_free(&w->streams, s);
        if (ex)
            slab_free(&w->exchanges, ex);
        return NULL;
    }
    memset(s, 0, offsetof(struct stream, req));
    s->magic = STREAM_MAGIC;
    s->exchange = ex;
    ex->wait = (struct pool_wait){.stream = s};
    ex->timeout_dry_run = 0;
    s->worker = w;
    /* The listener's: it is in force, or the last that had this listener. */
    view_hold(l->view, s);
    s->accepted_on = l;
    s->listener = l->conf;
    s->peer_ip = peer_ip;
    s->peer = peer;
    message_init_in(&s->req, true, &ex->req_room);
    message_init_in(&ex->res, false, &ex->res_room);
    s->down = down;
    down->stream = s;
    down->ended = false; /* it may still be blocked by the response before */
    s->request.from = down;
    s->response.to = down;
    s->began = s->active_at = clock_mono();
    count_add(&w->stats.streams, 1);
    return s;
}

/* Nothing is sent of the head any more: what is left of it is for the log, which tells what the
 * client asked for. A release that is learned later has the server's own name. */
static void forget_rewrite(struct stream *s)
{
    if (!s->prepared || s->learn)
        return;
    s->req.path = s->exchange->asked_path;
    s->req.authority = s->exchange->asked_authority;
}

void stream_end_exchange(struct stream *s)
{
    CHECK(!list_linked(&s->exchange->wait.link) && !s->exchange->wait.making);
    forget_rewrite(s);
    /* Where memory is short it stays as it is. */
    if (message_shrink(&s->req, STREAM_KEPT_FIELDS, STREAM_KEPT_MOST) < 0)
        return;
    message_free(&s->exchange->res);
    slab_free(&s->worker->exchanges, s->exchange);
    s->exchange = NULL;
}

bool stream_let_head_go(struct stream *s)
{
    if (s->retries && !s->response_begun && s->step != STREAM_FINISHED)
        return false;
    /* An upgrade's is compared with its answer. */
    if (s->step != STREAM_RESPOND || s->req.websocket || !s->up || !s->up->ops->gone_out(s->up))
        return s->step == STREAM_FINISHED;
    if (message_has_outgrown(&s->req)) {
        if (s->route->headers && s->route->headers->response_uses_request && !s->response_begun)
            return false;
        struct text path = s->req.path, authority = s->req.authority;
        forget_rewrite(s);
        if (message_shrink(&s->req, STREAM_KEPT_FIELDS, STREAM_KEPT_LEAST) < 0) {
            s->req.path = path;
            s->req.authority = authority;
            return false;
        }
        s->exchange->asked_path = s->req.path;
        s->exchange->asked_authority = s->req.authority;
        s->head_gone = true;
    }
    if (s->request_ended && s->trailers[0]) {
        stream_free_trailers(s, true);
        s->head_gone = true;
    }
    return s->request_ended || !s->trailers[0] || s->trailers[0]->n_fields == 0;
}

int stream_begin_raw(struct stream *s, struct str name)
{
    s->tcp = true;
    s->step = STREAM_ROUTE;
    if (name.n == 0 || message_append(&s->req, name.p, name.n, &s->req.authority) == 0)
        return 0;
    stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
    return -ENOMEM;
}

/* receive: the head is whole; one reading of its path from here on. */
static enum stream_next step_receive(struct stream *s)
{
    if (worker_phase_for(s->worker, s->listener->direction) >= DRAIN_LAST_CALL) {
        stream_reply(s, REASON_DRAINING, NULL);
        return STREAM_WAIT;
    }
    const char *detail = NULL;
    enum reason reason = path_apply(&s->req, s->listener->path_policy, &detail);
    if (reason != REASON_NONE) {
        s->request_ended = false; /* as with any bad request: what follows it is not read */
        stream_reply(s, reason, detail);
        return STREAM_WAIT;
    }
    s->step = STREAM_ROUTE;
    return STREAM_NEXT;
}

static struct str header_of(const void *ctx, struct str name)
{
    return message_value(ctx, name);
}

static int match_route(struct stream *s)
{
    const struct message *m = &s->req;
    struct route_request r = {
        .method = message_str(m, m->method_text),
        .host = message_str(m, m->authority),
        .path = m->asterisk ? STR("/") : message_str(m, m->path),
        .query = message_str(m, m->query),
        .header = header_of,
        .ctx = m,
    };
    return route_table_match(s->listener->route_table, &r, s->worker->route_scratch);
}

/* Bytes have one route, or are routed by the name that their ClientHello asked for. */
static int match_raw(struct stream *s)
{
    struct route_request r = {
        .host = message_str(&s->req, s->req.authority),
        .path = STR("/"),
        .header = header_of,
        .ctx = &s->req,
    };
    if (s->listener->protocol == PROTOCOL_TLS)
        return route_table_match(s->listener->route_table, &r, s->worker->route_scratch);
    return (int)s->listener->raw_route;
}

/* What the route does with it. */
static enum stream_next begin_action(struct stream *s)
{
    /* As a GET it could get an answer that an HTTP/2 client takes for an open WebSocket. */
    if (s->req.http2 && s->req.websocket && !stream_wants_upgrade(s) &&
        s->route->action != ACTION_REDIRECT) {
        stream_reply(s, REASON_METHOD_NOT_ALLOWED, "the route has no WebSocket");
        return STREAM_WAIT;
    }
    s->step = STREAM_LIMIT;
    return STREAM_NEXT;
}

/* limit: may it come through now? */
static enum stream_next step_limit(struct stream *s)
{
    if (s->route->n_rate_limits > 0 && !s->tcp && !stream_limit(s))
        return STREAM_WAIT;
    if (s->route->action != ACTION_FORWARD) {
        stream_answer(s);
        return STREAM_WAIT;
    }
    /* A tunnel that begins now would only be cut at the deadline. Where it could be begun again at
     * once, that costs less than a refusal. */
    if (worker_phase_for(s->worker, s->listener->direction) >= DRAIN_DRAIN &&
        !drain_by_upgrade(&s->worker->process->drain) && stream_wants_upgrade(s)) {
        stream_reply(s, REASON_DRAINING, NULL);
        return STREAM_WAIT;
    }
    if (s->route->learn && !s->tcp && !learn_begin(s))
        return STREAM_WAIT;
    s->step = s->route->fault && !s->tcp ? STREAM_FAULT : STREAM_SPLIT;
    return STREAM_NEXT;
}

/* route: the first whose every condition holds. */
static enum stream_next step_route(struct stream *s)
{
    int i = s->tcp ? match_raw(s) : match_route(s);
    if (i < 0) {
        stream_reply(s, i == ROUTE_LIMIT ? REASON_ROUTE_LIMIT : REASON_NO_ROUTE, NULL);
        return STREAM_WAIT;
    }
    s->route = &s->listener->routes[i];
    s->route_state = s->view->routes[s->route->index].state;
    if (worker_refuses(s->worker, s->route->priority)) {
        stream_refuse_overloaded(s);
        return STREAM_WAIT;
    }
    if (s->req.has_deadline && !stream_deadline_read(s))
        return STREAM_WAIT;
    if (s->req.grpc) {
        if (!stream_grpc_begin(s))
            return STREAM_WAIT;
    } else if (!s->tcp) {
        stream_timeout_set(s, s->began, s->deadline);
    }
    if (s->route->authz) {
        s->step = STREAM_AUTHORIZE;
        return STREAM_NEXT;
    }
    return begin_action(s);
}

/* authorize: may it pass? */
static enum stream_next step_authorize(struct stream *s)
{
    return stream_authorize(s) ? begin_action(s) : STREAM_WAIT;
}

/* split: which backend, by weight. */
static enum stream_next step_split(struct stream *s)
{
    uint32_t backend = route_state_pick(
        s->route_state, s->route, s->view->routes[s->route->index].shape, &s->worker->loop.rng);
    s->upstream = s->route->backends[backend].upstream;
    s->pool = s->view->pools[s->upstream->index];
    if (s->route->retry && !s->tcp)
        stream_retry_begin(s);
    s->step = STREAM_PICK;
    return STREAM_NEXT;
}

/* pick: admission, now or when another request has ended, and the circuit breaker's permit. */
static enum stream_next step_pick(struct stream *s)
{
    enum reason reason = REASON_NONE;
    bool breaker = stream_has_breaker(s);
    if (breaker && stream_permit_refused(s)) {
        stream_reply(s, REASON_BREAKER_OPEN, NULL);
        return STREAM_WAIT;
    }
    if (stream_needs_flight(s) && !stream_flight_begin(s)) {
        stream_reply(s, REASON_CONCURRENCY_LIMIT, NULL);
        return STREAM_WAIT;
    }
    switch (admission_ask(s->pool, s, &reason)) {
    case ADMISSION_GRANTED:
        if (breaker && !stream_permit_take(s)) {
            reason = REASON_BREAKER_OPEN;
            break;
        }
        s->step = STREAM_CONNECT;
        return STREAM_NEXT;
    case ADMISSION_WAITS:
        return STREAM_WAIT;
    case ADMISSION_REFUSED:
        break;
    }
    stream_reply(s, reason, NULL);
    return STREAM_WAIT;
}

/* connect: a connection to one of the endpoints; the pool gives it now or later. */
static enum stream_next step_connect(struct stream *s)
{
    enum reason reason = REASON_NONE;
    if (s->deadline != 0 && s->worker->loop.now >= s->deadline) {
        stream_reply(s, REASON_DEADLINE, NULL); /* while it waited */
        return STREAM_WAIT;
    }
    if (s->retries)
        stream_retry_try_begins(s);
    if (!s->up) {
        switch (pool_lease(s->pool, s, s->fresh || s->tcp, &reason)) {
        case POOL_LEASED:
            break;
        case POOL_WAITS:
            return STREAM_WAIT;
        case POOL_REFUSED:
            if (!s->retries || !stream_retry_failed(s, reason))
                stream_reply(s, reason, NULL);
            return STREAM_WAIT;
        }
    }
    if (s->permit_held && stream_permit_lost(s)) {
        stream_reply(s, REASON_BREAKER_OPEN, NULL);
        return STREAM_WAIT;
    }
    s->tries++;
    s->result_told = false;
    s->step = STREAM_FORWARD;
    return STREAM_NEXT;
}

bool stream_wants_upgrade(const struct stream *s)
{
    return s->route && s->route->upgrade_websocket && s->req.websocket;
}

static int rewrite(struct stream *s)
{
    const struct conf_route *r = s->route;
    struct message *m = &s->req;
    if (r->rewrite_host.n > 0 &&
        message_append(m, r->rewrite_host.p, r->rewrite_host.n, &m->authority) < 0)
        return -ENOMEM;
    if (m->asterisk)
        return 0;
    if (r->rewrite_path.n > 0)
        return message_append(m, r->rewrite_path.p, r->rewrite_path.n, &m->path);
    if (!r->rewrite_prefix.p)
        return 0;
    /* The matched prefix, without the '/' that may end it, gives way to the new one. */
    struct str path = message_str(m, m->path), prefix = r->match.path, with = r->rewrite_prefix;
    while (prefix.n > 0 && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    while (with.n > 0 && with.p[with.n - 1] == '/')
        with.n--;
    struct text rest = {m->path.off + (uint32_t)prefix.n, (uint32_t)(path.n - prefix.n)};
    struct text head;
    bool need_slash = with.n == 0 && rest.len == 0;
    char *room = message_reserve(m, with.n + rest.len + 1);
    if (!room)
        return -ENOMEM;
    head.off = m->len;
    memcpy(room, with.p, with.n);
    if (need_slash)
        room[with.n] = '/';
    else
        memcpy(room + with.n, m->buf + rest.off, rest.len);
    head.len = (uint32_t)(with.n + (need_slash ? 1 : rest.len));
    m->len += head.len;
    m->path = head;
    return 0;
}

int stream_prepare(struct stream *s)
{
    if (s->prepared)
        return 0;
    s->prepared = true;
    struct hop_request hop = {
        .peer = s->peer,
        .scheme = s->listener->scheme,
        .via = s->listener->via,
        .peer_trusted = stream_trusted_hops(s) > 0,
        .keep_upgrade = stream_wants_upgrade(s),
        .rng = &s->worker->loop.rng,
    };
    int rc = 0;
    if (s->req.http2 && s->req.websocket) /* an HTTP/1 server wants one */
        rc = websocket_add_key(&s->req, &s->worker->loop.rng);
    if (rc == 0)
        rc = hop_request(&s->req, &hop);
    s->exchange->asked_path = s->req.path;
    s->exchange->asked_authority = s->req.authority;
    return rc < 0 || !s->route ? rc : rewrite(s);
}

/* forward: the request goes out, as far as it has come in. */
static enum stream_next step_forward(struct stream *s)
{
    struct buf_pool *bufs = &s->worker->loop.bufs;
    s->step = STREAM_RESPOND;
    s->response.from = s->up;
    s->sent = 0;
    if (s->tcp) {
        s->tunnel = true;
        s->response_begun = true;
        stream_tell_result(s, REASON_NONE);
        stream_end_exchange(s);
        s->up->ops->tunnel(s->up);
        relay_open(&s->request, bufs, s->up);
        if (s->request_ended)
            s->up->ops->end(s->up, NULL);
        return STREAM_WAIT;
    }
    if (stream_prepare(s) < 0) {
        stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
        return STREAM_WAIT;
    }
    if ((s->route && s->route->headers && !stream_change_request(s)) ||
        !stream_grpc_pass_timeout(s))
        return STREAM_WAIT;
    if ((s->req.has_deadline || s->route->pass_deadline) && !stream_deadline_pass(s))
        return STREAM_WAIT;
    if (stream_wants_upgrade(s)) {
        /* What the client sends before it has an answer waits for the 101. */
        s->up->ops->head(s->up, &s->req, SIDE_MORE);
        s->sent = s->worker->loop.now;
        return STREAM_WAIT;
    }
    bool whole = s->request_ended && buf_len(&s->request.early) == 0 && !s->trailers[0] &&
                 s->req.body == BODY_NONE;
    s->up->ops->head(s->up, &s->req, whole ? SIDE_END : SIDE_MORE);
    relay_open(&s->request, bufs, s->up);
    if (s->request_ended) {
        s->sent = s->worker->loop.now;
        if (!whole)
            s->up->ops->end(s->up, s->trailers[0]);
    }
    return STREAM_WAIT;
}

/* respond: the upstream's events carry it from here (stream_respond.c). */
static enum stream_next step_respond(struct stream *s)
{
    (void)s;
    return STREAM_WAIT;
}

typedef enum stream_next (*step_fn)(struct stream *);

static const step_fn steps[] = {
    [STREAM_RECEIVE] = step_receive,     [STREAM_ROUTE] = step_route,
    [STREAM_AUTHORIZE] = step_authorize, [STREAM_LIMIT] = step_limit,
    [STREAM_FAULT] = stream_fault,       [STREAM_SPLIT] = step_split,
    [STREAM_BACKOFF] = step_respond,     [STREAM_PICK] = step_pick,
    [STREAM_CONNECT] = step_connect,     [STREAM_FORWARD] = step_forward,
    [STREAM_RESPOND] = step_respond,     [STREAM_FINISHED] = step_respond,
};

void stream_run(struct stream *s)
{
    CHECK_OBJ(s, STREAM_MAGIC);
    while (steps[s->step](s) == STREAM_NEXT)
        ;
}

void stream_on_request(struct stream *s)
{
    stream_run(s);
    if (s->step != STREAM_FINISHED && s->deadline_changed)
        s->deadline_changed(s);
}

void stream_on_request_body(struct stream *s, const char *p, size_t n)
{
    if (s->step == STREAM_FINISHED)
        return;
    if (s->websocket) {
        websocket_tunnel_data(s->websocket, WEBSOCKET_CLIENT, p, n);
        return;
    }
    s->active_at = s->worker->loop.now;
    if (s->learn)
        learn_on_request_body(s, p, n);
    if (s->retries)
        stream_retry_keep(s, p, n);
    if (relay_push(&s->request, &s->worker->loop.bufs, p, n) < 0)
        stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
}

void stream_on_request_end(struct stream *s)
{
    s->request_ended = true;
    s->request.from_ended = true;
    stream_authorize_trailers(s);
    if (s->req.grpc)
        stream_grpc_request_ended(s);
    if (s->req.websocket && !s->tunnel) {
        s->ended_early = true;
        return;
    }
    if (s->step == STREAM_FINISHED || s->step < STREAM_RESPOND)
        return;
    if (s->websocket) {
        bool later = websocket_tunnel_ended(s->websocket, WEBSOCKET_CLIENT);
        if (s->step == STREAM_FINISHED || later)
            return;
    }
    s->sent = s->worker->loop.now;
    if (s->up && !s->up->ended)
        s->up->ops->end(s->up, s->trailers[0]);
    if (s->tunnel)
        stream_check_tunnel(s);
    else if (s->route->first_byte_timeout > 0 && s->deadline_changed)
        s->deadline_changed(s);
}

/* What it waited for has come: on from here, and out with what that made. */
static void go_on(struct stream *s)
{
    s->active_at = s->worker->loop.now;
    stream_run(s);
    if (s->step == STREAM_FINISHED)
        return;
    if (s->up)
        s->up->ops->flush(s->up);
    if (s->deadline_changed)
        s->deadline_changed(s);
}

void stream_send_again(struct stream *s)
{
    s->step = STREAM_PICK;
    go_on(s);
}

void stream_on_admitted(struct stream *s)
{
    CHECK(s->step == STREAM_PICK && s->admitted);
    go_on(s);
}

void stream_on_connected(struct stream *s)
{
    CHECK(s->step == STREAM_CONNECT && s->up);
    go_on(s);
}

void stream_on_delay_over(struct stream *s)
{
    CHECK(s->step == STREAM_FAULT && s->delayed);
    stream_fault_leave(s);
    go_on(s);
}

void stream_on_refused(struct stream *s, enum reason reason)
{
    CHECK(s->step == STREAM_PICK || s->step == STREAM_CONNECT);
    if (!s->retries || !stream_retry_failed(s, reason))
        stream_reply(s, reason, NULL);
}

struct message *stream_trailers(struct stream *s, bool request)
{
    struct message **m = &s->trailers[request ? 0 : 1];
    if (!*m) {
        *m = heap_cache_alloc(&s->worker->loop.bufs.small, sizeof(struct message));
        if (*m)
            message_init(*m, request);
    }
    return *m;
}

void stream_free_trailers(struct stream *s, bool request)
{
    struct message **m = &s->trailers[request ? 0 : 1];
    if (!*m)
        return;
    message_free(*m);
    heap_cache_put(&s->worker->loop.bufs.small, *m);
    *m = NULL;
}
