/* test_unhealthy.c - is an endpoint that its health check finds unhealthy the last choice, and is
 * it a choice still? */
#include "proxy/endpoint.h"

#include "proxy/pool.h"
#include "proxy/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

enum { MOST = 5, PICKS = 2000 };

struct fixture {
    struct worker worker;
    struct conf_upstream conf;
    struct pool pool;
    struct upstream_shared *shared;
    struct endpoint *at[MOST];
};

/* A pool of n endpoints that nobody connects to: only who is chosen is asked here. */
static struct fixture *fixture_new(uint32_t n, enum balance balance)
{
    struct fixture *f = NULL;
    struct endpoint_address list[MOST];
    char text[MOST][32];
    const char *why;
    bool changed;
    assert_int_equal(posix_memalign((void **)&f, 64, sizeof(*f)), 0);
    memset(f, 0, sizeof(*f));
    rng_init(&f->worker.loop.rng, 7);
    f->worker.loop.now = 1000 * USEC_PER_SEC;
    f->conf.balance = balance;
    f->shared = upstream_shared_new(1);
    for (uint32_t i = 0; i < n; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "10.0.0.%u:80", i + 1);
        list[i] = (struct endpoint_address){.text = str_of(text[i])};
        assert_int_equal(address_parse(list[i].text, &list[i].address, &why), 0);
    }
    assert_int_equal(upstream_shared_set(f->shared, list, n, &changed), 0);
    f->pool.worker = &f->worker;
    f->pool.conf = &f->conf;
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

static void set_unhealthy(struct fixture *f, uint32_t i, bool unhealthy)
{
    endpoint_shared_set_unhealthy(f->shared->endpoints[i], unhealthy);
    assert_int_equal(endpoint_shared_unhealthy(f->shared->endpoints[i]), unhealthy);
}

/* Which of them are ever chosen, a bit each. */
static uint32_t chosen(struct fixture *f)
{
    uint32_t seen = 0;
    for (int k = 0; k < PICKS; k++) {
        struct endpoint *e = endpoint_choose(&f->pool, NULL);
        assert_non_null(e);
        seen |= 1U << e->index;
        assert_non_null(e = endpoint_choose_next(&f->pool));
        seen |= 1U << e->index;
    }
    return seen;
}

static void check_each_subset(enum balance balance)
{
    for (uint32_t n = 1; n <= MOST; n++) {
        struct fixture *f = fixture_new(n, balance);
        uint32_t all = (1U << n) - 1;
        for (uint32_t unhealthy = 0; unhealthy <= all; unhealthy++) {
            for (uint32_t i = 0; i < n; i++)
                set_unhealthy(f, i, unhealthy >> i & 1);
            assert_int_equal(chosen(f), unhealthy == all ? all : all & ~unhealthy);
        }
        fixture_free(f);
    }
}

static void test_round_robin(void **state)
{
    (void)state;
    check_each_subset(BALANCE_ROUND_ROBIN);
}

static void test_least_request(void **state)
{
    (void)state;
    check_each_subset(BALANCE_LEAST_REQUEST);
}

/* One that refused a connect a moment ago is asked before one that fails its checks. */
static void test_refused_comes_before_unhealthy(void **state)
{
    struct fixture *f = fixture_new(3, BALANCE_ROUND_ROBIN);
    (void)state;
    set_unhealthy(f, 1, true);
    endpoint_avoid(f->at[0]);
    endpoint_avoid(f->at[2]);
    assert_int_equal(chosen(f), 0x5);
    fixture_free(f);
}

/* By these a health check sees that it need not ask. */
static void test_results_are_counted(void **state)
{
    struct fixture *f = fixture_new(1, BALANCE_ROUND_ROBIN);
    const struct endpoint_stats *stats = f->at[0]->stats;
    (void)state;
    for (int r = RESULT_SUCCESS; r < RESULTS; r++)
        endpoint_on_result(f->at[0], (enum result)r, 0);
    assert_int_equal(count_read(&stats->succeeded), 1);
    assert_int_equal(count_read(&stats->errors), 3);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_robin),
        cmocka_unit_test(test_least_request),
        cmocka_unit_test(test_refused_comes_before_unhealthy),
        cmocka_unit_test(test_results_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
