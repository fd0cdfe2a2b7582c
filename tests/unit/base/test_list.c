/* test_list.c - are links kept, whatever the order of changes? */
#include "base/list.h"

#include "base/check.h"
#include "base/rng.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct item {
    int value;
    struct list link;
};

static void check(const struct list *head, const int *want, size_t n)
{
    size_t i = 0;
    LIST_FOREACH (it, head) {
        assert_true(i < n);
        assert_int_equal(LIST_ENTRY(it, struct item, link)->value, want[i]);
        assert_ptr_equal(it->next->prev, it);
        i++;
    }
    assert_int_equal(i, n);
    assert_int_equal(list_empty(head), n == 0);
}

static void test_push_and_remove(UNUSED void **state)
{
    struct list head;
    struct item a = {.value = 1}, b = {.value = 2}, c = {.value = 3};
    list_init(&head);
    assert_null(list_first(&head));
    assert_null(list_last(&head));
    assert_false(list_linked(&a.link));
    list_remove(&a.link); /* harmless */
    list_push_back(&head, &a.link);
    list_push_back(&head, &b.link);
    list_push_front(&head, &c.link);
    check(&head, (int[]){3, 1, 2}, 3);
    assert_ptr_equal(list_first(&head), &c.link);
    assert_ptr_equal(list_last(&head), &b.link);
    assert_true(list_linked(&a.link));
    list_remove(&a.link);
    list_remove(&a.link);
    assert_false(list_linked(&a.link));
    check(&head, (int[]){3, 2}, 2);
    list_remove(&c.link);
    list_remove(&b.link);
    check(&head, NULL, 0);
}

static void test_foreach_safe(UNUSED void **state)
{
    struct list head, other;
    struct item items[5];
    list_init(&head);
    list_init(&other);
    for (int i = 0; i < 5; i++) {
        items[i] = (struct item){.value = i};
        list_push_back(&head, &items[i].link);
    }
    LIST_FOREACH_SAFE (it, &head) {
        if (LIST_ENTRY(it, struct item, link)->value % 2 == 0) {
            list_remove(it);
            list_push_back(&other, it);
        }
    }
    check(&head, (int[]){1, 3}, 2);
    check(&other, (int[]){0, 2, 4}, 3);
    LIST_FOREACH_SAFE (it, &head) {
        list_remove(it);
    }
    check(&head, NULL, 0);
}

/* Against an array. */
static void test_random(UNUSED void **state)
{
    enum { ITEMS = 8 };
    struct list head;
    struct item items[ITEMS];
    int order[ITEMS];
    size_t n = 0;
    struct rng rng;
    rng_init(&rng, 1);
    list_init(&head);
    for (int i = 0; i < ITEMS; i++)
        items[i] = (struct item){.value = i};
    for (int step = 0; step < 20000; step++) {
        int at = (int)rng_below(&rng, ITEMS);
        if (list_linked(&items[at].link)) {
            size_t k = 0;
            while (order[k] != at)
                k++;
            n--;
            memmove(order + k, order + k + 1, (n - k) * sizeof(order[0]));
            list_remove(&items[at].link);
        } else if (rng_below(&rng, 2)) {
            memmove(order + 1, order, n++ * sizeof(order[0]));
            order[0] = at;
            list_push_front(&head, &items[at].link);
        } else {
            order[n++] = at;
            list_push_back(&head, &items[at].link);
        }
        check(&head, order, n);
    }
}

/* Whoever is visited may go, and take others along; who comes meanwhile is not visited. */
static void test_move_and_step(UNUSED void **state)
{
    struct list head, left, *it;
    struct item items[6];
    list_init(&head);
    list_init(&left);
    list_move(&head, &left);
    assert_true(list_empty(&left));
    for (int i = 0; i < 5; i++) {
        items[i] = (struct item){.value = i};
        list_push_back(&head, &items[i].link);
    }
    items[5] = (struct item){.value = 5};
    int visited = 0;
    list_move(&head, &left);
    assert_true(list_empty(&head));
    while ((it = list_step(&left, &head))) {
        int value = LIST_ENTRY(it, struct item, link)->value;
        visited |= 1 << value;
        if (value == 1) {
            list_remove(it);
            list_remove(&items[0].link); /* one from before, and the next */
            list_remove(&items[2].link);
            list_push_back(&head, &items[5].link);
        }
        if (value == 3)
            break;
    }
    assert_int_equal(visited, 1 << 0 | 1 << 1 | 1 << 3);
    list_move(&left, &head);
    check(&head, (int[]){5, 3, 4}, 3);
    assert_true(list_empty(&left));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push_and_remove),
        cmocka_unit_test(test_foreach_safe),
        cmocka_unit_test(test_move_and_step),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
