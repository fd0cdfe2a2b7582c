/* test_address.c - socket addresses as operators write them, there and back. */
#include "io/address.h"

#include "base/check.h"
#include "base/rng.h"

#include <errno.h>
#include <stdio.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct address parsed(const char *text)
{
    struct address a;
    const char *why = NULL;
    if (address_parse(str_of(text), &a, &why) < 0)
        fail_msg("%s: %s", text, why);
    return a;
}

static void test_there_and_back(UNUSED void **state)
{
    static const struct {
        const char *text, *back, *ip;
        uint16_t port;
        int family;
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1", 8080, AF_INET},
        {"0.0.0.0:1", "0.0.0.0:1", "0.0.0.0", 1, AF_INET},
        {"255.100.9.10:65535", "255.100.9.10:65535", "255.100.9.10", 65535, AF_INET},
        {"[::1]:80", "[::1]:80", "::1", 80, AF_INET6},
        {"[::]:80", "[::]:80", "::", 80, AF_INET6},
        {"[2001:DB8:0:0::1]:443", "[2001:db8::1]:443", "2001:db8::1", 443, AF_INET6},
        {"[::ffff:10.1.2.3]:80", "10.1.2.3:80", "10.1.2.3", 80, AF_INET6},
        {"unix:/run/x.sock", "unix:/run/x.sock", "unix", 0, AF_UNIX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address a = parsed(cases[i].text);
        char out[ADDRESS_TEXT_MAX], ip[ADDRESS_IP_MAX];
        assert_int_equal(a.u.sa.sa_family, cases[i].family);
        assert_string_equal(address_format(&a, out), cases[i].back);
        assert_int_equal(address_format_ip(&a, ip), strlen(cases[i].ip));
        assert_string_equal(ip, cases[i].ip);
        assert_int_equal(address_port(&a), cases[i].port);
    }
}

static void test_refused(UNUSED void **state)
{
    static const char *const bad[] = {
        "",
        ":",
        ":80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:+80",
        "127.0.0.1: 80",
        "127.0.0.1:80 ",
        " 127.0.0.1:80",
        "127.0.0.1:0x50",
        "127.1:80",
        "256.0.0.1:80",
        "1.2.3.4.5:80",
        "01.2.3.4:80",
        "localhost:80",
        "::1:80",
        "[::1]",
        "[::1]:",
        "[::1]80",
        "[::1:80",
        "[]:80",
        "[127.0.0.1]:80",
        "[::1%lo]:80",
        "[:::]:80",
        "[",
        "[]",
        "unix:",
        "unix:run/x",
        "unix:/run/\"x\"",
        "unix:/run/x\\y",
        "unix:/run/x\ny",
        "unix:/run/x\x7f",
        "unix:@abstract",
        "1111111111111111111111111111111111111111111111:80",
        "[1111:2222:3333:4444:5555:6666:7777:8888:9999]:80",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct address a;
        const char *why = NULL;
        if (address_parse(str_of(bad[i]), &a, &why) != -EINVAL || !why)
            fail_msg("accepted: %s", bad[i]);
    }
}

/* A NUL inside would make the address end earlier than the operator sees. */
static void test_nul(UNUSED void **state)
{
    struct address a;
    struct cidr c;
    const char *why = NULL;
    assert_int_equal(address_parse(STR("127.0.0.1\0x:80"), &a, &why), -EINVAL);
    assert_int_equal(address_parse(STR("[::1\0x]:80"), &a, &why), -EINVAL);
    assert_int_equal(address_parse(STR("unix:/run/x\0y"), &a, &why), -EINVAL);
    assert_int_equal(cidr_parse(STR("10.0.0.0\0x/8"), &c), -EINVAL);
}

static void test_unix_length(UNUSED void **state)
{
    char text[200];
    struct address a;
    const char *why = NULL;
    memset(text, 'x', sizeof(text));
    memcpy(text, "unix:/", 6);
    assert_int_equal(address_parse((struct str){text, 5 + 107}, &a, &why), 0);
    assert_int_equal(strlen(a.u.un.sun_path), 107);
    char out[ADDRESS_TEXT_MAX];
    assert_memory_equal(address_format(&a, out), text, 5 + 107);
    assert_int_equal(address_parse((struct str){text, 5 + 108}, &a, &why), -EINVAL);
}

static void test_equal(UNUSED void **state)
{
    struct address a = parsed("10.0.0.1:80"), b = parsed("10.0.0.1:80"), c = parsed("10.0.0.1:81");
    struct address d = parsed("[::1]:80"), e = parsed("unix:/a"), f = parsed("unix:/b");
    assert_true(address_equal(&a, &b));
    assert_false(address_equal(&a, &c));
    assert_false(address_equal(&a, &d));
    assert_false(address_equal(&e, &f));
    assert_true(address_equal(&e, &e));
}

/* Any bytes: nothing is written past the end, and what is taken comes back the same. */
static void test_random_text(UNUSED void **state)
{
    static const char alphabet[] = "0123456789:.[]af/unix";
    struct rng rng;
    uint32_t taken = 0;
    rng_init(&rng, 1);
    for (int i = 0; i < 200000; i++) {
        char text[24], out[ADDRESS_TEXT_MAX];
        struct address a, b;
        const char *why;
        uint32_t n = rng_below(&rng, sizeof(text));
        for (uint32_t k = 0; k < n; k++)
            text[k] = alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
        if (i % 2) /* nearly an address */
            n = (uint32_t)snprintf(text, sizeof(text), "[%x:%x::%x]:%u", rng_below(&rng, 65536),
                                   rng_below(&rng, 65536), rng_below(&rng, 65536),
                                   rng_below(&rng, 9999)) -
                rng_below(&rng, 2);
        if (n >= sizeof(text) || address_parse((struct str){text, n}, &a, &why) < 0)
            continue;
        taken++;
        assert_int_equal(address_parse(str_of(address_format(&a, out)), &b, &why), 0);
        assert_true(address_equal(&a, &b));
    }
    assert_true(taken > 10000);
}

static bool contains(const char *cidr, const char *address)
{
    struct address a = parsed(address);
    struct cidr c;
    assert_int_equal(cidr_parse(str_of(cidr), &c), 0);
    struct ip ip = address_ip(&a);
    return cidr_contains(&c, &ip);
}

static void test_cidr(UNUSED void **state)
{
    assert_true(contains("10.0.0.0/8", "10.255.1.2:80"));
    assert_false(contains("10.0.0.0/8", "11.0.0.0:80"));
    assert_true(contains("10.1.2.3", "10.1.2.3:80"));
    assert_false(contains("10.1.2.3", "10.1.2.2:80"));
    assert_true(contains("10.1.2.3/32", "10.1.2.3:80"));
    assert_true(contains("192.168.0.128/25", "192.168.0.200:1"));
    assert_false(contains("192.168.0.128/25", "192.168.0.127:1"));
    assert_true(contains("0.0.0.0/0", "203.0.113.9:1"));
    assert_false(contains("0.0.0.0/0", "[2001:db8::1]:1"));
    assert_true(contains("10.0.0.0/8", "[::ffff:10.9.9.9]:1"));
    assert_true(contains("fd00::/8", "[fdff::1]:1"));
    assert_false(contains("fd00::/8", "[fe00::1]:1"));
    assert_true(contains("::/0", "[2001:db8::1]:1"));
    assert_true(contains("2001:db8::/33", "[2001:db8:7fff::]:1"));
    assert_false(contains("2001:db8::/33", "[2001:db8:8000::]:1"));
    assert_false(contains("0.0.0.0/0", "unix:/x"));
    assert_false(contains("::/0", "unix:/x"));
}

static void test_cidr_refused(UNUSED void **state)
{
    static const char *const bad[] = {
        "",         "/",      "/8",    "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8",
        "10.0.0/8", "::/129", "::1/x", "x",         "10.0.0.0 /8", "10.0.0.0/ 8", "[::1]/128"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cidr c;
        if (cidr_parse(str_of(bad[i]), &c) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
    }
}

/* Against a comparison bit by bit. */
static void test_ip(UNUSED void **state)
{
    static const char *const bad[] = {"",          "10.0.0.0/8",   "10.0.0",      "unknown",
                                      "_hidden",   "10.0.0.1:80",  "[::1]:80",    "[::1]",
                                      " 10.0.0.1", "fe80::1%eth0", "10.0.0.1, 2", "010.0.0.1"};
    struct ip ip = {.known = false};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (ip_parse(str_of(bad[i]), &ip) != -EINVAL || ip.known)
            fail_msg("%s", bad[i]);
    }
    assert_int_equal(ip_parse(STR("10.1.2.3"), &ip), 0);
    assert_true(ip.known && ip.bytes[11] == 0xff && ip.bytes[12] == 10 && ip.bytes[15] == 3);
    assert_int_equal(ip_parse(STR("fd00::1"), &ip), 0);
    assert_true(ip.known && ip.bytes[0] == 0xfd && ip.bytes[15] == 1);
}

static void test_cidr_random(UNUSED void **state)
{
    struct rng rng;
    rng_init(&rng, 2);
    for (int i = 0; i < 20000; i++) {
        uint32_t net = rng_below(&rng, UINT32_MAX), bits = rng_below(&rng, 33);
        uint32_t ip = net ^ (1u << rng_below(&rng, 32));
        char text[64], address[64];
        (void)snprintf(text, sizeof(text), "%u.%u.%u.%u/%u", net >> 24, net >> 16 & 255,
                       net >> 8 & 255, net & 255, bits);
        (void)snprintf(address, sizeof(address), "%u.%u.%u.%u:1", ip >> 24, ip >> 16 & 255,
                       ip >> 8 & 255, ip & 255);
        bool want = bits == 0 || (net ^ ip) >> (32 - bits) == 0;
        assert_int_equal(contains(text, address), want);
    }
}

static void test_link_local(UNUSED void **state)
{
    static const char *const yes[] = {"169.254.169.254:80", "169.254.0.1:1",
                                      "[fe80::1]:80",       "[febf::1]:80",
                                      "[fd00:ec2::254]:80", "[::ffff:169.254.169.254]:80"};
    static const char *const no[] = {"169.253.1.1:80", "127.0.0.1:80", "[fec0::1]:80",
                                     "[fd00:ec2::253]:80", "unix:/x"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        struct address a = parsed(yes[i]);
        assert_true(address_is_link_local(&a));
    }
    for (size_t i = 0; i < ARRAY_LEN(no); i++) {
        struct address a = parsed(no[i]);
        assert_false(address_is_link_local(&a));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_unix_length),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_random_text),
        cmocka_unit_test(test_cidr),
        cmocka_unit_test(test_cidr_refused),
        cmocka_unit_test(test_cidr_random),
        cmocka_unit_test(test_ip),
        cmocka_unit_test(test_link_local),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
