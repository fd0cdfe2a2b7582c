/* stream_respond.c - the way back: what the upstream says reaches the client. */
#include "proxy/stream_steps.h"

#include "http/hop.h"
#include "http/websocket_handshake.h"
#include "proxy/learning.h"
#include "proxy/pool.h"
#include "proxy/stream_flight.h"
#include "proxy/stream_permit.h"
#include "proxy/upstream.h"
#include "proxy/websocket_tunnel.h"

/* 101 opens a tunnel only for the upgrade that was asked for, and for WebSocket only with the
 * accept key that belongs to the client's (RFC 6455 §4.1). */
static bool upgrade_is_valid(const struct stream *s)
{
    const struct field *key = message_find(&s->req, FIELD_SEC_WEBSOCKET_KEY);
    if (!stream_wants_upgrade(s) || !s->exchange->res.websocket || !key)
        return false;
    if (s->exchange->res.http2) /* whose servers give none (RFC 8441 §5.1) */
        return true;
    const struct field *accept = message_find(&s->exchange->res, FIELD_SEC_WEBSOCKET_ACCEPT);
    return accept &&
           websocket_accept_ok(field_value(&s->req, key), field_value(&s->exchange->res, accept));
}

/* The answer as the client is to see it. 0 or -ENOMEM. */
static int prepare_101(struct stream *s)
{
    if (s->exchange->res.http2 && !s->req.http2) {
        const struct field *key = message_find(&s->req, FIELD_SEC_WEBSOCKET_KEY);
        int rc = websocket_add_accept(&s->exchange->res, field_value(&s->req, key));
        if (rc < 0)
            return rc;
    }
    return hop_response(&s->exchange->res, s->listener->via, true);
}

/* What an HTTP/2 client sent before it had our answer. */
static void take_early(struct stream *s)
{
    struct buf_pool *bufs = &s->worker->loop.bufs;
    struct relay *r = &s->request;
    struct buf early = r->early;
    r->early = (struct buf){0};
    r->bytes -= buf_len(&early); /* they are counted again */
    r->held -= buf_len(&early);
    relay_open(r, bufs, s->up);
    if (buf_len(&early) > 0)
        websocket_tunnel_data(s->websocket, WEBSOCKET_CLIENT, buf_data(&early), buf_len(&early));
    buf_clear(bufs, &early);
}

static void begin_tunnel(struct stream *s)
{
    if (!upgrade_is_valid(s)) {
        stream_on_upstream_failed(s, REASON_UPGRADE_FAILED, "invalid 101 response", UPSTREAM_SPOKE);
        return;
    }
    if (prepare_101(s) < 0) {
        stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
        return;
    }
    if (!stream_change_response(s))
        return;
    if (websocket_tunnel_begin(s) < 0) {
        stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
        return;
    }
    s->tunnel = true;
    s->response_begun = true;
    /* The request had ended with its head; the direction it came by goes on. */
    s->request_ended = s->request.from_ended = false;
    s->status = 101;
    s->deadline = 0;
    stream_tell_result(s, REASON_NONE);
    if (s->in_flight)
        stream_flight_answered(s);
    s->down->ops->head(s->down, &s->exchange->res, SIDE_MORE);
    s->up->ended = s->down->ended = false;
    s->up->ops->tunnel(s->up);
    s->down->ops->tunnel(s->down);
    stream_end_exchange(s);
    take_early(s);
    if (s->step == STREAM_FINISHED)
        return;
    if (s->ended_early)
        stream_on_request_end(s);
    else if (s->deadline_changed)
        s->deadline_changed(s);
}

void stream_on_interim(struct stream *s)
{
    s->active_at = s->worker->loop.now;
    if (s->step == STREAM_FINISHED)
        return;
    if (++s->interims > STREAM_INTERIM_MAX) {
        stream_on_upstream_failed(s, REASON_UPSTREAM_PROTOCOL, "too many interim responses",
                                  UPSTREAM_SPOKE);
        return;
    }
    if (s->req.version_minor >= 1 && hop_response(&s->exchange->res, STR_NONE, false) == 0)
        s->down->ops->interim(s->down, &s->exchange->res);
}

static inline void give_response(struct stream *s)
{
    if (s->route->headers && !stream_change_response(s))
        return;
    s->response_begun = true;
    s->deadline = s->call_deadline;
    s->status = s->exchange->res.status;
    if (s->permit_probe)
        stream_permit_answered(s);
    if (s->in_flight)
        stream_flight_answered(s);
    s->down->ops->head(s->down, &s->exchange->res,
                       s->exchange->res.body == BODY_NONE ? SIDE_END : SIDE_MORE);
    if (s->deadline_changed)
        s->deadline_changed(s);
}

void stream_on_response(struct stream *s)
{
    if (s->step == STREAM_FINISHED)
        return;
    s->active_at = s->worker->loop.now;
    s->first_byte = s->worker->loop.now; /* as `sent` is */
    if (s->exchange->res.status == 101) {
        begin_tunnel(s);
        return;
    }
    /* By HTTP/2 any 2xx would say that the WebSocket is open (RFC 8441 §5). */
    if (s->req.websocket && s->req.http2 && s->exchange->res.status / 100 == 2) {
        stream_on_upstream_failed(s, REASON_UPGRADE_FAILED, "no 101 response", UPSTREAM_SPOKE);
        return;
    }
    if (s->retries && stream_retry_response(s))
        return;
    struct str via = s->listener->via;
    if (hop_response(&s->exchange->res, via, false) < 0) {
        stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
        return;
    }
    if (!s->learn || !learn_on_response(s))
        give_response(s);
}

void stream_give_response(struct stream *s)
{
    give_response(s);
}

