/* test_pool_many.c - are hundreds of idle connections opened and closed in several turns, and all
 * of them? */
#include "pool_fixture.h"

enum { MANY = 150, MOST_A_TURN = 64, OPENED_A_TURN = 32 };

static int setup_many(void **state)
{
    if (setup(state) < 0)
        return -1;
    struct fixture *f = *state;
    f->conf.max_connections = 2 * MANY;
    f->conf.min_idle = MANY;
    pool_fill(f->pool);
    UNTIL(f, f->pool->n_idle == MANY);
    f->conf.min_idle = 0;
    return 0;
}

/* Turns until none is left, and not too many are closed by any of them. */
static void see_them_go(struct fixture *f)
{
    usec_t until = clock_mono() + PATIENCE_MS * USEC_PER_MSEC;
    uint32_t turns = 0;
    assert_true(f->pool->n_idle >= MANY - MOST_A_TURN);
    while (f->pool->n_idle > 0) {
        uint32_t before = f->pool->n_idle;
        assert_true(clock_mono() < until);
        turn(f);
        assert_true(before - f->pool->n_idle <= MOST_A_TURN);
        turns += f->pool->n_idle < before;
    }
    assert_true(turns >= 2);
    assert_int_equal(f->shared->connections, 0);
}

static void test_endpoints_go(void **state)
{
    struct fixture *f = *state;
    SET(f, 2);
    assert_int_equal(f->pool->n_endpoints, 1);
    see_them_go(f);
    assert_int_equal(f->pool->endpoints_alive, 1);
}

static void test_retired(void **state)
{
    struct fixture *f = *state;
    pool_retire(f->pool);
    see_them_go(f);
    assert_false(pool_close_some(f->pool));
}

static void test_other_rules(void **state)
{
    struct fixture *f = *state;
    struct conf_upstream shorter = f->conf;
    shorter.max_lifetime = 1;
    pool_configure(f->pool, &shorter);
    see_them_go(f);
    pool_configure(f->pool, &f->conf);
}

static void test_their_time_is_over(void **state)
{
    struct fixture *f = *state;
    struct conf_upstream shorter = f->conf;
    shorter.idle_timeout = 0;
    pool_configure(f->pool, &shorter);
    see_them_go(f);
    pool_configure(f->pool, &f->conf);
}

/* At the end there are no turns any more. */
static void test_end(void **state)
{
    struct fixture *f = *state;
    pool_retire(f->pool);
    f->pool = pool_free(f->pool);
    assert_int_equal(f->shared->connections, 0);
}

/* Those that minIdle asks for come a few a turn, and then no more. */
static void test_min_idle(void **state)
{
    struct fixture *f = *state;
    struct pool *p = f->pool;
    usec_t until = clock_mono() + PATIENCE_MS * USEC_PER_MSEC;
    uint32_t turns = 1;
    f->conf.max_connections = 2 * MANY;
    f->conf.min_idle = MANY;
    pool_fill(p);
    uint32_t opened = p->n_connecting;
    assert_in_range(opened, 1, OPENED_A_TURN);
    while (p->n_idle < MANY) {
        assert_true(clock_mono() < until);
        turn(f);
        assert_in_range(p->n_idle + p->n_connecting, opened, opened + OPENED_A_TURN);
        turns += p->n_idle + p->n_connecting > opened;
        opened = p->n_idle + p->n_connecting;
    }
    assert_true(turns >= MANY / OPENED_A_TURN);
    turn(f);
    assert_int_equal(f->shared->connections, MANY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_many, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_endpoints_go), TEST(test_retired),
        TEST(test_other_rules),  TEST(test_their_time_is_over),
        TEST(test_end),          cmocka_unit_test_setup_teardown(test_min_idle, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
