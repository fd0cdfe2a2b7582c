/* stream_fault.c - fault: a request of a route with faults waits, or is answered with an error. */
#include "proxy/stream_steps.h"

#include "proxy/fault_shared.h"
#include "proxy/route_state.h"

static struct str header_of(const void *ctx, struct str name)
{
    return message_value(ctx, name);
}

static bool concerns(const struct stream *s, const struct fault_rules *r)
{
    const struct message *m = &s->req;
    const struct route_request request = {
        .method = message_str(m, m->method_text),
        .host = message_str(m, m->authority),
        .path = STR("/"),
        .header = header_of,
        .ctx = m,
    };
    return fault_concerns(r, &request, s->worker->route_scratch);
}

static void count(_Atomic uint64_t *c, bool yes)
{
    if (yes)
        atomic_fetch_add_explicit(c, 1, memory_order_relaxed);
}

/* Once for a request. True: it waits from now on. */
static bool draw(struct stream *s, const struct fault_rules *r, struct fault_state *state)
{
    struct rng *rng = &s->worker->loop.rng;
    uint64_t delay_bits = rng_next(rng), abort_bits = rng_next(rng);
    s->fault_drawn = true;
    struct fault_verdict v = fault_decide(r, delay_bits, abort_bits);
    if ((!v.delay && !v.abort) || !concerns(s, r))
        return false;
    if (r->dry_run) {
        count(&state->dry_delayed, v.delay);
        count(&state->dry_aborted, v.abort);
        return false;
    }
    s->fault_aborts = v.abort;
    if (!v.delay)
        return false;
    s->delayed = fault_enter(state, r->max_active);
    count(s->delayed ? &state->delayed : &state->skipped, true);
    s->exchange->delayed_until = s->worker->loop.now + r->delay;
    return s->delayed;
}

enum stream_next stream_fault(struct stream *s)
{
    const struct fault_rules *r = s->route->fault;
    struct fault_state *state = &s->route_state->fault->state;
    if (!s->fault_drawn && draw(s, r, state))
        return STREAM_WAIT;
    if (s->fault_aborts) {
        count(&state->aborted, true);
        stream_reply(s, REASON_FAULT_ABORT, NULL);
        return STREAM_WAIT;
    }
    s->step = STREAM_SPLIT;
    return STREAM_NEXT;
}

void stream_fault_leave(struct stream *s)
{
    s->delayed = false;
    fault_leave(&s->route_state->fault->state);
}
