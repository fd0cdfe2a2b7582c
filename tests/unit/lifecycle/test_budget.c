/* test_budget.c - every phase's end from one deadline. */
#include "lifecycle/budget.h"

#include "base/check.h"
#include "usual.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct budget begun(const struct conf_lifecycle *c, enum budget_kind kind)
{
    struct budget b;
    budget_begin(&b, c, kind, T0);
    return b;
}

static void ends(const struct budget *b, usec_t notice, usec_t last_call, usec_t force,
                 usec_t cleanup, usec_t deadline)
{
    assert_int_equal(b->notice_end - T0, notice);
    assert_int_equal(b->last_call_at - T0, last_call);
    assert_int_equal(b->force_at - T0, force);
    assert_int_equal(b->cleanup_at - T0, cleanup);
    assert_int_equal(b->deadline - T0, deadline);
}

static void test_usual(UNUSED void **state)
{
    struct budget b = begun(&usual, BUDGET_HOST);
    ends(&b, SEC(5), SEC(24), SEC(25), SEC(33), MSEC(34500));
    b = begun(&usual, BUDGET_POD);
    ends(&b, SEC(5), SEC(24), SEC(25), SEC(33), MSEC(34500));
    b = begun(&usual, BUDGET_UPGRADE);
    ends(&b, 0, SEC(19), SEC(20), SEC(20), SEC(20));
}

/* kube-proxy may need a second: the pod's notice is 2 s at least, and the drain later. */
static void test_a_pods_notice(UNUSED void **state)
{
    struct conf_lifecycle c = usual;
    c.notice_period = 0;
    struct budget b = begun(&c, BUDGET_POD);
    ends(&b, SEC(2), SEC(21), SEC(22), SEC(28), MSEC(29500));
    b = begun(&c, BUDGET_HOST);
    ends(&b, 0, SEC(19), SEC(20), SEC(28), MSEC(29500));
    c.drain_timeout = SEC(1);
    c.app_cleanup = SEC(3);
    b = begun(&c, BUDGET_POD);
    ends(&b, SEC(2), SEC(2), MSEC(2300), MSEC(2300), MSEC(3800));
}

/* Releases begin by the configured grace - 2 s, however short appCleanup is. */
static void test_a_pods_grace(UNUSED void **state)
{
    struct conf_lifecycle c = usual;
    c.termination_grace = SEC(35);
    struct budget b = begun(&c, BUDGET_POD);
    assert_int_equal(b.cleanup_at, T0 + SEC(33));
    c.app_cleanup = SEC(1);
    c.termination_grace = SEC(26);
    b = begun(&c, BUDGET_POD);
    assert_int_equal(b.cleanup_at, T0 + SEC(24));
    assert_int_equal(b.deadline, T0 + MSEC(25500));
    assert_int_equal(b.force_at, T0 + SEC(24));
    b = begun(&c, BUDGET_HOST);
    assert_int_equal(b.cleanup_at, T0 + SEC(25));
}

static void test_shorten(UNUSED void **state)
{
    struct budget b = begun(&usual, BUDGET_POD);
    assert_false(budget_shorten(&b, &usual, b.deadline, T0 + SEC(1)));
    assert_false(budget_shorten(&b, &usual, b.deadline + 1, T0 + SEC(1)));
    ends(&b, SEC(5), SEC(24), SEC(25), SEC(33), MSEC(34500));
    /* SIGTERM: the grace is over in the middle of the drain. */
    assert_true(budget_shorten(&b, &usual, T0 + MSEC(11500), T0 + SEC(10)));
    ends(&b, SEC(5), MSEC(9750), MSEC(10750), MSEC(10750), MSEC(11500));
    /* At once. */
    assert_true(budget_shorten(&b, &usual, T0 + SEC(11), T0 + SEC(11)));
    ends(&b, SEC(5), SEC(10), SEC(11), SEC(11), SEC(11));
}

static void test_resume(UNUSED void **state)
{
    struct budget b, same = begun(&usual, BUDGET_POD);
    budget_resume(&b, &usual, BUDGET_POD, T0, same.deadline, T0 + SEC(7));
    assert_memory_equal(&b, &same, sizeof(b));
    budget_resume(&b, &usual, BUDGET_POD, T0, T0 + MSEC(11500), T0 + SEC(10));
    ends(&b, SEC(5), MSEC(9750), MSEC(10750), MSEC(10750), MSEC(11500));
    budget_resume(&b, &usual, BUDGET_HOST, T0 + SEC(5), T0 + SEC(20), T0); /* no later than now */
    assert_int_equal(b.start, T0);
}

/* An operator's drain, and then the pod goes. */
static void test_becomes_a_pods(UNUSED void **state)
{
    struct conf_lifecycle c = usual;
    c.notice_period = 0;
    struct budget b = begun(&c, BUDGET_HOST);
    usec_t deadline = b.deadline;
    budget_becomes_pod(&b, &c);
    assert_int_equal(b.deadline, deadline);
    assert_int_equal(b.notice_end, T0 + SEC(2));
}

/* Whatever is configured, and whatever it is shortened to: ends in order, none after D. */
static void test_any(UNUSED void **state)
{
    static const usec_t times[] = {0, MSEC(1), MSEC(700), SEC(2), SEC(30)};
    size_t n = ARRAY_LEN(times);
    for (size_t k = 0; k < n * n * n * n * n * n; k++) {
        struct conf_lifecycle c = {
            .notice_period = times[k % n],
            .drain_timeout = times[k / n % n],
            .last_call = times[k / (n * n) % n],
            .app_cleanup = times[k / (n * n * n) % n],
            .termination_grace = times[k / (n * n * n * n) % n],
        };
        for (int kind = BUDGET_HOST; kind <= BUDGET_UPGRADE; kind++) {
            struct budget b = begun(&c, (enum budget_kind)kind);
            for (int again = 0; again < 2; again++) {
                assert_true(b.start <= b.notice_end && b.notice_end <= b.force_at);
                assert_true(b.last_call_at <= b.force_at && b.force_at <= b.cleanup_at);
                assert_true(b.notice_end <= b.last_call_at || b.last_call_at == b.force_at);
                assert_true(b.cleanup_at <= b.deadline);
                (void)budget_shorten(&b, &c, T0 + times[k / (n * n * n * n * n)], T0);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual),        cmocka_unit_test(test_a_pods_notice),
        cmocka_unit_test(test_a_pods_grace), cmocka_unit_test(test_shorten),
        cmocka_unit_test(test_resume),       cmocka_unit_test(test_becomes_a_pods),
        cmocka_unit_test(test_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
