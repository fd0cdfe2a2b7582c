/* stream_end.c - answers of our own, and the one place where a stream ends. */
#include "proxy/stream_steps.h"

#include "base/mem.h"
#include "http/grpc.h"
#include "http/h1_write.h"
#include "http/hop.h"
#include "proxy/access_log.h"
#include "proxy/admission.h"
#include "proxy/downstream.h"
#include "proxy/endpoint_limits.h"
#include "proxy/learning.h"
#include "proxy/pool.h"
#include "proxy/route_state.h"
#include "proxy/stream_flight.h"
#include "proxy/stream_permit.h"
#include "proxy/upstream.h"
#include "proxy/view.h"
#include "proxy/websocket_tunnel.h"

#include <stdio.h>

static void begin_own_response(struct stream *s, unsigned status)
{
    char date[CLOCK_HTTP_LEN];
    message_clear(&s->exchange->res);
    s->exchange->res.status = (uint16_t)status;
    s->exchange->res.version_minor = 1;
    clock_format_http(clock_wall(), date);
    (void)message_add_known(&s->exchange->res, FIELD_DATE, str_of(date));
}

/* Without room for the answer the connection just ends. */
static void send_own_response(struct stream *s, struct str body, enum reason reason)
{
    bool empty = body.n == 0 || s->req.method == METHOD_HEAD;
    s->exchange->res.content_length = body.n;
    s->exchange->res.body = body.n > 0 ? BODY_LENGTH : BODY_NONE;
    s->response_begun = true;
    stream_tell_result(s, reason);
    s->status = s->exchange->res.status;
    stream_drop_upstream(s, false, reason);
    s->down->ops->head(s->down, &s->exchange->res, empty ? SIDE_END : SIDE_MORE);
    if (!empty) {
        s->down->ops->body(s->down, body.p, body.n);
        s->down->ops->end(s->down, NULL);
    }
    s->response_ended = true;
    stream_finish(s, reason, s->request_ended, false);
}

static unsigned status_of(const struct stream *s, enum reason reason)
{
    return reason == REASON_FAULT_ABORT ? s->route->fault->abort_status
                                        : reason_table[reason].status;
}

/* RFC 9457; `detail` is a literal of ours, so nothing in it needs escaping. */
static int format_problem(const struct stream *s, enum reason reason, const char *detail, char *out,
                          size_t cap)
{
    const struct reason_info *info = &reason_table[reason];
    struct str trace =
        s->prepared ? hop_trace_id(&s->req) : STR_NONE; /* not what a client made up */
    return snprintf(out, cap,
                    "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"code\":\"%s\""
                    "%s%s%s%s%.*s%s}\n",
                    info->title, status_of(s, reason), info->word, detail ? ",\"detail\":\"" : "",
                    detail ? detail : "", detail ? "\"" : "", trace.n ? ",\"traceId\":\"" : "",
                    STR_FMT(trace), trace.n ? "\"" : "");
}

static void add_retry_after(struct stream *s, enum reason reason)
{
    uint32_t after = s->retry_after > 0              ? s->retry_after
                     : reason == REASON_BREAKER_OPEN ? stream_permit_retry_after(s)
                     : status_of(s, reason) == 503   ? 1
                                                     : 0;
    char text[16];
    if (after == 0)
        return;
    (void)snprintf(text, sizeof(text), "%u", after);
    (void)message_add_known(&s->exchange->res, FIELD_RETRY_AFTER, str_of(text));
}

/* RFC 6750 §3: without a token no error is named. `detail` is a literal as above. */
static void add_challenge(struct stream *s, enum reason reason, const char *detail)
{
    char value[256];
    int n = reason == REASON_JWT_MISSING
                ? snprintf(value, sizeof(value), "Bearer realm=\"sluice\"")
                : snprintf(value, sizeof(value),
                           "Bearer realm=\"sluice\", error=\"invalid_token\", "
                           "error_description=\"%s\"",
                           detail ? detail : reason_table[reason].title);
    (void)message_add(&s->exchange->res, FIELD_OTHER, STR("WWW-Authenticate"),
                      (struct str){value, n > 0 ? (size_t)n : 0});
}

