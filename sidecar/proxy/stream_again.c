/* stream_again.c - a request that is sent once more without its route's asking for it, because it
 * harms nobody: what its server never saw, and what may be repeated and lost its connection. What a
 * route's rules send again is stream_retry.c's. */
#include "proxy/stream_steps.h"

#include "proxy/endpoint.h"
#include "proxy/pool.h"
#include "proxy/stream_permit.h"
#include "proxy/upstream.h"
#include "proxy/upstream_shared.h"
#include "proxy/websocket_tunnel.h"

bool stream_is_repeatable(const struct stream *s)
{
    return !s->head_gone && !s->tcp && s->request_ended && s->request.bytes == 0 &&
           method_is_idempotent((enum http_method)s->req.method) && !s->response_begun &&
           s->interims == 0;
}

static void go_elsewhere(struct stream *s, enum reason reason, enum moved why)
{
    struct endpoint *e = endpoint_ref(s->endpoint);
    count_add(&s->pool->stats->moved[why], 1);
    stream_drop_upstream(s, false, reason);
    endpoint_declined(e, s);
    endpoint_unref(e);
    stream_send_again(s);
}

void stream_move(struct stream *s, enum reason reason, enum moved why)
{
    stream_tell_result(s, reason);
    go_elsewhere(s, reason, why);
}

/* --- a connection that ended without a byte of a response --- */

/* One that was reused had been closed by its server, most likely, which has never seen the request:
 * it was on its way meanwhile (RFC 9112 §9.3.1). It goes on a new one. */
static bool resend(struct stream *s, enum reason reason)
{
    if (s->fresh || !stream_is_repeatable(s))
        return false;
    stream_drop_upstream(s, false, reason);
    s->fresh = true;
    count_add(&s->pool->stats->retried, 1);
    stream_send_again(s);
    return true;
}

/* Any other was lost with its server, which may have looked at the request. Another endpoint has
 * not: it goes there, once, as far as the upstream's budget reaches. What acquires a session does
 * not, as it may have; nor what wants to be a WebSocket. */
static bool may_move(const struct stream *s, enum reason reason)
{
    return (reason == REASON_UPSTREAM_CLOSED || reason == REASON_UPSTREAM_RESET) && !s->moved &&
           !stream_retry_decides(s) && stream_is_repeatable(s) && stream_may_connect(s) &&
           !s->learn && !stream_wants_upgrade(s) &&
           worker_phase_for(s->worker, s->listener->direction) < DRAIN_LAST_CALL &&
           endpoint_has_other(s->endpoint);
}

static bool move(struct stream *s, enum reason reason)
{
    struct upstream_stats *stats = s->pool->stats;
    if (!may_move(s, reason))
        return false;
    stream_tell_result(s, reason); /* which may open the breaker */
    struct retry_budget *budget = upstream_shared_budget(s->pool->shared);
    enum retry_verdict v = RETRY_YES;
    if (stream_permit_would_fail(s))
        v = RETRY_BREAKER;
    else if (!budget ||
             !retry_budget_take(budget, &s->pool->conf->retry_budget, s->worker->loop.now))
        v = RETRY_BUDGET;
    if (v != RETRY_YES) {
        count_add(&stats->retries_refused[v], 1);
        return false;
    }
    s->moved = true;
    go_elsewhere(s, reason, MOVED_LOST);
    return true;
}

static void end_by_upstream(struct stream *s, enum reason reason, const char *detail)
{
    /* It has closed, and is gone before the client has answered that. */
    if (s->websocket && s->response_ended && s->websocket->first_code != 0) {
        stream_drop_upstream(s, false, reason);
        relay_discard(&s->request, &s->worker->loop.bufs);
        stream_check_tunnel(s);
        return;
    }
    if (s->tunnel) {
        stream_finish(s, reason, false, false);
        return;
    }
    stream_reply(s, reason, detail);
}

void stream_on_upstream_failed(struct stream *s, enum reason reason, const char *detail,
                               enum upstream_silence silence)
{
    if (s->step == STREAM_FINISHED || (silence == UPSTREAM_STALE && resend(s, reason)) ||
        (s->retries && stream_retry_failed(s, reason)) ||
        (silence != UPSTREAM_SPOKE && move(s, reason)))
        return;
    end_by_upstream(s, reason, detail);
}

void stream_on_upstream_unprocessed(struct stream *s, const char *detail, const struct str *sent)
{
    if (s->step == STREAM_FINISHED)
        return;
    if (!sent || s->head_gone || s->response_begun || s->interims > 0 || !stream_may_connect(s) ||
        relay_rewind(&s->request, &s->worker->loop.bufs, sent->p, sent->n) < 0) {
        if (!s->retries || !stream_retry_unprocessed(s))
            end_by_upstream(s, REASON_UPSTREAM_RESET, detail);
        return;
    }
    stream_drop_upstream(s, false, REASON_UPSTREAM_RESET);
    endpoint_declined(s->endpoint, s);
    count_add(&s->pool->stats->retried, 1);
    stream_send_again(s);
}
