/* test_levels.c - do endpoints of a better priority and of our own zone go first, and does what
 * they cannot take go where it should? */
#include "proxy/pool_levels.h"

#include "proxy/endpoint.h"
#include "proxy/endpoint_look.h"
#include "proxy/endpoint_word.h"
#include "proxy/pool.h"
#include "proxy/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

enum { MOST = 5000, TIMES = 20000 };

struct fixture {
    struct worker worker;
    struct conf_upstream conf;
    struct outlier_rules rules;
    struct slow_start_rules slow;
    struct pool pool;
    struct upstream_shared *shared;
    struct endpoint *at[MOST];
    uint32_t picked[MOST];
};

/* So many endpoints, 10.0.0.1 and so on over all spots. */
struct spot {
    uint32_t n, priority;
    const char *zone;
};

static struct endpoint_address address_of(uint32_t i, const struct spot *spot)
{
    static char text[MOST][32];
    struct endpoint_address a = {.priority = spot->priority, .zone = str_of(spot->zone)};
    const char *why;
    (void)snprintf(text[i], sizeof(text[i]), "10.0.%u.%u:80", i / 250, i % 250 + 1);
    a.text = str_of(text[i]);
    assert_int_equal(address_parse(a.text, &a.address, &why), 0);
    return a;
}

static bool set_list(struct fixture *f, const struct spot *spots, uint32_t n_spots)
{
    static struct endpoint_address list[MOST];
    uint32_t n = 0;
    bool changed;
    for (uint32_t i = 0; i < n_spots; i++) {
        for (uint32_t k = 0; k < spots[i].n; k++, n++)
            list[n] = address_of(n, &spots[i]);
    }
    assert_int_equal(upstream_shared_set(f->shared, list, n, &changed), 0);
    return changed;
}

/* The pool is told, as workers are. */
static void tell_pool(struct fixture *f)
{
    struct endpoint_list *list = endpoint_list_new(f->shared);
    assert_non_null(list);
    assert_int_equal(pool_set_endpoints(&f->pool, list), 0);
    for (uint32_t i = 0; i < f->pool.n_endpoints; i++)
        f->at[i] = f->pool.endpoints[i];
}

static struct fixture *fixture_new(const struct spot *spots, uint32_t n_spots, enum balance balance)
{
    struct fixture *f = NULL;
    assert_int_equal(posix_memalign((void **)&f, 64, sizeof(*f)), 0);
    memset(f, 0, sizeof(*f));
    rng_init(&f->worker.loop.rng, 7);
    f->worker.loop.now = clock_mono();
    f->rules = (struct outlier_rules){.consecutive = {5, 5, 5},
                                      .interval = USEC_PER_SEC,
                                      .base_ejection = 30 * USEC_PER_SEC,
                                      .max_ejection = 300 * USEC_PER_SEC,
                                      .max_percent = 100};
    f->conf = (struct conf_upstream){.balance = balance,
                                     .panic_threshold = 50,
                                     .overprovisioning = 140,
                                     .outlier = &f->rules,
                                     .bounds.connections = 1};
    f->shared = upstream_shared_new(1);
    f->pool.worker = &f->worker;
    f->pool.conf = &f->conf;
    f->pool.shared = f->shared;
    f->pool.stats = &f->shared->worker[0].stats;
    f->pool.endpoints = NULL;
    list_init(&f->pool.idle);
    list_init(&f->pool.connecting);
    list_init(&f->pool.active);
    f->pool.timer.at = 1; /* so that nothing is set in a loop that does not run */
    assert_true(set_list(f, spots, n_spots));
    tell_pool(f);
    return f;
}

static void fixture_free(struct fixture *f)
{
    for (uint32_t i = 0; i < f->pool.n_endpoints; i++)
        endpoint_unref(f->pool.endpoints[i]);
    free(f->pool.endpoints);
    free(f->pool.levels);
    upstream_shared_unref(f->shared);
    free(f);
}

#define SPOTS(...)                                                                                 \
    (const struct spot[]){__VA_ARGS__},                                                            \
        sizeof((const struct spot[]){__VA_ARGS__}) / sizeof(struct spot)

static void choose(struct fixture *f)
{
    memset(f->picked, 0, sizeof(f->picked));
    for (int i = 0; i < TIMES; i++)
        f->picked[endpoint_choose(&f->pool, NULL)->index]++;
}

