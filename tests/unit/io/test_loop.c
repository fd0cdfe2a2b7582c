/* test_loop.c - lazy timers, and the reaper. */
#include "io/loop.h"

#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#define MSEC(n) ((usec_t)(n)*USEC_PER_MSEC)

struct shot {
    struct timer timer;
    struct loop *loop;
    usec_t at; /* when it fired */
    int fired;
    usec_t again; /* set to this much later, once */
};

static void on_shot(struct timer *t)
{
    struct shot *s = CONTAINER_OF(t, struct shot, timer);
    s->fired++;
    s->at = clock_mono();
    assert_true(s->loop->now <= s->at);
    assert_int_equal(t->at, 0);
    if (s->again) {
        timer_set(s->loop, t, s->at + s->again);
        s->again = 0;
    }
}

static void shot_init(struct shot *s, struct loop *l)
{
    *s = (struct shot){.loop = l};
    timer_init(&s->timer, on_shot);
}

static int setup(void **state)
{
    struct loop *l = mem_zalloc(sizeof(*l));
    assert_non_null(l);
    assert_int_equal(loop_init(l), 0);
    *state = l;
    return 0;
}

static int teardown(void **state)
{
    struct loop *l = *state;
    loop_free(l);
    free(l);
    return 0;
}

/* With nothing to wait for it ends: neither reaper nor clock keep it running. */
static void test_empty(void **state)
{
    loop_run(*state);
}

static void test_fires_when_due(void **state)
{
    struct loop *l = *state;
    struct shot s;
    shot_init(&s, l);
    usec_t at = clock_mono() + MSEC(20);
    timer_set(l, &s.timer, at);
    loop_run(l);
    assert_int_equal(s.fired, 1);
    assert_true(s.at >= at);
    assert_false(ev_is_active(&s.timer.ev));
}

static void test_past_fires_at_once(void **state)
{
    struct loop *l = *state;
    struct shot s;
    shot_init(&s, l);
    timer_set(l, &s.timer, 1);
    loop_run(l);
    assert_int_equal(s.fired, 1);
}

/* A later time is only noted: libev still has the first one. */
static void test_later_is_lazy(void **state)
{
    struct loop *l = *state;
    struct shot s;
    shot_init(&s, l);
    usec_t at = clock_mono() + MSEC(10);
    timer_set(l, &s.timer, at);
    timer_set(l, &s.timer, at + MSEC(20));
    assert_int_equal(s.timer.armed, at);
    loop_run(l);
    assert_int_equal(s.fired, 1);
    assert_true(s.at >= at + MSEC(20));
}

static void test_earlier_is_not(void **state)
{
    struct loop *l = *state;
    struct shot s;
    shot_init(&s, l);
    usec_t at = clock_mono() + MSEC(10);
    timer_set(l, &s.timer, at + 3600 * USEC_PER_SEC);
    timer_set(l, &s.timer, at);
    assert_int_equal(s.timer.armed, at);
    loop_run(l);
    assert_int_equal(s.fired, 1);
    assert_true(s.at < at + 60 * USEC_PER_SEC);
}

static void test_off_and_on(void **state)
{
    struct loop *l = *state;
    struct shot s;
    shot_init(&s, l);
    timer_set(l, &s.timer, clock_mono() + MSEC(5));
    timer_set(l, &s.timer, 0);
    assert_true(ev_is_active(&s.timer.ev)); /* not worth a call */
    loop_run(l);
    assert_int_equal(s.fired, 0);
    usec_t at = clock_mono() + MSEC(5);
    timer_set(l, &s.timer, clock_mono() + MSEC(2));
    timer_set(l, &s.timer, 0);
    timer_set(l, &s.timer, at);
    loop_run(l);
    assert_int_equal(s.fired, 1);
    assert_true(s.at >= at);
}

static void test_set_in_its_own_callback(void **state)
{
    struct loop *l = *state;
    struct shot s;
    shot_init(&s, l);
    s.again = MSEC(5);
    timer_set(l, &s.timer, clock_mono());
    loop_run(l);
    assert_int_equal(s.fired, 2);
}

static void test_stop(void **state)
{
    struct loop *l = *state;
    struct shot s;
    shot_init(&s, l);
    timer_set(l, &s.timer, clock_mono() + MSEC(5));
    timer_stop(l, &s.timer);
    assert_false(ev_is_active(&s.timer.ev));
    timer_stop(l, &s.timer); /* harmless */
    loop_run(l);
    assert_int_equal(s.fired, 0);
}

/* --- the reaper --- */

static int freed[8];
static size_t n_freed;

struct corpse {
    struct reap reap;
    struct loop *loop;
    int id;
    struct corpse *owned;
};

