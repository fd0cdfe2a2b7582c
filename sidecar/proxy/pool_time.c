/* pool_time.c - what ends by time in a pool: idle connections, those being made, those that wait.
 */
#include "proxy/pool.h"

#include "io/socket.h"
#include "policies/unreachable.h"
#include "proxy/endpoint.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"
#include "proxy/upstream_tls.h"
#include "proxy/worker.h"

enum {
    REFILL_MS = 1000,
    OPEN_PIECES = 2,   /* of a turn (loop_spend()) */
    IDLE_LOOK_MS = 10, /* all are looked at, so not for each of hundreds that end one by one */
};

void pool_wake_at(struct pool *p, usec_t at)
{
    if (at != USEC_NEVER && (p->timer.at == 0 || at < p->timer.at))
        timer_set(&p->worker->loop, &p->timer, at);
}

/* Times and limits are the configuration's of the moment, also for what began before it. */
static usec_t connect_deadline(const struct pool *p, const struct upstream_conn *u)
{
    return u->opened + p->conf->connect_timeout;
}

static usec_t idle_end(const struct pool *p, const struct upstream_conn *u)
{
    usec_t told = u->told_idle_timeout, life = p->conf->max_lifetime;
    usec_t end = u->idle_since + (told != USEC_NEVER ? told : p->conf->idle_timeout);
    return life > 0 ? min_u64(end, u->opened + life) : end;
}

/* Who has a connection being made is not meant: that has a time of its own. The others are in the
 * order of their times, and the end of one is never the end of another. Returns when the next is
 * due; USEC_NEVER: none. */
static usec_t expire_queue(struct pool *p, usec_t now)
{
    LIST_FOREACH_SAFE (it, &p->waiting) {
        struct stream *s = LIST_ENTRY(it, struct pool_wait, link)->stream;
        if (s->exchange->wait.making)
            continue;
        usec_t until = s->exchange->wait.since + p->conf->queue_timeout;
        if (now < until)
            return until;
        pool_leave_queue(p, s);
        stream_on_refused(s, REASON_QUEUE_TIMEOUT);
    }
    return USEC_NEVER;
}

/* Nothing is lost with a connection that has yet to be answered at all, so who waits for it goes
 * elsewhere soon, if he can. In a handshake it is the kernel that knows. */
static bool is_lost(const struct pool *p, const struct upstream_conn *u, usec_t now)
{
    usec_t after = p->conf->unreachable_after;
    bool connects = !transport_is_tls(&u->conn.transport) || u->conn.stage == CONN_CONNECTS;
    struct socket_answers a;
    if (!unreachable_connect(after, now - u->opened) ||
        socket_answers(u->conn.transport.fd, &a) < 0)
        return false;
    const struct unreachable_facts f = {.quiet = min_u64(a.heard, now - u->opened),
                                        .unacked = a.unacked,
                                        .retransmits = a.retransmits,
                                        .known = endpoint_unreachable(u->endpoint)};
    if (!connects && unreachable_judge(after, &f) != UNREACHABLE_YES)
        return false;
    return (u->n_waiters == 0 && f.known) || endpoint_has_other(u->endpoint);
}

usec_t pool_connect_look(const struct pool *p, const struct upstream_conn *u, usec_t now)
{
    usec_t after = p->conf->unreachable_after, deadline = connect_deadline(p, u);
    if (after == 0 || p->n_endpoints < 2)
        return deadline;
    return min_u64(deadline, now < u->opened + after ? u->opened + after : now + after / 2);
}

/* True: it is no more. */
static bool expire(struct pool *p, struct upstream_conn *u, usec_t now)
{
    bool lost = is_lost(p, u, now);
    if (lost)
        endpoint_lost(u->endpoint);
    if ((!lost || p->conf->unreachable_dry_run) && now < connect_deadline(p, u))
        return false;
    if (u->n_waiters == 0 && endpoint_unreachable(u->endpoint)) {
        count_add(&p->stats->connect_failed, 1); /* a look of our own, which says nothing new */
        upstream_close(u);
        return true;
    }
    upstream_tls_timed_out(u);
    pool_on_connect_failed(p, u, REASON_CONNECT_TIMEOUT);
    return true;
}