/* Percent of the requests that endpoints from..from+n-1 got. */
static uint32_t percent_of(const struct fixture *f, uint32_t from, uint32_t n)
{
    uint64_t sum = 0;
    for (uint32_t i = from; i < from + n; i++)
        sum += f->picked[i];
    return (uint32_t)((sum * 100 + TIMES / 2) / TIMES);
}

static void set_ill(struct fixture *f, uint32_t from, uint32_t n, bool ill)
{
    for (uint32_t i = from; i < from + n; i++)
        endpoint_shared_set_unhealthy(f->shared->endpoints[i], ill);
}

static void near(uint32_t percent, uint32_t expected)
{
    assert_in_range(percent + 2, expected, expected + 4);
}

static void check_overflow(enum balance balance)
{
    struct fixture *f = fixture_new(SPOTS({4, 0, ""}, {2, 1, ""}, {2, 3, ""}), balance);
    choose(f);
    assert_int_equal(percent_of(f, 0, 4), 100);
    set_ill(f, 0, 1, true); /* 75 % x 1.4 is enough */
    choose(f);
    assert_int_equal(percent_of(f, 1, 3), 100);
    set_ill(f, 1, 1, true);
    choose(f);
    near(percent_of(f, 2, 2), 70);
    near(percent_of(f, 4, 2), 30);
    assert_int_equal(percent_of(f, 6, 2), 0);
    set_ill(f, 2, 2, true);
    set_ill(f, 4, 1, true);
    choose(f);
    near(percent_of(f, 5, 1), 70);
    near(percent_of(f, 6, 2), 30);
    set_ill(f, 5, 1, true);
    choose(f); /* 2 of 8 are well, and they are good for everything: no panic */
    assert_int_equal(percent_of(f, 6, 2), 100);
    set_ill(f, 6, 1, true);
    choose(f); /* good for 70 %, and half of its level: no panic */
    assert_int_equal(percent_of(f, 7, 1), 100);
    set_ill(f, 7, 1, true);
    choose(f); /* panic, all alike */
    near(percent_of(f, 0, 4), 50);
    near(percent_of(f, 4, 2), 25);
    near(percent_of(f, 6, 2), 25);
    set_ill(f, 0, 8, false);
    choose(f);
    assert_int_equal(percent_of(f, 0, 4), 100);
    fixture_free(f);
}

static void test_overflow(void **state)
{
    (void)state;
    check_overflow(BALANCE_LEAST_REQUEST);
    check_overflow(BALANCE_ROUND_ROBIN);
}

/* Level 0 keeps everything whatever becomes of it, and what would have gone elsewhere is counted.
 */
static void test_dry_run(void **state)
{
    struct fixture *f =
        fixture_new(SPOTS({4, 0, ""}, {2, 1, ""}, {2, 3, ""}), BALANCE_LEAST_REQUEST);
    const struct upstream_stats *stats = f->pool.stats;
    (void)state;
    f->conf.failover_dry_run = true;
    set_ill(f, 0, 2, true);
    choose(f); /* half of it is well: no panic of its own */
    assert_int_equal(percent_of(f, 2, 2), 100);
    for (int i = 0; i < TIMES; i++)
        pool_levels_count(&f->pool, f->at[2]);
    assert_int_equal(count_read(&stats->level_requests[0][0]), TIMES);
    near((uint32_t)(count_read(&stats->level_requests[1][0]) * 100 / TIMES), 70);
    near((uint32_t)(count_read(&stats->level_requests[1][1]) * 100 / TIMES), 30);
    assert_false(endpoint_is_spare(f->at[2]));
    assert_true(endpoint_is_spare(f->at[4]) && endpoint_is_beyond(f->at[4]));
    set_ill(f, 0, 4, true);
    choose(f); /* its own panic: all of it, and nobody else */
    near(percent_of(f, 0, 2), 50);
    assert_int_equal(percent_of(f, 0, 4), 100);
    for (uint32_t i = 0; i < 4; i++)
        (void)standing_set(&f->shared->group, &f->shared->endpoints[i]->standing, STANDING_DRAINED);
    choose(f); /* the next one that has endpoints */
    assert_int_equal(percent_of(f, 4, 2), 100);
    f->conf.failover_dry_run = false;
    pool_levels_configure(&f->pool);
    set_ill(f, 4, 2, true);
    choose(f);
    assert_int_equal(percent_of(f, 6, 2), 100);
    fixture_free(f);
}

