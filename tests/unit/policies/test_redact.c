/* test_redact.c - is a sensitive value ever told, and what is not sensitive left alone? */
#include "policies/redact.h"

#include "base/check.h"
#include "base/rng.h"

#include <stdarg.h>
#include <stdio.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* The value's length, then its first byte over and over: to be recognised. */
static void fake_hash(const void *ctx, struct str value, char out[REDACT_HASH_LEN])
{
    assert_ptr_equal(ctx, fake_hash);
    (void)snprintf(out, REDACT_HASH_LEN, "%04zu", value.n);
    memset(out + 4, '#', REDACT_HASH_LEN - 4);
}

static const struct redact_hash hash = {fake_hash, fake_hash};
static const struct str names[] = {{"token", 5}, {"Code", 4}, {"a-b", 3}, {"p9", 2}};
static const struct redact_rules rules = {.n_names = 4, .names = names};

#define H(n) "sha256:" n "############"

static const char *run(const struct redact_rules *r, enum redact_field field, const char *text)
{
    static char out[4096];
    char room[REDACT_BOUND(1024)];
    uint64_t n = 0;
    struct str s = redact(r, &hash, field, str_of(text), room, &n);
    assert_true(n > 0 || s.p == text);
    (void)snprintf(out, sizeof(out), "%.*s", STR_FMT(s));
    return out;
}

static void expect(enum redact_field field, const char *text, const char *want)
{
    assert_string_equal(run(&rules, field, text), want);
}

static void test_query(UNUSED void **state)
{
    expect(REDACT_QUERY, "token=secret", "token=" H("0006"));
    expect(REDACT_QUERY, "a=1&TOKEN=secret&b=2", "a=1&TOKEN=" H("0006") "&b=2");
    expect(REDACT_QUERY, "code=x&code=yy", "code=" H("0001") "&code=" H("0002"));
    expect(REDACT_QUERY, "a-b=1=2%26", "a-b=" H("0006"));
    expect(REDACT_QUERY, "%74oke%6E=abc", "%74oke%6E=" H("0003"));
    expect(REDACT_QUERY, "%70%39=abc&%50%39=d", "%70%39=" H("0003") "&%50%39=" H("0001"));
    expect(REDACT_QUERY, "&&token=a&", "&&token=" H("0001") "&");
    /* to some a ; ends a value, to others it is a part of it */
    expect(REDACT_QUERY, "token=ab;cd&x=1", "token=" H("0005") "&x=1");
    expect(REDACT_QUERY, "x=1;token=ab;y=2&z", "x=1;token=" H("0006") "&z");
    expect(REDACT_QUERY, "x;y;token=ab", "x;y;token=" H("0002"));
}

static void test_left_alone(UNUSED void **state)
{
    static const char *const texts[] = {
        "",           "token",      "token=", "token=&a=1", "tokens=1",  "toke=1",
        "=token",     "x=token",    "&",      ";",          "%74oken",   "%7=1",
        "token%00=1", "x=1;y=2;&;", "=",      "a=%zz&%=2",  "token;x=1",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        expect(REDACT_QUERY, texts[i], texts[i]);
    expect(REDACT_PATH, "/token=secret", "/token=secret"); /* a segment, no parameter */
    expect(REDACT_PATH, "/a;b/c", "/a;b/c");
    expect(REDACT_USER_AGENT, "token=secret", "token=secret");
    expect(REDACT_NOTHING, "token=secret", "token=secret");
}

static void test_path(UNUSED void **state)
{
    expect(REDACT_PATH, "/a;token=abc/b;x=1", "/a;token=" H("0003") "/b;x=1");
    expect(REDACT_PATH, "/a;x=1;token=abc", "/a;x=1;token=" H("0003"));
    expect(REDACT_PATH, "/;code=1;y", "/;code=" H("0003"));
}

static void test_fields(UNUSED void **state)
{
    struct redact_rules r = rules;
    r.fields = 1u << REDACT_CLIENT | 1u << REDACT_QUERY;
    assert_string_equal(run(&r, REDACT_CLIENT, "192.0.2.1"), H("0009"));
    assert_string_equal(run(&r, REDACT_QUERY, "a=1"), H("0003"));
    assert_string_equal(run(&r, REDACT_QUERY, ""), "");
    assert_string_equal(run(&r, REDACT_PEER, "192.0.2.1"), "192.0.2.1");
    r = (struct redact_rules){0};
    assert_string_equal(run(&r, REDACT_QUERY, "token=secret"), "token=secret");
}

/* The defaults are names, each once. */
static void test_defaults(UNUSED void **state)
{
    for (uint32_t i = 0; i < redact_default_names_n; i++) {
        assert_true(redact_default_names[i].n > 1);
        for (uint32_t k = 0; k < i; k++)
            assert_false(str_ieq(redact_default_names[i], redact_default_names[k]));
    }
}

/* Any text: the bound holds; what is told of it are its own bytes and hashes, in order; and no
 * value of a plain parameter that is sensitive is there. */
static void test_any(UNUSED void **state)
{
    static const char *const pieces[] = {"token", "=",   "&", ";",    "/",   "SECRET", "code",
                                         "x",     "%74", "%", "oken", "a-b", "1"};
    struct rng rng;
    rng_init(&rng, 11);
    for (int round = 0; round < 50000; round++) {
        char text[256], room[REDACT_BOUND(sizeof(text))];
        size_t n = 0;
        for (uint32_t i = rng_below(&rng, 20); i > 0; i--)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s",
                                  pieces[rng_below(&rng, ARRAY_LEN(pieces))]);
        enum redact_field field = rng_below(&rng, 2) ? REDACT_QUERY : REDACT_PATH;
        uint64_t redacted = 0;
        memset(room, '!', sizeof(room));
        struct str s = redact(&rules, &hash, field, (struct str){text, n}, room, &redacted);
        assert_true(s.n <= REDACT_BOUND(n));
        assert_true(s.p != room || s.n == sizeof(room) || room[s.n] == '!');
        size_t at = 0, marks = 0;
        for (size_t i = 0; i < s.n; i++) {
            if (s.n - i >= REDACT_LEN && memcmp(s.p + i, "sha256:", 7) == 0) {
                at += (size_t)strtoul((char[]){s.p[i + 7], s.p[i + 8], s.p[i + 9], s.p[i + 10], 0},
                                      NULL, 10);
                i += REDACT_LEN - 1;
                marks++;
            } else {
                assert_true(at < n && s.p[i] == text[at]);
                at++;
            }
        }
        assert_int_equal(at, n);
        assert_int_equal(marks, redacted);
        char told[REDACT_BOUND(sizeof(text)) + 2];
        (void)snprintf(told, sizeof(told), "&%.*s", STR_FMT(s));
        if (field == REDACT_QUERY)
            assert_null(strstr(told, "&token=SECRET"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query),    cmocka_unit_test(test_left_alone),
        cmocka_unit_test(test_path),     cmocka_unit_test(test_fields),
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
