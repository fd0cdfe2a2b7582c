/* test_cleanup_order.c - whose turn it is, and how the time is shared. */
#include "lifecycle/cleanup_order.h"

#include "base/check.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { MOST = 64 };

struct set {
    struct cleanup_order order;
    struct cleanup_item items[MOST];
    char names[MOST][8];
    struct str after[MOST][4];
    uint32_t n;
};

static struct cleanup_item *add(struct set *s, const char *name, const char *const *after)
{
    uint32_t at = s->n++;
    struct cleanup_item *i = &s->items[at];
    (void)snprintf(s->names[at], sizeof(s->names[at]), "%s", name);
    *i = (struct cleanup_item){.name = str_of(s->names[at]), .after = s->after[at], .age = s->n};
    while (after && after[i->n_after]) {
        s->after[at][i->n_after] = str_of(after[i->n_after]);
        i->n_after++;
    }
    return i;
}

#define AFTER(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Runs all, `most` at once, each ending as soon as none more can start; names in the order of their
 * starts. */
static void run(struct set *s, uint32_t most, char *out, size_t cap)
{
    struct cleanup_item *running[MOST], *i;
    uint32_t n = 0, ended = 0;
    out[0] = '\0';
    cleanup_order_init(&s->order);
    for (uint32_t k = 0; k < s->n; k++)
        cleanup_order_add(&s->order, &s->items[k]);
    while (ended < s->n) {
        while ((i = cleanup_order_next(&s->order, most)) != NULL) {
            size_t o = strlen(out);
            (void)snprintf(out + o, cap - o, "%s%.*s", o ? " " : "", STR_FMT(i->name));
            running[n++] = i;
        }
        assert_true(ended < n); /* there is always one that runs */
        assert_true(s->order.n_running <= most);
        cleanup_order_remove(&s->order, running[ended++]);
    }
    assert_int_equal(s->order.n_waiting + s->order.n_running + s->order.n_after, 0);
}

static void expect_order(struct set *s, uint32_t most, const char *expected)
{
    char got[512];
    run(s, most, got, sizeof(got));
    assert_string_equal(got, expected);
}

static void test_last_in_first_out(UNUSED void **state)
{
    struct set s = {0};
    (void)add(&s, "a", NULL);
    (void)add(&s, "b", NULL);
    (void)add(&s, "c", NULL);
    expect_order(&s, 1, "c b a");
    expect_order(&s, 2, "c b a");
    expect_order(&s, 16, "c b a");
}

static void test_after(UNUSED void **state)
{
    struct set s = {0};
    (void)add(&s, "a", NULL);
    (void)add(&s, "b", AFTER("d"));
    (void)add(&s, "c", AFTER("a", "b"));
    (void)add(&s, "d", NULL);
    expect_order(&s, 1, "d b a c");
    expect_order(&s, 4, "d a b c");
}

/* All of the name, and one that is not there is not waited for. */
static void test_after_several_of_a_name(UNUSED void **state)
{
    struct set s = {0};
    (void)add(&s, "x", NULL);
    (void)add(&s, "x", NULL);
    (void)add(&s, "a", AFTER("x", "nobody"));
    (void)add(&s, "x", AFTER("x")); /* those of one name do not wait for each other */
    expect_order(&s, 1, "x x x a");
    expect_order(&s, 2, "x x x a");
}

static void test_circle(UNUSED void **state)
{
    struct set s = {0};
    (void)add(&s, "a", AFTER("b"));
    (void)add(&s, "b", AFTER("c"));
    (void)add(&s, "c", AFTER("a"));
    (void)add(&s, "d", NULL);
    expect_order(&s, 1, "d c b a");
}

/* Any graph ends, starts each once, and starts none before what it waits for, but in a circle. */
static void test_any_graph(UNUSED void **state)
{
    struct rng rng;
    rng_init(&rng, 4711);
    for (int round = 0; round < 2000; round++) {
        struct set s = {0};
        uint32_t n = 1 + rng_below(&rng, 20);
        char name[12], got[512];
        for (uint32_t i = 0; i < n; i++) {
            (void)snprintf(name, sizeof(name), "n%u", i);
            struct cleanup_item *it = add(&s, name, NULL);
            while (i > 0 && it->n_after < 2 && rng_below(&rng, 2))
                s.after[i][it->n_after++] = s.items[rng_below(&rng, i)].name;
        }
        run(&s, 1 + rng_below(&rng, 4), got, sizeof(got));
        uint32_t seen[20] = {0}, at = 0;
        for (const char *p = strchr(got, 'n'); p; p = strchr(p + 1, 'n'))
            seen[strtoul(p + 1, NULL, 10)] = ++at;
        assert_int_equal(at, n);
        for (uint32_t i = 0; i < n; i++) {
            assert_true(seen[i] > 0);
            for (uint32_t k = 0; k < s.items[i].n_after; k++)
                assert_true(seen[strtoul(s.after[i][k].p + 1, NULL, 10)] < seen[i]);
        }
    }
}

