/* test_route.c - is it the first route in the file whose every condition holds? */
#include "tests/unit/policies/route_naive.h"

#include "base/mem.h"
#include "base/rng.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static struct route_table *table(const struct route_match *m, uint32_t n)
{
    uint32_t bad = 0;
    char why[128];
    struct route_table *t = route_table_new(m, n, &bad, why, sizeof(why));
    if (!t)
        fail_msg("route %u: %s", bad, why);
    return t;
}

static int match_in(const struct route_table *t, struct route_request r)
{
    struct route_scratch *scratch = route_scratch_new();
    int at = route_table_match(t, &r, scratch);
    (void)route_scratch_free(scratch);
    return at;
}

static int match_path(const struct route_table *t, const char *path)
{
    return match_in(t, (struct route_request){
                           .method = STR("GET"), .host = STR("example.com"), .path = str_of(path)});
}

static void test_prefix_by_segments(UNUSED void **state)
{
    const struct route_match m[] = {
        {.path_how = ROUTE_PATH_PREFIX, .path = STR("/foo")},
        {.path_how = ROUTE_PATH_PREFIX, .path = STR("/bar/")},
        {.path_how = ROUTE_PATH_PREFIX, .path = STR("/a/b")},
    };
    struct route_table *t = table(m, ARRAY_LEN(m));
    assert_int_equal(match_path(t, "/foo"), 0);
    assert_int_equal(match_path(t, "/foo/"), 0);
    assert_int_equal(match_path(t, "/foo/bar/baz"), 0);
    assert_int_equal(match_path(t, "/foobar"), ROUTE_NONE);
    assert_int_equal(match_path(t, "/fo"), ROUTE_NONE);
    assert_int_equal(match_path(t, "/Foo"), ROUTE_NONE);
    assert_int_equal(match_path(t, "/bar"), 1);
    assert_int_equal(match_path(t, "/bar/x"), 1);
    assert_int_equal(match_path(t, "/barx"), ROUTE_NONE);
    assert_int_equal(match_path(t, "/a"), ROUTE_NONE);
    assert_int_equal(match_path(t, "/a/b/c"), 2);
    assert_int_equal(match_path(t, "/"), ROUTE_NONE);
    assert_int_equal(match_path(t, ""), ROUTE_NONE);
    (void)route_table_free(t);
}

static void test_root_takes_all(UNUSED void **state)
{
    const struct route_match m[] = {{.path_how = ROUTE_PATH_PREFIX, .path = STR("/")}};
    struct route_table *t = table(m, 1);
    assert_int_equal(match_path(t, "/"), 0);
    assert_int_equal(match_path(t, "/x"), 0);
    assert_int_equal(match_path(t, "*"), 0); /* OPTIONS * */
    (void)route_table_free(t);
    t = table(NULL, 0);
    assert_int_equal(match_path(t, "/"), ROUTE_NONE);
    (void)route_table_free(t);
}

static void test_file_order(UNUSED void **state)
{
    const struct route_match m[] = {
        {.path_how = ROUTE_PATH_PREFIX, .path = STR("/a/b")},
        {.path_how = ROUTE_PATH_REGEX, .path = STR("/a/[a-c]/x")},
        {.path_how = ROUTE_PATH_EXACT, .path = STR("/a/c/x")},
        {.path_how = ROUTE_PATH_PREFIX, .path = STR("/a")},
        {.path_how = ROUTE_PATH_EXACT, .path = STR("/a/c")},
        {.path_how = ROUTE_PATH_ANY},
    };
    struct route_table *t = table(m, ARRAY_LEN(m));
    assert_int_equal(match_path(t, "/a/b/x"), 0);
    assert_int_equal(match_path(t, "/a/c/x"), 1);
    assert_int_equal(match_path(t, "/a/d/x"), 3);
    assert_int_equal(match_path(t, "/a/c"), 3); /* not the more exact one further down */
    assert_int_equal(match_path(t, "/b"), 5);
    (void)route_table_free(t);
}

static int match_host(const struct route_table *t, const char *host)
{
    return match_in(t, (struct route_request){.host = str_of(host), .path = STR("/")});
}

