/* learn_orphan.c - a client goes away while the answer to its acquisition is on its way. What the
 * other side gives then would be nobody's: so the answer is read all the same, and what was
 * acquired is held until its holder's end, which may have been just that. */
#include "proxy/learning_parts.h"

#include "proxy/worker.h"

enum { PATIENCE_S = 15 }; /* where the route has no timeout */

/* --- in the client's place: takes everything, keeps nothing --- */

static void sink_message(struct side *s, const struct message *m)
{
    (void)s;
    (void)m;
}

static void sink_head(struct side *s, const struct message *m, enum side_end end)
{
    (void)m;
    s->ended = end == SIDE_END;
}

static void sink_body(struct side *s, const char *p, size_t n)
{
    (void)s;
    (void)p;
    (void)n;
}

static void sink_end(struct side *s, const struct message *trailers)
{
    (void)trailers;
    s->ended = true;
}

static void sink_nothing(struct side *s)
{
    (void)s;
}

static bool sink_recall(struct side *s)
{
    (void)s;
    return true;
}

static void sink_credit(struct side *s, size_t n)
{
    (void)s;
    (void)n;
}

static void sink_release(struct side *s, bool clean, enum reason reason)
{
    (void)s;
    (void)clean;
    (void)reason;
}

static const struct side_ops sink_ops = {
    .head = sink_head,
    .interim = sink_message,
    .body = sink_body,
    .end = sink_end,
    .flush = sink_nothing,
    .recall = sink_recall,
    .credit = sink_credit,
    .tunnel = sink_nothing,
    .release = sink_release,
};

static void on_timer(struct timer *t)
{
    struct learning *l = CONTAINER_OF(t, struct learning, timer);
    stream_finish(l->stream, l->why, false, false);
}

/* The stream outlives the connection: what it has of it becomes its own. */
static void take_in(struct stream *s, struct learning *l)
{
    l->peer_ip = *s->peer_ip;
    s->peer_ip = &l->peer_ip;
    s->peer.n = min_u64(s->peer.n, sizeof(l->peer));
    memcpy(l->peer, s->peer.p, s->peer.n);
    s->peer.p = l->peer;
    s->client = NULL;
    s->deadline_changed = NULL;
}

/* A drain in which the application's own way out stays open (drain_now_for()) may end with it. */
static bool has_time(const struct stream *s)
{
    const struct worker *w = s->worker;
    return worker_phase_for(w, s->listener->direction) < DRAIN_LAST_CALL &&
           worker_phase(w) < DRAIN_CLEANUP;
}

bool learn_client_gone(struct stream *s, enum reason reason)
{
    struct learning *l = s->learn;
    struct worker *w = s->worker;
    struct side *down = s->down;
    bool awaited = l->state == LEARN_READING || (l->state == LEARN_ASKED && s->sent != 0);
    if (l->orphan || !awaited || !s->request_ended || s->step != STREAM_RESPOND || !s->up ||
        !has_time(s))
        return false;
    l->orphan = true;
    l->why = reason;
    l->sink = (struct side){.ops = &sink_ops, .stream = s};
    take_in(s, l);
    s->down = s->request.from = &l->sink;
    if (l->state == LEARN_ASKED)
        s->response.to = &l->sink;
    list_push_back(&w->learn.orphans, &l->orphan_link);
    timer_init(&l->timer, on_timer);
    timer_set(&w->loop, &l->timer,
              s->deadline != 0 ? s->deadline : w->loop.now + PATIENCE_S * USEC_PER_SEC);
    down->ops->release(down, false, reason);
    down->stream = NULL;
    return true;
}

bool learn_orphaned(struct stream *s)
{
    struct learning *l = s->learn;
    if (!l->orphan || s->step == STREAM_FINISHED)
        return l->orphan;
    stream_finish(s, l->why, false, false);
    return true;
}

void learn_leave_orphans(struct learning *l)
{
    if (!l->orphan)
        return;
    list_remove(&l->orphan_link);
    timer_stop(&l->stream->worker->loop, &l->timer);
}

void learn_end_orphans(struct worker *w)
{
    while (!list_empty(&w->learn.orphans)) {
        struct learning *l =
            LIST_ENTRY(list_first(&w->learn.orphans), struct learning, orphan_link);
        stream_finish(l->stream, l->why, false, false);
    }
}
