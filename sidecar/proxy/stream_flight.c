/* stream_flight.c - asking the adaptive limit, and telling it how long answers take. */
#include "proxy/stream_flight.h"

#include "http/grpc.h"
#include "proxy/upstream_shared.h"

/* It is there: somebody is in flight. */
static struct concurrency *of(const struct stream *s)
{
    return atomic_load_explicit(&s->pool->shared->concurrency, memory_order_acquire);
}

bool stream_flight_begin(struct stream *s)
{
    const struct concurrency_rules *r = s->pool->conf->concurrency;
    struct concurrency *c = upstream_shared_concurrency(s->pool->shared, r);
    if (c && !concurrency_enter(c, r, s->worker->id, s->route->priority))
        return false;
    s->in_flight = c != NULL;
    return true;
}

void stream_flight_end(struct stream *s)
{
    s->in_flight = false;
    concurrency_leave(of(s));
}

/* An error, which may come at once, says nothing about how long an answer takes. */
static bool answers(const struct stream *s)
{
    const struct message *res = &s->exchange->res;
    const struct field *f = s->req.grpc ? message_find(res, FIELD_GRPC_STATUS) : NULL;
    if (f && grpc_code_parse(field_value(res, f)) != GRPC_OK)
        return false;
    return res->status < 500 && res->status != 429;
}

void stream_flight_answered(struct stream *s)
{
    const struct concurrency_rules *r = s->pool->conf->concurrency;
    if (r && s->sent != 0 && s->first_byte > s->sent && answers(s)) /* a reload may take it away */
        concurrency_answered(of(s), r, s->worker->id, s->first_byte - s->sent, s->worker->loop.now);
    stream_flight_end(s);
}

void stream_flight_tried(struct stream *s, enum result result, enum reason reason)
{
    const struct concurrency_rules *r = s->pool->conf->concurrency;
    usec_t now = s->worker->loop.now;
    bool left = result == RESULT_TIMEOUT || reason == REASON_CLIENT_ABORT;
    if (!r)
        return;
    if (left && s->sent != 0 && now > s->sent)
        concurrency_left(of(s), r, s->worker->id, now - s->sent, now);
    else if (!left && result != RESULT_SUCCESS && result != RESULT_NOTHING)
        concurrency_erred(of(s), s->worker->id);
}
