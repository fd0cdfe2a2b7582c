/* test_prestop.c - what the calls of /prestop mean, with simulated time. */
#include "lifecycle/prestop.h"

#include "base/check.h"
#include "sim_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { APP = 0, SELF = 1, STRANGER = 0, TRUSTED = 1 };

static const struct prestop_facts serving = {.restart_drain = SEC(2), .grace = SEC(30)};
static const struct prestop_facts draining = {
    .drain_runs = true, .restart_drain = SEC(2), .grace = SEC(30)};
static const struct prestop_facts drained = {
    .drain_runs = true, .released = true, .restart_drain = SEC(2), .grace = SEC(30)};

static void state(const struct prestop *p, enum prestop_state want)
{
    assert_string_equal(prestop_state_word(p->state), prestop_state_word(want));
}

static void step(struct prestop *p, enum prestop_port port, usec_t now, enum prestop_state want,
                 usec_t want_next)
{
    usec_t next = 0;
    (void)prestop_step(p, port, now, &next);
    state(p, want);
    assert_int_equal(next, want_next);
}

/* After a call at T0. */
static struct prestop asked(void)
{
    struct prestop p;
    prestop_init(&p);
    assert_int_equal(prestop_called(&p, APP, TRUSTED, &serving, T0), PRESTOP_HOLD);
    state(&p, PRESTOP_ASKED);
    return p;
}

static struct prestop restarts(void)
{
    struct prestop p = asked();
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(1) - 1, PRESTOP_ASKED, T0 + SEC(1));
    assert_false(prestop_unready(&p));
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(1), PRESTOP_RESTART, T0 + SEC(3));
    assert_true(prestop_unready(&p));
    assert_false(prestop_lets_go(&p));
    return p;
}

static void test_deletion(UNUSED void **s)
{
    struct prestop p = asked();
    assert_int_equal(prestop_called(&p, SELF, TRUSTED, &serving, T0 + MSEC(14)), PRESTOP_ANSWER);
    state(&p, PRESTOP_END);
    assert_int_equal(p.asked_at, T0); /* the grace began with the first call */
    step(&p, PRESTOP_PORT_REFUSES, T0 + SEC(100), PRESTOP_END, USEC_NEVER); /* no way back */
    assert_false(prestop_lets_go(&p));

    prestop_init(&p); /* the other way round */
    assert_int_equal(prestop_called(&p, SELF, TRUSTED, &serving, T0), PRESTOP_ANSWER);
    state(&p, PRESTOP_END);
    assert_int_equal(prestop_called(&p, APP, TRUSTED, &draining, T0 + MSEC(14)), PRESTOP_HOLD);
    assert_int_equal(p.asked_at, T0);
    assert_int_equal(prestop_called(&p, APP, TRUSTED, &drained, T0 + SEC(9)), PRESTOP_ANSWER);
    assert_int_equal(prestop_called(&p, SELF, TRUSTED, &drained, T0 + SEC(9)), PRESTOP_ANSWER);
    assert_int_equal(p.asked_at, T0);
}

static void test_restart(UNUSED void **s)
{
    struct prestop p = restarts();
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(3) - 1, PRESTOP_RESTART, T0 + SEC(3));
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(3), PRESTOP_LEAVING, T0 + SEC(43));
    assert_true(prestop_lets_go(&p) && prestop_unready(&p));
    step(&p, PRESTOP_PORT_REFUSES, T0 + SEC(20), PRESTOP_AWAY, USEC_NEVER);
    step(&p, PRESTOP_PORT_REFUSES, T0 + SEC(2000), PRESTOP_AWAY, USEC_NEVER);
    assert_true(prestop_unready(&p));
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(2001), PRESTOP_IDLE, USEC_NEVER);
    assert_false(prestop_unready(&p));
}

static void test_restart_ends_as_the_port_refuses(UNUSED void **s)
{
    struct prestop p = restarts();
    step(&p, PRESTOP_PORT_REFUSES, T0 + MSEC(1100), PRESTOP_AWAY, USEC_NEVER);
    assert_true(prestop_lets_go(&p));
}

/* It was told to end, and did not. */
static void test_an_application_that_stays(UNUSED void **s)
{
    struct prestop p = restarts();
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(3), PRESTOP_LEAVING, T0 + SEC(43));
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(43), PRESTOP_IDLE, USEC_NEVER);
}

static void test_no_port_is_known(UNUSED void **s)
{
    struct prestop p = asked();
    step(&p, PRESTOP_PORT_UNKNOWN, T0 + SEC(1), PRESTOP_RESTART, T0 + SEC(3));
    step(&p, PRESTOP_PORT_UNKNOWN, T0 + SEC(3), PRESTOP_IDLE, USEC_NEVER);
    assert_true(prestop_lets_go(&p));
}

