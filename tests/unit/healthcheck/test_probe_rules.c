/* test_probe_rules.c - what a check expects: ranges of statuses, patterns in bodies, gRPC's one
 * message. */
#include "healthcheck/probe_parts.h"

#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_ranges(void **state)
{
    struct probe_range r[PROBE_RANGES_MAX];
    static const char *const bad[] = {"",        ",",       "2xx", "199",  "600",         "200-",
                                      "-200",    "300-200", "20",  "2000", "200-299;404", "200 300",
                                      "200--300"};
    (void)state;
    assert_int_equal(probe_ranges_parse(STR("200-399"), r), 1);
    assert_int_equal(r[0].from, 200);
    assert_int_equal(r[0].to, 399);
    assert_int_equal(probe_ranges_parse(STR(" 200 - 299 , 404,, 599"), r), 3);
    assert_int_equal(r[1].from, 404);
    assert_int_equal(r[1].to, 404);
    assert_int_equal(r[2].to, 599);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(probe_ranges_parse(str_of(bad[i]), r), -EINVAL);
    assert_int_equal(probe_ranges_parse(STR("200,200,200,200,200,200,200,200,200,200,200,200,200,"
                                            "200,200,200"),
                                        r),
                     16);
    assert_int_equal(probe_ranges_parse(STR("200,200,200,200,200,200,200,200,200,200,200,200,200,"
                                            "200,200,200,200"),
                                        r),
                     -EINVAL);
}

static void test_fits(void **state)
{
    struct probe_range ranges[2] = {{200, 299}, {404, 404}};
    struct probe_rules r = {.n_ranges = 2, .ranges = ranges};
    (void)state;
    for (unsigned status = 100; status < 700; status++)
        assert_int_equal(probe_status_fits(&r, status),
                         (status >= 200 && status <= 299) || status == 404);
}

static void test_equal(void **state)
{
    struct probe_field one = {STR("A"), STR("b")}, two = {STR("A"), STR("c")};
    struct probe_range x = {200, 299}, y = {200, 300};
    const struct probe_rules base = {.kind = PROBE_HTTP,
                                     .method = STR("GET"),
                                     .target = STR("/a"),
                                     .n_fields = 1,
                                     .fields = &one,
                                     .n_ranges = 1,
                                     .ranges = &x};
    struct probe_rules other = base;
    (void)state;
    assert_true(probe_rules_equal(&base, &other));
#define DIFFERS(change)                                                                            \
    do {                                                                                           \
        other = base;                                                                              \
        other.change;                                                                              \
        assert_false(probe_rules_equal(&base, &other));                                            \
    } while (0)
    DIFFERS(kind = PROBE_TCP);
    DIFFERS(method = STR("POST"));
    DIFFERS(target = STR("/b"));
    DIFFERS(host = STR("h"));
    DIFFERS(fields = &two);
    DIFFERS(n_fields = 0);
    DIFFERS(ranges = &y);
    DIFFERS(n_ranges = 0);
    DIFFERS(body = STR("b"));
    DIFFERS(body_regex = STR("b"));
    DIFFERS(any_answer = true);
    DIFFERS(service = STR("s"));
    DIFFERS(send = STR("s"));
    DIFFERS(expect = STR("s"));
}

static bool matches(const char *pattern, struct str text)
{
    struct probe_regex *r = NULL;
    char why[160];
    assert_int_equal(probe_regex_new(str_of(pattern), &r, why, sizeof(why)), 0);
    bool yes = probe_regex_match(r, text);
    (void)probe_regex_free(r);
    return yes;
}

static void test_patterns(void **state)
{
    (void)state;
    assert_true(matches("fine", STR("all is fine\n")));
    assert_true(matches("^all", STR("all is fine")));
    assert_false(matches("^fine", STR("all is fine")));
    assert_true(matches("(?m)^fine$", STR("all is\nfine\n")));
    assert_true(matches("all.*fine", STR("all\nis\nfine")));
    assert_true(matches("(a)(b)\\2\\1", STR("xxabbax")));
    assert_true(matches("x*", STR_NONE));
    assert_false(matches("x", STR_NONE));
    assert_true(matches("a|b", STR("xb")));
    assert_true(matches("\\xff", STR("\xff")));
}

static void test_bad_patterns(void **state)
{
    static const char *const bad[] = {"(a", "[", "*", "(*UTF)a", "\\C", "a)b", "(?x) a # c"};
    struct probe_regex *r = NULL;
    char why[160], long_one[5000];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        why[0] = '\0';
        assert_int_equal(probe_regex_new(str_of(bad[i]), &r, why, sizeof(why)), -EINVAL);
        assert_true(why[0] != '\0');
    }
    memset(long_one, 'a', sizeof(long_one));
    assert_int_equal(
        probe_regex_new((struct str){long_one, sizeof(long_one)}, &r, why, sizeof(why)), -EINVAL);
    assert_int_equal(probe_regex_new(STR("a\0b"), &r, why, sizeof(why)), -EINVAL);
}

/* A pattern that gets lost does so for some ms, not for the rest of the day. */
static void test_lost_patterns(void **state)
{
    char *text = mem_alloc(PROBE_BODY_MAX);
    (void)state;
    memset(text, 'x', PROBE_BODY_MAX);
    struct str all = {text, PROBE_BODY_MAX};
    static const char *const lost[] = {"(x+x+)+y", "(x|xx)*y", "x*x*x*x*x*y", "(?:x?){40}y"};
    usec_t began = clock_mono();
    for (size_t i = 0; i < ARRAY_LEN(lost); i++)
        assert_false(matches(lost[i], all));
    assert_true(clock_mono() - began < 20 * USEC_PER_SEC); /* else: for ever */
    text[PROBE_BODY_MAX - 1] = 'y';
    assert_true(matches("y$", all));
    free(text);
}

static void test_memory_is_short(void **state)
{
    struct probe_regex *r = NULL;
    char why[160];
    int rc = -ENOMEM;
    (void)state;
    for (uint64_t n = 1; n < 20 && rc < 0; n++) {
        mem_fail_at(n, false);
        rc = probe_regex_new(STR("a"), &r, why, sizeof(why));
        mem_fail_at(0, false);
        assert_true(rc == 0 || rc == -ENOMEM);
    }
    assert_int_equal(rc, 0);
    (void)probe_regex_free(r);
}

static void test_grpc_request(void **state)
{
    char out[GRPC_CHECK_MAX], service[255];
    (void)state;
    assert_int_equal(probe_grpc_request(STR_NONE, out), 5);
    assert_memory_equal(out, "\0\0\0\0\0", 5);
    assert_int_equal(probe_grpc_request(STR("a.B"), out), 10);
    assert_memory_equal(out, "\0\0\0\0\5\12\3a.B", 10);
    memset(service, 's', sizeof(service));
    assert_int_equal(probe_grpc_request((struct str){service, 255}, out), 5 + 3 + 255);
    assert_memory_equal(out, "\0\0\0\1\2\12\xff\1s", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),          cmocka_unit_test(test_fits),
        cmocka_unit_test(test_equal),           cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_bad_patterns),    cmocka_unit_test(test_lost_patterns),
        cmocka_unit_test(test_memory_is_short), cmocka_unit_test(test_grpc_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
