/* test_utf8.c - what is a character, and what stands for the rest. */
#include "base/utf8.h"

#include "base/check.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_char(void **state)
{
    static const struct {
        const char *text;
        size_t n;
    } rows[] = {
        {"", 0},
        {"a", 1},
        {"\x7f", 1},
        {"\x80", 0},
        {"\xbf", 0},
        {"\xc0\x80", 0}, /* overlong */
        {"\xc1\xbf", 0},
        {"\xc2\x80", 2},
        {"\xc2", 0},
        {"\xc2z", 0},
        {"\xdf\xbf", 2},
        {"\xe0\x9f\xbf", 0}, /* overlong */
        {"\xe0\xa0\x80", 3},
        {"\xed\x9f\xbf", 3},
        {"\xed\xa0\x80", 0}, /* a surrogate */
        {"\xee\x80\x80", 3},
        {"\xef\xbf\xbf", 3},
        {"\xe2\x82", 0},
        {"\xe2\x82z", 0},
        {"\xf0\x8f\xbf\xbf", 0}, /* overlong */
        {"\xf0\x90\x80\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf4\x90\x80\x80", 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 0},
        {"\xf0\x9f\x98", 0},
        {"\xff", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(utf8_char(str_of(rows[i].text)), rows[i].n);
    assert_int_equal(utf8_char((struct str){"\0", 1}), 1);
    assert_int_equal(utf8_char((struct str){"\xe2\x82\xac", 2}), 0); /* cut */
}

static void assert_clean(struct str in, const char *expected)
{
    char *out = utf8_clean(in);
    assert_non_null(out);
    assert_string_equal(out, expected);
    free(out);
}

#define FFFD "\xef\xbf\xbd"

static void test_clean(void **state)
{
    (void)state;
    assert_clean(STR(""), "");
    assert_clean(STR("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
    assert_clean(STR("a\xff\xfe"), "a" FFFD FFFD);
    assert_clean(STR("\xed\xa0\x80z"), FFFD FFFD FFFD "z");
    assert_clean(STR("cut \xe2\x82"), "cut " FFFD FFFD);
    mem_fail_at(1, false);
    assert_null(utf8_clean(STR("a")));
    mem_fail_at(0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_char), cmocka_unit_test(test_clean)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
