/* test_learn.c - which values does an exchange have, and does it look as a rule says? */
#include "policies/learn.h"

#include "base/check.h"
#include "tests/unit/policies/test_arena.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct str names[] = {{"s", 1}, {"user", 4}, {"t", 1}};

struct fields {
    struct {
        const char *name, *value;
    } f[8];
};

static bool field(const void *ctx, uint32_t i, struct str *name, struct str *value)
{
    const struct fields *all = ctx;
    if (i >= ARRAY_LEN(all->f) || !all->f[i].name)
        return false;
    *name = str_of(all->f[i].name);
    *value = str_of(all->f[i].value);
    return true;
}

static const struct fields no_fields;

static struct learn_pattern compile(const char *method, const char *target, const char *header,
                                    const char *value)
{
    static struct learn_pair pairs[8];
    struct learn_pattern p = {.method = str_of(method), .headers = pairs};
    struct template_problem problem = {0};
    int rc = learn_pattern_compile(arena, str_of(target), names, ARRAY_LEN(names), &p, &problem);
    if (rc == 0 && header)
        rc = learn_pattern_header(arena, str_of(header), str_of(value), names, ARRAY_LEN(names), &p,
                                  &problem);
    if (rc < 0)
        fail_msg("%s at %zu: %s", target, problem.at, problem.what ? problem.what : "unknown");
    return p;
}

static bool matches(const struct learn_pattern *p, const char *method, const char *path,
                    const char *query, const struct fields *f, struct learn_values *v)
{
    const struct learn_head head = {str_of(method), str_of(path), str_of(query), field,
                                    f ? f : &no_fields};
    learn_values_clear(v);
    return learn_matches(p, &head, v);
}

static void is(const struct learn_values *v, uint32_t i, const char *want)
{
    if (!want)
        assert_null(v->v[i].p);
    else if (!str_eq(v->v[i], str_of(want)))
        fail_msg("got %.*s, not %s", STR_FMT(v->v[i]), want);
}

static void test_paths(UNUSED void **state)
{
    struct learn_values v;
    struct learn_pattern p = compile("POST", "/users/{user}/sessions", NULL, NULL);
    assert_true(matches(&p, "POST", "/users/ann/sessions", "x=y", NULL, &v));
    is(&v, 1, "ann");
    is(&v, 0, NULL);
    assert_true(matches(&p, "POST", "/users/a%2Fb%20c/sessions", "", NULL, &v));
    is(&v, 1, "a/b c");
    assert_false(matches(&p, "GET", "/users/ann/sessions", "", NULL, &v));
    assert_false(matches(&p, "post", "/users/ann/sessions", "", NULL, &v));
    assert_false(matches(&p, "POST", "/users//sessions", "", NULL, &v));
    assert_false(matches(&p, "POST", "/users/a/b/sessions", "", NULL, &v));
    assert_false(matches(&p, "POST", "/users/ann/sessions/", "", NULL, &v));
    assert_false(matches(&p, "POST", "/users/ann", "", NULL, &v));
    p = compile("", "/s/{s}.{t}", NULL, NULL);
    assert_true(matches(&p, "DELETE", "/s/one.two.three", "", NULL, &v));
    is(&v, 0, "one");
    is(&v, 2, "two.three");
    p = compile("GET", "/plain", NULL, NULL);
    assert_true(matches(&p, "GET", "/plain", "", NULL, &v));
    assert_false(matches(&p, "GET", "/plain/", "", NULL, &v));
}

static void test_query(UNUSED void **state)
{
    struct learn_values v;
    struct learn_pattern p = compile("POST", "/logout?session={s}&force=1", NULL, NULL);
    assert_true(matches(&p, "POST", "/logout", "session=abc&force=1", NULL, &v));
    is(&v, 0, "abc");
    assert_true(matches(&p, "POST", "/logout", "force=1&x&session=a%2Bb%3d&y=", NULL, &v));
    is(&v, 0, "a+b=");
    assert_true(matches(&p, "POST", "/logout", "session=a+b&force=1", NULL, &v));
    is(&v, 0, "a+b"); /* as it is: a base64 that nobody encoded */
    assert_true(matches(&p, "POST", "/logout", "session=one&session=two&force=1", NULL, &v));
    is(&v, 0, "one");
    assert_true(matches(&p, "POST", "/logout", "se%73sion=a%zz%&force=1", NULL, &v));
    is(&v, 0, "a%zz%");
    assert_false(matches(&p, "POST", "/logout", "session=&force=1", NULL, &v));
    assert_false(matches(&p, "POST", "/logout", "session&force=1", NULL, &v));
    assert_false(matches(&p, "POST", "/logout", "session=a&force=2", NULL, &v));
    assert_false(matches(&p, "POST", "/logout", "session=a", NULL, &v));
    assert_false(matches(&p, "POST", "/logout", "", NULL, &v));
    p = compile("", "?session={s}", NULL, NULL);
    assert_true(p.any_path);
    assert_true(matches(&p, "GET", "/any/where", "session=q", NULL, &v));
    is(&v, 0, "q");
}

