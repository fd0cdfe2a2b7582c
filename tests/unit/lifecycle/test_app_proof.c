/* test_app_proof.c - when silence is proof: with a clock of its own. */
#include "lifecycle/app_proof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MS    ((usec_t)1000)
#define GRACE (1000 * MS)
#define EVERY (100 * MS)

struct bench {
    struct app_proof p;
    struct app_sight s;
    usec_t now;
};

static struct bench begin(enum app_probed ports)
{
    struct bench b = {.s = {.ports = ports}, .now = 5000 * MS};
    app_proof_init(&b.p);
    return b;
}

static enum app_state look(struct bench *b)
{
    return app_proof_look(&b->p, &b->s, GRACE, b->now);
}

/* Looks every 100 ms; the state at the end. */
static enum app_state pass(struct bench *b, usec_t time)
{
    enum app_state state = b->p.state;
    for (usec_t until = b->now + time; b->now < until;) {
        b->now += EVERY;
        state = look(b);
    }
    return state;
}

static struct bench alive(void)
{
    struct bench b = begin(APP_PROBE_ACCEPTS);
    assert_int_equal(look(&b), APP_ALIVE);
    return b;
}

static void test_gone_behind_the_grace(void **state)
{
    (void)state;
    struct bench b = alive();
    b.s.ports = APP_PROBE_REFUSES;
    assert_int_equal(pass(&b, EVERY), APP_DOUBTFUL);
    assert_int_equal(pass(&b, GRACE - EVERY), APP_DOUBTFUL);
    assert_int_equal(pass(&b, EVERY), APP_GONE);
    /* Once for all, until it is back. */
    assert_int_equal(pass(&b, 60 * GRACE), APP_GONE);
    b.s.ports = APP_PROBE_ACCEPTS;
    assert_int_equal(pass(&b, EVERY), APP_ALIVE);
}

static void test_closed_listener_with_a_live_connection(void **state)
{
    (void)state;
    struct bench b = alive();
    b.s.ports = APP_PROBE_REFUSES;
    b.s.open = 1;
    assert_int_equal(pass(&b, 3600 * GRACE), APP_ALIVE);
    b.s.open = 0;
    assert_int_equal(pass(&b, GRACE), APP_DOUBTFUL);
    assert_int_equal(pass(&b, EVERY), APP_GONE);
}

/* What it left open ends in its own time; a new connection is a new life. */
static void test_left_open_behind_its_end(void **state)
{
    (void)state;
    struct bench b = alive();
    b.s.ports = APP_PROBE_REFUSES;
    b.s.open = b.s.opened = 7;
    app_proof_gone(&b.p, &b.s, b.now);
    assert_int_equal(pass(&b, 2 * GRACE), APP_GONE);
    b.s.opened++;
    assert_int_equal(pass(&b, EVERY), APP_ALIVE);
    assert_int_equal(pass(&b, 60 * GRACE), APP_ALIVE);
    app_proof_gone(&b.p, &b.s, b.now);
    b.s.ports = APP_PROBE_ACCEPTS;
    assert_int_equal(pass(&b, EVERY), APP_ALIVE);
}

/* One that is open at no look. */
static void test_short_connections_between_looks(void **state)
{
    (void)state;
    struct bench b = alive();
    b.s.ports = APP_PROBE_REFUSES;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(pass(&b, 900 * MS), APP_DOUBTFUL);
        b.s.opened++;
        assert_int_equal(pass(&b, EVERY), APP_ALIVE);
    }
}

static void test_flapping_port(void **state)
{
    (void)state;
    struct bench b = alive();
    for (int i = 0; i < 100; i++) {
        b.s.ports = APP_PROBE_REFUSES;
        assert_int_equal(pass(&b, 900 * MS), APP_DOUBTFUL);
        b.s.ports = APP_PROBE_ACCEPTS;
        assert_int_equal(pass(&b, EVERY), APP_ALIVE);
    }
}

/* A process that was stopped, a machine that slept: nobody has looked. */
static void test_a_gap_proves_nothing(void **state)
{
    (void)state;
    struct bench b = alive();
    b.s.ports = APP_PROBE_REFUSES;
    assert_int_equal(look(&b), APP_DOUBTFUL);
    for (int i = 1; i < APP_PROOF_LOOKS; i++) {
        b.now += 3600 * GRACE;
        assert_int_equal(look(&b), APP_DOUBTFUL);
    }
    b.now += 3600 * GRACE;
    assert_int_equal(look(&b), APP_GONE);
    /* And a clock that stands still proves nothing either. */
    b = alive();
    b.s.ports = APP_PROBE_REFUSES;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(look(&b), APP_DOUBTFUL);
}

