/* stream_retry.c - a try that failed, and whether another is made: what policies/retry.h decides is
 * done here.
 *
 * A try ends here before a byte of its answer has gone to the client: with the head of an answer,
 * which is dropped or passed on unchanged, or without one. In between the stream waits in
 * STREAM_BACKOFF, with no upstream, and all that may end a stream ends it there too. */
#include "proxy/stream_steps.h"

#include "http/grpc.h"
#include "proxy/endpoint.h"
#include "proxy/pool.h"
#include "proxy/stream_permit.h"
#include "proxy/upstream.h"
#include "proxy/upstream_shared.h"

static const struct retry_rules *rules_of(const struct stream *s)
{
    return s->route->retry;
}

static struct stream_retry *retry_of(const struct stream *s)
{
    return &s->exchange->retry;
}

static struct buf_pool *bufs_of(const struct stream *s)
{
    return &s->worker->loop.bufs;
}

bool stream_retry_decides(const struct stream *s)
{
    return s->route->retry && !rules_of(s)->dry_run;
}

/* --- what is kept --- */

static void forget_body(struct stream *s)
{
    struct stream_retry *r = retry_of(s);
    r->body_lost = true;
    buf_clear(bufs_of(s), &r->body);
}

void stream_retry_keep(struct stream *s, const char *p, size_t n)
{
    struct stream_retry *r = retry_of(s);
    if (r->body_lost)
        return;
    if (buf_len(&r->body) + n > rules_of(s)->max_body || buf_append(bufs_of(s), &r->body, p, n) < 0)
        forget_body(s);
}

void stream_retry_begin(struct stream *s)
{
    struct retry_budget *budget = upstream_shared_budget(s->pool->shared);
    if (stream_wants_upgrade(s))
        return;
    s->exchange->retry = (struct stream_retry){0};
    s->retries = true;
    if (budget)
        retry_budget_request(budget, s->worker->id, s->worker->loop.now);
    if (buf_len(&s->request.early) > 0)
        stream_retry_keep(s, buf_data(&s->request.early), buf_len(&s->request.early));
}

void stream_retry_try_begins(struct stream *s)
{
    struct stream_retry *r = retry_of(s);
    usec_t timeout = rules_of(s)->per_try_timeout;
    if (timeout > 0 && r->try_deadline == 0)
        r->try_deadline = s->worker->loop.now + timeout;
}

void stream_retry_end(struct stream *s)
{
    struct stream_retry *r = retry_of(s);
    forget_body(s);
    r->try_deadline = 0;
    if (r->counted)
        (void)atomic_fetch_sub(&s->pool->shared->retries, 1);
    r->counted = false;
}

enum reason stream_retry_reason(const struct stream *s, enum reason reason)
{
    bool budget = reason == REASON_NONE && s->retries && retry_of(s)->no_budget;
    return budget ? REASON_RETRY_BUDGET : reason;
}

/* --- may it --- */

static usec_t time_left(const struct stream *s)
{
    if (s->deadline == 0)
        return USEC_NEVER;
    usec_t now = clock_mono();
    return s->deadline > now ? s->deadline - now : 0;
}

/* A place among those that are retried at once, and a piece of the budget. */
static enum retry_verdict take(struct stream *s)
{
    struct stream_retry *r = retry_of(s);
    struct upstream_shared *shared = s->pool->shared;
    const struct conf_upstream *conf = s->pool->conf;
    struct retry_budget *budget = upstream_shared_budget(shared);
    bool counted = r->counted;
    uint32_t before = counted ? 0 : atomic_fetch_add(&shared->retries, 1);
    if (!counted && before >= conf->bounds.retries) {
        (void)atomic_fetch_sub(&shared->retries, 1);
        return RETRY_LIMIT;
    }
    r->counted = true;
    if (budget && retry_budget_take(budget, &conf->retry_budget, s->worker->loop.now)) {
        if (!counted)
            pool_count_over(s->pool, LIMIT_RETRIES, before, conf->limits.retries);
        return RETRY_YES;
    }
    if (!counted) {
        r->counted = false;
        (void)atomic_fetch_sub(&shared->retries, 1);
    }
    r->no_budget = true;
    return RETRY_BUDGET;
}