static void expire_connecting(struct pool *p, usec_t now)
{
    bool again = true;
    while (again) {
        again = false;
        LIST_FOREACH (it, &p->connecting) {
            again = expire(p, LIST_ENTRY(it, struct upstream_conn, link), now);
            if (again)
                break;
        }
    }
}

void pool_look_at_idle(struct pool *p, const struct upstream_conn *u)
{
    p->idle_look = min_u64(p->idle_look, idle_end(p, u));
    pool_wake_at(p, p->idle_look);
}

bool pool_may_close(struct pool *p)
{
    if (loop_spend(&p->worker->loop, 1))
        return true;
    p->idle_look = p->worker->loop.now;
    pool_wake_at(p, p->idle_look);
    return false;
}

/* A burst may leave thousands behind, and a reload may take thousands of endpoints away, of many
 * upstreams: some are closed now, and the others in the next turns. Of minIdle too: pool_fill()
 * opens fresh ones. */
static void expire_idle(struct pool *p, usec_t now)
{
    usec_t next = USEC_NEVER;
    LIST_FOREACH_SAFE (it, &p->idle) {
        struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
        usec_t end = idle_end(p, u);
        if (now < end && !p->retired && !pool_worn(p, u) && !pool_beyond(p, u->endpoint)) {
            next = min_u64(next, end);
        } else if (loop_spend(&p->worker->loop, 1)) {
            upstream_close(u);
        } else {
            next = now;
            break;
        }
    }
    p->idle_look =
        next > now && next != USEC_NEVER ? max_u64(next, now + IDLE_LOOK_MS * USEC_PER_MSEC) : next;
    pool_wake_at(p, p->idle_look);
}

bool pool_close_some(struct pool *p)
{
    expire_idle(p, p->worker->loop.now);
    return !list_empty(&p->idle);
}

/* A reload may have raised a limit. */
static void offer_room(struct pool *p)
{
    bool again = !list_empty(&p->waiting);
    while (again) {
        again = false;
        LIST_FOREACH (it, &p->active) {
            struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
            again = u->h2 && pool_has_room(p, u) && pool_hand_over(p, u);
            if (again)
                break;
        }
    }
}

void pool_on_timer(struct timer *t)
{
    struct pool *p = CONTAINER_OF(t, struct pool, timer);
    usec_t now = p->worker->loop.now;
    expire_connecting(p, now);
    if (now >= p->idle_look)
        expire_idle(p, now);
    offer_room(p);
    pool_slot_free(p);
    pool_wake_at(p, expire_queue(p, now));
    pool_fill(p);
    pool_wake_at(p, p->idle_look);
    if (!list_empty(&p->unreachable))
        pool_wake_at(p, endpoint_test_unreachable(p, now));
    LIST_FOREACH (it, &p->connecting) {
        pool_wake_at(p, pool_connect_look(p, LIST_ENTRY(it, struct upstream_conn, link), now));
    }
}

void pool_fill(struct pool *p)
{
    while (!p->retired && p->n_idle + p->n_connecting < p->conf->min_idle) {
        enum reason why = REASON_NONE;
        struct endpoint *e = endpoint_choose_next(p);
        if (!e)
            return;
        if (!loop_spend(&p->worker->loop, OPEN_PIECES)) {
            pool_wake_at(p, p->worker->loop.now);
            return;
        }
        if (!pool_take_spare_slot(p, e))
            return;
        if (!pool_open(p, e, false, &why)) {
            pool_wake_at(p, p->worker->loop.now + REFILL_MS * USEC_PER_MSEC);
            return;
        }
    }
}
