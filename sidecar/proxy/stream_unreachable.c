/* stream_unreachable.c - a stream that waits for its server: does it, or does the network keep them
 * apart? policies/unreachable.h decides by what the kernel says; here it is acted on.
 *
 * Only where the upstream has another endpoint. Tunnels rest for hours, and have keep-alive. */
#include "proxy/stream_steps.h"

#include "io/socket.h"
#include "policies/unreachable.h"
#include "proxy/endpoint.h"
#include "proxy/pool.h"
#include "proxy/upstream.h"

static usec_t after_of(const struct stream *s)
{
    return s->pool->conf->unreachable_after;
}

static bool facts_of(const struct stream *s, const struct upstream_conn *u, usec_t now,
                     struct unreachable_facts *ret)
{
    struct socket_answers a;
    if (socket_answers(u->conn.transport.fd, &a) < 0)
        return false;
    *ret = (struct unreachable_facts){
        .quiet = min_u64(a.heard, now - min_u64(now, s->active_at)),
        .unacked = a.unacked,
        .retransmits = a.retransmits,
        .probes = a.probes,
        .known = endpoint_unreachable(s->endpoint),
    };
    return true;
}

/* True: it has gone elsewhere, or has ended. */
static bool give_up(struct stream *s, struct upstream_conn *u, const struct unreachable_facts *f,
                    usec_t now)
{
    bool moves = stream_is_repeatable(s) && s->first_byte == 0 && stream_may_connect(s) &&
                 endpoint_has_other(s->endpoint);
    bool heard = endpoint_other_heard(s->endpoint, now - f->quiet);
    if (!unreachable_gives_up(after_of(s), f, moves, heard))
        return false;
    pool_leave(u->pool, u);
    if (moves)
        stream_move(s, REASON_UPSTREAM_UNREACHABLE, MOVED_UNREACHABLE);
    else
        stream_on_upstream_failed(s, REASON_UPSTREAM_UNREACHABLE, NULL, UPSTREAM_SPOKE);
    return true;
}

bool stream_look_at_upstream(struct stream *s, usec_t now)
{
    struct upstream_conn *u = s->up ? s->up->ops->carrier(s->up) : NULL;
    struct unreachable_facts f;
    usec_t after = after_of(s);
    s->exchange->wait.look_at = now + after;
    if (!u || !facts_of(s, u, now, &f))
        return false;
    s->exchange->wait.look_at =
        now + unreachable_next_look(after, now - min_u64(now, s->active_at));
    switch (unreachable_judge(after, &f)) {
    case UNREACHABLE_NO:
        return false;
    case UNREACHABLE_ASK:
        socket_probe(u->conn.transport.fd, unreachable_probe_after(after, &f));
        return false;
    case UNREACHABLE_SUSPECT:
        endpoint_suspect(s->endpoint);
        return false;
    case UNREACHABLE_YES:
        endpoint_lost(s->endpoint);
        return !s->pool->conf->unreachable_dry_run && give_up(s, u, &f, now);
    }
    return false;
}