void stream_reply(struct stream *s, enum reason reason, const char *detail)
{
    const struct reason_info *info = &reason_table[reason];
    char body[768], status_field[160];

    if (s->step == STREAM_FINISHED)
        return;
    s->detail = detail;
    if (s->tcp || info->status == 0 || s->tunnel || s->response_ended) {
        stream_finish(s, reason, false, false);
        return;
    }
    /* What has not reached the kernel can be taken back; else the response is cut, or ends with a
     * status where the protocol has a place for one. */
    if (s->response_begun && !s->down->ops->recall(s->down)) {
        if (!stream_grpc_can_end(s) || !stream_grpc_end(s, reason))
            stream_finish(s, reason, false, false);
        return;
    }
    if (s->step > STREAM_RECEIVE)
        (void)stream_prepare(s);
    relay_discard(&s->request, &s->worker->loop.bufs);
    relay_discard(&s->response, &s->worker->loop.bufs);
    begin_own_response(s, s->req.grpc ? 200 : status_of(s, reason));
    (void)snprintf(status_field, sizeof(status_field), "sluice; error=%s; details=\"%s\"",
                   info->proxy_status, info->word);
    (void)message_add_known(&s->exchange->res, FIELD_PROXY_STATUS, str_of(status_field));
    if (s->req.grpc) {
        stream_grpc_answer(s, reason);
        send_own_response(s, STR_NONE, reason);
        return;
    }
    int n = format_problem(s, reason, detail, body, sizeof(body));
    (void)message_add_known(&s->exchange->res, FIELD_CONTENT_TYPE, STR("application/problem+json"));
    (void)message_add_known(&s->exchange->res, FIELD_CACHE_CONTROL, STR("no-store"));
    add_retry_after(s, reason);
    if (reason == REASON_RATE_LIMITED)
        stream_limit_answer(s, &s->exchange->res);
    if (reason_table[reason].status == 401)
        add_challenge(s, reason, detail);
    if (status_of(s, reason) == 405)
        (void)message_add(&s->exchange->res, FIELD_OTHER, STR("Allow"),
                          STR("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    send_own_response(s, (struct str){body, n > 0 ? (size_t)n : 0}, reason);
}

static size_t put(char *out, size_t at, struct str s)
{
    if (s.n > 0)
        memcpy(out + at, s.p, s.n);
    return at + s.n;
}

/* The Location of a redirect: what the route does not name stays as it came. */
static int add_location(struct stream *s)
{
    const struct conf_route *r = s->route;
    const struct message *m = &s->req;
    struct str scheme = r->redirect_scheme.n ? r->redirect_scheme : s->listener->scheme;
    struct str host = r->redirect_host.n ? r->redirect_host : message_str(m, m->authority);
    struct str path = message_str(m, m->path), query = message_str(m, m->query);
    struct str with = r->redirect_prefix, rest = STR_NONE;
    if (r->redirect_path.n > 0) {
        path = r->redirect_path;
    } else if (with.p) {
        struct str prefix = r->match.path;
        while (prefix.n > 0 && prefix.p[prefix.n - 1] == '/')
            prefix.n--;
        while (with.n > 0 && with.p[with.n - 1] == '/')
            with.n--;
        rest = (struct str){path.p + prefix.n, path.n - prefix.n};
        path = with.n == 0 && rest.n == 0 ? STR("/") : with;
    }
    struct text value;
    struct message *out = &s->exchange->res;
    char *p = message_reserve(out, scheme.n + host.n + path.n + rest.n + query.n + 8);
    if (!p)
        return -1;
    value.off = out->len;
    size_t n = put(p, 0, scheme);
    n = put(p, n, STR("://"));
    n = put(p, n, host);
    n = put(p, n, path);
    n = put(p, n, rest);
    if (m->has_query) {
        n = put(p, n, STR("?"));
        n = put(p, n, query);
    }
    value.len = (uint32_t)n;
    out->len += value.len;
    struct text name;
    if (message_append(out, "Location", 8, &name) < 0)
        return -1;
    return message_add_slice(out, (struct field){.name = name.off,
                                                 .name_len = (uint16_t)name.len,
                                                 .value = value.off,
                                                 .value_len = value.len});
}

void stream_answer(struct stream *s)
{
    const struct conf_route *r = s->route;
    (void)stream_prepare(s);
    begin_own_response(s, r->action == ACTION_REDIRECT ? r->redirect_status : r->direct_status);
    if (r->action == ACTION_REDIRECT) {
        if (add_location(s) < 0) {
            stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
            return;
        }
    } else if (r->direct_body.n > 0 && r->direct_content_type.n > 0) {
        (void)message_add_known(&s->exchange->res, FIELD_CONTENT_TYPE, r->direct_content_type);
    }
    if (stream_change_response(s))
        send_own_response(s, r->action == ACTION_REDIRECT ? STR_NONE : r->direct_body, REASON_NONE);
}

void stream_drop_upstream(struct stream *s, bool clean, enum reason reason)
{
    const struct exchange *ex = s->exchange;
    if (ex && (list_linked(&ex->wait.link) || ex->wait.making))
        pool_cancel(s->pool, s);
    if (s->place)
        endpoint_leave_place(s);
    if (!s->up)
        return;
    struct side *up = s->up;
    s->up = NULL;
    s->request.to = NULL;
    s->response.from = NULL;
    up->ops->release(up, clean, reason);
}

static void count_lazily(counter_t *_Atomic *where, size_t n, uint32_t which)
{
    counter_t *counters = atomic_load_explicit(where, memory_order_relaxed);
    if (!counters) {
        counters = mem_zalloc(n * sizeof(*counters));
        if (!counters)
            return;
        atomic_store_explicit(where, counters, memory_order_release);
    }
    count_add(&counters[which], 1);
}

static void observe(struct histogram *_Atomic *where, usec_t v)
{
    struct histogram *h = atomic_load_explicit(where, memory_order_relaxed);
    if (!h) {
        h = mem_zalloc(sizeof(*h));
        if (!h)
            return;
        atomic_store_explicit(where, h, memory_order_release);
    }
    histogram_add(h, v);
}

static void tell_outcome(struct stream *s, enum reason reason, usec_t now)
{
    struct worker *w = s->worker;
    enum reason told = stream_retry_reason(s, reason);
    struct outcome o = {
        .upstream = s->upstream ? s->upstream->name : STR_NONE,
        .endpoint = s->endpoint ? s->endpoint->shared->text : STR_NONE,
        .status = s->status,
        .reason = told,
        .latency = now - s->began,
        .first_byte = s->first_byte > s->sent && s->sent ? s->first_byte - s->sent : 0,
        .bytes_in = s->request.bytes,
        .bytes_out = s->response.bytes,
        .tries = s->tries,
        .grpc_status = (int8_t)stream_grpc_status(s, reason),
    };
    count_add(&w->stats.requests[s->listener->direction], 1);
    count_add(&w->stats.reasons[told], 1);
    if (s->route_state) {
        struct route_stats *rs = &s->route_state->stats;
        count_add(&rs->requests[s->status / 100 < CODE_CLASSES ? s->status / 100 : 0], 1);
        observe(&rs->duration, o.latency);
        if (told != REASON_NONE)
            count_lazily(&rs->errors, REASON_COUNT, (uint32_t)told);
        if (o.grpc_status >= 0)
            count_lazily(&rs->grpc, GRPC_CODES, (uint32_t)o.grpc_status);
    }
    if (s->pool && o.first_byte > 0)
        observe(&s->pool->stats->first_byte, o.first_byte);
    if (w->access_ring)
        access_ring_add(w->access_ring, s, &o);
}

static enum drain_class drain_class_of(const struct stream *s)
{
    if (s->tcp)
        return DRAIN_TCP;
    if (s->tunnel)
        return DRAIN_WEBSOCKET;
    if (s->req.grpc)
        return DRAIN_GRPC;
    return s->req.http2 ? DRAIN_H2_ACTIVE : DRAIN_H1_ACTIVE;
}

static void tell_drain(struct stream *s, enum reason reason, usec_t now)
{
    if (worker_phase_for(s->worker, s->listener->direction) == DRAIN_SERVING)
        return;
    bool closed = s->websocket && reason == REASON_DRAINING;
    enum drain_how how = s->last_called                  ? DRAIN_LAST_CALLED
                         : closed                        ? DRAIN_CLOSED
                         : reason == REASON_NONE         ? DRAIN_COMPLETED
                         : reason == REASON_FORCED       ? DRAIN_FORCED
                         : reason == REASON_CLIENT_ABORT ? DRAIN_PEER
                                                         : DRAIN_FAILED;
    drain_tally_add(&s->worker->tally, drain_class_of(s), how, reason, now - s->began, s->peer,
                    s->route ? s->route->name : STR_NONE);
}

static void stream_reaped(struct reap *r)
{
    struct stream *s = CONTAINER_OF(r, struct stream, reap);
    struct worker *w = s->worker;
    CHECK(!s->permit_held && !s->in_flight);
    message_free(&s->req);
    if (s->exchange) {
        message_free(&s->exchange->res);
        slab_free(&w->exchanges, s->exchange);
    }
    websocket_tunnel_free(w, s->websocket);
    if (s->learn)
        s->learn = learn_free(s->learn);
    stream_free_trailers(s, true);
    stream_free_trailers(s, false);
    s->magic = 0;
    slab_free(&w->streams, s);
}

void stream_finish(struct stream *s, enum reason reason, bool down_clean, bool up_clean)
{
    struct worker *w = s->worker;
    struct buf_pool *bufs = &w->loop.bufs;
    CHECK_OBJ(s, STREAM_MAGIC);
    CHECK(s->step != STREAM_FINISHED);
    s->step = STREAM_FINISHED;
    s->reason = reason;
    stream_tell_result(s, reason);
    stream_drop_upstream(s, up_clean, reason);
    if (s->in_flight)
        stream_flight_end(s);
    if (s->delayed)
        stream_fault_leave(s);
    relay_discard(&s->request, bufs);
    relay_discard(&s->response, bufs);
    if (s->retries)
        stream_retry_end(s);
    usec_t now = clock_mono();
    if (s->websocket)
        websocket_tunnel_end(s->websocket);
    if (s->learn)
        learn_end(s);
    tell_outcome(s, reason, now);
    tell_drain(s, reason, now);
    if (s->pool)
        admission_leave(s->pool, s);
    endpoint_unref(s->endpoint);
    s->endpoint = NULL;
    struct side *down = s->down;
    s->down = NULL;
    down->ops->release(down, down_clean, reason);
    down->stream = NULL;
    view_release(s->view, s);
    count_add(&w->stats.streams, -1);
    loop_reap(&w->loop, &s->reap, stream_reaped);
}

void stream_last_call(struct stream *s)
{
    if (s->step == STREAM_FINISHED)
        return;
    if (s->websocket) {
        websocket_tunnel_last_call(s->websocket);
        return;
    }
    if (s->tcp || (s->response_begun && !stream_grpc_can_end(s)))
        return;
    s->last_called = true;
    stream_reply(s, REASON_LAST_CALL, NULL);
}

void stream_force(struct stream *s)
{
    bool draining = worker_phase(s->worker) != DRAIN_SERVING;
    if (s->step == STREAM_FINISHED)
        return;
    if (s->websocket && s->websocket->ending) /* all is said */
        stream_finish(s, s->websocket->reason, true, false);
    else
        stream_finish(s, draining ? REASON_FORCED : REASON_ROUTE_REMOVED, false, false);
}

enum force_rank stream_force_rank(const struct stream *s)
{
    return s->tcp || s->tunnel ? FORCE_TUNNELS : s->response_begun ? FORCE_STREAMING : FORCE_ALL;
}