/* Time stood still for us. */
static void test_late(UNUSED void **s)
{
    struct prestop p = asked();
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(60), PRESTOP_LEAVING, T0 + SEC(100));
}

static void test_deletion_at_any_time_of_a_restart(UNUSED void **s)
{
    for (int at = PRESTOP_RESTART; at <= PRESTOP_AWAY; at++) {
        struct prestop p = restarts();
        if (at >= PRESTOP_LEAVING)
            step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(3), PRESTOP_LEAVING, T0 + SEC(43));
        if (at == PRESTOP_AWAY)
            step(&p, PRESTOP_PORT_REFUSES, T0 + SEC(4), PRESTOP_AWAY, USEC_NEVER);
        assert_int_equal(prestop_called(&p, SELF, TRUSTED, &serving, T0 + SEC(5)), PRESTOP_ANSWER);
        state(&p, PRESTOP_END);
        assert_int_equal(p.asked_at, T0 + SEC(5)); /* another grace */
    }
}

static void test_calls_in_a_restart(UNUSED void **s)
{
    struct prestop p = restarts();
    assert_int_equal(prestop_called(&p, APP, TRUSTED, &serving, T0 + SEC(2)), PRESTOP_HOLD);
    assert_int_equal(prestop_called(&p, APP, STRANGER, &serving, T0 + SEC(2)), PRESTOP_HOLD);
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(2), PRESTOP_RESTART, T0 + SEC(3)); /* not longer */
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(3), PRESTOP_LEAVING, T0 + SEC(43));
    /* Another container, or the beginning of a deletion. */
    assert_int_equal(prestop_called(&p, APP, STRANGER, &serving, T0 + SEC(4)), PRESTOP_REFUSE);
    state(&p, PRESTOP_LEAVING);
    assert_int_equal(prestop_called(&p, APP, TRUSTED, &serving, T0 + SEC(4)), PRESTOP_HOLD);
    state(&p, PRESTOP_ASKED);
    assert_int_equal(prestop_called(&p, SELF, TRUSTED, &serving, T0 + SEC(4)), PRESTOP_ANSWER);
    state(&p, PRESTOP_END);
}

/* The token is needed to begin, and for nothing else. */
static void test_strangers(UNUSED void **s)
{
    struct prestop p;
    prestop_init(&p);
    assert_int_equal(prestop_called(&p, APP, STRANGER, &serving, T0), PRESTOP_REFUSE);
    assert_int_equal(prestop_called(&p, SELF, STRANGER, &serving, T0), PRESTOP_REFUSE);
    state(&p, PRESTOP_IDLE);
    p = asked();
    assert_int_equal(prestop_called(&p, APP, STRANGER, &serving, T0), PRESTOP_HOLD);
    assert_int_equal(prestop_called(&p, SELF, STRANGER, &serving, T0), PRESTOP_ANSWER);
    state(&p, PRESTOP_ASKED); /* it does not count */
}

/* Somebody else has begun a drain. */
static void test_another_drain(UNUSED void **s)
{
    struct prestop p;
    prestop_init(&p);
    assert_int_equal(prestop_called(&p, APP, STRANGER, &draining, T0), PRESTOP_HOLD);
    state(&p, PRESTOP_IDLE);
    assert_int_equal(prestop_called(&p, SELF, STRANGER, &draining, T0), PRESTOP_ANSWER);
    state(&p, PRESTOP_IDLE);
    assert_int_equal(prestop_called(&p, SELF, TRUSTED, &draining, T0), PRESTOP_ANSWER);
    state(&p, PRESTOP_END);

    p = restarts();
    prestop_give_way(&p);
    state(&p, PRESTOP_IDLE);
    p = restarts();
    (void)prestop_called(&p, SELF, TRUSTED, &serving, T0 + SEC(2));
    prestop_give_way(&p);
    state(&p, PRESTOP_END);
}

static void test_resume(UNUSED void **s)
{
    struct prestop p;
    prestop_init(&p);
    prestop_resume(&p, PRESTOP_RESTART, T0, T0 + SEC(3), &serving);
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(2), PRESTOP_RESTART, T0 + SEC(3));
    step(&p, PRESTOP_PORT_ACCEPTS, T0 + SEC(5), PRESTOP_LEAVING, T0 + SEC(45));
    prestop_resume(&p, PRESTOP_ASKED, T0, T0 + SEC(1), &serving);
    assert_int_equal(prestop_called(&p, SELF, TRUSTED, &serving, T0 + MSEC(500)), PRESTOP_ANSWER);
    state(&p, PRESTOP_END);
    assert_int_equal(p.asked_at, T0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deletion),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_ends_as_the_port_refuses),
        cmocka_unit_test(test_an_application_that_stays),
        cmocka_unit_test(test_no_port_is_known),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_deletion_at_any_time_of_a_restart),
        cmocka_unit_test(test_calls_in_a_restart),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_another_drain),
        cmocka_unit_test(test_resume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
