/* test_drain.c - which phase when, with simulated time. */
#include "lifecycle/drain.h"

#include "base/check.h"
#include "usual.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct drain begun(const struct conf_lifecycle *c, usec_t budget)
{
    struct drain d;
    drain_init(&d);
    assert_true(drain_begin(&d, c, DRAIN_BY_SIGNAL, budget, T0, T0));
    return d;
}

/* No application is known, and there is nothing to release. */
static struct drain_facts open_now(uint64_t inbound, uint64_t outbound)
{
    return (struct drain_facts){.inbound = inbound, .outbound = outbound, .cleaned = true};
}

/* All steps that are due at `now`. */
static enum drain_phase step_all(struct drain *d, const struct drain_facts *f, usec_t now,
                                 usec_t *ret_next)
{
    enum drain_phase before, after = drain_now(d);
    do {
        before = after;
        after = drain_step(d, f, now, ret_next);
    } while (after != before);
    return after;
}

/* Takes the one step that is due at `now`, and says what and when the next is. */
static void step(struct drain *d, uint64_t inbound, uint64_t outbound, usec_t now,
                 enum drain_phase want, usec_t want_next)
{
    usec_t next = 0;
    struct drain_facts f = open_now(inbound, outbound);
    enum drain_phase got = drain_step(d, &f, now, &next);
    assert_string_equal(drain_phase_word(got), drain_phase_word(want));
    assert_int_equal(got, drain_now(d));
    assert_int_equal(next, want_next);
}

static void test_words(UNUSED void **state)
{
    assert_string_equal(drain_phase_word(DRAIN_SERVING), "serving");
    assert_string_equal(drain_phase_word(DRAIN_LAST_CALL), "last_call");
    assert_string_equal(drain_phase_word(DRAIN_EGRESS_ONLY), "egress_only");
    assert_string_equal(drain_phase_word(DRAIN_EXIT), "exit");
}

static void test_serving_goes_nowhere(UNUSED void **state)
{
    struct drain d;
    drain_init(&d);
    step(&d, 0, 0, T0, DRAIN_SERVING, USEC_NEVER);
    step(&d, 0, 0, USEC_NEVER - 1, DRAIN_SERVING, USEC_NEVER);
}

/* D = start + the configured sum - 500 ms, or less where the sum is short. */
static void test_deadline(UNUSED void **state)
{
    struct drain d = begun(&usual, 0);
    assert_int_equal(d.budget.deadline, T0 + SEC(35) - MSEC(500));
    assert_int_equal(d.started, T0);
    assert_int_equal(d.trigger, DRAIN_BY_SIGNAL);

    struct conf_lifecycle c = usual;
    c.termination_grace = SEC(30);
    d = begun(&c, 0);
    assert_int_equal(d.budget.deadline, T0 + SEC(30) - MSEC(500));
    c.termination_grace = SEC(60); /* more than is needed */
    d = begun(&c, 0);
    assert_int_equal(d.budget.deadline, T0 + SEC(35) - MSEC(500));

    c = (struct conf_lifecycle){.drain_timeout = SEC(2), .last_call = MSEC(500)};
    d = begun(&c, 0);
    assert_int_equal(d.budget.deadline, T0 + SEC(2) - MSEC(100));
    c = (struct conf_lifecycle){0};
    d = begun(&c, 0);
    assert_int_equal(d.budget.deadline, T0);
}

static void test_budget_only_shortens(UNUSED void **state)
{
    struct drain d = begun(&usual, SEC(10));
    assert_int_equal(d.budget.deadline, T0 + SEC(10));
    assert_int_equal(d.budget.notice_end, T0 + SEC(5));
    assert_int_equal(d.budget.force_at, T0 + MSEC(8500)); /* releases get their part */
    assert_int_equal(d.last_call_at, T0 + MSEC(7500));
    d = begun(&usual, SEC(3600));
    assert_int_equal(d.budget.deadline, T0 + SEC(35) - MSEC(500));
}

