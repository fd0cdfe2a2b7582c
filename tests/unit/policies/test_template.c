/* test_template.c - can a value be anything but a value where it is put? */
#include "policies/template.h"

#include "base/check.h"
#include "tests/unit/policies/test_arena.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct str names[] = {{"a", 1}, {"session-id", 10}, {"_x", 2}};

static struct template compile(const char *text, enum template_place place)
{
    struct template t = {0};
    struct template_problem problem = {0};
    int rc = template_compile(arena, str_of(text), place, names, ARRAY_LEN(names), &t, &problem);
    if (rc < 0)
        fail_msg("%s at %zu: %s", text, problem.at, problem.what ? problem.what : "unknown name");
    return t;
}

static int render(const char *text, enum template_place place, struct str value, char out[256])
{
    struct template t = compile(text, place);
    struct str values[] = {value, value, value};
    size_t n = 0;
    int rc = template_render(&t, values, out, 255, &n);
    out[rc == 0 ? n : 0] = '\0';
    return rc;
}

static void expect(const char *text, enum template_place place, const char *value, const char *want)
{
    char out[256];
    int rc = render(text, place, str_of(value), out);
    if (rc < 0 || strcmp(out, want) != 0)
        fail_msg("%s with %s: %s (%d)", text, value, out, rc);
}

static void refuses(const char *text, enum template_place place, const char *value, int want)
{
    char out[256];
    int rc = render(text, place, str_of(value), out);
    if (rc != want)
        fail_msg("%s with %s: %s (%d)", text, value, out, rc);
}

static void test_target(UNUSED void **state)
{
    expect("/logout?session={a}", TEMPLATE_TARGET, "abc-._~09", "/logout?session=abc-._~09");
    expect("/s/{a}/x?y={a}&z", TEMPLATE_TARGET, "a/b?c=d&e#f g%h+\n\"\xc3\xa9",
           "/s/a%2Fb%3Fc%3Dd%26e%23f%20g%25h%2B%0A%22%C3%A9/x?y="
           "a%2Fb%3Fc%3Dd%26e%23f%20g%25h%2B%0A%22%C3%A9&z");
    expect("/{{a}", TEMPLATE_TARGET, "x", "/{a}");
    expect("/{_x}{session-id}", TEMPLATE_TARGET, "x", "/xx");
    /* A segment that would lead to another place. */
    refuses("/s/{a}", TEMPLATE_TARGET, "..", -EINVAL);
    refuses("/s/{a}/x", TEMPLATE_TARGET, ".", -EINVAL);
    refuses("/s/{a}{a}", TEMPLATE_TARGET, ".", -EINVAL);
    refuses("/s/{a}?y=1", TEMPLATE_TARGET, "..", -EINVAL);
    expect("/s/x{a}", TEMPLATE_TARGET, "..", "/s/x..");
    expect("/s?y={a}", TEMPLATE_TARGET, "..", "/s?y=..");
    expect("/s?y=/{a}", TEMPLATE_TARGET, "..", "/s?y=/..");
    /* Without it, /s/ would be given back. */
    refuses("/s/{a}", TEMPLATE_TARGET, "", -ENOENT);
}

static void test_header(UNUSED void **state)
{
    expect("Bearer {a}", TEMPLATE_HEADER, "x y;\"\xc3\xa9", "Bearer x y;\"\xc3\xa9");
    refuses("Bearer {a}", TEMPLATE_HEADER, "x\r\nEvil: 1", -EINVAL);
    refuses("Bearer {a}", TEMPLATE_HEADER, "x\n", -EINVAL);
    refuses("Bearer {a}", TEMPLATE_HEADER, "\x7f", -EINVAL);
    char out[256];
    assert_int_equal(render("{a}", TEMPLATE_HEADER, (struct str){"a\0b", 3}, out), -EINVAL);
}

static void test_json(UNUSED void **state)
{
    expect("{\"s\":\"{a}\",\"t\":{\"u\":[\"x{a}\"]}}", TEMPLATE_JSON, "v",
           "{\"s\":\"v\",\"t\":{\"u\":[\"xv\"]}}");
    expect("{\"s\":\"{a}\"}", TEMPLATE_JSON, "\"\\\n\x1f\x7f/\xc3\xa9",
           "{\"s\":\"\\\"\\\\\\u000a\\u001f\\u007f/\xc3\xa9\"}");
    refuses("{\"s\":\"{a}\"}", TEMPLATE_JSON, "\xff", -EINVAL);
    static const char *const words[] = {"0", "-1", "12.5", "1e9", "1.0E-2", "true", "false"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        char want[64];
        (void)snprintf(want, sizeof(want), "{\"s\":%s}", words[i]);
        expect("{\"s\":{a}}", TEMPLATE_JSON, words[i], want);
    }
    static const char *const no_words[] = {"x",  "01",   "1,\"b\":2", "-",  "1.",
                                           "1e", "null", "{}",        "1 ", "\"x\""};
    for (size_t i = 0; i < ARRAY_LEN(no_words); i++)
        refuses("{\"s\":{a}}", TEMPLATE_JSON, no_words[i], -EINVAL);
    /* An escaped quote ends no string. */
    expect("[\"\\\"{a}\"]", TEMPLATE_JSON, "x", "[\"\\\"x\"]");
    refuses("[\"\\\\\",{a}]", TEMPLATE_JSON, "x", -EINVAL);
}

