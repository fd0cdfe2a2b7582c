/* loop.c - one thread's event loop, its reaper and its lazy timers. */
#include "io/loop.h"

#include "base/mem.h"
#include "io/child.h"

#include <errno.h>
#include <sys/epoll.h>

/* libev takes as many events as there are: its array grows with them, and there is no setting for
 * that. A turn with a thousand requests would keep timers, mail and all who became ready meanwhile
 * waiting for tens of milliseconds. So this one is called by it in the place of libc's, as a
 * program's own symbols come first. The kernel begins the next time with those that it has left. */
int epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
    return epoll_pwait(fd, events, most < LOOP_EVENTS ? most : LOOP_EVENTS, timeout, NULL);
}

static void reap_all(struct loop *l)
{
    /* A free function may hand over what it owned: until nothing is left. */
    while (!list_empty(&l->dead)) {
        struct reap *r = LIST_ENTRY(l->dead.next, struct reap, link);
        list_remove(&r->link);
        r->free(r);
    }
}

static void on_before_wait(struct ev_loop *ev, struct ev_prepare *w, int events)
{
    struct loop *l = CONTAINER_OF(w, struct loop, before_wait);
    (void)ev;
    (void)events;
    reap_all(l);
}

static void on_after_wait(struct ev_loop *ev, struct ev_check *w, int events)
{
    struct loop *l = CONTAINER_OF(w, struct loop, after_wait);
    (void)ev;
    (void)events;
    l->now = clock_mono();
    l->pieces = LOOP_PIECES;
}

static void on_turn_end(struct ev_loop *ev, struct ev_prepare *w, int events)
{
    struct loop *l = CONTAINER_OF(w, struct loop, turn_end);
    (void)ev;
    (void)events;
    while (!list_empty(&l->turn_ends)) {
        struct turn_end *t = LIST_ENTRY(l->turn_ends.next, struct turn_end, link);
        list_remove(&t->link);
        t->fn(t);
    }
}

void loop_at_turn_end(struct loop *l, struct turn_end *t)
{
    if (list_linked(&t->link))
        return;
    if (list_empty(&l->turn_ends))
        ev_feed_event(l->ev, &l->turn_end, EV_PREPARE);
    list_push_back(&l->turn_ends, &t->link);
}

int loop_init(struct loop *l)
{
    *l = (struct loop){0};
    list_init(&l->dead);
    list_init(&l->turn_ends);
    list_init(&l->killed);
    l->scratch = mem_alloc(LOOP_SCRATCH_BYTES);
    l->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!l->scratch || !l->ev) {
        loop_free(l);
        return -ENOMEM;
    }
    l->now = clock_mono();
    l->pieces = LOOP_PIECES;
    rng_init_random(&l->rng);
    ev_set_userdata(l->ev, l);
    ev_prepare_init(&l->before_wait, on_before_wait);
    ev_check_init(&l->after_wait, on_after_wait);
    ev_set_priority(&l->after_wait, EV_MAXPRI);
    ev_prepare_init(&l->turn_end, on_turn_end);
    ev_set_priority(&l->turn_end, EV_MINPRI);
    ev_prepare_start(l->ev, &l->before_wait);
    ev_check_start(l->ev, &l->after_wait);
    ev_unref(l->ev);
    ev_unref(l->ev);
    return 0;
}

void loop_free(struct loop *l)
{
    if (l->ev) {
        reap_all(l);
        child_forget_killed(l);
        ev_ref(l->ev);
        ev_ref(l->ev);
        ev_prepare_stop(l->ev, &l->before_wait);
        ev_check_stop(l->ev, &l->after_wait);
        ev_loop_destroy(l->ev);
    }
    buf_pool_free(&l->bufs);
    free(l->scratch);
    l->ev = NULL;
    l->scratch = NULL;
}

void loop_run(struct loop *l)
{
    (void)ev_run(l->ev, 0);
    reap_all(l);
}

void loop_stop(struct loop *l)
{
    ev_break(l->ev, EVBREAK_ALL);
}

void loop_forget(struct loop *l)
{
    ev_loop_fork(l->ev);
}

void loop_reap(struct loop *l, struct reap *r, void (*free_fn)(struct reap *))
{
    CHECK(!list_linked(&r->link));
    r->free = free_fn;
    list_push_back(&l->dead, &r->link);
}

static void timer_arm(struct loop *l, struct timer *t)
{
    usec_t now = clock_mono();
    ev_tstamp after = t->at > now ? (ev_tstamp)(t->at - now) / 1e6 : 0.;
    if (ev_is_active(&t->ev))
        ev_timer_stop(l->ev, &t->ev);
    /* libev counts from the start of this turn, which may be a little ago. */
    ev_now_update(l->ev);
    ev_timer_set(&t->ev, after, 0.);
    ev_timer_start(l->ev, &t->ev);
    t->armed = t->at;
}

static void on_timer(struct ev_loop *ev, struct ev_timer *w, int events)
{
    struct timer *t = CONTAINER_OF(w, struct timer, ev);
    struct loop *l = ev_userdata(ev);
    (void)events;
    t->armed = 0;
    if (t->at == 0)
        return;
    l->now = clock_mono();
    if (t->at > l->now) {
        timer_arm(l, t);
        return;
    }
    t->at = 0;
    t->fn(t);
}

void timer_init(struct timer *t, void (*fn)(struct timer *))
{
    ev_timer_init(&t->ev, on_timer, 0., 0.);
    t->at = t->armed = 0;
    t->fn = fn;
}

void timer_set(struct loop *l, struct timer *t, usec_t at)
{
    t->at = at;
    if (at != 0 && (t->armed == 0 || at < t->armed))
        timer_arm(l, t);
}

void timer_stop(struct loop *l, struct timer *t)
{
    ev_timer_stop(l->ev, &t->ev);
    t->at = t->armed = 0;
}
