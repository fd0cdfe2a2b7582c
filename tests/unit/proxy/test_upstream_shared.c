/* test_upstream_shared.c - does an address keep its counters for as long as anybody knows it? */
#include "proxy/upstream_shared.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

enum { MOST = 16 };

static struct endpoint_address parsed(const char *text)
{
    struct endpoint_address a = {.text = str_of(text)};
    const char *why = NULL;
    assert_int_equal(address_parse(a.text, &a.address, &why), 0);
    return a;
}

/* Sets the addresses named, up to NULL; returns whether that changed anything. */
static bool set(struct upstream_shared *u, const char *const *texts)
{
    struct endpoint_address list[MOST];
    uint32_t n = 0;
    bool changed = false;
    for (; texts[n]; n++)
        list[n] = parsed(texts[n]);
    assert_int_equal(upstream_shared_set(u, list, n, &changed), 0);
    return changed;
}

#define SET(u, ...) set(u, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void expect(const struct upstream_shared *u, const char *const *texts)
{
    uint32_t n = 0;
    for (; texts[n]; n++) {
        assert_true(n < u->n_endpoints);
        assert_true(str_eq(u->endpoints[n]->text, str_of(texts[n])));
    }
    assert_int_equal(u->n_endpoints, n);
}

#define EXPECT(u, ...) expect(u, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

#define A "10.0.0.1:80"
#define B "10.0.0.2:80"
#define C "[2001:db8::1]:80"
#define D "unix:/run/app.sock"

static void test_keep_add_remove_reorder(void **state)
{
    struct upstream_shared *u = upstream_shared_new(2);
    (void)state;
    EXPECT(u);
    assert_false(SET(u));
    assert_true(SET(u, A, B));
    EXPECT(u, A, B);
    struct endpoint_shared *a = u->endpoints[0], *b = u->endpoints[1];
    count_add(&a->worker[1].stats.requests, 7);
    assert_false(SET(u, A, B));
    assert_true(SET(u, D, B, C, A));
    EXPECT(u, D, B, C, A);
    assert_ptr_equal(u->endpoints[3], a);
    assert_ptr_equal(u->endpoints[1], b);
    assert_int_equal(count_read(&a->worker[1].stats.requests), 7);
    assert_true(SET(u, A, B, C, D));
    assert_ptr_equal(u->endpoints[0], a);
    assert_true(SET(u, C));
    EXPECT(u, C);
    assert_true(SET(u));
    EXPECT(u);
    assert_int_equal(u->n_left, 0);
    upstream_shared_unref(u);
}

/* Ports, and the families, tell addresses apart. */
static void test_what_is_another_address(void **state)
{
    struct upstream_shared *u = upstream_shared_new(1);
    (void)state;
    assert_true(
        SET(u, "10.0.0.1:80", "10.0.0.1:81", "[::ffff:10.0.0.1]:80", "unix:/a", "unix:/ab"));
    assert_int_equal(u->n_endpoints, 5);
    upstream_shared_unref(u);
}

static void test_equal_addresses_are_one(void **state)
{
    struct upstream_shared *u = upstream_shared_new(1);
    (void)state;
    assert_true(SET(u, "[2001:db8::1]:80", A, "[2001:DB8:0::1]:80", A));
    EXPECT(u, "[2001:db8::1]:80", A);
    struct endpoint_shared *first = u->endpoints[0];
    /* Another text for the address that is there: its counters are what counts. */
    assert_false(SET(u, "[2001:DB8:0::1]:80", A));
    assert_ptr_equal(u->endpoints[0], first);
    EXPECT(u, "[2001:db8::1]:80", A);
    upstream_shared_unref(u);
}

/* Texts may be gone the moment that set has returned. */
static void test_text_is_copied(void **state)
{
    struct upstream_shared *u = upstream_shared_new(1);
    char text[] = "10.0.0.9:80";
    struct endpoint_address a = parsed(text);
    bool changed;
    (void)state;
    assert_int_equal(upstream_shared_set(u, &a, 1, &changed), 0);
    memset(text, 'x', sizeof(text));
    EXPECT(u, "10.0.0.9:80");
    upstream_shared_unref(u);
}

/* While a worker still has a connection there, an address that comes back is the one that left. */
static void test_left_and_come_back(void **state)
{
    struct upstream_shared *u = upstream_shared_new(1);
    (void)state;
    assert_true(SET(u, A, B));
    struct endpoint_shared *a = endpoint_shared_ref(u->endpoints[0]);
    assert_true(SET(u, B));
    assert_int_equal(u->n_left, 1);
    assert_true(SET(u, C, B)); /* it is still remembered a list later */
    assert_int_equal(u->n_left, 1);
    assert_true(SET(u, A, B));
    assert_ptr_equal(u->endpoints[0], a);
    assert_int_equal(u->n_left, 0);
    assert_true(SET(u, B));
    endpoint_shared_unref(a);
    assert_true(SET(u, C));
    assert_int_equal(u->n_left, 0); /* neither A nor B is anybody's */
    upstream_shared_unref(u);
}

/* A list on its way to a worker outlives both the next list and the upstream. */
static void test_lists_hold_what_they_name(void **state)
{
    struct upstream_shared *u = upstream_shared_new(1);
    (void)state;
    assert_true(SET(u, A, B));
    struct endpoint_list *l = endpoint_list_new(u);
    assert_int_equal(l->n, 2);
    assert_ptr_equal(l->upstream, u);
    assert_true(SET(u, C));
    struct upstream_shared *again = upstream_shared_ref(u);
    upstream_shared_unref(u);
    EXPECT(again, C);
    upstream_shared_unref(again);
    assert_true(str_eq(l->at[0]->text, STR(A)) && str_eq(l->at[1]->text, STR(B)));
    assert_null(endpoint_list_free(l));
    assert_null(endpoint_list_free(NULL));
    upstream_shared_unref(NULL);
}