static void test_other_bodies(UNUSED void **state)
{
    expect("session={a}&b=1", TEMPLATE_FORM, "x&y=z %", "session=x%26y%3Dz%20%25&b=1");
    expect("<s id=\"{a}\">{a}</s>", TEMPLATE_XML, "<a>&\"'",
           "<s id=\"&lt;a&gt;&amp;&quot;&#39;\">"
           "&lt;a&gt;&amp;&quot;&#39;</s>");
    refuses("<s>{a}</s>", TEMPLATE_XML, "\x01", -EINVAL);
    expect("{a}\n{_x}", TEMPLATE_PLAIN, "x/\n", "x/\n\nx/\n");
}

/* Whatever bytes a value has, what comes out has the structure of the template. */
static void test_any_byte(UNUSED void **state)
{
    for (unsigned b = 0; b < 256; b++) {
        char byte = (char)b, out[256];
        struct str value = {&byte, 1};
        if (render("{\"s\":\"{a}\"}", TEMPLATE_JSON, value, out) == 0) {
            json_error_t e;
            json_t *v = json_loads(out, JSON_ALLOW_NUL, &e);
            assert_non_null(v);
            assert_int_equal(json_object_size(v), 1);
            assert_int_equal(json_string_length(json_object_get(v, "s")), 1);
            assert_int_equal(json_string_value(json_object_get(v, "s"))[0], byte);
            json_decref(v);
        } else {
            assert_true(b >= 0x80);
        }
        assert_int_equal(render("/{a}x", TEMPLATE_TARGET, value, out), 0);
        assert_int_equal(strcspn(out + 1, "/?#& \r\n"), strlen(out + 1));
        int rc = render("{a}", TEMPLATE_HEADER, value, out);
        assert_int_equal(rc, b < 0x20 || b == 0x7f ? -EINVAL : 0);
    }
}

static void test_room(UNUSED void **state)
{
    struct template t = compile("ab{a}", TEMPLATE_PLAIN);
    struct str values[] = {STR("xyz"), STR_NONE, STR_NONE};
    char out[8];
    size_t n = 0;
    assert_int_equal(template_render(&t, values, out, 4, &n), -EMSGSIZE);
    assert_int_equal(template_render(&t, values, out, 5, &n), 0);
    assert_int_equal(n, 5);
    assert_int_equal(t.uses, 1);
}

static void mistake(const char *text, enum template_place place, size_t at, const char *what)
{
    struct template t = {0};
    struct template_problem problem = {0};
    int rc = template_compile(arena, str_of(text), place, names, ARRAY_LEN(names), &t, &problem);
    if (rc != -EINVAL || problem.at != at || (what != NULL) != (problem.what != NULL) ||
        (what && !strstr(problem.what, what)))
        fail_msg("%s: %d at %zu", text, rc, problem.at);
}

static void test_mistakes(UNUSED void **state)
{
    mistake("/x/{b}", TEMPLATE_TARGET, 3, NULL);
    mistake("/x/{session}", TEMPLATE_TARGET, 3, NULL);
    mistake("/x/{", TEMPLATE_TARGET, 3, "begins the name");
    mistake("/x/{a", TEMPLATE_TARGET, 3, "begins the name");
    mistake("/x/{}", TEMPLATE_TARGET, 3, "begins the name");
    mistake("/x/{a b}", TEMPLATE_HEADER, 3, "begins the name");
    mistake("{\"s\":{b}}", TEMPLATE_JSON, 5, NULL);
    assert_int_equal(compile("{ \"a\": {} }", TEMPLATE_JSON).uses, 0);
    char many[TEMPLATE_PIECES_MAX * 3 + 4];
    for (size_t i = 0; i <= TEMPLATE_PIECES_MAX; i++)
        memcpy(many + i * 3, "{a}", 4);
    mistake(many, TEMPLATE_PLAIN, TEMPLATE_PIECES_MAX * 3, "more than 64");
    assert_true(template_is_name(STR("a-b_9")));
    assert_false(template_is_name(STR("9a")));
    assert_false(template_is_name(STR("")));
    assert_false(template_is_name(STR("a b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target),   cmocka_unit_test(test_header),
        cmocka_unit_test(test_json),     cmocka_unit_test(test_other_bodies),
        cmocka_unit_test(test_any_byte), cmocka_unit_test(test_room),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, arena_set_up, arena_tear_down);
}