/* The same, and nothing is taken. */
static enum retry_verdict look(const struct stream *s)
{
    struct upstream_shared *shared = s->pool->shared;
    const struct conf_upstream *conf = s->pool->conf;
    const struct retry_budget *budget = upstream_shared_budget(shared);
    if (atomic_load(&shared->retries) >= conf->bounds.retries)
        return RETRY_LIMIT;
    return budget && retry_budget_allows(budget, &conf->retry_budget, s->worker->loop.now)
               ? RETRY_DRY_RUN
               : RETRY_BUDGET;
}

/* The client has seen nothing, and the request can be sent again. */
static bool still_possible(const struct stream *s)
{
    return s->retries && !s->response_begun && s->interims == 0 && !s->head_gone &&
           worker_phase_for(s->worker, s->listener->direction) < DRAIN_LAST_CALL;
}

/* --- another try --- */

/* All its addresses have been tried: from the beginning, rather than nowhere. */
static void look_elsewhere(struct stream *s, struct endpoint *e)
{
    if (e)
        endpoint_declined(e, s);
    else if (!endpoint_choose(s->pool, s))
        s->exchange->wait.tried_endpoints = 0;
}

/* Where the try was made, or is waiting for a connection still; NULL: none took one. */
static struct endpoint *tried_endpoint(const struct stream *s)
{
    const struct upstream_conn *making = s->exchange->wait.making;
    return making ? making->endpoint : s->up ? s->endpoint : NULL;
}

static void wait_for_next_try(struct stream *s, enum reason reason, usec_t wait)
{
    struct stream_retry *r = retry_of(s);
    struct endpoint *e = tried_endpoint(s);
    if (e)
        (void)endpoint_ref(e);
    if (!s->up && e)
        endpoint_on_result(e, RESULT_CONNECT, 0); /* it takes longer than the try was given */
    stream_drop_upstream(s, false, reason);
    look_elsewhere(s, e);
    endpoint_unref(e);
    message_clear(&s->exchange->res);
    s->first_byte = 0;
    s->sent = 0;
    s->tries_before = s->tries;
    r->made++;
    r->try_deadline = 0;
    r->at = s->worker->loop.now + wait;
    s->step = STREAM_BACKOFF;
    if (relay_replay(&s->request, bufs_of(s), buf_data(&r->body), buf_len(&r->body)) < 0)
        stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
    else if (s->deadline_changed)
        s->deadline_changed(s);
}

static usec_t wait_told(const struct stream *s)
{
    const struct message *res = &s->exchange->res;
    const struct field *pushback =
        s->req.grpc ? message_find_name(res, STR("grpc-retry-pushback-ms")) : NULL;
    const struct field *after = message_find(res, FIELD_RETRY_AFTER);
    if (pushback)
        return retry_pushback(field_value(res, pushback));
    return after ? retry_after(field_value(res, after), clock_wall()) : 0;
}

/* True: it waits for its next try (or has ended, as memory is short). */
static bool try_again(struct stream *s, const struct retry_failure *f, enum reason reason)
{
    struct upstream_stats *stats = s->pool->stats;
    enum retry_condition condition;
    if (retry_of(s)->try_deadline == USEC_NEVER) /* it would not be this try's answer any more */
        return false;
    if (!retry_fits(rules_of(s)->on, f, &condition)) /* as nearly always */
        return false;
    const struct retry_ask ask = {
        .made = retry_of(s)->made,
        .method = UINT32_C(1) << s->req.method,
        .body_kept = !retry_of(s)->body_lost,
        .left = time_left(s),
        .told_wait = f->what == RETRY_ANSWER ? wait_told(s) : 0,
        .random = rng_next(&s->worker->loop.rng),
    };
    usec_t wait = 0;
    enum retry_verdict v = retry_decide(rules_of(s), f, &ask, &wait, &condition);
    if (v == RETRY_YES && rules_of(s)->dry_run) {
        v = look(s);
    } else if (v == RETRY_YES) {
        /* Its endpoint and the breaker hear of it as if the client had: this one may open it, and
         * what there is of an answer is more than its refusal. */
        s->status = s->exchange->res.status;
        stream_tell_result(s, reason);
        s->status = 0;
        v = stream_permit_would_fail(s) ? RETRY_BREAKER : take(s);
    }
    if (v != RETRY_YES) {
        count_add(&stats->retries_refused[v], 1);
        return false;
    }
    count_add(&stats->retries[condition], 1);
    wait_for_next_try(s, reason, wait);
    return true;
}