static void test_every_phase_by_its_time(UNUSED void **state)
{
    struct drain d = begun(&usual, 0);
    usec_t end = d.budget.deadline;
    step(&d, 3, 1, T0, DRAIN_NOTICE, T0 + SEC(5));
    step(&d, 3, 1, T0 + SEC(5) - 1, DRAIN_NOTICE, T0 + SEC(5));
    step(&d, 3, 1, T0 + SEC(5), DRAIN_DRAIN, USEC_NEVER); /* told first, asked again */
    step(&d, 3, 1, T0 + SEC(5), DRAIN_DRAIN, T0 + SEC(24));
    step(&d, 3, 1, T0 + SEC(24) - 1, DRAIN_DRAIN, T0 + SEC(24));
    step(&d, 3, 1, T0 + SEC(24), DRAIN_LAST_CALL, USEC_NEVER);
    step(&d, 3, 1, T0 + SEC(24), DRAIN_LAST_CALL, T0 + SEC(25));
    step(&d, 3, 1, T0 + SEC(25), DRAIN_FORCE, USEC_NEVER);
    step(&d, 3, 1, T0 + SEC(25), DRAIN_EGRESS_ONLY, USEC_NEVER);
    usec_t cleanup = end - MSEC(1500);
    step(&d, 3, 1, T0 + SEC(25), DRAIN_EGRESS_ONLY, cleanup);
    step(&d, 3, 1, cleanup - 1, DRAIN_EGRESS_ONLY, cleanup);
    step(&d, 3, 1, cleanup, DRAIN_CLEANUP, USEC_NEVER);
    step(&d, 3, 1, cleanup, DRAIN_EXIT, USEC_NEVER);
    step(&d, 3, 1, end + SEC(100), DRAIN_EXIT, USEC_NEVER);
    for (int p = DRAIN_NOTICE; p < DRAIN_PHASES; p++)
        assert_true(d.began[p] != 0);
    assert_int_equal(d.began[DRAIN_LAST_CALL], T0 + SEC(24));
}

static void test_nothing_left_ends_phases(UNUSED void **state)
{
    struct drain d = begun(&usual, 0);
    step(&d, 0, 0, T0, DRAIN_NOTICE, T0 + SEC(5)); /* somebody may still come */
    step(&d, 0, 0, T0 + SEC(5), DRAIN_DRAIN, USEC_NEVER);
    step(&d, 0, 2, T0 + SEC(5), DRAIN_EGRESS_ONLY, USEC_NEVER);
    step(&d, 0, 2, T0 + SEC(6), DRAIN_EGRESS_ONLY, d.budget.deadline - MSEC(1500));
    step(&d, 0, 0, T0 + SEC(7), DRAIN_CLEANUP, USEC_NEVER);
    step(&d, 0, 0, T0 + SEC(7), DRAIN_EXIT, USEC_NEVER);
    assert_int_equal(d.began[DRAIN_LAST_CALL], 0);
    assert_int_equal(d.began[DRAIN_FORCE], 0);
    assert_int_equal(d.began[DRAIN_CLEANUP], T0 + SEC(7));

    d = begun(&usual, 0);
    step(&d, 1, 0, T0 + SEC(5), DRAIN_DRAIN, USEC_NEVER);
    step(&d, 1, 0, T0 + SEC(24), DRAIN_LAST_CALL, USEC_NEVER);
    step(&d, 0, 0, T0 + SEC(24) + 1, DRAIN_EGRESS_ONLY, USEC_NEVER);
    assert_int_equal(d.began[DRAIN_FORCE], 0);
}

static void test_no_notice(UNUSED void **state)
{
    struct conf_lifecycle c = usual;
    c.notice_period = 0;
    struct drain d = begun(&c, 0);
    step(&d, 1, 0, T0, DRAIN_DRAIN, USEC_NEVER);
    step(&d, 1, 0, T0, DRAIN_DRAIN, T0 + SEC(19));
}

/* Then LAST_CALL is all of the drain, and lies in its time. */
static void test_drain_shorter_than_last_call(UNUSED void **state)
{
    struct conf_lifecycle c = usual;
    c.drain_timeout = MSEC(400);
    struct drain d = begun(&c, 0);
    assert_int_equal(d.last_call_at, d.budget.notice_end);
    assert_int_equal(d.budget.force_at, T0 + SEC(5) + MSEC(400));

    c.app_cleanup = 0;
    c.notice_period = 0;
    d = begun(&c, 0);
    step(&d, 1, 0, T0, DRAIN_DRAIN, USEC_NEVER);
    step(&d, 1, 0, T0, DRAIN_LAST_CALL, USEC_NEVER);
    step(&d, 1, 0, T0, DRAIN_LAST_CALL, T0 + MSEC(380));
}

