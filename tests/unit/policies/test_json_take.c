/* test_json_take.c - are the values of a JSON text the same however it is cut, and those of a
 * tree? */
#include "tests/unit/policies/take_json.h"
#include "tests/unit/policies/test_arena.h"

#include "base/rng.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static struct json_path compile(const char *text)
{
    struct json_path p = {0};
    size_t at = 0;
    const char *wrong = json_path_compile(arena, str_of(text), &p, &at);
    if (wrong)
        fail_msg("%s at %zu: %s", text, at, wrong);
    return p;
}

struct cutter {
    size_t first, rest;
    bool cut;
};

static size_t cut_once(void *ctx)
{
    struct cutter *c = ctx;
    size_t n = c->cut ? c->rest : c->first;
    c->cut = true;
    return n ? n : 1;
}

static size_t cut_ones(void *ctx)
{
    (void)ctx;
    return 1;
}

/* NULL: nothing is found. In one piece, in single bytes, and cut in two at every byte. */
static void expect_n(const char *path_text, struct str text, const char *want)
{
    struct json_path path = compile(path_text);
    struct taken whole, cut;
    take_json(&whole, &path, 1, text, NULL, NULL);
    const struct json_value *v = &whole.values[0];
    if (v->found != (want != NULL) ||
        (want && !str_eq((struct str){v->bytes, v->len}, str_of(want))))
        fail_msg("%s of %.*s: got %s%.*s", path_text, STR_FMT(text), v->found ? "" : "nothing ",
                 v->found ? (int)v->len : 0, v->bytes);
    assert_true(agrees_with_jansson(&whole, text));
    take_json(&cut, &path, 1, text, cut_ones, NULL);
    assert_true(taken_equal(&whole, &cut));
    for (size_t i = 1; i < text.n; i++) {
        struct cutter c = {i, text.n, false};
        take_json(&cut, &path, 1, text, cut_once, &c);
        if (!taken_equal(&whole, &cut))
            fail_msg("%.*s cut at %zu", STR_FMT(text), i);
    }
}

static void expect(const char *path, const char *text, const char *want)
{
    expect_n(path, str_of(text), want);
}

static void test_places(UNUSED void **state)
{
    expect("$.session", "{\"session\":\"abc\"}", "abc");
    expect("$.session", " { \"a\" : [1, 2, {\"session\":\"no\"}], \"session\" : \"abc\" } ", "abc");
    expect("$.data.items[0].id", "{\"data\":{\"items\":[{\"id\":\"x\"},{\"id\":\"y\"}]}}", "x");
    expect("$.data.items[1].id", "{\"data\":{\"items\":[{\"id\":\"x\"},{\"id\":\"y\"}]}}", "y");
    expect("$.data.items[2].id", "{\"data\":{\"items\":[{\"id\":\"x\"},{\"id\":\"y\"}]}}", NULL);
    expect("$['odd name']", "{\"odd name\":\"v\"}", "v");
    expect("$[\"a'b\"]", "{\"a'b\":\"v\"}", "v");
    expect("$['a\\'b']", "{\"a'b\":\"v\"}", "v");
    expect("$", "\"all\"", "all");
    expect("$", "-12.5e+3", "-12.5e+3");
    expect("$[0][0]", "[[\"x\"]]", "x");
    expect("$.a", "[\"a\"]", NULL);
    expect("$[0]", "{\"0\":\"a\"}", NULL);
    expect("$.a.b", "{\"a\":\"b\"}", NULL);
    expect("$.a", "{\"b\":{\"a\":1}}", NULL);
    expect("$.a", "{\"A\":1}", NULL);
    expect("$.\xc3\xa9", "{\"\xc3\xa9\":\"v\"}", "v");
    expect("$.\xc3\xa9", "{\"\\u00e9\":\"v\"}", "v");
}

static void test_kinds(UNUSED void **state)
{
    expect("$.v", "{\"v\":0}", "0");
    expect("$.v", "{\"v\":12345678901234567}", "12345678901234567");
    expect("$.v", "{\"v\":1.50}", "1.50");
    expect("$.v", "{\"v\":true}", "true");
    expect("$.v", "{\"v\":false}", "false");
    expect("$.v", "{\"v\":null}", NULL);
    expect("$.v", "{\"v\":{}}", NULL);
    expect("$.v", "{\"v\":[\"x\"]}", NULL);
    expect("$.v", "{\"v\":\"\"}", "");
}