static void test_hosts(UNUSED void **state)
{
    const struct str hosts[] = {STR("Example.com"), STR("*.Example.com"), STR("*.api.example.com"),
                                STR("[::1]"), STR("127.0.0.1")};
    const struct route_match m[] = {
        {.hosts = &hosts[0], .n_hosts = 1},
        {.hosts = &hosts[2], .n_hosts = 1},
        {.hosts = &hosts[1], .n_hosts = 1},
        {.hosts = &hosts[3], .n_hosts = 2},
    };
    struct route_table *t = table(m, ARRAY_LEN(m));
    assert_int_equal(match_host(t, "example.COM"), 0);
    assert_int_equal(match_host(t, "example.com:8080"), 0);
    assert_int_equal(match_host(t, "example.com:"), 0);
    assert_int_equal(match_host(t, "www.example.com:1"), 2);
    assert_int_equal(match_host(t, "a.b.example.com"), 2);
    assert_int_equal(match_host(t, "v1.api.example.com"), 1);
    assert_int_equal(match_host(t, "api.example.com"), 2);
    assert_int_equal(match_host(t, ".example.com"), ROUTE_NONE);
    assert_int_equal(match_host(t, "wwwexample.com"), ROUTE_NONE);
    assert_int_equal(match_host(t, "example.com.evil"), ROUTE_NONE);
    assert_int_equal(match_host(t, "com"), ROUTE_NONE);
    assert_int_equal(match_host(t, ""), ROUTE_NONE);
    assert_int_equal(match_host(t, "[::1]:80"), 3);
    assert_int_equal(match_host(t, "[::1]"), 3);
    assert_int_equal(match_host(t, "127.0.0.1:80"), 3);
    assert_int_equal(match_host(t, "127.0.0.1"), 3);
    char big[5000]; /* longer than any host may be, and dots all along */
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = i % 2 ? '.' : 'a';
    memcpy(big + sizeof(big) - 13, ".example.com", 13);
    assert_int_equal(match_host(t, big), 2);
    (void)route_table_free(t);
}

static struct str test_header(const void *ctx, struct str name)
{
    const struct naive_header *h = ctx;
    return str_ieq(h->name, name) ? h->value : STR_NONE;
}

static void test_headers_and_methods(UNUSED void **state)
{
    const struct route_condition canary = {STR("X-Canary"), ROUTE_TEXT_EXACT, STR("always"), false};
    const struct route_condition not_canary = {STR("x-canary"), ROUTE_TEXT_PRESENT, STR(""), true};
    const struct route_condition version = {STR("x-canary"), ROUTE_TEXT_REGEX, STR("v[0-9]+"),
                                            false};
    const struct str methods[] = {STR("PUT"), STR("POST")};
    const struct route_match m[] = {
        {.headers = &canary, .n_headers = 1},
        {.headers = &version, .n_headers = 1},
        {.methods = methods, .n_methods = 2, .headers = &not_canary, .n_headers = 1},
    };
    struct route_table *t = table(m, ARRAY_LEN(m));
    struct naive_header h = {STR("x-CANARY"), STR("always")};
    struct route_request r = {.method = STR("GET"), .header = test_header, .ctx = &h};
    assert_int_equal(match_in(t, r), 0);
    h.value = STR("v12");
    assert_int_equal(match_in(t, r), 1);
    h.value = STR("v12x");
    assert_int_equal(match_in(t, r), ROUTE_NONE);
    h.value = (struct str){"", 0};
    assert_int_equal(match_in(t, r), ROUTE_NONE);
    r.method = STR("POST");
    assert_int_equal(match_in(t, r), ROUTE_NONE);
    h.name = STR("other");
    assert_int_equal(match_in(t, r), 2);
    r.method = STR("post");
    assert_int_equal(match_in(t, r), ROUTE_NONE);
    (void)route_table_free(t);
}

static int match_query(const struct route_condition *c, const char *query)
{
    const struct route_match m = {.query = c, .n_query = 1};
    struct route_table *t = table(&m, 1);
    int at = match_in(t, (struct route_request){.path = STR("/"), .query = str_of(query)});
    (void)route_table_free(t);
    return at;
}