/* A budget that NOTICE would eat is shared with the drain. */
static void test_budget_within_the_notice(UNUSED void **state)
{
    struct conf_lifecycle c = usual;
    c.app_cleanup = 0;
    struct drain d = begun(&c, SEC(4));
    step(&d, 1, 1, T0, DRAIN_NOTICE, T0 + SEC(2));
    step(&d, 1, 1, T0 + SEC(2), DRAIN_DRAIN, USEC_NEVER);
    step(&d, 1, 1, T0 + SEC(2), DRAIN_DRAIN, T0 + SEC(3));
    step(&d, 1, 1, T0 + SEC(3), DRAIN_LAST_CALL, USEC_NEVER);
    step(&d, 1, 1, T0 + SEC(3), DRAIN_LAST_CALL, T0 + SEC(4));
    step(&d, 1, 1, T0 + SEC(4), DRAIN_FORCE, USEC_NEVER);
    step(&d, 1, 1, T0 + SEC(4), DRAIN_EGRESS_ONLY, USEC_NEVER);
    step(&d, 1, 1, T0 + SEC(4), DRAIN_CLEANUP, USEC_NEVER);
    step(&d, 1, 1, T0 + SEC(4), DRAIN_EXIT, USEC_NEVER);
}

static void test_second_trigger_only_shortens(UNUSED void **state)
{
    struct drain d = begun(&usual, SEC(20));
    step(&d, 1, 0, T0 + SEC(5), DRAIN_DRAIN, USEC_NEVER);
    assert_false(drain_begin(&d, &usual, DRAIN_BY_ADMIN, 0, T0 + SEC(6), T0 + SEC(6)));
    assert_int_equal(d.budget.deadline, T0 + SEC(20));
    assert_false(drain_begin(&d, &usual, DRAIN_BY_ADMIN, SEC(60), T0 + SEC(6), T0 + SEC(6)));
    assert_int_equal(d.budget.deadline, T0 + SEC(20));
    assert_int_equal(d.trigger, DRAIN_BY_SIGNAL);
    assert_int_equal(d.started, T0);
    assert_false(drain_begin(&d, &usual, DRAIN_BY_ADMIN, SEC(4), T0 + SEC(6), T0 + SEC(6)));
    assert_int_equal(d.budget.deadline, T0 + SEC(10));
    assert_int_equal(d.last_call_at, T0 + MSEC(7500));
    step(&d, 1, 0, T0 + SEC(6), DRAIN_DRAIN, T0 + MSEC(7500));
}

static void test_force(UNUSED void **state)
{
    struct drain d = begun(&usual, 0);
    usec_t now = T0 + SEC(1);
    drain_force(&d, now);
    assert_int_equal(d.budget.deadline, now);
    struct drain_facts f = open_now(5, 5);
    usec_t next;
    assert_int_equal(step_all(&d, &f, now, &next), DRAIN_EXIT);
    assert_int_equal(d.began[DRAIN_FORCE], now);
    drain_force(&d, now + SEC(5)); /* never later */
    assert_int_equal(d.budget.deadline, now);
}

static void test_resume(UNUSED void **state)
{
    struct drain d;
    drain_init(&d);
    struct drain_resumed r = {.started = T0, .deadline = T0 + SEC(30)};
    drain_resume(&d, &usual, &r, T0 + SEC(10));
    assert_int_equal(d.started, T0);
    assert_int_equal(d.budget.deadline, T0 + SEC(30));
    assert_int_equal(d.trigger, DRAIN_BY_RESUME);
    step(&d, 1, 0, T0 + SEC(10), DRAIN_DRAIN, USEC_NEVER); /* the notice is over */
    step(&d, 1, 0, T0 + SEC(10), DRAIN_DRAIN, T0 + SEC(24));

    drain_init(&d); /* D has passed meanwhile */
    drain_resume(&d, &usual, &r, T0 + SEC(40));
    struct drain_facts f = open_now(1, 1);
    usec_t next;
    assert_int_equal(step_all(&d, &f, T0 + SEC(40), &next), DRAIN_EXIT);
}

static void window(const struct drain *d, usec_t from, usec_t until)
{
    usec_t got_from, got_until;
    drain_idle_window(d, &got_from, &got_until);
    assert_int_equal(got_from, from);
    assert_int_equal(got_until, until);
}