/* --- what happened --- */

/* As the client would take it: by its status, or where the head was all, by what it says. -1: its
 * end is yet to come. */
static int8_t grpc_of_answer(const struct stream *s)
{
    const struct message *res = &s->exchange->res;
    const struct field *f = message_find(res, FIELD_GRPC_STATUS);
    if (!s->req.grpc)
        return -1;
    if (f)
        return (int8_t)grpc_code_parse(field_value(res, f));
    return res->status == 200 ? -1 : (int8_t)grpc_code_of_http(res->status);
}

bool stream_retry_response(struct stream *s)
{
    const struct retry_failure f = {
        .what = RETRY_ANSWER, .status = s->exchange->res.status, .grpc = grpc_of_answer(s)};
    if (still_possible(s) && try_again(s, &f, REASON_NONE))
        return true;
    /* From here on it is the client's answer. */
    retry_of(s)->try_deadline = 0;
    forget_body(s);
    return false;
}

static bool what_failed(enum reason reason, enum retry_what *ret)
{
    switch (reason) {
    case REASON_CONNECT_REFUSED:
    case REASON_CONNECT_FAILED:
    case REASON_CONNECT_TIMEOUT:
    case REASON_UPSTREAM_TLS:
    case REASON_UPSTREAM_CERTIFICATE:
        *ret = RETRY_NO_CONNECTION;
        return true;
    case REASON_UPSTREAM_CLOSED:
    case REASON_UPSTREAM_RESET:
    case REASON_UPSTREAM_TRUNCATED:
    case REASON_FIRST_BYTE_TIMEOUT:
    case REASON_UPSTREAM_UNREACHABLE:
        *ret = RETRY_NO_ANSWER;
        return true;
    default:
        return false;
    }
}

static bool failed(struct stream *s, enum retry_what what, enum reason reason)
{
    const struct retry_failure f = {
        .what = what,
        .grpc = s->req.grpc ? (int8_t)grpc_code_of_reason(reason) : (int8_t)-1,
    };
    /* Behind the head of an answer it is too late, even while that is held back. */
    return still_possible(s) && s->first_byte == 0 && try_again(s, &f, reason);
}

bool stream_retry_failed(struct stream *s, enum reason reason)
{
    enum retry_what what;
    return what_failed(reason, &what) && failed(s, what, reason);
}

bool stream_retry_unprocessed(struct stream *s)
{
    return failed(s, RETRY_UNPROCESSED, REASON_UPSTREAM_RESET);
}

/* --- time --- */

usec_t stream_retry_deadline(const struct stream *s)
{
    const struct stream_retry *r = retry_of(s);
    if (s->step == STREAM_BACKOFF)
        return r->at;
    return r->try_deadline != 0 ? r->try_deadline : USEC_NEVER;
}

bool stream_retry_check(struct stream *s, usec_t now)
{
    if (now < stream_retry_deadline(s))
        return false;
    if (s->step != STREAM_BACKOFF) {
        bool sent = s->step == STREAM_RESPOND;
        if (failed(s, sent ? RETRY_NO_ANSWER : RETRY_NO_CONNECTION, REASON_TRY_TIMEOUT))
            return true;
        if (rules_of(s)->dry_run) {
            retry_of(s)->try_deadline = USEC_NEVER;
            return stream_next_deadline(s) > now;
        }
        stream_reply(s, REASON_TRY_TIMEOUT, NULL);
        return true;
    }
    stream_send_again(s);
    return true;
}