/* --- the time ------------------------------------------------------------------------------ */

static void test_all_at_once_have_all_the_time(UNUSED void **state)
{
    struct set s = {0};
    cleanup_order_init(&s.order);
    for (int i = 0; i < 4; i++)
        cleanup_order_add(&s.order, add(&s, "x", NULL));
    struct cleanup_item *i = cleanup_order_next(&s.order, 4);
    assert_int_equal(cleanup_order_deadline(&s.order, i, 4, 1000, 9000), 9000);
}

/* When each that starts uses all of its time, the last still starts before the end. */
static void test_each_has_its_turn(UNUSED void **state)
{
    for (uint32_t most = 1; most <= 5; most++) {
        struct set s = {0};
        usec_t now = 0, end = 10 * USEC_PER_SEC, ends[MOST];
        uint32_t started = 0, n = 23;
        cleanup_order_init(&s.order);
        for (uint32_t i = 0; i < n; i++)
            cleanup_order_add(&s.order, add(&s, i % 2 ? "x" : "y", NULL));
        while (started < n) {
            struct cleanup_item *i;
            while ((i = cleanup_order_next(&s.order, most)) != NULL) {
                assert_true(now < end);
                ends[i - s.items] = cleanup_order_deadline(&s.order, i, most, now, end);
                assert_true(ends[i - s.items] > now && ends[i - s.items] <= end);
                started++;
            }
            usec_t next = end;
            LIST_FOREACH (it, &s.order.running)
                next = min_u64(next, ends[LIST_ENTRY(it, struct cleanup_item, link) - s.items]);
            now = next;
            LIST_FOREACH_SAFE (it, &s.order.running) {
                struct cleanup_item *r = LIST_ENTRY(it, struct cleanup_item, link);
                if (ends[r - s.items] <= now)
                    cleanup_order_remove(&s.order, r);
            }
        }
    }
}

/* a -> b -> c -> d: the first takes a quarter at most. */
static void test_a_chain_shares(UNUSED void **state)
{
    struct set s = {0};
    cleanup_order_init(&s.order);
    cleanup_order_add(&s.order, add(&s, "a", NULL));
    cleanup_order_add(&s.order, add(&s, "b", AFTER("a")));
    cleanup_order_add(&s.order, add(&s, "c", AFTER("b")));
    cleanup_order_add(&s.order, add(&s, "d", AFTER("c", "a")));
    struct cleanup_item *i = cleanup_order_next(&s.order, 16);
    assert_true(str_eq(i->name, STR("a")));
    assert_int_equal(cleanup_order_deadline(&s.order, i, 16, 0, 8000), 2000);
    assert_null(cleanup_order_next(&s.order, 16));
    cleanup_order_remove(&s.order, i);
    i = cleanup_order_next(&s.order, 16);
    assert_int_equal(cleanup_order_deadline(&s.order, i, 16, 2000, 8000), 4000);
}

/* What branches at each step costs no more than what it is bound to. */
static void test_a_bush_is_bounded(UNUSED void **state)
{
    struct set s = {0};
    const char *const layer[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    cleanup_order_init(&s.order);
    for (uint32_t k = 0; k < 8; k++) {
        for (int i = 0; i < 8; i++)
            cleanup_order_add(&s.order, add(&s, layer[k], k ? AFTER(layer[k - 1]) : NULL));
    }
    struct cleanup_item *i = cleanup_order_next(&s.order, 16);
    assert_int_equal(cleanup_order_deadline(&s.order, i, 16, 0, 8000), 1000);
}

static void test_removed_while_it_waits(UNUSED void **state)
{
    struct set s = {0};
    cleanup_order_init(&s.order);
    struct cleanup_item *a = add(&s, "a", NULL), *b = add(&s, "b", AFTER("a"));
    cleanup_order_remove(&s.order, a); /* in none: harmless */
    cleanup_order_add(&s.order, a);
    cleanup_order_add(&s.order, b);
    cleanup_order_remove(&s.order, a);
    assert_ptr_equal(cleanup_order_next(&s.order, 1), b);
    assert_int_equal(s.order.n_waiting, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_in_first_out),
        cmocka_unit_test(test_after),
        cmocka_unit_test(test_after_several_of_a_name),
        cmocka_unit_test(test_circle),
        cmocka_unit_test(test_any_graph),
        cmocka_unit_test(test_all_at_once_have_all_the_time),
        cmocka_unit_test(test_each_has_its_turn),
        cmocka_unit_test(test_a_chain_shares),
        cmocka_unit_test(test_a_bush_is_bounded),
        cmocka_unit_test(test_removed_while_it_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