/* What nobody has judged yet: it has just refused a connect. */
static void test_refused(void **state)
{
    struct fixture *f =
        fixture_new(SPOTS({2, 0, ""}, {1, 1, ""}, {1, 2, ""}), BALANCE_LEAST_REQUEST);
    (void)state;
    endpoint_avoid(f->at[0]);
    choose(f);
    assert_int_equal(percent_of(f, 1, 1), 100);
    endpoint_avoid(f->at[1]);
    choose(f);
    assert_int_equal(percent_of(f, 2, 1), 100);
    endpoint_avoid(f->at[2]);
    endpoint_avoid(f->at[3]);
    choose(f); /* all have: the better ones again */
    assert_int_equal(percent_of(f, 0, 2), 100);
    fixture_free(f);
}

static void test_ejected_level(void **state)
{
    struct fixture *f = fixture_new(SPOTS({1, 0, ""}, {1, 1, ""}), BALANCE_LEAST_REQUEST);
    (void)state;
    f->conf.slow_start = &f->slow;
    f->slow = (struct slow_start_rules){30 * USEC_PER_SEC, 10};
    for (int i = 0; i < 5; i++)
        endpoint_on_result(f->at[0], RESULT_RESET, 0);
    choose(f);
    assert_int_equal(percent_of(f, 1, 1), 100);
    /* Nothing goes there, and the control thread brings it back: slowly. */
    f->worker.loop.now += 31 * USEC_PER_SEC;
    endpoint_look(f->shared, &f->conf, f->worker.loop.now);
    choose(f);
    near(percent_of(f, 0, 1), 14);
    f->worker.loop.now += 10 * USEC_PER_SEC;
    choose(f);
    near(percent_of(f, 0, 1), 56);
    f->worker.loop.now += 15 * USEC_PER_SEC;
    choose(f);
    assert_int_equal(percent_of(f, 0, 1), 100);
    fixture_free(f);
}

static void test_zones(void **state)
{
    struct fixture *f =
        fixture_new(SPOTS({3, 0, "a"}, {3, 0, "b"}, {3, 0, "c"}, {2, 1, "a"}, {2, 1, "b"}),
                    BALANCE_LEAST_REQUEST);
    (void)state;
    choose(f); /* our own is not known */
    near(percent_of(f, 0, 3), 33);
    near(percent_of(f, 6, 3), 33);
    f->conf.own_zone = STR("b");
    pool_levels_configure(&f->pool);
    choose(f);
    assert_int_equal(percent_of(f, 3, 3), 100);
    set_ill(f, 3, 1, true);
    choose(f);
    near(percent_of(f, 3, 3), 75);
    near(percent_of(f, 0, 3), 13);
    near(percent_of(f, 6, 3), 13);
    set_ill(f, 4, 2, true); /* 6 of 9 are good for 93 %, the rest goes to the next level */
    choose(f);
    assert_int_equal(percent_of(f, 3, 3), 0);
    near(percent_of(f, 11, 2), 7);
    assert_int_equal(percent_of(f, 9, 2), 0);
    f->conf.own_zone = STR("elsewhere");
    pool_levels_configure(&f->pool);
    set_ill(f, 3, 3, false);
    choose(f);
    near(percent_of(f, 0, 3), 33);
    fixture_free(f);
}

/* The two levels change places: no endpoint is a new one, and what stands against it stays. */
static void test_swap(void **state)
{
    struct fixture *f = fixture_new(SPOTS({2, 0, ""}, {2, 1, ""}), BALANCE_LEAST_REQUEST);
    struct endpoint *first = f->at[0], *third = f->at[2];
    (void)state;
    set_ill(f, 0, 1, true);
    count_add(&first->stats->requests, 5);
    assert_false(set_list(f, SPOTS({2, 0, ""}, {2, 1, ""})));
    assert_true(set_list(f, SPOTS({2, 1, ""}, {2, 0, ""})));
    choose(f); /* before the worker knows: nothing breaks */
    tell_pool(f);
    assert_ptr_equal(f->at[2], first);
    assert_ptr_equal(f->at[0], third);
    assert_int_equal(count_read(&first->stats->requests), 5);
    assert_true(endpoint_shared_unhealthy(first->shared));
    choose(f);
    assert_int_equal(percent_of(f, 0, 2), 100);
    set_ill(f, 2, 1, false);
    set_ill(f, 0, 2, true);
    choose(f);
    assert_int_equal(percent_of(f, 2, 2), 100);
    /* and without levels */
    assert_true(set_list(f, SPOTS({4, 0, ""})));
    tell_pool(f);
    assert_null(f->pool.levels);
    assert_null(f->shared->places);
    fixture_free(f);
}