static void on_reaped(struct reap *r)
{
    struct corpse *c = CONTAINER_OF(r, struct corpse, reap);
    freed[n_freed++] = c->id;
    if (c->owned)
        loop_reap(c->loop, &c->owned->reap, on_reaped);
}

/* In the order in which they were handed over, and also what a freed one hands over then. */
static void test_reaper_order(void **state)
{
    struct loop *l = *state;
    struct corpse three = {.id = 3, .loop = l}, one = {.id = 1, .loop = l, .owned = &three},
                  two = {.id = 2, .loop = l};
    n_freed = 0;
    loop_reap(l, &one.reap, on_reaped);
    loop_reap(l, &two.reap, on_reaped);
    assert_int_equal(n_freed, 0);
    loop_run(l);
    assert_int_equal(n_freed, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(freed[i], i + 1);
    assert_true(list_empty(&l->dead));
}

static struct corpse late = {.id = 9};

static void reap_late(struct timer *t)
{
    struct shot *s = CONTAINER_OF(t, struct shot, timer);
    loop_reap(s->loop, &late.reap, on_reaped);
    assert_int_equal(n_freed, 0); /* not inside a callback */
    loop_stop(s->loop);
}

static void test_reaped_when_the_loop_is_stopped(void **state)
{
    struct loop *l = *state;
    struct shot s, never;
    shot_init(&s, l);
    shot_init(&never, l);
    s.timer.fn = reap_late;
    late = (struct corpse){.id = 9, .loop = l};
    n_freed = 0;
    timer_set(l, &s.timer, clock_mono());
    timer_set(l, &never.timer, clock_mono() + 3600 * USEC_PER_SEC);
    loop_run(l);
    assert_int_equal(n_freed, 1);
    assert_int_equal(never.fired, 0);
    timer_stop(l, &never.timer);
}

static void test_no_memory(UNUSED void **state)
{
    struct loop l;
    mem_fail_at(1, false);
    assert_int_equal(loop_init(&l), -ENOMEM);
    mem_fail_at(0, false);
    assert_null(l.ev);
}

static void test_pieces_of_a_turn(void **state)
{
    struct loop *l = *state;
    (void)ev_run(l->ev, EVRUN_NOWAIT);
    for (int i = 0; i < LOOP_PIECES; i++)
        assert_true(loop_spend(l, 1));
    assert_false(loop_spend(l, 1));
    (void)ev_run(l->ev, EVRUN_NOWAIT);
    assert_true(loop_spend(l, LOOP_PIECES - 1));
    /* More than there is left: done, and the last. */
    assert_true(loop_spend(l, 1000));
    assert_false(loop_spend(l, 1));
}

enum { READY = 5 * LOOP_EVENTS / 2, ROUNDS = 4 };

static struct ready {
    struct ev_io io;
    uint32_t calls;
} ready[READY];

static void on_ready(struct ev_loop *ev, struct ev_io *w, int events)
{
    (void)ev;
    (void)events;
    CONTAINER_OF(w, struct ready, io)->calls++;
}

/* More descriptors are ready, and stay so, than a turn takes: each has its turn. */
static void test_events_of_a_turn(void **state)
{
    struct loop *l = *state;
    for (int i = 0; i < READY; i++) {
        int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
        assert_true(fd >= 0);
        ready[i].calls = 0;
        ev_io_init(&ready[i].io, on_ready, fd, EV_READ);
        ev_io_start(l->ev, &ready[i].io);
    }
    uint32_t before = 0;
    for (int turn = 1; before < ROUNDS * READY; turn++) {
        uint32_t calls = 0, least = UINT32_MAX, most = 0;
        assert_true(turn <= (ROUNDS + 1) * READY / LOOP_EVENTS);
        (void)ev_run(l->ev, EVRUN_NOWAIT);
        for (int i = 0; i < READY; i++) {
            calls += ready[i].calls;
            least = min_u64(least, ready[i].calls) & UINT32_MAX;
            most = max_u64(most, ready[i].calls) & UINT32_MAX;
        }
        assert_in_range(calls - before, 1, LOOP_EVENTS);
        assert_in_range(most - least, 0, 1);
        before = calls;
    }
    for (int i = 0; i < READY; i++) {
        ev_io_stop(l->ev, &ready[i].io);
        (void)close(ready[i].io.fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fires_when_due, setup, teardown),
        cmocka_unit_test_setup_teardown(test_past_fires_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later_is_lazy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_earlier_is_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_off_and_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_in_its_own_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reaper_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reaped_when_the_loop_is_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pieces_of_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events_of_a_turn, setup, teardown),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