/* Our own restart has broken all connections: that they are not there means less. */
static void test_behind_our_own_start(void **state)
{
    (void)state;
    struct bench b = begin(APP_PROBE_REFUSES);
    b.s.opened = 7; /* whatever the counter begins with */
    assert_int_equal(look(&b), APP_DOUBTFUL);
    assert_int_equal(pass(&b, (APP_PROOF_UNSEEN - 1) * GRACE), APP_DOUBTFUL);
    b.s.opened++; /* it had closed its listener, and comes again by its own way out */
    assert_int_equal(pass(&b, EVERY), APP_ALIVE);
    /* It has been seen: from here on the grace is what is configured. */
    assert_int_equal(pass(&b, GRACE + EVERY), APP_GONE);

    b = begin(APP_PROBE_REFUSES);
    assert_int_equal(look(&b), APP_DOUBTFUL);
    assert_int_equal(pass(&b, APP_PROOF_UNSEEN * GRACE - EVERY), APP_DOUBTFUL);
    assert_int_equal(pass(&b, EVERY), APP_GONE);
}

static void test_another_proof_is_to_come(void **state)
{
    (void)state;
    struct bench b = alive();
    b.s.ports = APP_PROBE_REFUSES;
    b.s.held = true;
    assert_int_equal(pass(&b, 100 * GRACE), APP_DOUBTFUL);
    b.s.held = false;
    assert_int_equal(pass(&b, GRACE), APP_GONE);
}

static void test_no_answer_is_a_sign_of_nothing(void **state)
{
    (void)state;
    struct bench b = begin(APP_PROBE_NO_ANSWER);
    assert_int_equal(look(&b), APP_ALIVE); /* nothing is known against it */
    assert_false(b.p.seen);
    b = alive();
    b.s.ports = APP_PROBE_NO_ANSWER;
    assert_int_equal(pass(&b, 60 * GRACE), APP_ALIVE);
    b.s.ports = APP_PROBE_REFUSES;
    assert_int_equal(pass(&b, GRACE - EVERY), APP_DOUBTFUL);
    /* Neither does the silence begin anew, nor does it grow. */
    b.s.ports = APP_PROBE_NO_ANSWER;
    assert_int_equal(pass(&b, 60 * GRACE), APP_DOUBTFUL);
    b.s.ports = APP_PROBE_REFUSES;
    assert_int_equal(pass(&b, EVERY), APP_DOUBTFUL);
    assert_int_equal(pass(&b, EVERY), APP_GONE);
    b.s.ports = APP_PROBE_NO_ANSWER;
    assert_int_equal(pass(&b, GRACE), APP_GONE);
    /* Who holds a connection lives all the same. */
    b.s.open = 1;
    assert_int_equal(pass(&b, EVERY), APP_ALIVE);
}

static void test_without_ports(void **state)
{
    (void)state;
    struct bench b = begin(APP_PROBE_NONE);
    assert_int_equal(pass(&b, 100 * GRACE), APP_UNKNOWN);
    b.s.open = 1;
    assert_int_equal(pass(&b, EVERY), APP_UNKNOWN);
    /* A reload names one. */
    b.s.open = 0;
    b.s.ports = APP_PROBE_REFUSES;
    assert_int_equal(pass(&b, GRACE), APP_DOUBTFUL);
    b.s.ports = APP_PROBE_NONE;
    assert_int_equal(pass(&b, 100 * GRACE), APP_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gone_behind_the_grace),
        cmocka_unit_test(test_closed_listener_with_a_live_connection),
        cmocka_unit_test(test_left_open_behind_its_end),
        cmocka_unit_test(test_short_connections_between_looks),
        cmocka_unit_test(test_flapping_port),
        cmocka_unit_test(test_a_gap_proves_nothing),
        cmocka_unit_test(test_behind_our_own_start),
        cmocka_unit_test(test_another_proof_is_to_come),
        cmocka_unit_test(test_no_answer_is_a_sign_of_nothing),
        cmocka_unit_test(test_without_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