static void test_strings(UNUSED void **state)
{
    expect("$.v", "{\"v\":\"a\\\"b\\\\c\\/d\\b\\f\\n\\r\\t\"}", "a\"b\\c/d\b\f\n\r\t");
    expect("$.v", "{\"v\":\"\\u0041\\u00e9\\u20AC\\ud83D\\uDE00\"}",
           "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    expect("$.v", "{\"v\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}",
           "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    static const char *const malformed[] = {
        "{\"v\":\"\\ud83d\"}",          "{\"v\":\"\\ud83dx\"}",     "{\"v\":\"\\ud83d\\n\"}",
        "{\"v\":\"\\ude00\"}",          "{\"v\":\"\\u12g4\"}",      "{\"v\":\"\\x41\"}",
        "{\"v\":\"\\ud83d\\u0041\"}",   "{\"v\":\"a\nb\"}",         "{\"v\":\"\xc3\"}",
        "{\"v\":\"\xc0\x80\"}",         "{\"v\":\"\xed\xa0\x80\"}", "{\"v\":\"\xf4\x90\x80\x80\"}",
        "{\"v\":\"\xe0\x80\x80\"}",     "{\"v\":\"\x80\"}",         "{\"v\":\"\xff\"}",
        "{\"v\":\"\xf0\x8f\xbf\xbf\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
        expect("$.v", malformed[i], NULL);
}

/* Nothing is learned from what is not JSON, also where the value had come before. */
static void test_malformed(UNUSED void **state)
{
    static const char *const malformed[] = {
        "",
        "{",
        "{\"v\"",
        "{\"v\":",
        "{\"v\":\"x\"",
        "{\"v\":\"x\",}",
        "{\"v\":1 2}",
        "{\"v\":01}",
        "{\"v\":1.}",
        "{\"v\":.5}",
        "{\"v\":+1}",
        "{\"v\":1e}",
        "{\"v\":-}",
        "{\"v\":tru}",
        "{\"v\":nul}",
        "{\"v\":True}",
        "{\"v\":\"x\"}}",
        "{\"v\":\"x\"}]",
        "{\"v\":\"x\"} x",
        "{'v':'x'}",
        "{v:1}",
        "[\"v\",]",
        "[1,,2]",
        "{\"v\":\"x\";}",
        "{\"v\":\"x\"]",
        "\xef\xbb\xbf{\"v\":\"x\"}",
        "{\"v\":NaN}",
        "{\"v\":1-}",
        "{\"v\" \"x\"}",
        "{\"v\":\"x\"}{\"v\":\"y\"}",
        "<html>",
        "{\"a\":1,\"v\":\"x\",\"b\":",
        "{,}",
    };
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
        expect("$.v", malformed[i], NULL);
    expect_n("$.v", (struct str){"{\"v\":\"x\"}\0", 10}, NULL);
    expect_n("$", (struct str){"\0", 1}, NULL);
}

/* The last of them, as jansson and most others have it; and what was in an earlier one is gone. */
static void test_duplicates(UNUSED void **state)
{
    expect("$.v", "{\"v\":\"first\",\"v\":\"last\"}", "last");
    expect("$.v", "{\"v\":\"first\",\"v\":null}", NULL);
    expect("$.v", "{\"v\":\"first\",\"\\u0076\":\"last\"}", "last");
    expect("$.a.v", "{\"a\":{\"v\":\"first\"},\"a\":{\"w\":1}}", NULL);
    expect("$.a.v", "{\"a\":{\"v\":\"first\"},\"a\":{\"v\":\"last\"}}", "last");
    expect("$.a.v", "{\"a\":{\"v\":\"first\"},\"a\":3}", NULL);
    expect("$.a[1]", "{\"a\":[1,2],\"a\":[3]}", NULL);
}

static void nested(char *out, unsigned depth)
{
    memset(out, '[', depth);
    out[depth] = '1';
    memset(out + depth + 1, ']', depth);
    out[2 * depth + 1] = '\0';
}

static void test_bounds(UNUSED void **state)
{
    char text[4096], want[TAKE_CAP + 1];
    struct json_path path = compile("$.v"), root = compile("$");
    struct taken t;
    nested(text, JSON_TAKE_DEPTH_MAX);
    take_json(&t, &root, 1, str_of(text), NULL, NULL);
    assert_int_equal(t.state, JSON_WHOLE);
    nested(text, JSON_TAKE_DEPTH_MAX + 1);
    take_json(&t, &root, 1, str_of(text), NULL, NULL);
    assert_int_equal(t.state, JSON_MALFORMED);
    /* A value of just the size that it may have, and one more. */
    memset(want, 'x', TAKE_CAP);
    want[TAKE_CAP] = '\0';
    (void)snprintf(text, sizeof(text), "{\"v\":\"%s\"}", want);
    expect("$.v", text, want);
    (void)snprintf(text, sizeof(text), "{\"v\":\"%sy\"}", want);
    take_json(&t, &path, 1, str_of(text), NULL, NULL);
    assert_int_equal(t.state, JSON_WHOLE);
    assert_false(t.values[0].found);
    assert_true(t.values[0].too_long);
    /* A later one that fits counts. */
    (void)snprintf(text, sizeof(text), "{\"v\":\"%sy\",\"v\":\"z\"}", want);
    expect("$.v", text, "z");
    /* A name that is longer than any path's is no end of it. */
    (void)snprintf(text, sizeof(text), "{\"%.300s\":1,\"v\":2}", want);
    expect("$.v", text, "2");
}

static void test_several(UNUSED void **state)
{
    static const char text[] = "{\"a\":{\"b\":[10,{\"c\":\"x\"}],\"d\":true},\"e\":\"y\"}";
    static const char *const paths[] = {"$.a.b[0]",   "$.a.b[1].c", "$.a.d", "$.e",
                                        "$.a.b[1].c", "$.nothing",  "$.a.b", "$"};
    static const char *const want[] = {"10", "x", "true", "y", "x", NULL, NULL, NULL};
    struct json_path compiled[JSON_TAKE_PATHS_MAX];
    struct taken whole, cut;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        compiled[i] = compile(paths[i]);
    take_json(&whole, compiled, ARRAY_LEN(paths), str_of(text), NULL, NULL);
    take_json(&cut, compiled, ARRAY_LEN(paths), str_of(text), cut_ones, NULL);
    assert_true(taken_equal(&whole, &cut));
    assert_true(agrees_with_jansson(&whole, str_of(text)));
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const struct json_value *v = &whole.values[i];
        assert_int_equal(v->found, want[i] != NULL);
        if (want[i])
            assert_true(str_eq((struct str){v->bytes, v->len}, str_of(want[i])));
    }
}

static size_t cut_random(void *ctx)
{
    return 1 + rng_below(ctx, 7);
}

/* Texts made of what JSON is made of: some are whole, most are not. */
static void test_random(UNUSED void **state)
{
    static const char *const parts[] = {"{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        "\"a\"",
                                        "\"b\"",
                                        "\"a\":",
                                        "\"b\":",
                                        "\"\\u00e9\"",
                                        "1",
                                        "-2.5e3",
                                        "true",
                                        "null",
                                        " ",
                                        "\"\xe2\x82\xac\"",
                                        "{\"a\":1}",
                                        "[1,2]",
                                        "\"\\ud83d\\ude00\""};
    struct json_path paths[] = {compile("$.a"), compile("$.b.a"), compile("$[1]"),
                                compile("$.a[0]"), compile("$")};
    struct rng rng;
    unsigned whole = 0;
    rng_init(&rng, 7);
    for (int round = 0; round < 20000; round++) {
        char text[512];
        size_t n = 0;
        struct taken one, cut;
        for (uint32_t k = 1 + (uint32_t)rng_below(&rng, 9); k > 0; k--)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s",
                                  parts[rng_below(&rng, ARRAY_LEN(parts))]);
        take_json(&one, paths, ARRAY_LEN(paths), (struct str){text, n}, NULL, NULL);
        take_json(&cut, paths, ARRAY_LEN(paths), (struct str){text, n}, cut_random, &rng);
        if (!taken_equal(&one, &cut) || !agrees_with_jansson(&one, (struct str){text, n}))
            fail_msg("%.*s", (int)n, text);
        whole += one.state == JSON_WHOLE;
    }
    assert_true(whole > 500);
}

