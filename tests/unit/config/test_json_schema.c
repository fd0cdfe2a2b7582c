/* The JSON Schema without memory, and its patterns against what sluice itself takes. */
#include "base/mem.h"
#include "base/rng.h"
#include "config/endpoint.h"
#include "config/json_schema.h"
#include "config/pattern.h"
#include "config/range.h"
#include "config/scalar.h"
#include "io/address.h"
#include "tests/unit/slow.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { ROUNDS = SLOW_BUILD ? 2000 : 20000, TEXT_MAX = 400 };

static pcre2_code *compile(const char *pattern)
{
    int error;
    size_t offset;
    /* As ECMA-262 has it: \u0000, and $ is the very end. */
    pcre2_code *code = pcre2_compile(
        (PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
        PCRE2_UTF | PCRE2_ALT_BSUX | PCRE2_DOLLAR_ENDONLY | PCRE2_DOTALL, &error, &offset, NULL);
    if (!code)
        fail_msg("%s at %zu: error %d", pattern, offset, error);
    return code;
}

static bool matches(const pcre2_code *code, struct str s)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    int rc = pcre2_match(code, (PCRE2_SPTR)s.p, s.n, 0, 0, data, NULL);
    pcre2_match_data_free(data);
    return rc >= 0;
}

/* A few pieces, one after the other. */
static struct str random_text(struct rng *rng, const char *const *pieces, size_t n, char *out)
{
    size_t o = 0;
    for (uint32_t left = 1 + rng_below(rng, 8); left > 0; left--) {
        const char *piece = pieces[rng_below(rng, (uint32_t)n)];
        size_t bytes = strlen(piece);
        if (o + bytes < TEXT_MAX) {
            memcpy(out + o, piece, bytes);
            o += bytes;
        }
    }
    out[o] = '\0';
    return (struct str){out, o};
}

/* ---- formats ---- */

static void test_formats(void **state)
{
    static const char *const pieces[] = {
        "a",          "A",           "0",     "9",  "-",   ".",        "_", "/",     "%2F",
        "%2f",        "*.",          "*",     ":",  ":80", ":0",       " ", "\t",    "\x7f",
        "..",         "GET",         "[::1]", "[",  "]",   "?",        "#", "TRACE", "CONNECT",
        "text/plain", "example.com", "~",     "\\", "{",   "\xc3\xa4", "&", "'",
    };
    struct rng rng;
    char text[TEXT_MAX], sixty[64];
    (void)state;

    rng_init(&rng, 42);
    memset(sixty, 'a', 63);
    sixty[63] = '\0';
    for (enum format format = FORMAT_LINE; format <= FORMAT_MEDIA_TYPE; format++) {
        const char *pattern = pattern_of_format(format);
        uint32_t taken = 0;
        if (!pattern) {
            assert_int_equal(FORMAT_TEXT, format);
            continue;
        }
        pcre2_code *code = compile(pattern);
        for (int i = 0; i < ROUNDS; i++) {
            struct str s = random_text(&rng, pieces, ARRAY_LEN(pieces), text);
            bool mine = !format_check(format, s), theirs = matches(code, s);
            taken += mine;
            if (mine != theirs)
                fail_msg("format %d: \"%s\": sluice %d, pattern %d (%s)", format, text, mine,
                         theirs, pattern);
        }
        assert_true(taken > ROUNDS / 400);
        struct str empty = STR(""), longest = str_of(sixty);
        assert_int_equal(!format_check(format, empty), matches(code, empty));
        assert_int_equal(!format_check(format, longest), matches(code, longest));
        pcre2_code_free(code);
    }
}

/* ---- types ---- */

static bool takes(enum schema_type type, struct str s)
{
    struct conf_endpoint endpoint;
    struct address address;
    struct cidr cidr;
    const char *expected, *why;
    uint64_t v;

    switch (type) {
    case SCHEMA_DURATION:
        return scalar_duration(s, &v);
    case SCHEMA_SIZE:
        return scalar_size(s, &v);
    case SCHEMA_MODE:
        return scalar_mode(s, &v);
    case SCHEMA_ADDRESS:
        return address_parse(s, &address, &why) == 0;
    case SCHEMA_CIDR:
        return cidr_parse(s, &cidr) == 0;
    default:
        return endpoint_parse(s, &endpoint, &expected, &why) == 0;
    }
}

static void run_type(enum schema_type type, const char *const *pieces, size_t n)
{
    struct rng rng;
    char text[TEXT_MAX];
    uint32_t taken = 0;
    pcre2_code *code = compile(pattern_of_type(type, 0));

    rng_init(&rng, (uint64_t)type);
    for (int i = 0; i < 3 * ROUNDS; i++) {
        struct str s = random_text(&rng, pieces, n, text);
        bool mine = takes(type, s), theirs = matches(code, s);
        taken += mine;
        /* 0.1KiB is no whole number of bytes: an expression cannot divide. Nor compare: what does
         * not fit 64 bits is beyond every maximum. */
        if (theirs && !mine &&
            ((type == SCHEMA_SIZE && strchr(text, '.')) ||
             ((type == SCHEMA_SIZE || type == SCHEMA_DURATION) && s.n > 9)))
            continue;
        if (mine != theirs)
            fail_msg("type %d: \"%s\": sluice %d, pattern %d", type, text, mine, theirs);
    }
    assert_true(taken > ROUNDS / 200);
    pcre2_code_free(code);
}