/* Each allocation of a new list fails once, and the old one stays. */
static void test_allocation_fails(void **state)
{
    struct endpoint_address list[] = {parsed(C), parsed(A), parsed(D)};
    uint64_t nth = 1;
    (void)state;
    mem_fail_at(1, false);
    assert_null(upstream_shared_new(2));
    mem_fail_at(0, false);
    for (int rc = -ENOMEM; rc < 0; nth++) {
        bool changed = false;
        struct upstream_shared *u = upstream_shared_new(2);
        assert_true(SET(u, A, B));
        struct endpoint_shared *a = u->endpoints[0];
        mem_fail_at(nth, false);
        rc = upstream_shared_set(u, list, ARRAY_LEN(list), &changed);
        mem_fail_at(1, false);
        assert_null(endpoint_list_new(u));
        mem_fail_at(0, false);
        if (rc < 0) {
            assert_int_equal(rc, -ENOMEM);
            assert_false(changed);
            EXPECT(u, A, B);
            assert_ptr_equal(u->endpoints[0], a);
        } else {
            EXPECT(u, C, A, D);
            assert_ptr_equal(u->endpoints[1], a);
        }
        upstream_shared_unref(u);
    }
    /* The table, three arrays, two new addresses; then all was well. */
    assert_int_equal(nth - 1, 7);
}

static void test_set_is_undone(void **state)
{
    struct upstream_shared *u = upstream_shared_new(2);
    struct upstream_addresses kept = {0};
    (void)state;
    upstream_shared_restore(u, &kept); /* nothing was kept */
    assert_true(SET(u, A, B));
    struct endpoint_shared *a = u->endpoints[0];
    mem_fail_at(1, false);
    assert_int_equal(upstream_shared_keep(u, &kept), -ENOMEM);
    mem_fail_at(0, false);
    assert_int_equal(upstream_shared_keep(u, &kept), 0);
    assert_true(SET(u, C, A));
    u->undelivered = true;
    upstream_shared_restore(u, &kept);
    EXPECT(u, A, B);
    assert_ptr_equal(u->endpoints[0], a);
    assert_false(u->undelivered);
    /* What has left is not kept by being kept: sets that succeed do not pile them up. */
    for (int i = 0; i < 4; i++) {
        assert_int_equal(upstream_shared_keep(u, &kept), 0);
        assert_true(i % 2 ? SET(u, A) : SET(u, B));
        upstream_addresses_free(&kept);
        assert_true(u->n_left <= 1);
    }
    upstream_shared_unref(u);
}

/* Of this thread: what else the machine does is not in it. */
static usec_t cpu_time(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (usec_t)t.tv_sec * USEC_PER_SEC + (usec_t)t.tv_nsec / 1000;
}

/* The quickest of some turns in which n addresses move up by one place. */
static usec_t time_to_set(uint32_t n)
{
    enum { RUNS = 5 };
    struct endpoint_address *list = mem_zalloc(n * sizeof(*list));
    struct upstream_shared *u = upstream_shared_new(2);
    usec_t best = USEC_NEVER;
    bool changed;
    for (uint32_t i = 0; i < n; i++) {
        list[i].text = STR("10.0.0.0:80");
        list[i].address.len = sizeof(list[i].address.u.in);
        list[i].address.u.in.sin_family = AF_INET;
        list[i].address.u.in.sin_addr.s_addr = htonl(0x0a000000 + i);
    }
    assert_int_equal(upstream_shared_set(u, list, n, &changed), 0);
    assert_int_equal(u->n_endpoints, n);
    struct endpoint_shared *last = u->endpoints[n - 1];
    for (int run = 0; run < RUNS; run++) {
        struct endpoint_address first = list[0];
        memmove(list, list + 1, (n - 1) * sizeof(*list));
        list[n - 1] = first;
        usec_t began = cpu_time();
        assert_int_equal(upstream_shared_set(u, list, n, &changed), 0);
        best = min_u64(best, cpu_time() - began);
        assert_true(changed);
    }
    assert_ptr_equal(u->endpoints[n - 1 - RUNS], last);
    assert_int_equal(u->n_endpoints, n);
    upstream_shared_unref(u);
    free(list);
    return best;
}

/* Comparing each with each would be a hundred million comparisons, and take a hundred times as long
 * as for a tenth of them. */
static void test_ten_thousand(void **state)
{
    (void)state;
    usec_t tenth = max_u64(time_to_set(1000), 100), whole = time_to_set(10000);
    print_message("1,000 addresses in %llu us, 10,000 in %llu\n", (unsigned long long)tenth,
                  (unsigned long long)whole);
    assert_true(whole < 50 * tenth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_add_remove_reorder),
        cmocka_unit_test(test_what_is_another_address),
        cmocka_unit_test(test_equal_addresses_are_one),
        cmocka_unit_test(test_text_is_copied),
        cmocka_unit_test(test_left_and_come_back),
        cmocka_unit_test(test_lists_hold_what_they_name),
        cmocka_unit_test(test_allocation_fails),
        cmocka_unit_test(test_set_is_undone),
        cmocka_unit_test(test_ten_thousand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