static void test_query(UNUSED void **state)
{
    const struct route_condition exact = {STR("q"), ROUTE_TEXT_EXACT, STR("a b&c"), false};
    const struct route_condition there = {STR("q"), ROUTE_TEXT_PRESENT, STR(""), false};
    const struct route_condition prefix = {STR("q"), ROUTE_TEXT_PREFIX, STR("ab"), false};
    const struct route_condition regex = {STR("q"), ROUTE_TEXT_REGEX, STR("a.*z"), false};
    assert_int_equal(match_query(&exact, "q=a%20b%26c"), 0);
    assert_int_equal(match_query(&exact, "x=1&%71=a%20b%26c&y"), 0);
    assert_int_equal(match_query(&exact, "q=a+b%26c"), ROUTE_NONE); /* '+' is a plus */
    assert_int_equal(match_query(&exact, "q=a%20b&c"), ROUTE_NONE);
    assert_int_equal(match_query(&exact, "qq=a%20b%26c"), ROUTE_NONE);
    assert_int_equal(match_query(&exact, "q=x&q=a%20b%26c"), ROUTE_NONE); /* the first counts */
    assert_int_equal(match_query(&there, "q"), 0);
    assert_int_equal(match_query(&there, "&&q=&"), 0);
    assert_int_equal(match_query(&there, ""), ROUTE_NONE);
    assert_int_equal(match_query(&there, "Q=1"), ROUTE_NONE);
    assert_int_equal(match_query(&there, "x=q"), ROUTE_NONE);
    assert_int_equal(match_query(&prefix, "q=%61%62%"), 0);
    assert_int_equal(match_query(&prefix, "q=a"), ROUTE_NONE);
    assert_int_equal(match_query(&regex, "q=a%0a%00z"), 0);
    assert_int_equal(match_query(&regex, "q=az%7a"), 0);
    assert_int_equal(match_query(&regex, "q=za"), ROUTE_NONE);
}

/* All of the path, also where an alternative would match its beginning. */
static void test_regex_is_anchored(UNUSED void **state)
{
    const struct route_match m[] = {{.path_how = ROUTE_PATH_REGEX, .path = STR("/a|/abc|^/x$")}};
    struct route_table *t = table(m, 1);
    assert_int_equal(match_path(t, "/a"), 0);
    assert_int_equal(match_path(t, "/abc"), 0);
    assert_int_equal(match_path(t, "/ab"), ROUTE_NONE);
    assert_int_equal(match_path(t, "/x"), 0);
    assert_int_equal(match_path(t, "/x\n"), ROUTE_NONE);
    assert_int_equal(match_path(t, "z/a"), ROUTE_NONE);
    assert_int_equal(match_path(t, "/\xff\xfe"), ROUTE_NONE); /* no UTF: any byte is well */
    (void)route_table_free(t);
}

static void test_regex_limit(UNUSED void **state)
{
    const struct str post = STR("POST");
    const struct route_match m[] = {
        {.path_how = ROUTE_PATH_REGEX, .path = STR("/(a+)+[bc]"), .methods = &post, .n_methods = 1},
        {.path_how = ROUTE_PATH_REGEX, .path = STR("/(a|b|ab)*[cd]")},
        {.path_how = ROUTE_PATH_ANY},
    };
    struct route_table *t = table(m, ARRAY_LEN(m));
    char path[4000];
    memset(path, 'a', sizeof(path));
    path[0] = '/';
    struct route_request r = {.method = post, .path = {path, sizeof(path)}};
    assert_int_equal(match_in(t, r), ROUTE_LIMIT);
    r.path.n = 40;
    assert_int_equal(match_in(t, r), ROUTE_LIMIT);
    /* a method that does not hold says no, before the expression is tried */
    r.method = STR("GET");
    r.path.n = 5;
    assert_int_equal(match_in(t, r), 2);
    for (size_t i = 2; i < sizeof(path); i += 2)
        path[i] = 'b';
    r.path.n = sizeof(path);
    assert_int_equal(match_in(t, r), ROUTE_LIMIT);
    /* without scratch nothing can be told, but nothing falls over */
    assert_int_equal(route_table_match(t, &r, NULL), ROUTE_LIMIT);
    (void)route_table_free(t);
}