static void test_headers(UNUSED void **state)
{
    struct learn_values v;
    struct learn_pattern p = compile("", "", "Authorization", "Bearer {s}");
    const struct fields good = {{{"host", "x"}, {"AUTHORIZATION", "Bearer t0ken="}}};
    const struct fields bad = {{{"Authorization", "Basic t0ken="}}};
    assert_true(matches(&p, "GET", "/", "", &good, &v));
    is(&v, 0, "t0ken=");
    assert_false(matches(&p, "GET", "/", "", &bad, &v));
    assert_false(matches(&p, "GET", "/", "", NULL, &v));
    p = compile("", "", "Cookie", "SID={s}; lang=en");
    const struct fields cookies = {
        {{"x", "SID=no"}, {"cookie", "a=b; lang=en"}, {"cookie", "x; SID=\"c00kie\""}}};
    const struct fields other = {{{"cookie", "sid=1; lang=en"}}};
    assert_true(matches(&p, "GET", "/", "", &cookies, &v));
    is(&v, 0, "c00kie");
    assert_false(matches(&p, "GET", "/", "", &other, &v));
    assert_int_equal(learn_pattern_gives(&p), 1);
}

static void test_response_head(UNUSED void **state)
{
    struct learn_values v;
    struct learn_take takes[] = {
        {.from = LEARN_HEADER, .value = 0, .field = STR("x-node")},
        {.from = LEARN_COOKIE, .value = 1, .field = STR("SID")},
        {.from = LEARN_COOKIE, .value = 2, .field = STR("none")},
    };
    struct learn_rule r = {.n_takes = 3, .takes = takes};
    const struct fields f = {{{"X-Node", "n1"},
                              {"Set-Cookie", "SID=old; Path=/"},
                              {"set-cookie", " SID = \"new==\" ; HttpOnly"},
                              {"Set-Cookie", "other=1; SID=no"}}};
    const struct learn_head head = {.field = field, .ctx = &f};
    learn_values_clear(&v);
    learn_take_head(&r, &head, &v);
    is(&v, 0, "n1");
    is(&v, 1, "new==");
    is(&v, 2, NULL);
}

static void test_long_values(UNUSED void **state)
{
    static char long_value[LEARN_VALUE_MAX + 2];
    struct learn_values v;
    struct learn_pattern p = compile("", "", "x", "{s}");
    memset(long_value, 'v', LEARN_VALUE_MAX);
    const struct fields f = {{{"x", long_value}}};
    assert_true(matches(&p, "GET", "/", "", &f, &v));
    assert_int_equal(v.v[0].n, LEARN_VALUE_MAX);
    long_value[LEARN_VALUE_MAX] = 'v';
    assert_true(matches(&p, "GET", "/", "", &f, &v));
    is(&v, 0, NULL);
    static char query[8 + LEARN_KEY_MAX + 2] = "session=";
    p = compile("", "/?session={s}", NULL, NULL);
    memset(query + 8, 'q', LEARN_KEY_MAX);
    assert_true(matches(&p, "GET", "/", query, NULL, &v));
    is(&v, 0, NULL);
    query[8 + LEARN_KEY_MAX] = 'q';
    assert_false(matches(&p, "GET", "/", query, NULL, &v));
}

static void test_body(UNUSED void **state)
{
    struct learn_values v;
    struct json_value json[LEARN_VALUES_MAX];
    struct json_take take;
    struct learn_take takes[] = {
        {.from = LEARN_JSON, .value = 2},
        {.from = LEARN_HEADER, .value = 0},
        {.from = LEARN_JSON, .value = 1},
    };
    size_t at;
    assert_null(json_path_compile(arena, STR("$.a"), &takes[0].path, &at));
    assert_null(json_path_compile(arena, STR("$.b"), &takes[2].path, &at));
    learn_values_clear(&v);
    uint32_t n = learn_body_values(takes, 3, LEARN_JSON, &v, json);
    assert_int_equal(n, 2);
    json_take_init(&take, json, n);
    (void)json_take_feed(&take, "{\"a\":1,\"b\":\"\"}", 14);
    assert_int_equal(json_take_end(&take), JSON_WHOLE);
    learn_take_body(takes, 3, LEARN_JSON, json, &v);
    is(&v, 2, "1");
    is(&v, 1, NULL); /* empty is none */
    assert_int_equal(learn_body_values(takes, 3, LEARN_REQUEST_JSON, &v, json), 0);
}

static void mistake(const char *target, size_t at, const char *what)
{
    struct learn_pattern p = {0};
    struct template_problem problem = {0};
    int rc = learn_pattern_compile(arena, str_of(target), names, ARRAY_LEN(names), &p, &problem);
    if (rc != -EINVAL || problem.at != at || (what != NULL) != (problem.what != NULL) ||
        (what && !strstr(problem.what, what)))
        fail_msg("%s: %d at %zu: %s", target, rc, problem.at, problem.what ? problem.what : "-");
}

static void test_mistakes(UNUSED void **state)
{
    mistake("logout", 0, "begins with");
    mistake("/a/{s}{t}", 0, "between them");
    mistake("/a?x", 3, "name=value");
    mistake("/a?x=1&{s}=2", 7, "no value");
    mistake("/a?x={nope}", 5, NULL);
    mistake("/a/{", 3, "begins the name");
}

static void test_statuses(UNUSED void **state)
{
    struct learn_rule r = {.status_min = 200, .status_max = 299};
    assert_true(learn_status_fits(&r, 201));
    assert_false(learn_status_fits(&r, 199));
    assert_false(learn_status_fits(&r, 302));
    assert_true(learn_status_gone(204));
    assert_false(learn_status_gone(101));
    assert_true(learn_status_gone(404));
    assert_true(learn_status_gone(410));
    assert_false(learn_status_gone(401));
    assert_false(learn_status_gone(500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),       cmocka_unit_test(test_query),
        cmocka_unit_test(test_headers),     cmocka_unit_test(test_response_head),
        cmocka_unit_test(test_long_values), cmocka_unit_test(test_body),
        cmocka_unit_test(test_mistakes),    cmocka_unit_test(test_statuses),
    };
    return cmocka_run_group_tests(tests, arena_set_up, arena_tear_down);
}
