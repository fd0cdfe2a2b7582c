/* test_siphash.c - the vectors of the reference: key 00..0f, texts 00, 00 01, ... */
#include "base/siphash.h"

#include "base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void test_vectors(UNUSED void **state)
{
    static const struct {
        size_t n;
        uint64_t hash;
    } t[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
        {7, UINT64_C(0xab0200f58b01d137)},  {8, UINT64_C(0x93f5f5799a932462)},
        {15, UINT64_C(0xa129ca6149be45e5)},
    };
    const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    char text[16];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)i;
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(siphash(key, (struct str){text, t[i].n}), t[i].hash);
}

static void test_the_key_counts(UNUSED void **state)
{
    const uint64_t a[2] = {1, 2}, b[2] = {1, 3};
    assert_int_not_equal(siphash(a, STR("x")), siphash(b, STR("x")));
    assert_int_not_equal(siphash(a, STR("x")), siphash(a, STR("y")));
    assert_int_not_equal(siphash(a, (struct str){"\0", 1}), siphash(a, STR_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_the_key_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
