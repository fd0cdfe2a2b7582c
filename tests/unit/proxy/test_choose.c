/* test_choose.c - is the right endpoint chosen, by its share, and as fast among thousands? */
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

enum { MOST = 5000 };

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

static struct endpoint_address address_of(uint32_t i)
{
    static char text[32];
    struct endpoint_address a = {0};
    const char *why;
    (void)snprintf(text, sizeof(text), "10.0.%u.%u:80", i / 250, i % 250 + 1);
    a.text = str_of(text);
    assert_int_equal(address_parse(a.text, &a.address, &why), 0);
    return a;
}

static struct fixture *fixture_new(uint32_t n, enum balance balance)
{
    struct fixture *f = NULL;
    struct endpoint_address *list = malloc(n * sizeof(*list));
    bool changed;
    assert_int_equal(posix_memalign((void **)&f, 64, sizeof(*f)), 0);
    memset(f, 0, sizeof(*f));
    rng_init(&f->worker.loop.rng, 7);
    f->worker.loop.now = clock_mono();
    f->rules = (struct outlier_rules){.consecutive = {5, 5, 5},
                                      .interval = USEC_PER_SEC,
                                      .base_ejection = 30 * USEC_PER_SEC,
                                      .max_ejection = 300 * USEC_PER_SEC,
                                      .max_percent = 50};
    f->slow = (struct slow_start_rules){30 * USEC_PER_SEC, 10};
    f->conf = (struct conf_upstream){
        .balance = balance, .panic_threshold = 50, .outlier = &f->rules, .slow_start = &f->slow};
    f->shared = upstream_shared_new(1);
    for (uint32_t i = 0; i < n; i++)
        list[i] = address_of(i);
    assert_int_equal(upstream_shared_set(f->shared, list, n, &changed), 0);
    free(list);
    f->pool.worker = &f->worker;
    f->pool.conf = &f->conf;
    f->pool.shared = f->shared;
    f->pool.stats = &f->shared->worker[0].stats;
    f->pool.endpoints = f->at;
    f->pool.n_endpoints = n;
    for (uint32_t i = 0; i < n; i++) {
        f->at[i] = endpoint_get(&f->pool, f->shared->endpoints[i]);
        assert_non_null(f->at[i]);
        f->at[i]->index = i;
    }
    return f;
}

static void fixture_free(struct fixture *f)
{
    for (uint32_t i = 0; i < f->pool.n_endpoints; i++)
        endpoint_unref(f->at[i]);
    upstream_shared_unref(f->shared);
    free(f);
}

static void choose(struct fixture *f, uint32_t times)
{
    memset(f->picked, 0, sizeof(f->picked));
    while (times-- > 0)
        f->picked[endpoint_choose(&f->pool, NULL)->index]++;
}

static void say(struct fixture *f, uint32_t i, bool drained, uint32_t percent)
{
    struct endpoint_word w = {f->shared->endpoints[i]->address, drained, percent};
    assert_int_equal(endpoint_word_set(f->shared, &w), 0);
}

static void fail_at(struct fixture *f, uint32_t i, int times)
{
    while (times-- > 0)
        endpoint_on_result(f->at[i], RESULT_RESET, 0);
}

/* 100, 50, 25 and 5 percent of a share. */
static void check_weights(enum balance balance)
{
    static const uint32_t percents[] = {100, 50, 25, 5};
    struct fixture *f = fixture_new(4, balance);
    for (uint32_t i = 0; i < 4; i++)
        say(f, i, false, percents[i]);
    choose(f, 18000);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(f->picked[i] > percents[i] * 85);
        assert_true(f->picked[i] < percents[i] * 115);
    }
    /* all of them small: still by their shares */
    for (uint32_t i = 0; i < 4; i++)
        say(f, i, false, i == 0 ? 2 : 1);
    choose(f, 5000);
    assert_in_range(f->picked[0], 1700, 2300);
    assert_in_range(f->picked[3], 800, 1200);
    fixture_free(f);
}

