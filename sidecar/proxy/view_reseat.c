/* view_reseat.c - long streams move on to the snapshot in force. */
#include "proxy/view_reseat.h"

#include "proxy/listener.h"
#include "proxy/pool.h"
#include "proxy/stream.h"
#include "proxy/view.h"
#include "proxy/websocket_tunnel.h"
#include "proxy/worker.h"

enum {
    BATCH = 256,    /* streams that are looked at in one go */
    AGAIN_MS = 1,   /* until the next batch of the same view */
    REST_MS = 1000, /* until streams that could not move are looked at again */
};

enum seat { SEAT_MOVED, SEAT_KEEPS, SEAT_GONE };

/* Where its names lead to in the snapshot in force. */
static enum seat reseat(struct stream *s)
{
    struct view *v = s->worker->view;
    const struct conf *c = v->snapshot->conf;
    const struct conf_listener *l = conf_find_listener(c, s->listener->name);
    const struct conf_route *r =
        s->route ? conf_find_route(c, s->listener->name, s->route->name) : NULL;

    if (!s->response_begun || !s->upstream || !s->route)
        return SEAT_KEEPS; /* it will end, or answer, by its own deadlines */
    if (!l || v->listeners[l->index] != s->accepted_on || !r ||
        v->routes[r->index].state != s->route_state)
        return SEAT_GONE;
    /* Where its route leads now is for others; that is no reason to end it. */
    const struct conf_upstream *u = conf_find_upstream(c, s->upstream->name);
    if (!u || v->pools[u->index] != s->pool)
        return SEAT_KEEPS;
    view_release(s->view, s);
    view_hold(v, s);
    s->listener = l;
    s->route = r;
    s->upstream = u;
    return SEAT_MOVED;
}

/* Its route is gone for longer than a drain may last. */
static bool overdue(const struct stream *s)
{
    const struct conf_lifecycle *l = &s->worker->view->snapshot->conf->lifecycle;
    return s->worker->loop.now >= s->view->replaced + l->drain_timeout;
}

/* Looks at no more than `budget` streams; true when one has moved. */
static bool reseat_some(struct view *v, uint32_t *budget)
{
    uint32_t n = (uint32_t)min_u64(count_read(&v->held), *budget);
    bool moved = false;
    *budget -= n;
    while (n-- > 0 && !list_empty(&v->streams)) {
        struct stream *s = LIST_ENTRY(list_first(&v->streams), struct stream, link);
        /* What stays goes to the end, so that the next batch sees others. */
        list_remove(&s->link);
        list_push_back(&v->streams, &s->link);
        enum seat seat = reseat(s);
        if (seat == SEAT_GONE && overdue(s)) {
            if (s->websocket)
                websocket_tunnel_close(s->websocket, WEBSOCKET_GOING_AWAY, REASON_ROUTE_REMOVED);
            else
                stream_force(s);
        }
        moved = moved || seat == SEAT_MOVED;
    }
    return moved;
}

void view_reseat(struct worker *w)
{
    uint32_t views = 0, budget = BATCH;
    bool moved = false;
    /* One that is being left presses nobody: the one just replaced, mostly. */
    LIST_FOREACH (it, &w->old_views)
        views += !LIST_ENTRY(it, struct view, link)->leaving;
    if (views <= VIEWS_KEPT)
        return;
    /* A view that is left stays in memory until the end of the turn. */
    for (struct list *it = w->old_views.next; views > VIEWS_KEPT && budget > 0; it = it->next) {
        struct view *v = LIST_ENTRY(it, struct view, link);
        if (v->leaving)
            continue;
        views--;
        if (reseat_some(v, &budget))
            moved = true;
    }
    timer_set(&w->loop, &w->reseat_timer,
              w->loop.now + (moved ? AGAIN_MS : REST_MS) * USEC_PER_MSEC);
}

void view_reseat_tick(struct timer *t)
{
    view_reseat(CONTAINER_OF(t, struct worker, reseat_timer));
}