/* Not before responses have said close for 500 ms; half of what is left, at most 5 s. */
static void test_idle_window(UNUSED void **state)
{
    struct drain d = begun(&usual, 0);
    step(&d, 1, 0, T0 + SEC(5), DRAIN_DRAIN, USEC_NEVER);
    window(&d, T0 + SEC(5), T0 + SEC(10));

    struct conf_lifecycle c = usual;
    c.notice_period = 0;
    d = begun(&c, 0);
    step(&d, 1, 0, T0, DRAIN_DRAIN, USEC_NEVER);
    window(&d, T0 + MSEC(500), T0 + MSEC(5500));

    c.drain_timeout = SEC(4);
    c.last_call = SEC(1);
    d = begun(&c, 0);
    step(&d, 1, 0, T0, DRAIN_DRAIN, USEC_NEVER);
    window(&d, T0 + MSEC(500), T0 + MSEC(1750));

    c.drain_timeout = MSEC(600); /* the lead would reach into LAST_CALL */
    c.last_call = MSEC(300);
    d = begun(&c, 0);
    step(&d, 1, 0, T0, DRAIN_DRAIN, USEC_NEVER);
    window(&d, T0 + MSEC(300), T0 + MSEC(300));
}

static void test_due(UNUSED void **state)
{
    assert_int_equal(drain_due(0, T0, T0 + SEC(1), MSEC(10)), 0);
    assert_int_equal(drain_due(1, T0, T0 + SEC(1), MSEC(10)), 1);
    assert_int_equal(drain_due(101, T0, T0 + SEC(1), MSEC(10)), 1);
    assert_int_equal(drain_due(102, T0, T0 + SEC(1), MSEC(10)), 2);
    assert_int_equal(drain_due(102, T0 + SEC(1), T0 + SEC(1), MSEC(10)), 102);
    assert_int_equal(drain_due(UINT32_MAX, T0, T0 + SEC(1), MSEC(10)), UINT32_MAX / 101 + 1);
    uint32_t left = 1000;
    for (usec_t now = T0; now <= T0 + SEC(1); now += MSEC(10))
        left -= drain_due(left, now, T0 + SEC(1), MSEC(10));
    assert_int_equal(left, 0);
}

static struct drain of_pod(void)
{
    struct drain d;
    drain_init(&d);
    assert_true(drain_begin(&d, &usual, DRAIN_BY_PRESTOP, 0, T0 - MSEC(14), T0));
    assert_true(drain_of_pod(&d) && d.ready_in_notice);
    assert_int_equal(d.started, T0 - MSEC(14));
    assert_int_equal(d.budget.deadline, T0 - MSEC(14) + MSEC(34500));
    return d;
}

/* What is not known of it may still connect: until our SIGTERM says that it has gone. */
static void test_egress_of_a_pod(UNUSED void **state)
{
    struct drain d = of_pod();
    struct drain_facts f = {.app = DRAIN_APP_UNKNOWN, .cleaned = true};
    usec_t next;
    assert_int_equal(step_all(&d, &f, T0 + SEC(5), &next), DRAIN_EGRESS_ONLY);
    assert_int_equal(next, d.budget.cleanup_at);
    assert_int_equal(step_all(&d, &f, T0 + SEC(20), &next), DRAIN_EGRESS_ONLY);
    drain_app_has_gone(&d);
    assert_int_equal(step_all(&d, &f, T0 + SEC(20), &next), DRAIN_EXIT);
    assert_int_equal(d.began[DRAIN_CLEANUP], T0 + SEC(20));

    d = of_pod();
    (void)step_all(&d, &f, T0 + SEC(5), &next);
    assert_int_equal(step_all(&d, &f, d.budget.cleanup_at, &next), DRAIN_EXIT);
}

/* Its end is waited for, however many connections it has; and no longer. */
static void test_egress_of_a_known_application(UNUSED void **state)
{
    struct drain d = begun(&usual, 0);
    struct drain_facts f = {.app = DRAIN_APP_ALIVE, .cleaned = true};
    usec_t next;
    (void)step_all(&d, &f, T0 + SEC(5), &next);
    assert_int_equal(step_all(&d, &f, T0 + SEC(30), &next), DRAIN_EGRESS_ONLY);
    f.outbound = 3;
    f.app = DRAIN_APP_GONE;
    assert_int_equal(step_all(&d, &f, T0 + SEC(30), &next), DRAIN_EXIT);
}

static void test_quiet_ends_the_notice(UNUSED void **state)
{
    struct drain d = of_pod();
    struct drain_facts f = {.inbound = 1};
    usec_t next;
    assert_int_equal(step_all(&d, &f, T0 + SEC(3), &next), DRAIN_NOTICE);
    f.quiet = true;
    assert_int_equal(step_all(&d, &f, T0 + SEC(3), &next), DRAIN_DRAIN);
    assert_int_equal(next, d.budget.last_call_at);
}