static void refused(const char *text, size_t want_at, const char *want)
{
    struct json_path p = {0};
    size_t at = 999;
    const char *wrong = json_path_compile(arena, str_of(text), &p, &at);
    if (!wrong || !strstr(wrong, want) || at != want_at)
        fail_msg("%s: %s at %zu", text, wrong ? wrong : "taken", at);
}

static void test_bad_paths(UNUSED void **state)
{
    refused("", 0, "begins with \"$\"");
    refused("session", 0, "begins with \"$\"");
    refused("$.", 2, "a name is expected");
    refused("$..a", 2, "\"..\"");
    refused("$.*", 2, "\"*\"");
    refused("$.a b", 3, "\".name\"");
    refused("$['a\tb']", 4, "a control character");
    static char name[JSON_NAME_MAX + 8] = "$.";
    memset(name + 2, 'n', JSON_NAME_MAX);
    (void)compile(name);
    name[JSON_NAME_MAX + 2] = 'n';
    refused(name, JSON_NAME_MAX + 3, "longer than 256 bytes");
    memcpy(name, "$['", 3);
    refused(name, JSON_NAME_MAX + 3, "the quote is not closed");
    name[JSON_NAME_MAX + 3] = 'n';
    refused(name, JSON_NAME_MAX + 3, "longer than 256 bytes");
    refused("$[", 2, "an index");
    refused("$[1", 3, "\"]\"");
    refused("$[-1]", 2, "negative");
    refused("$[01]", 4, "leading zero");
    refused("$[99999999]", 8, "above");
    refused("$['a]", 5, "not closed");
    refused("$['a\\n']", 5, "escapes");
    refused("$.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q", 33, "16 steps");
    refused("$['\xff']", 3, "UTF-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),     cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_strings),    cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_duplicates), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_several),    cmocka_unit_test(test_random),
        cmocka_unit_test(test_bad_paths),
    };
    return cmocka_run_group_tests(tests, arena_set_up, arena_tear_down);
}