static void test_undecided_yields_to_no(UNUSED void **state)
{
    const struct route_condition conds[] = {{STR("h"), ROUTE_TEXT_REGEX, STR("(a+)+[bd]"), false},
                                            {STR("i"), ROUTE_TEXT_PRESENT, STR(""), false}};
    const struct route_match m[] = {{.headers = conds, .n_headers = 2}};
    struct route_table *t = table(m, 1);
    struct naive_header h = {STR("h"), STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac")};
    struct route_request r = {.header = test_header, .ctx = &h};
    assert_int_equal(match_in(t, r), ROUTE_NONE);
    (void)route_table_free(t);
    t = table(&(struct route_match){.headers = conds, .n_headers = 1}, 1);
    assert_int_equal(match_in(t, r), ROUTE_LIMIT);
    (void)route_table_free(t);
}

static void check_bad(const struct route_match *m, uint32_t n, uint32_t at, const char *says)
{
    uint32_t bad = 77;
    char why[128] = "";
    assert_null(route_table_new(m, n, &bad, why, sizeof(why)));
    assert_int_equal(bad, at);
    if (!strstr(why, says))
        fail_msg("says: %s", why);
}

static void test_mistakes(UNUSED void **state)
{
    const struct route_condition regex = {STR("x"), ROUTE_TEXT_REGEX, STR("[a-"), false};
    const struct route_condition nameless = {STR(""), ROUTE_TEXT_PRESENT, STR(""), false};
    const struct route_match m[] = {
        {.path_how = ROUTE_PATH_REGEX, .path = STR("/a.*")},
        {.path_how = ROUTE_PATH_REGEX, .path = STR("/(ab")},
    };
    check_bad(m, 2, 1, "at offset 4");
    check_bad(&(struct route_match){.headers = &regex, .n_headers = 1}, 1, 0, "at offset 3");
    check_bad(&(struct route_match){.query = &regex, .n_query = 1}, 1, 0, "at offset 3");
    check_bad(&(struct route_match){.query = &nameless, .n_query = 1}, 1, 0, "name is empty");
    check_bad(&(struct route_match){.path_how = ROUTE_PATH_REGEX, .path = STR("(*UTF)a")}, 1, 0,
              "UTF");
    static const struct {
        const char *host, *says;
    } hosts[] = {{"", "empty"},      {"a:80", "port"},      {"*a.com", "wildcard"},
                 {"*.", "wildcard"}, {"a.*.b", "wildcard"}, {"*.*.b", "wildcard"}};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct str host = str_of(hosts[i].host);
        check_bad(&(struct route_match){.hosts = &host, .n_hosts = 1}, 1, 0, hosts[i].says);
    }
    char big[300];
    memset(big, 'a', sizeof(big));
    struct str host = {big, 254};
    check_bad(&(struct route_match){.hosts = &host, .n_hosts = 1}, 1, 0, "253");
}

/* More nested prefixes, and more nested wildcards, than a request has room for lists. */
static void test_deep(UNUSED void **state)
{
    enum { DEEP = 120 };
    static char text[DEEP * 2 + 1];
    static struct route_match m[DEEP];
    static struct str hosts[DEEP];
    const struct str get = STR("GET"), post = STR("POST");
    for (size_t i = 0; i < DEEP; i++)
        memcpy(text + i * 2, "/a", 3);
    for (uint32_t i = 0; i < DEEP; i++) {
        m[i] = (struct route_match){.path_how = ROUTE_PATH_PREFIX,
                                    .path = {text, (DEEP - i) * 2},
                                    .methods = i < DEEP / 2 ? &post : &get,
                                    .n_methods = 1};
    }
    struct route_table *t = table(m, DEEP);
    assert_int_equal(match_path(t, text), DEEP / 2);
    assert_int_equal(match_path(t, text + 2), DEEP / 2);
    assert_int_equal(match_path(t, text + DEEP * 2 - 4), DEEP - 2);
    assert_int_equal(match_path(t, "/b"), ROUTE_NONE);
    (void)route_table_free(t);

    for (size_t i = 0; i < DEEP; i++)
        memcpy(text + i * 2, ".a", 3);
    text[0] = '*';
    for (uint32_t i = 0; i < DEEP; i++) {
        static char host[DEEP][DEEP * 2 + 1];
        size_t n = (size_t)(DEEP - i) * 2 + 1;
        host[i][0] = '*';
        memcpy(host[i] + 1, text + DEEP * 2 - n + 1, n - 1);
        host[i][1] = '.';
        hosts[i] = (struct str){host[i], n};
        m[i] = (struct route_match){.hosts = &hosts[i], .n_hosts = 1};
    }
    text[0] = 'x';
    t = table(m, DEEP);
    assert_int_equal(match_host(t, text), 1);
    assert_int_equal(match_host(t, text + DEEP * 2 - 5), DEEP - 2);
    (void)route_table_free(t);
}

