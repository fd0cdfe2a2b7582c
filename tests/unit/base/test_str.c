/* test_str.c - what slices can be asked. */
#include "base/str.h"

#include "base/check.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_compare(UNUSED void **state)
{
    assert_true(str_eq(STR("abc"), STR("abc")));
    assert_false(str_eq(STR("abc"), STR("abC")));
    assert_false(str_eq(STR("abc"), STR("ab")));
    assert_true(str_eq(STR_NONE, STR("")));
    assert_true(str_ieq(STR("Content-LENGTH"), STR("content-length")));
    assert_false(str_ieq(STR("a_b"), STR("a\x7f"
                                         "b")));
    assert_false(str_ieq(STR("@"), STR("`"))); /* differ by the case bit, but are no letters */
    assert_false(str_ieq(STR("["), STR("{")));
    assert_true(str_ieq(STR_NONE, STR_NONE));
    assert_true(str_starts(STR("abc"), STR("")));
    assert_true(str_starts(STR("abc"), STR("abc")));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_true(str_starts(STR_NONE, STR_NONE));
    assert_int_equal(str_of(NULL).n, 0);
    assert_int_equal(str_of("xy").n, 2);
}

/* Every pair of bytes, at places of texts of every length up to some words. */
static void test_compare_without_case(UNUSED void **state)
{
    char a[20], b[20];
    for (unsigned x = 0; x < 256; x++) {
        for (unsigned y = 0; y < 256; y++) {
            bool same = ascii_lower((char)x) == ascii_lower((char)y);
            size_t n = 1 + (x + y) % sizeof(a), at = (x ^ y) % n;
            memset(a, 'q', n);
            memset(b, 'Q', n);
            a[at] = (char)x;
            b[at] = (char)y;
            assert_int_equal(str_ieq((struct str){a, n}, (struct str){b, n}), same);
        }
    }
}

/* Beside neighbours that stand next to the letters. */
static void test_compare_every_place(UNUSED void **state)
{
    char a[20], b[20];
    memset(a, '{', sizeof(a));
    memset(b, '{', sizeof(b));
    for (size_t n = 0; n <= sizeof(a); n++) {
        for (size_t at = 0; at < n; at++) {
            a[at] = 'Z';
            b[at] = 'z';
            assert_true(str_ieq((struct str){a, n}, (struct str){b, n}));
            b[at] = 'y';
            assert_false(str_ieq((struct str){a, n}, (struct str){b, n}));
            a[at] = '[';
            b[at] = '{';
            assert_false(str_ieq((struct str){a, n}, (struct str){b, n}));
            a[at] = '{';
        }
    }
}

/* Each byte, in each place of texts around a word's length. */
static void test_has_control(UNUSED void **state)
{
    char text[20];
    assert_false(str_has_control(STR_NONE));
    for (size_t n = 1; n <= sizeof(text); n++) {
        for (size_t at = 0; at < n; at++) {
            for (int b = 0; b < 256; b++) {
                memset(text, 0x80, sizeof(text));
                text[at] = (char)b;
                if (at > 0)
                    text[at - 1] = ' ';
                assert_int_equal(str_has_control((struct str){text, n}), b < 0x20 || b == 0x7f);
            }
        }
    }
}

static void test_trim(UNUSED void **state)
{
    assert_true(str_eq(str_trim(STR(" \t a b\t ")), STR("a b")));
    assert_true(str_eq(str_trim(STR("\r\na\v")), STR("\r\na\v")));
    assert_int_equal(str_trim(STR(" \t ")).n, 0);
    assert_int_equal(str_trim(STR_NONE).n, 0);
}

static void check_list(struct str list, const char *joined)
{
    char out[64];
    size_t n = 0;
    struct str item;
    while (str_list_next(&list, &item))
        n += (size_t)snprintf(out + n, sizeof(out) - n, "<%.*s>", STR_FMT(item));
    out[n] = '\0';
    assert_string_equal(out, joined);
    assert_int_equal(list.n, 0);
}

static void test_list(UNUSED void **state)
{
    check_list(STR("a"), "<a>");
    check_list(STR("a,b"), "<a><b>");
    check_list(STR(" ,, a b\t, ,c,"), "<a b><c>");
    check_list(STR(""), "");
    check_list(STR(","), "");
    check_list(STR_NONE, "");
}

static void test_to_u64(UNUSED void **state)
{
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "-1",
                                      "0x1",
                                      "1e3",
                                      "1.0",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "1\n"};
    uint64_t v = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_to_u64(str_of(bad[i]), &v));
        assert_int_equal(v, 7);
    }
    assert_false(str_to_u64((struct str){"1\0", 2}, &v));
    assert_true(str_to_u64(STR("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    assert_true(str_to_u64(STR("000123"), &v));
    assert_int_equal(v, 123);
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 10000; i++) {
        char text[32];
        uint64_t want = rng_next(&rng) >> rng_below(&rng, 64);
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)want);
        assert_true(str_to_u64(str_of(text), &v) && v == want);
    }
}

/* The definition, without memory of what was computed. */
static unsigned naive_distance(struct str a, struct str b)
{
    if (a.n == 0 || b.n == 0)
        return (unsigned)(a.n + b.n);
    struct str a1 = {a.p + 1, a.n - 1}, b1 = {b.p + 1, b.n - 1};
    unsigned best = naive_distance(a1, b1) + (ascii_lower(a.p[0]) != ascii_lower(b.p[0]));
    unsigned drop = naive_distance(a1, b) + 1, add = naive_distance(a, b1) + 1;
    best = drop < best ? drop : best;
    return add < best ? add : best;
}

static void test_distance(UNUSED void **state)
{
    assert_int_equal(str_distance(STR("wieght"), STR("weight"), 9), 2);
    assert_int_equal(str_distance(STR("Weight"), STR("weight"), 9), 0);
    assert_int_equal(str_distance(STR("timeout"), STR("timeouts"), 9), 1);
    assert_int_equal(str_distance(STR(""), STR("abc"), 9), 3);
    assert_int_equal(str_distance(STR("abcdef"), STR("uvwxyz"), 3), 3);
    char big[65];
    memset(big, 'a', sizeof(big));
    assert_int_equal(str_distance((struct str){big, 65}, STR("a"), 100), 100);
    assert_int_equal(str_distance((struct str){big, 64}, STR("a"), 100), 63);
    struct rng rng;
    rng_init(&rng, 2);
    for (int i = 0; i < 1000; i++) {
        char a[6], b[6];
        struct str sa = {a, rng_below(&rng, 7)}, sb = {b, rng_below(&rng, 7)};
        for (int k = 0; k < 6; k++) {
            a[k] = (char)('a' + rng_below(&rng, 3));
            b[k] = (char)('A' + rng_below(&rng, 3));
        }
        assert_int_equal(str_distance(sa, sb, 99), naive_distance(sa, sb));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_compare_without_case),
        cmocka_unit_test(test_compare_every_place),
        cmocka_unit_test(test_has_control),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_to_u64),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