#define RUN(type, ...)                                                                             \
    do {                                                                                           \
        static const char *const pieces_[] = {__VA_ARGS__};                                        \
        run_type((type), pieces_, ARRAY_LEN(pieces_));                                             \
    } while (0)

static void test_types(void **state)
{
    (void)state;
    RUN(SCHEMA_DURATION, "0", "1", "5", ".", "us", "ms", "s", "m", "h", "000", "-", " ");
    RUN(SCHEMA_SIZE, "0", "1", "5", ".", "B", "KiB", "MiB", "GiB", "kb", "000", "-", " ");
    RUN(SCHEMA_MODE, "0", "7", "8", "6", "00", "a");
    RUN(SCHEMA_ADDRESS, "127.0.0.1", "1.2.3", "[::1]", "[", "]", ":", "80", "0", "65535", "65536",
        "::", "1", "ffff", "12345", ".", "1.2.3.4", "unix:", "/", "x", "256");
    RUN(SCHEMA_CIDR, "10.0.0.0", "1.2.3", "::", ":", "1", "ffff", "12345", "/", "8", "32", "33",
        "128", "129", "0", "1.2.3.4", ".", "256");
    RUN(SCHEMA_ENDPOINT, "127.0.0.1", "1.2.3", "[::1]", ":", "80", "0", "65536", "a", "a-", "-",
        ".", "_http", "_tcp", "srv:", "srv:_http._tcp.a", "unix:", "/", "0x1", "app.example", "1");
}

static size_t room(const char *text, const char *p)
{
    return (size_t)(text + TEXT_MAX - p);
}

/* Each place for a colon in an IPv6 address, with and without brackets. */
static void test_ipv6(void **state)
{
    struct rng rng;
    char text[TEXT_MAX];
    uint32_t taken = 0;
    pcre2_code *code = compile(pattern_of_type(SCHEMA_ADDRESS, 0));
    (void)state;

    rng_init(&rng, 6);
    for (int i = 0; i < 10 * ROUNDS; i++) {
        char *p = text;
        *p++ = '[';
        uint32_t gap = rng_below(&rng, 10), groups = 5 + rng_below(&rng, 4);
        bool gone = rng_below(&rng, 2);
        for (uint32_t g = 0; g < groups; g++) {
            if (g == gap && gone)
                *p++ = ':';
            else
                p += snprintf(p, room(text, p), "%x", rng_below(&rng, 0x10000));
            if (g + 1 < groups)
                *p++ = ':';
        }
        if (gone && gap == 0) /* :: at the front */
            memmove(text + 2, text + 1, (size_t)(p++ - text)), text[1] = ':';
        if (rng_below(&rng, 3) == 0)
            p += snprintf(p, room(text, p), ":1.2.3.%u", rng_below(&rng, 300));
        p += snprintf(p, room(text, p), "]:80");
        struct str s = {text, (size_t)(p - text)};
        bool mine = takes(SCHEMA_ADDRESS, s), theirs = matches(code, s);
        taken += mine;
        if (mine != theirs)
            fail_msg("\"%.*s\": sluice %d, pattern %d", STR_FMT(s), mine, theirs);
    }
    assert_true(taken > ROUNDS / 2);
    pcre2_code_free(code);
}

/* ---- ranges ---- */

static void test_ranges(void **state)
{
    char out[RANGE_TEXT_MAX];
    (void)state;
    struct schema_key k = {.type = SCHEMA_INT, .width = 4};
    assert_string_equal("", range_words(&k, out));
    assert_int_equal(UINT32_MAX, range_most(&k));
    k.width = 8;
    assert_int_equal(UINT64_MAX, range_most(&k));
    k.min = 1;
    assert_string_equal("at least 1", range_words(&k, out));
    k.max = 9;
    assert_string_equal("1 to 9", range_words(&k, out));
    assert_int_equal(9, range_most(&k));
    k.max = 1;
    assert_string_equal("1", range_words(&k, out));
    k = (struct schema_key){.type = SCHEMA_DURATION, .min = 1000, .max = 3600 * USEC_PER_SEC};
    assert_string_equal("1ms to 1h", range_words(&k, out));
    k = (struct schema_key){.type = SCHEMA_MODE, .max = 0777};
    assert_string_equal("0000 to 0777", range_words(&k, out));
    k = (struct schema_key){.type = SCHEMA_LIST, .max = 16};
    assert_string_equal("at most 16 items", range_words(&k, out));
    k = (struct schema_key){.type = SCHEMA_STRING, .max = 1024};
    assert_string_equal("at most 1KiB", range_words(&k, out));
}

/* ---- memory ---- */

static void test_failing_allocations(void **state)
{
    (void)state;
    json_set_alloc_funcs(mem_alloc, free);
    json_t *whole = json_schema();
    assert_non_null(whole);
    assert_true(json_object_size(json_object_get(whole, "$defs")) > 5);
    uint64_t nth = 1, failed = 0;
    for (;; nth += nth < 300 && !SLOW_BUILD ? 1 : 37) {
        uint64_t before = mem_failures();
        mem_fail_at(nth, false);
        json_t *o = json_schema();
        mem_fail_at(0, false);
        if (mem_failures() == before) {
            assert_true(json_equal(whole, o));
            json_decref(o);
            break;
        }
        /* Never a schema with a hole in it; what was not needed may have failed. */
        assert_true(!o || json_equal(whole, o));
        failed += !o;
        json_decref(o);
    }
    assert_true(nth > 1000 && failed > (SLOW_BUILD ? 5 : 200));
    json_decref(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