void stream_on_response_body(struct stream *s, const char *p, size_t n)
{
    if (s->step == STREAM_FINISHED)
        return;
    if (s->websocket) {
        websocket_tunnel_data(s->websocket, WEBSOCKET_SERVER, p, n);
        return;
    }
    if (s->learn && learn_on_response_body(s, p, n))
        return;
    s->active_at = s->worker->loop.now;
    if (relay_push(&s->response, &s->worker->loop.bufs, p, n) < 0)
        stream_finish(s, REASON_OUT_OF_MEMORY, false, false);
}

void stream_on_response_end(struct stream *s)
{
    if (s->step == STREAM_FINISHED || (s->learn && learn_on_response_end(s)))
        return;
    s->response_ended = true;
    s->response.from_ended = true;
    if (s->websocket) {
        bool later = websocket_tunnel_ended(s->websocket, WEBSOCKET_SERVER);
        if (s->step == STREAM_FINISHED || later)
            return;
    }
    if (!s->down->ended)
        s->down->ops->end(s->down, s->trailers[1]);
    if (s->tunnel) {
        s->down->ops->flush(s->down);
        stream_check_tunnel(s);
        return;
    }
    /* An early response, with the request's body still coming: both sides are closed after it,
     * because nobody can tell where the next request would begin. */
    stream_finish(s, REASON_NONE, s->request_ended, s->request_ended && s->up && !s->up->blocked);
}

static void end_tunnel(struct stream *s)
{
    stream_finish(s, s->websocket ? s->websocket->reason : REASON_NONE, true, true);
}

void stream_check_tunnel(struct stream *s)
{
    /* Without an upstream side that has gone after its end (see stream_on_upstream_failed). */
    if (s->step != STREAM_FINISHED && s->request.from_ended && s->response.from_ended &&
        !s->down->blocked && !(s->up && s->up->blocked))
        end_tunnel(s);
}

void stream_on_request_error(struct stream *s, enum reason reason, const char *detail)
{
    if (s->step != STREAM_FINISHED)
        stream_reply(s, reason, detail);
}

void stream_on_client_done(struct stream *s)
{
    if (s->step != STREAM_FINISHED)
        end_tunnel(s);
}

void stream_on_client_gone(struct stream *s, enum reason reason)
{
    if (s->step == STREAM_FINISHED || (s->learn && learn_client_gone(s, reason)))
        return;
    stream_finish(s, reason, false, false);
}

void stream_on_writable(struct stream *s, struct side *side)
{
    if (s->step == STREAM_FINISHED)
        return;
    s->active_at = s->worker->loop.now;
    relay_drained(side == s->down ? &s->response : &s->request);
    if (s->tunnel)
        stream_check_tunnel(s);
}

/* While it waits for its server: when the connection is looked at. */
static inline usec_t look_time(const struct stream *s)
{
    usec_t after = s->pool->conf->unreachable_after;
    if (s->pool->n_endpoints < 2 || after == 0 || s->tunnel)
        return USEC_NEVER;
    return max_u64(s->exchange->wait.look_at, s->active_at + after / 2);
}

usec_t stream_next_deadline(const struct stream *s)
{
    usec_t at = USEC_NEVER;
    if (s->step == STREAM_RECEIVE || s->step == STREAM_FINISHED || !s->route)
        return at;
    if (s->deadline != 0)
        at = s->deadline;
    if (s->route->timeout_dry_run)
        at = min_u64(at, stream_timeout_dry_run(s));
    if (s->delayed)
        return min_u64(at, s->exchange->delayed_until);
    if (s->retries)
        at = min_u64(at, stream_retry_deadline(s));
    if (s->step != STREAM_RESPOND)
        return at;
    if (s->learn)
        at = min_u64(at, learn_deadline(s));
    if (s->websocket)
        return min_u64(at, websocket_tunnel_deadline(s->websocket));
    if (s->route->first_byte_timeout > 0 && !s->route->timeout_dry_run)
        at = min_u64(at, stream_first_byte_end(s));
    usec_t idle = s->tcp ? s->listener->tcp_idle_timeout : s->route->idle_timeout;
    if (idle > 0)
        at = min_u64(at, s->active_at + idle);
    return min_u64(at, look_time(s));
}

static void first_byte_timed_out(struct stream *s)
{
    if (!s->retries || !stream_retry_failed(s, REASON_FIRST_BYTE_TIMEOUT))
        stream_reply(s, REASON_FIRST_BYTE_TIMEOUT, NULL);
}

void stream_check(struct stream *s, usec_t now)
{
    if (stream_next_deadline(s) > now)
        return;
    if (s->deadline != 0 && now >= s->deadline) {
        stream_reply(s, REASON_DEADLINE, NULL);
        return;
    }
    if (s->route->timeout_dry_run && now >= stream_timeout_dry_run(s)) {
        stream_timeout_dry_run_check(s, now);
        if (stream_next_deadline(s) > now)
            return;
    }
    if (s->delayed) {
        stream_on_delay_over(s);
        return;
    }
    if (s->retries && stream_retry_check(s, now))
        return;
    if (s->learn && learn_check(s, now))
        return;
    if (s->websocket) {
        websocket_tunnel_check(s->websocket, now);
        return;
    }
    if (s->step == STREAM_RESPOND && now >= look_time(s) &&
        (stream_look_at_upstream(s, now) || stream_next_deadline(s) > now))
        return;
    if (!s->route->timeout_dry_run && now >= stream_first_byte_end(s))
        first_byte_timed_out(s);
    else if (s->tunnel)
        stream_finish(s, REASON_IDLE_TIMEOUT, false, false);
    else
        stream_reply(s, REASON_IDLE_TIMEOUT, NULL);
}
