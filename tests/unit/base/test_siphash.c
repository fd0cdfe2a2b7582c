/* test_siphash.c - the vectors of the reference: key 00..0f, texts 00, 00 01, ... */
#include "base/siphash.h"

#include "base/check.h"

#include <endian.h>
#include <openssl/evp.h>

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

/* OpenSSL's, of each length up to some words. */
static void test_128_bits(UNUSED void **state)
{
    const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    unsigned char key_bytes[16], text[100], mac[16];
    uint64_t bits[2];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (unsigned char)(i * 7);
    for (size_t i = 0; i < sizeof(key_bytes); i++)
        key_bytes[i] = (unsigned char)i;
    EVP_MAC *siphash_mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    assert_non_null(siphash_mac);
    for (size_t n = 0; n <= sizeof(text); n++) {
        size_t len;
        EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(siphash_mac);
        assert_int_equal(EVP_MAC_init(ctx, key_bytes, sizeof(key_bytes), NULL), 1);
        assert_int_equal(EVP_MAC_update(ctx, text, n), 1);
        assert_int_equal(EVP_MAC_final(ctx, mac, &len, sizeof(mac)), 1);
        assert_int_equal(len, sizeof(mac));
        siphash_128(key, (struct str){(const char *)text, n}, bits);
        bits[0] = htole64(bits[0]);
        bits[1] = htole64(bits[1]);
        assert_memory_equal(bits, mac, sizeof(mac));
        EVP_MAC_CTX_free(ctx);
    }
    EVP_MAC_free(siphash_mac);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_the_key_counts),
        cmocka_unit_test(test_128_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