/* More prefixes than a look-up has room for: then each route is looked at, of whatever kind. */
static void test_deep_of_each_kind(UNUSED void **state)
{
    enum { DEEP = 120 };
    static char text[DEEP * 2 + 1];
    static struct route_match m[DEEP + 4];
    const struct str hosts[] = {STR("*.B.com"), STR("a.com"), STR("*")};
    const struct str post = STR("POST"), put = STR("PUT");
    for (size_t i = 0; i < DEEP; i++)
        memcpy(text + i * 2, "/a", 3);
    for (uint32_t i = 0; i < DEEP; i++)
        m[i] = (struct route_match){.path_how = ROUTE_PATH_PREFIX,
                                    .path = {text, (DEEP - i) * 2},
                                    .methods = &post,
                                    .n_methods = 1};
    struct str deepest = {text, DEEP * 2};
    m[DEEP] = (struct route_match){
        .hosts = hosts, .n_hosts = 1, .path_how = ROUTE_PATH_EXACT, .path = deepest};
    m[DEEP + 1] = (struct route_match){
        .hosts = &hosts[1], .n_hosts = 1, .path_how = ROUTE_PATH_PREFIX, .path = STR("/a/a")};
    m[DEEP + 2] =
        (struct route_match){.hosts = &hosts[2], .n_hosts = 1, .methods = &put, .n_methods = 1};
    struct route_table *t = table(m, DEEP + 3);
    struct route_request q = {.method = STR("GET"), .host = STR("x.b.com:80"), .path = deepest};
    assert_int_equal(match_in(t, q), DEEP);
    q.host = STR("A.com");
    assert_int_equal(match_in(t, q), DEEP + 1);
    q.host = STR(".b.com"); /* one label at least */
    assert_int_equal(match_in(t, q), ROUTE_NONE);
    q.host = STR("c.com");
    assert_int_equal(match_in(t, q), ROUTE_NONE);
    q.method = put;
    assert_int_equal(match_in(t, q), DEEP + 2);
    q.host = STR("x.b.com");
    q.path.n -= 2; /* not exactly it */
    assert_int_equal(match_in(t, q), DEEP + 2);
    q.method = post;
    assert_int_equal(match_in(t, q), 1);
    (void)route_table_free(t);
}

static void fill(uint8_t *bytes, size_t n, struct rng *rng)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(rng_next(rng) >> 32);
}

/* Thousands of random tables and requests, against the plain scan. */
static void test_against_scan(UNUSED void **state)
{
    static struct naive_world w;
    static uint8_t bytes[4096];
    struct route_scratch *scratch = route_scratch_new();
    struct rng rng;
    uint32_t found = 0, none = 0;
    rng_init(&rng, 1);
    for (int round = 0; round < 4000; round++) {
        fill(bytes, sizeof(bytes), &rng);
        struct source s = {bytes, sizeof(bytes)};
        random_table(&w, &s, round % 4 ? 12 : NAIVE_ROUTES);
        struct route_table *t = table(w.match, w.n);
        for (int i = 0; i < 40; i++) {
            fill(bytes, 128, &rng);
            s = (struct source){bytes, 128};
            random_request(&w, &s);
            int want = naive_match(w.match, w.n, &w.request);
            int got = route_table_match(t, &w.request.r, scratch);
            if (got != want)
                fail_msg("round %d: %d, not %d for %.*s %.*s ? %.*s", round, got, want,
                         STR_FMT(w.request.r.host), STR_FMT(w.request.r.path),
                         STR_FMT(w.request.r.query));
            found += want >= 0;
            none += want < 0;
        }
        (void)route_table_free(t);
    }
    (void)route_scratch_free(scratch);
    assert_true(found > 30000 && none > 10000); /* the test does test something */
}

