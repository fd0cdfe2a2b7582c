/* test_pool_many.c - are hundreds of idle connections opened and closed in several turns, and all
 * of them; and does a worker take thousands of endpoints in so? */
#include "pool_fixture.h"

#include "config/snapshot.h"

enum {
    MANY = 150,
    MOST_A_TURN = LOOP_PIECES,
    OPENED_A_TURN = LOOP_PIECES / 2,
    POOLS = 6,
    ENDPOINTS = 1000,
    MOST_POOLS_A_TURN = 1,
};

static int setup_many(void **state)
{
    if (setup(state) < 0)
        return -1;
    struct fixture *f = *state;
    f->conf.bounds.connections = 2 * MANY;
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

/* Who looks for a connection among those that are worn closes no more of them, however many look.
 */
static void test_leases(void **state)
{
    struct fixture *f = *state;
    struct side clients[2] = {f->client, f->client};
    struct stream *s[2];
    enum reason reason;
    f->conf.bounds.connections = MANY;
    f->conf.max_lifetime = 1;
    for (int i = 0; i < 2; i++) {
        s[i] = request_for(f);
        clients[i].stream = s[i];
        s[i]->down = &clients[i];
        assert_int_equal(pool_lease(f->pool, s[i], false, &reason), POOL_WAITS);
    }
    assert_in_range(f->pool->n_idle, MANY - MOST_A_TURN, MANY - 1);
    for (int i = 0; i < 2; i++)
        finish(s[i]);
    see_them_go(f);
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
    f->conf.bounds.connections = 2 * MANY;
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

/* --- many pools at once --- */

/* Another upstream's, of which this worker has n idle connections. */
static struct pool *pool_with(struct fixture *f, struct conf_upstream *conf, uint32_t n)
{
    bool changed;
    struct upstream_shared *shared = upstream_shared_new(WORKERS);
    assert_non_null(shared);
    assert_int_equal(upstream_shared_set(shared, &f->servers[0], 1, &changed), 0);
    *conf = f->conf;
    conf->min_idle = n;
    struct pool *p = pool_new(&f->workers[0], conf, shared, endpoint_list_new(shared));
    upstream_shared_unref(shared); /* the pool has its own reference */
    assert_non_null(p);
    pool_fill(p);
    UNTIL(f, p->n_idle == n);
    conf->min_idle = 0;
    return p;
}

/* What a turn closes is the worker's to bound, not each pool's. */
static void test_pools_share_a_turn(void **state)
{
    struct fixture *f = *state;
    struct conf_upstream confs[POOLS];
    struct pool *pools[POOLS];
    uint32_t left = 0, turns = 0;
    for (int i = 0; i < POOLS; i++)
        pools[i] = pool_with(f, &confs[i], MOST_A_TURN);
    turn(f);
    for (int i = 0; i < POOLS; i++)
        pool_retire(pools[i]);
    usec_t until = clock_mono() + PATIENCE_MS * USEC_PER_MSEC;
    for (uint32_t before = POOLS * MOST_A_TURN; before > 0; before = left) {
        assert_true(clock_mono() < until);
        left = 0;
        for (int i = 0; i < POOLS; i++)
            left += pools[i]->n_idle;
        assert_true(before - left <= MOST_A_TURN);
        turns += left < before;
        turn(f);
    }
    assert_true(turns >= POOLS);
    for (int i = 0; i < POOLS; i++)
        assert_null(pool_free(pools[i]));
}

static void on_entered(struct mail *m, void *owner)
{
    (void)owner;
    struct view *v = CONTAINER_OF(m, struct view, in);
    v->generation = NULL; /* that it was here */
}

static struct endpoint_list *many_endpoints(struct fixture *f, struct upstream_shared *shared)
{
    static struct endpoint_address list[ENDPOINTS];
    bool changed;
    for (int i = 0; i < ENDPOINTS; i++) {
        list[i] = f->servers[0];
        list[i].address.u.in.sin_addr.s_addr = htonl(0x7f010000U + (uint32_t)i);
    }
    assert_int_equal(upstream_shared_set(shared, list, ENDPOINTS, &changed), 0);
    struct endpoint_list *l = endpoint_list_new(shared);
    assert_non_null(l);
    return l;
}

/* A reload that changes thousands of endpoints: its view is in force when all pools have theirs. */
static void test_view_in_several_turns(void **state)
{
    struct fixture *f = *state;
    struct worker *w = &f->workers[0];
    struct conf_upstream was[POOLS], now[POOLS];
    struct pool *pools[POOLS];
    struct endpoint_list *lists[POOLS];
    struct conf conf = {.n_upstreams = POOLS, .upstreams = now};
    struct snapshot snapshot = {.conf = &conf};
    struct view_change change = {.lists = lists};
    struct view v = {.snapshot = &snapshot, .pools = pools, .change = &change};
    struct generation *building = (struct generation *)(void *)&v;
    for (int i = 0; i < POOLS; i++) {
        pools[i] = pool_with(f, &was[i], 0);
        now[i] = was[i];
        lists[i] = many_endpoints(f, pools[i]->shared);
    }
    f->process.control = &f->workers[1].mailbox;
    f->process.on_view_entered = on_entered;
    view_init(&v, w);
    v.generation = building;
    w->view = NULL;
    view_post(&v);
    uint32_t done = 0, turns = 0;
    usec_t until = clock_mono() + PATIENCE_MS * USEC_PER_MSEC;
    while (!w->view) {
        assert_true(clock_mono() < until);
        assert_ptr_equal(v.generation, building);
        turn(f);
        assert_true(change.n_taken - done <= MOST_POOLS_A_TURN);
        turns += change.n_taken > done;
        for (; done < change.n_taken; done++) {
            assert_ptr_equal(pools[done]->conf, &now[done]);
            assert_int_equal(pools[done]->n_endpoints, ENDPOINTS);
            assert_null(lists[done]);
        }
        if (done < POOLS)
            assert_ptr_equal(pools[done]->conf, &was[done]);
    }
    assert_ptr_equal(w->view, &v);
    assert_int_equal(done, POOLS);
    assert_true(turns >= POOLS / MOST_POOLS_A_TURN);
    UNTIL(f, !v.generation);
    w->view = &f->view;
    for (int i = 0; i < POOLS; i++)
        assert_null(pool_free(pools[i]));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_many, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_endpoints_go),
        TEST(test_retired),
        TEST(test_other_rules),
        TEST(test_their_time_is_over),
        TEST(test_end),
        TEST(test_pools_share_a_turn),
        TEST(test_view_in_several_turns),
        TEST(test_leases),
        cmocka_unit_test_setup_teardown(test_min_idle, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
