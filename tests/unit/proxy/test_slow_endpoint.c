/* test_slow_endpoint.c - two workers of one process, and an endpoint that is slower than the other
 * by far: who sends to it, and when? */
#include "proxy/endpoint.h"

#include "proxy/pool.h"
#include "proxy/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

enum { ENDPOINTS = 2, WORKERS = 2, PICKS = 200, SLOW = 0, WELL = 1 };
#define MS(n) ((usec_t)(n)*USEC_PER_MSEC)

struct fixture {
    struct upstream_shared *shared;
    struct conf_upstream conf;
    struct {
        struct worker worker;
        struct pool pool;
        struct endpoint *at[ENDPOINTS];
    } of[WORKERS];
};

static void set_up_pool(struct fixture *f, uint32_t k)
{
    struct worker *w = &f->of[k].worker;
    struct pool *p = &f->of[k].pool;
    rng_init(&w->loop.rng, 7 + k);
    w->id = k;
    w->loop.now = MS(1000);
    *p = (struct pool){.worker = w,
                       .conf = &f->conf,
                       .shared = f->shared,
                       .endpoints = f->of[k].at,
                       .n_endpoints = ENDPOINTS};
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        f->of[k].at[i] = endpoint_get(p, f->shared->endpoints[i]);
        assert_non_null(f->of[k].at[i]);
        f->of[k].at[i]->index = i;
    }
}

static int set_up(void **state)
{
    struct fixture *f = NULL;
    struct endpoint_address list[ENDPOINTS];
    char text[ENDPOINTS][32];
    const char *why;
    bool changed;
    assert_int_equal(posix_memalign((void **)&f, 64, sizeof(*f)), 0);
    memset(f, 0, sizeof(*f));
    f->conf.balance = BALANCE_LEAST_REQUEST;
    f->shared = upstream_shared_new(WORKERS);
    assert_non_null(f->shared);
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "10.0.0.%u:80", i + 1);
        list[i] = (struct endpoint_address){.text = str_of(text[i])};
        assert_int_equal(address_parse(list[i].text, &list[i].address, &why), 0);
    }
    assert_int_equal(upstream_shared_set(f->shared, list, ENDPOINTS, &changed), 0);
    for (uint32_t k = 0; k < WORKERS; k++)
        set_up_pool(f, k);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    for (uint32_t k = 0; k < WORKERS; k++) {
        for (uint32_t i = 0; i < ENDPOINTS; i++)
            endpoint_unref(f->of[k].at[i]);
    }
    upstream_shared_unref(f->shared);
    free(f);
    return 0;
}

static void at(struct fixture *f, usec_t now)
{
    for (uint32_t k = 0; k < WORKERS; k++)
        f->of[k].worker.loop.now = now;
}

/* An answer of endpoint i to worker k that took so long. */
static void answered(struct fixture *f, uint32_t k, uint32_t i, usec_t latency)
{
    endpoint_on_result(f->of[k].at[i], RESULT_SUCCESS, latency);
}

/* Each has heard two answers of 2 s, and many of 10 ms of the other one. */
static void becomes_slow(struct fixture *f)
{
    for (uint32_t k = 0; k < WORKERS; k++) {
        for (int i = 0; i < 20; i++)
            answered(f, k, WELL, MS(10));
        answered(f, k, SLOW, MS(2000));
        answered(f, k, SLOW, MS(2000));
    }
}

/* How many of many requests of worker k go to the slow one; they stay under way there if `stay`. */
static uint32_t to_slow(struct fixture *f, uint32_t k, bool stay)
{
    uint32_t n = 0;
    for (int i = 0; i < PICKS; i++) {
        struct endpoint *e = endpoint_choose(&f->of[k].pool, NULL);
        assert_non_null(e);
        n += e->index == SLOW;
        if (stay && e->index == SLOW)
            e->active++;
    }
    return n;
}

static void finish(struct fixture *f, uint32_t k, usec_t latency)
{
    CHECK(f->of[k].at[SLOW]->active > 0);
    f->of[k].at[SLOW]->active--;
    answered(f, k, SLOW, latency);
}

static void test_one_worker_tries_at_a_time(void **state)
{
    struct fixture *f = *state;
    becomes_slow(f);
    assert_int_equal(to_slow(f, 0, true) + to_slow(f, 1, true), 0);

    /* Halved four times it is not slower by far: one request, of one of them. */
    at(f, MS(21000));
    assert_int_equal(to_slow(f, 0, true), 1);
    assert_int_equal(to_slow(f, 1, true), 0);
    /* It is slow yet: the other worker's turn comes later. */
    at(f, MS(23000));
    finish(f, 0, MS(2000));
    assert_int_equal(to_slow(f, 0, true) + to_slow(f, 1, true), 0);
    at(f, MS(26000));
    assert_int_equal(to_slow(f, 0, true), 0);
    assert_int_equal(to_slow(f, 1, true), 1);
    finish(f, 1, MS(2000));
}

static void test_what_one_finds_well_the_others_try(void **state)
{
    struct fixture *f = *state;
    becomes_slow(f);
    at(f, MS(21000));
    assert_int_equal(to_slow(f, 0, true), 1);
    assert_int_equal(to_slow(f, 1, true), 0);
    finish(f, 0, MS(10));
    assert_in_range(to_slow(f, 0, false), PICKS / 4, PICKS * 3 / 4);
    assert_int_equal(to_slow(f, 1, true), 1);
    finish(f, 1, MS(10));
    assert_in_range(to_slow(f, 1, false), PICKS / 4, PICKS * 3 / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_worker_tries_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_one_finds_well_the_others_try, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