static void test_ten_thousand(UNUSED void **state)
{
    enum { ROUTES = 10000 };
    static struct route_match m[ROUTES];
    static char text[ROUTES][32];
    static struct str hosts[ROUTES];
    for (uint32_t i = 0; i < ROUTES; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "%s%u.example.com", i % 2 ? "*.h" : "h", i);
        hosts[i] = str_of(text[i]);
        m[i] = (struct route_match){
            .path_how = ROUTE_PATH_PREFIX, .path = STR("/"), .hosts = &hosts[i], .n_hosts = 1};
    }
    struct route_table *t = table(m, ROUTES);
    for (uint32_t i = 0; i < ROUTES; i++) {
        char host[48];
        (void)snprintf(host, sizeof(host), "%sH%u.example.com:80", i % 2 ? "www." : "", i);
        assert_int_equal(match_host(t, host), i);
    }
    (void)route_table_free(t);
    for (uint32_t i = 0; i < ROUTES; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "/service/%u/x", i);
        m[i] = (struct route_match){.path_how = i % 2 ? ROUTE_PATH_EXACT : ROUTE_PATH_PREFIX,
                                    .path = str_of(text[i])};
    }
    t = table(m, ROUTES);
    for (uint32_t i = 0; i < ROUTES; i++) {
        char path[48];
        assert_int_equal(match_path(t, text[i]), i);
        (void)snprintf(path, sizeof(path), "%s/y", text[i]);
        assert_int_equal(match_path(t, path), i % 2 ? ROUTE_NONE : (int)i);
    }
    (void)route_table_free(t);
}

/* Each allocation of a build and a match fails in turn: no crash, no leak, and the same answers
 * once there is memory again. */
static void test_no_memory(UNUSED void **state)
{
    const struct str hosts[] = {STR("a.com"), STR("*.b.com")};
    const struct str get = STR("GET");
    const struct route_condition c[] = {{STR("x"), ROUTE_TEXT_REGEX, STR("a+"), false},
                                        {STR("y"), ROUTE_TEXT_PREFIX, STR("b"), true}};
    const struct route_match m[] = {
        {.hosts = hosts, .n_hosts = 2, .path_how = ROUTE_PATH_PREFIX, .path = STR("/a")},
        {.path_how = ROUTE_PATH_REGEX, .path = STR("/(x|y)*"), .methods = &get, .n_methods = 1},
        {.path_how = ROUTE_PATH_EXACT, .path = STR("/q"), .query = c, .n_query = 2},
    };
    const struct route_request q = {.path = STR("/q"), .query = STR("x=%61")};
    uint64_t nth;
    for (nth = 1; nth < 1000; nth++) {
        uint32_t bad = 0;
        char why[64] = "";
        uint64_t before = mem_failures();
        mem_fail_at(nth, false);
        struct route_table *t = route_table_new(m, ARRAY_LEN(m), &bad, why, sizeof(why));
        struct route_scratch *scratch = t ? route_scratch_new() : NULL;
        int at = scratch ? route_table_match(t, &q, scratch) : ROUTE_NONE;
        mem_fail_at(0, false);
        bool failed = mem_failures() > before;
        if (!t) {
            assert_int_equal(bad, UINT32_MAX);
            assert_string_equal(why, "out of memory");
        } else if (scratch) {
            assert_int_equal(at, failed ? ROUTE_LIMIT : 2);
            assert_int_equal(route_table_match(t, &q, scratch), 2);
        }
        (void)route_scratch_free(scratch);
        (void)route_table_free(t);
        if (!failed)
            break;
    }
    assert_in_range(nth, 10, 999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefix_by_segments),
        cmocka_unit_test(test_root_takes_all),
        cmocka_unit_test(test_file_order),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_headers_and_methods),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_regex_is_anchored),
        cmocka_unit_test(test_regex_limit),
        cmocka_unit_test(test_undecided_yields_to_no),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_deep_of_each_kind),
        cmocka_unit_test(test_against_scan),
        cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