/* Listeners stay open, and who was told to go comes again: refused only by LAST_CALL's time. */
static void test_who_comes_again_keeps_drain(UNUSED void **state)
{
    struct drain d = of_pod();
    struct drain_facts f = {.busy = true, .cleaned = true};
    usec_t next;
    assert_int_equal(step_all(&d, &f, T0 + SEC(5), &next), DRAIN_DRAIN);
    assert_int_equal(next, d.budget.last_call_at);
    f.inbound = 1;
    assert_int_equal(step_all(&d, &f, T0 + SEC(6), &next), DRAIN_DRAIN);
    f.inbound = 0;
    assert_int_equal(step_all(&d, &f, T0 + SEC(7), &next), DRAIN_DRAIN);
    struct drain still = d, gone = d, told = d;

    f.busy = false;
    assert_int_equal(step_all(&d, &f, T0 + SEC(8), &next), DRAIN_EGRESS_ONLY);
    f.busy = true;
    assert_int_equal(step_all(&still, &f, still.budget.last_call_at - 1, &next), DRAIN_DRAIN);
    assert_int_equal(step_all(&still, &f, still.budget.last_call_at, &next), DRAIN_EGRESS_ONLY);

    /* Our SIGTERM behind the application's end: nobody waits. */
    drain_app_has_gone(&told);
    assert_int_equal(step_all(&told, &f, T0 + SEC(8), &next), DRAIN_EXIT);
    f.app = DRAIN_APP_GONE;
    assert_int_equal(step_all(&gone, &f, T0 + SEC(8), &next), DRAIN_EXIT);
}

/* SIGTERM behind the application's exit: nobody is there to answer what is open. */
static void test_the_application_has_gone(UNUSED void **state)
{
    struct drain_facts f = {.inbound = 2, .outbound = 2, .cleaned = true};
    for (usec_t at = 0; at <= SEC(24); at += SEC(4)) {
        struct drain d = of_pod();
        usec_t next;
        (void)step_all(&d, &f, T0 + at, &next);
        drain_app_has_gone(&d);
        assert_int_equal(step_all(&d, &f, T0 + at, &next), DRAIN_EXIT);
        assert_int_equal(d.began[DRAIN_FORCE], T0 + at);
    }
}

static void test_cleanup_ends_with_the_last_one_or_at_the_deadline(UNUSED void **state)
{
    struct drain d = begun(&usual, 0);
    struct drain_facts f = {0};
    usec_t next;
    assert_int_equal(step_all(&d, &f, T0 + SEC(5), &next), DRAIN_CLEANUP);
    assert_int_equal(next, d.budget.deadline);
    struct drain other = d;
    assert_int_equal(step_all(&d, &f, d.budget.deadline, &next), DRAIN_EXIT);
    f.cleaned = true;
    assert_int_equal(step_all(&other, &f, T0 + SEC(6), &next), DRAIN_EXIT);
}

/* A pod's end behind a drain that an operator began: the same deadline, a pod's rules. */
static void test_an_admin_drain_becomes_a_pods_end(UNUSED void **state)
{
    struct drain d;
    drain_init(&d);
    (void)drain_begin(&d, &usual, DRAIN_BY_ADMIN, 0, T0, T0);
    usec_t deadline = d.budget.deadline;
    assert_false(drain_of_pod(&d));
    assert_false(drain_begin(&d, &usual, DRAIN_BY_PRESTOP, 0, T0 + SEC(3), T0 + SEC(3)));
    assert_true(drain_of_pod(&d));
    assert_false(d.ready_in_notice); /* it has been unready */
    assert_int_equal(d.budget.deadline, deadline);
    assert_int_equal(d.trigger, DRAIN_BY_ADMIN);
}

static void test_resume_of_a_pod(UNUSED void **state)
{
    struct drain d;
    struct drain_resumed r = {.started = T0,
                              .deadline = T0 + MSEC(34500),
                              .pod = true,
                              .ready_in_notice = true,
                              .notice_over = true};
    drain_init(&d);
    drain_resume(&d, &usual, &r, T0 + SEC(3));
    assert_true(drain_of_pod(&d) && d.ready_in_notice);
    step(&d, 1, 0, T0 + SEC(3), DRAIN_DRAIN, USEC_NEVER); /* it had ended early */
    step(&d, 1, 0, T0 + SEC(3), DRAIN_DRAIN, T0 + SEC(24));
}

