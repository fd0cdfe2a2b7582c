/* test_metrics_parts.c - is a long part of /metrics put together in turns, and the same text as in
 * one go? */
#include "admin/control.h"
#include "admin/exposition.h"

#include "base/histogram.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { LISTENERS = 3, ROUTES = 100, OF_A_HISTOGRAM = 23, A_TURN = 250 };

/* Listeners with routes, and no worker that has counted anything. */
struct fixture {
    struct control control;
    struct conf conf;
    struct snapshot snapshot;
    struct conf_listener listeners[LISTENERS];
    struct conf_route routes[LISTENERS][ROUTES];
    char names[LISTENERS][ROUTES][16];
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    assert_non_null(f);
    for (uint32_t i = 0; i < LISTENERS; i++) {
        f->listeners[i].direction = DIRECTION_OUTBOUND;
        f->listeners[i].routes = f->routes[i];
        f->listeners[i].n_routes = i == 1 ? 0 : ROUTES;
        for (uint32_t k = 0; k < ROUTES; k++) {
            (void)snprintf(f->names[i][k], sizeof(f->names[i][k]), "r%u-%u", i, k);
            f->routes[i][k].name = str_of(f->names[i][k]);
        }
    }
    f->conf.listeners = f->listeners;
    f->conf.n_listeners = LISTENERS;
    f->snapshot.conf = &f->conf;
    f->control.snapshot = &f->snapshot;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

/* Returns how many turns it took. */
static uint32_t put_in_turns(struct fixture *f, struct exposition *t, uint32_t a_turn)
{
    uint32_t turns = 0;
    do {
        uint32_t before = t->series + t->dropped;
        t->rest_at = a_turn > 0 ? before + a_turn : 0;
        metrics_durations(t, &f->control);
        assert_true(a_turn == 0 || t->series + t->dropped - before < a_turn + OF_A_HISTOGRAM);
        turns++;
    } while (t->at > 0);
    return turns;
}

static void see_the_same(struct fixture *f, uint32_t most)
{
    enum { SERIES = 2 * ROUTES * OF_A_HISTOGRAM };
    struct exposition whole = {.most = most}, parts = {.most = most};
    assert_int_equal(put_in_turns(f, &whole, 0), 1);
    assert_in_range(put_in_turns(f, &parts, A_TURN), SERIES / (A_TURN + OF_A_HISTOGRAM),
                    SERIES / A_TURN + 1);
    assert_int_equal(whole.series + whole.dropped, SERIES);
    assert_int_equal(parts.series, whole.series);
    assert_int_equal(parts.dropped, whole.dropped);
    assert_int_equal(parts.len, whole.len);
    assert_memory_equal(parts.p, whole.p, whole.len);
    free(whole.p);
    free(parts.p);
}

static void test_in_turns(void **state)
{
    see_the_same(*state, 0);
}

static void test_left_out(void **state)
{
    see_the_same(*state, 1000);
}

/* One more than a turn may have is told all the same. */
static void test_each_turn_gets_on(void **state)
{
    struct exposition t = {0};
    assert_in_range(put_in_turns(*state, &t, 1), 2 * ROUTES, 2 * ROUTES + 1);
    assert_int_equal(t.series, 2 * ROUTES * OF_A_HISTOGRAM);
    free(t.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_turn_gets_on, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