static void test_restore(void **state)
{
    struct fixture *f = fixture_new(SPOTS({1, 0, "a"}, {1, 1, "b"}), BALANCE_LEAST_REQUEST);
    struct upstream_addresses kept;
    (void)state;
    assert_int_equal(upstream_shared_keep(f->shared, &kept), 0);
    assert_true(set_list(f, SPOTS({1, 2, "c"}, {1, 0, ""})));
    upstream_shared_restore(f->shared, &kept);
    assert_int_equal(f->shared->places->n, 2);
    set_ill(f, 0, 1, true);
    choose(f);
    assert_int_equal(percent_of(f, 1, 1), 100);
    upstream_addresses_free(&kept);
    fixture_free(f);
}

static void test_drained(void **state)
{
    struct fixture *f = fixture_new(SPOTS({2, 0, ""}, {2, 1, ""}), BALANCE_LEAST_REQUEST);
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct endpoint_word w = {f->shared->endpoints[i]->address, true, 100};
        assert_int_equal(endpoint_word_set(f->shared, &w), 0);
        if (i == 0)
            choose(f), assert_int_equal(percent_of(f, 1, 1), 100);
        if (i == 1)
            choose(f), assert_int_equal(percent_of(f, 2, 2), 100);
    }
    assert_null(endpoint_choose(&f->pool, NULL));
    assert_null(endpoint_choose_next(&f->pool));
    fixture_free(f);
}

/* What is spare: its place is of more use to a level that takes something. */
static void test_spare(void **state)
{
    struct fixture *f = fixture_new(SPOTS({2, 0, ""}, {2, 1, ""}), BALANCE_LEAST_REQUEST);
    (void)state;
    assert_false(endpoint_is_spare(f->at[0]));
    assert_true(endpoint_is_spare(f->at[2]));
    assert_false(endpoint_is_out(f->at[2]));
    set_ill(f, 0, 1, true);
    assert_true(endpoint_is_spare(f->at[0]));
    assert_false(endpoint_is_spare(f->at[2]));
    fixture_free(f);
}

static void expect_levels(struct fixture *f, uint32_t first, uint32_t second)
{
    struct levels l;
    assert_true(upstream_levels(f->shared, &f->conf, &l));
    assert_int_equal(l.ppm[0], first);
    assert_int_equal(l.ppm[1], second);
    upstream_levels_tell(f->shared, &f->conf);
}

static void test_shown(void **state)
{
    struct fixture *f = fixture_new(SPOTS({2, 0, ""}, {2, 1, ""}), BALANCE_LEAST_REQUEST);
    (void)state;
    expect_levels(f, 1000000, 0);
    set_ill(f, 0, 1, true);
    expect_levels(f, 700000, 300000);
    assert_false(upstream_panics(f->shared, &f->conf));
    set_ill(f, 1, 3, true);
    expect_levels(f, 500000, 500000);
    assert_true(upstream_panics(f->shared, &f->conf));
    set_ill(f, 0, 4, false);
    expect_levels(f, 1000000, 0);
    fixture_free(f);
}

/* Printed, and bounded loosely: it must not grow with their number. */
static void test_cost(void **state)
{
    static const uint32_t sizes[] = {10, MOST};
    usec_t took[2];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = fixture_new(SPOTS({sizes[i] / 2, 0, "a"}, {sizes[i] / 2, 1, "b"}),
                                        BALANCE_LEAST_REQUEST);
        usec_t began = clock_mono();
        for (int k = 0; k < 10; k++)
            choose(f);
        took[i] = clock_mono() - began;
        fixture_free(f);
        (void)printf("%u endpoints of two levels: %llu ns a choice\n", sizes[i],
                     (unsigned long long)took[i] * 1000 / 10 / TIMES);
    }
    assert_true(took[1] < 100 * took[0] + USEC_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overflow), cmocka_unit_test(test_dry_run),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_ejected_level),
        cmocka_unit_test(test_zones),    cmocka_unit_test(test_swap),
        cmocka_unit_test(test_restore),  cmocka_unit_test(test_drained),
        cmocka_unit_test(test_spare),    cmocka_unit_test(test_shown),
        cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