static void test_phase_end(UNUSED void **state)
{
    struct drain d = begun(&usual, 0);
    struct drain_facts f = {.inbound = 1, .outbound = 1};
    enum drain_phase last = DRAIN_SERVING;
    usec_t now = T0, next;
    while (last != DRAIN_EXIT) {
        last = step_all(&d, &f, now, &next);
        assert_int_equal(drain_phase_end(&d), next == USEC_NEVER ? 0 : next);
        now = next;
    }
}

/* While a container restarts: the lead, then until its time is over. */
static void test_leave(UNUSED void **state)
{
    struct drain d;
    drain_init(&d);
    assert_int_equal(drain_leave_for(&d, DIRECTION_INBOUND), DRAIN_LEAVE_NOT);
    drain_set_leave(&d, DRAIN_LEAVE_ASKED, T0, T0 + SEC(3));
    assert_int_equal(drain_leave_for(&d, DIRECTION_INBOUND), DRAIN_LEAVE_ASKED);
    assert_int_equal(drain_leave_for(&d, DIRECTION_OUTBOUND), DRAIN_LEAVE_NOT);
    window(&d, T0 + MSEC(500), T0 + SEC(3));
    drain_set_leave(&d, DRAIN_LEAVE_ASKED, T0, T0 + MSEC(100));
    window(&d, T0 + MSEC(500), T0 + MSEC(500));
    drain_set_leave(&d, DRAIN_LEAVE_NOT, 0, 0);
    assert_int_equal(drain_leave_for(&d, DIRECTION_INBOUND), DRAIN_LEAVE_NOT);
}

/* Whatever the numbers: phases only grow, their ends lie in order, and nothing is after D. */
static void test_any_configuration(UNUSED void **state)
{
    static const usec_t times[] = {0, MSEC(1), MSEC(300), SEC(2), SEC(3600)};
    size_t n = ARRAY_LEN(times);
    for (size_t k = 0; k < n * n * n * n * n; k++) {
        struct conf_lifecycle c = {
            .notice_period = times[k % n],
            .drain_timeout = times[k / n % n],
            .last_call = times[k / (n * n) % n],
            .app_cleanup = times[k / (n * n * n) % n],
        };
        struct drain d = begun(&c, times[k / (n * n * n * n)]);
        usec_t now = T0, next;
        assert_true(d.budget.notice_end <= d.last_call_at && d.last_call_at <= d.budget.force_at &&
                    d.budget.force_at <= d.budget.deadline);
        enum drain_phase last = DRAIN_NOTICE;
        for (int i = 0; i < 20 && last != DRAIN_EXIT; i++) {
            struct drain_facts f = {.inbound = 1, .outbound = 1};
            enum drain_phase p = drain_step(&d, &f, now, &next);
            assert_true(p >= last);
            last = p;
            if (next != USEC_NEVER) {
                assert_true(next > now && next <= d.budget.deadline);
                now = next;
            }
        }
        assert_int_equal(last, DRAIN_EXIT);
        assert_int_equal(now, d.budget.deadline);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_serving_goes_nowhere),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_budget_only_shortens),
        cmocka_unit_test(test_every_phase_by_its_time),
        cmocka_unit_test(test_nothing_left_ends_phases),
        cmocka_unit_test(test_no_notice),
        cmocka_unit_test(test_drain_shorter_than_last_call),
        cmocka_unit_test(test_budget_within_the_notice),
        cmocka_unit_test(test_second_trigger_only_shortens),
        cmocka_unit_test(test_force),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_idle_window),
        cmocka_unit_test(test_due),
        cmocka_unit_test(test_egress_of_a_pod),
        cmocka_unit_test(test_egress_of_a_known_application),
        cmocka_unit_test(test_quiet_ends_the_notice),
        cmocka_unit_test(test_who_comes_again_keeps_drain),
        cmocka_unit_test(test_the_application_has_gone),
        cmocka_unit_test(test_cleanup_ends_with_the_last_one_or_at_the_deadline),
        cmocka_unit_test(test_an_admin_drain_becomes_a_pods_end),
        cmocka_unit_test(test_resume_of_a_pod),
        cmocka_unit_test(test_phase_end),
        cmocka_unit_test(test_leave),
        cmocka_unit_test(test_any_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
