/* test_fault.c - is the share that was asked for hit, and the bound on what waits kept? */
#include "policies/fault.h"

#include "base/check.h"
#include "base/rng.h"

#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static void test_ends(UNUSED void **state)
{
    assert_false(fault_hits(0, 0));
    assert_false(fault_hits(0, UINT64_MAX));
    assert_true(fault_hits(FAULT_WHOLE_PPM, 0));
    assert_true(fault_hits(FAULT_WHOLE_PPM, UINT64_MAX));
    assert_true(fault_hits(1, 0));
    assert_true(fault_hits(1, UINT64_MAX / FAULT_WHOLE_PPM - 1));
    assert_false(fault_hits(1, UINT64_MAX / FAULT_WHOLE_PPM));
    assert_false(fault_hits(FAULT_WHOLE_PPM - 1, UINT64_MAX));
}

/* Of n evenly spread draws, the share is exact to one draw. */
static void test_exact(UNUSED void **state)
{
    static const uint32_t shares[] = {1, 10, 333333, 500000, 999999};
    const uint32_t n = 1000000;
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        uint32_t hits = 0;
        for (uint32_t k = 0; k < n; k++)
            hits += fault_hits(shares[i], (UINT64_MAX / n) * k);
        assert_int_equal(hits, shares[i]);
    }
}

/* More is never less. */
static void test_monotonic(UNUSED void **state)
{
    struct rng rng;
    rng_init(&rng, 3);
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = rng_next(&rng);
        uint32_t a = rng_below(&rng, FAULT_WHOLE_PPM + 1), b = rng_below(&rng, FAULT_WHOLE_PPM + 1);
        assert_true(a > b || !fault_hits(a, bits) || fault_hits(b, bits));
    }
}

static void test_decide(UNUSED void **state)
{
    struct fault_rules r = {.delay_ppm = FAULT_WHOLE_PPM, .abort_ppm = FAULT_WHOLE_PPM};
    struct fault_verdict v = fault_decide(&r, 0, 0);
    assert_false(v.delay || v.abort); /* the parts are not there */
    r.delays = true;
    v = fault_decide(&r, UINT64_MAX, 0);
    assert_true(v.delay && !v.abort);
    r.aborts = true;
    r.delay_ppm = 0;
    v = fault_decide(&r, 0, UINT64_MAX);
    assert_true(!v.delay && v.abort);
    r.delay_ppm = r.abort_ppm = 500000; /* each by its own draw */
    v = fault_decide(&r, 0, UINT64_MAX);
    assert_true(v.delay && !v.abort);
    v = fault_decide(&r, UINT64_MAX, 0);
    assert_true(!v.delay && v.abort);
}

static struct str header(const void *ctx, struct str name)
{
    return str_ieq(name, STR("X-Chaos")) ? str_of(ctx) : STR_NONE;
}

static bool concerned(const struct fault_rules *r, const char *value, struct route_scratch *scratch)
{
    const struct route_request q = {
        .method = STR("GET"), .path = STR("/"), .header = header, .ctx = value};
    return fault_concerns(r, &q, scratch);
}

static void test_headers(UNUSED void **state)
{
    struct route_condition c = {
        .name = STR("x-chaos"), .how = ROUTE_TEXT_REGEX, .value = STR("o.")};
    struct route_match match = {.headers = &c, .n_headers = 1};
    struct route_scratch *scratch = route_scratch_new();
    struct fault_rules r = {0};
    char why[160];
    uint32_t bad;
    assert_true(concerned(&r, NULL, NULL));
    r.headers = route_table_new(&match, 1, &bad, why, sizeof(why));
    assert_non_null(r.headers);
    assert_true(concerned(&r, "on", scratch));
    assert_false(concerned(&r, "off", scratch));
    assert_false(concerned(&r, NULL, scratch));
    (void)route_table_free(r.headers);
    (void)route_scratch_free(scratch);
}

static void test_places(UNUSED void **state)
{
    struct fault_state s = {0};
    assert_true(fault_enter(&s, 2) && fault_enter(&s, 2));
    assert_false(fault_enter(&s, 2));
    assert_false(fault_enter(&s, 1)); /* a reload asks for fewer than there are */
    assert_true(fault_enter(&s, 3));
    fault_leave(&s);
    fault_leave(&s);
    assert_false(fault_enter(&s, 1));
    fault_leave(&s);
    assert_int_equal(s.active, 0);
}

enum { THREADS = 4, ROUNDS = 100000, PLACES = 3 };

static struct shared {
    struct fault_state s;
    _Atomic uint32_t inside, most;
} shared;

static void *enter_and_leave(UNUSED void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (!fault_enter(&shared.s, PLACES))
            continue;
        uint32_t n = atomic_fetch_add(&shared.inside, 1) + 1, most = atomic_load(&shared.most);
        while (n > most && !atomic_compare_exchange_weak(&shared.most, &most, n))
            ;
        atomic_fetch_sub(&shared.inside, 1);
        fault_leave(&shared.s);
    }
    return NULL;
}

/* Exact over threads. */
static void test_threads(UNUSED void **state)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, enter_and_leave, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(shared.s.active, 0);
    assert_in_range(shared.most, 1, PLACES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),      cmocka_unit_test(test_exact),
        cmocka_unit_test(test_monotonic), cmocka_unit_test(test_decide),
        cmocka_unit_test(test_headers),   cmocka_unit_test(test_places),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