static void test_weights(void **state)
{
    (void)state;
    check_weights(BALANCE_ROUND_ROBIN);
    check_weights(BALANCE_LEAST_REQUEST);
}

static void test_ejected_and_back_slowly(void **state)
{
    struct fixture *f = fixture_new(3, BALANCE_ROUND_ROBIN);
    (void)state;
    fail_at(f, 1, 4);
    choose(f, 30);
    assert_int_equal(f->picked[1], 10);
    fail_at(f, 1, 1);
    choose(f, 30);
    assert_int_equal(f->picked[1], 0);
    fail_at(f, 0, 10); /* there is no room for another one */
    choose(f, 30);
    assert_int_equal(f->picked[0], 15);
    assert_true(count_read(&f->pool.stats->ejections_refused) > 0);
    f->worker.loop.now += 31 * USEC_PER_SEC;
    choose(f, 210); /* a tenth of a share, and then a little more */
    assert_in_range(f->picked[1], 9, 12);
    f->worker.loop.now += 15 * USEC_PER_SEC;
    choose(f, 255);
    assert_in_range(f->picked[1], 50, 60);
    f->worker.loop.now += 15 * USEC_PER_SEC;
    choose(f, 300);
    assert_int_equal(f->picked[1], 100);
    assert_int_equal(atomic_load(&f->at[1]->shared->well_since), 0);
    fixture_free(f);
}

static void test_drained(void **state)
{
    struct fixture *f = fixture_new(3, BALANCE_LEAST_REQUEST);
    (void)state;
    say(f, 0, true, 100);
    say(f, 1, true, 100);
    endpoint_shared_set_unhealthy(f->shared->endpoints[2], true);
    choose(f, 100); /* panic, and the operator's word stands */
    assert_int_equal(f->picked[2], 100);
    say(f, 2, true, 100);
    assert_null(endpoint_choose(&f->pool, NULL));
    assert_null(endpoint_choose_next(&f->pool));
    say(f, 1, false, 100);
    choose(f, 100);
    assert_int_equal(f->picked[1], 100);
    assert_int_equal(f->shared->n_words, 2);
    fixture_free(f);
}

/* Rules that are gone, a group that is smaller: what was ejected comes back. */
static void test_look_brings_back(void **state)
{
    struct fixture *f = fixture_new(4, BALANCE_ROUND_ROBIN);
    usec_t now = f->worker.loop.now;
    (void)state;
    fail_at(f, 0, 5);
    fail_at(f, 1, 5);
    assert_int_equal(standing_read(&f->shared->group).ejected, 2);
    say(f, 3, true, 100);
    endpoint_look(f->shared, &f->conf, now);
    assert_int_equal(standing_read(&f->shared->group).ejected, 1);
    f->conf.outlier = NULL;
    endpoint_look(f->shared, &f->conf, now);
    assert_int_equal(standing_read(&f->shared->group).ejected, 0);
    fixture_free(f);
}

/* Most are well: one of thousands is chosen as fast as one of ten, within a wide margin. */
static void test_thousands(void **state)
{
    enum { TIMES = 200000 };
    usec_t took[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fixture *f = fixture_new(i == 0 ? 10 : MOST, BALANCE_LEAST_REQUEST);
        for (uint32_t k = 0; k < f->pool.n_endpoints; k += 3)
            fail_at(f, k, 5);
        usec_t began = clock_mono();
        choose(f, TIMES);
        took[i] = clock_mono() - began;
        for (uint32_t k = 0; k < f->pool.n_endpoints; k += 3)
            assert_int_equal(f->picked[k], 0);
        fixture_free(f);
    }
    print_message("a choice takes %.0f ns among 10, %.0f among %d\n", (double)took[0] * 1e3 / TIMES,
                  (double)took[1] * 1e3 / TIMES, MOST);
    assert_true(took[1] < took[0] * 50); /* looking at all would be 500 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),   cmocka_unit_test(test_ejected_and_back_slowly),
        cmocka_unit_test(test_drained),   cmocka_unit_test(test_look_brings_back),
        cmocka_unit_test(test_thousands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
