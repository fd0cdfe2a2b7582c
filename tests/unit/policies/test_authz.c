/* test_authz.c - which rule decides, and in how many ways a path can be written. */
#include "policies/authz.h"

#include "base/check.h"
#include "base/rng.h"

#include <stdarg.h>
#include <stdio.h>
#include <setjmp.h>
#include <cmocka.h>

static struct authz_request request(const char *path)
{
    return (struct authz_request){.method = STR("GET"), .path = str_of(path)};
}

static bool allows(bool allow, const char *pattern, const char *path)
{
    struct str paths[] = {str_of(pattern)};
    struct authz_rule rule = {.allow = allow, .n_paths = 1, .paths = paths};
    struct authz_rules rules = {1, &rule};
    struct authz_request q = request(path);
    return authz_allows(&rules, &q);
}

static void test_paths(UNUSED void **state)
{
    static const struct {
        const char *pattern, *path;
        bool allowed, passes; /* by a rule that allows; past one that denies */
    } cases[] = {
        {"/a", "/a", true, false},
        {"/a", "/ab", false, true},
        {"/a", "/A", false, true},
        {"/a", "/", false, true},
        {"/", "/", true, false},
        {"/", "/a", false, true},
        {"/*", "/", true, false},
        {"/*", "/a/b", true, false},
        {"/a/*", "/a", true, false},
        {"/a/*", "/a/", true, false},
        {"/a/*", "/a/b/c", true, false},
        {"/a/*", "/ab", false, true},
        {"/a/*", "/b/a/x", false, true},
        {"/a/b", "/a//b", true, false},
        {"/a/b", "//a/b", true, false},
        {"/a/b", "///a////b", true, false},
        {"/a/*", "//a", true, false},
        /* The two readings differ: no rule that allows fits, each that denies does. */
        {"/a/b", "/a%2Fb", false, false},
        {"/a/b", "/a%2fb", false, false},
        {"/a/b", "/a\\b", false, false},
        {"/a/b", "/a%5Cb", false, false},
        {"/a/b", "/%61/b", false, false},
        {"/a/b", "/a;x=1/b", false, false},
        {"/a", "/a/", false, false},
        {"/a", "/a//", false, false},
        {"/a", "/a%2F", false, false},
        {"/a", "/a;x/", false, false},
        {"/a/", "/a", false, false},
        {"/a/", "/a;x", false, false},
        {"/a/", "/a/", true, false},
        {"/a/", "/a//", true, false},
        {"/a/", "/a/b", false, true},
        {"/", "//", true, false},
        {"/a/b", "/a/b;x", false, false},
        {"/a/*", "/a/b%2Fc", true, false},
        {"/a/*", "/a/b;v=1/c", true, false},
        /* Nobody knows where these lead. */
        {"/a/*", "/a/..%2Fb", false, false},
        {"/a/*", "/a/..;/b", false, false},
        {"/a/*", "/a/%2E%2E/b", false, false},
        {"/a/*", "/a/.%5C", false, false},
        {"/a/*", "/a/..", false, false},
        {"/b/*", "/a/..%2Fb", false, false},
        {"/a/*", "/a/...", true, false},
        {"/a/*", "/a/.b", true, false},
        {"/a/*", "/a/b..", true, false},
        {"/a/*", "/a/%", true, false},
        {"/a/*", "/a/%2", true, false},
        {"/a/*", "/a/%zz", true, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (allows(true, cases[i].pattern, cases[i].path) != cases[i].allowed ||
            allows(false, cases[i].pattern, cases[i].path) != cases[i].passes)
            fail_msg("%s %s", cases[i].pattern, cases[i].path);
    }
}

static void test_path_syntax(UNUSED void **state)
{
    static const char *const good[] = {"/", "/*", "/a", "/a/", "/a/b", "/a/*", "/a/.b", "/a/..."};
    static const char *const bad[] = {"",     "*",    "a",     "/a*", "/*/b",  "//",   "/a//b",
                                      "/a/.", "/./a", "/../a", "/**", "/a/..", "/a/*/"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!authz_is_path(str_of(good[i])))
            fail_msg("%s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (authz_is_path(str_of(bad[i])))
            fail_msg("%s", bad[i]);
    }
}

static void test_first_decides(UNUSED void **state)
{
    struct str admin[] = {STR("/admin/*")}, open[] = {STR("/admin/open")}, get[] = {STR("GET")};
    struct authz_rule rules[] = {
        {.allow = true, .n_paths = 1, .paths = open},
        {.allow = false, .n_paths = 1, .paths = admin},
        {.allow = true, .n_methods = 1, .methods = get},
    };
    struct authz_rules r = {3, rules};
    struct authz_request q = request("/admin/open");
    assert_true(authz_allows(&r, &q));
    q.path = STR("/admin/x");
    assert_false(authz_allows(&r, &q));
    q.path = STR("/x");
    assert_true(authz_allows(&r, &q));
    q.method = STR("POST");
    assert_false(authz_allows(&r, &q)); /* none fits, and there are rules that allow */
    r.rules = rules + 1;
    r.n = 1;
    assert_true(authz_allows(&r, &q));
    r.n = 0;
    assert_true(authz_allows(&r, &q));
    struct authz_rule all = {.allow = false};
    r = (struct authz_rules){1, &all};
    assert_false(authz_allows(&r, &q));
}

static void test_spiffe(UNUSED void **state)
{
    static const struct {
        const char *rule, *id;
        bool allowed;
    } cases[] = {
        {"spiffe://d/a", "spiffe://d/a", true},
        {"spiffe://d/a", "spiffe://d/ab", false},
        {"spiffe://d/a", "", false},
        {"spiffe://d/a/*", "spiffe://d/a/b", true},
        {"spiffe://d/a/*", "spiffe://d/a/b/c", true},
        {"spiffe://d/a/*", "spiffe://d/a", false},
        {"spiffe://d/a/*", "spiffe://d/a/", false},
        {"spiffe://d/a/*", "spiffe://d/ab/c", false},
        {"spiffe://d/*", "spiffe://e/a", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str ids[] = {STR("spiffe://other/x"), str_of(cases[i].rule)};
        struct authz_rule rule = {.allow = true, .n_spiffe_ids = 2, .spiffe_ids = ids};
        struct authz_rules rules = {1, &rule};
        struct authz_request q = request("/");
        q.spiffe_id = str_of(cases[i].id);
        if (authz_allows(&rules, &q) != cases[i].allowed)
            fail_msg("%s %s", cases[i].rule, cases[i].id);
    }
}

/* By each of two networks; NULL: the client's address is not known. */
static bool allows_from(bool allow, const char *one, const char *other, const char *client)
{
    struct cidr cidrs[2];
    assert_int_equal(cidr_parse(str_of(one), &cidrs[0]), 0);
    assert_int_equal(cidr_parse(str_of(other), &cidrs[1]), 0);
    struct authz_rule rule = {.allow = allow, .n_cidrs = 2, .cidrs = cidrs};
    struct authz_rules rules = {1, &rule};
    struct authz_request q = request("/");
    if (client)
        assert_int_equal(ip_parse(str_of(client), &q.source), 0);
    return authz_allows(&rules, &q);
}

static void test_sources(UNUSED void **state)
{
    static const struct {
        const char *cidr, *client;
        bool allowed, passes; /* by a rule that allows; past one that denies */
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true, false},
        {"10.0.0.0/8", "11.0.0.1", false, true},
        {"10.0.0.7/32", "10.0.0.7", true, false},
        {"10.0.0.7", "10.0.0.6", false, true},
        {"10.0.0.0/31", "10.0.0.2", false, true},
        {"10.0.0.0/8", "::ffff:10.0.0.1", true, false}, /* the same address */
        {"10.0.0.0/8", "::10.0.0.1", false, true},
        {"fd00::/8", "fdff::1", true, false},
        {"fd00::/8", "fe00::1", false, true},
        {"fd00::/8", "10.0.0.1", false, true},
        {"2001:db8::/33", "2001:db8:7fff::1", true, false},
        {"2001:db8::/33", "2001:db8:8000::1", false, true},
        {"0.0.0.0/0", "255.255.255.255", true, false},
        {"0.0.0.0/0", "::1", false, true},
        {"::/0", "10.0.0.1", true, false},
        /* Nobody knows. */
        {"10.0.0.0/8", NULL, false, false},
        {"::/0", NULL, false, false},
        {"0.0.0.0/0", NULL, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *cidr = cases[i].cidr, *client = cases[i].client, *none = "192.0.2.1";
        if (allows_from(true, cidr, none, client) != cases[i].allowed ||
            allows_from(true, none, cidr, client) != cases[i].allowed ||
            allows_from(false, none, cidr, client) != cases[i].passes)
            fail_msg("%s %s", cidr, client ? client : "unknown");
    }
}

static void test_claims(UNUSED void **state)
{
    static const struct {
        const char *claim, *value;
        bool allowed;
    } cases[] = {
        {"sub", "me", true},
        {"sub", "m", false},
        {"scope", "read", true},
        {"scope", "write", true},
        {"scope", "read write", true},
        {"scope", "rea", false},
        {"scope", "", false},
        {"scp", "x", true},
        {"text", "one", false},
        {"text", "one two", true},
        {"roles", "a", true},
        {"roles", "b", true},
        {"roles", "c", false},
        {"admin", "true", true},
        {"admin", "false", false},
        {"off", "false", true},
        {"n", "7", true},
        {"n", "7.0", false},
        {"n", "70", false},
        {"below", "-1", true},
        {"real", "1.5", false},
        {"roles", "1", true},
        {"nothing", "null", false},
        {"missing", "", false},
        {"object", "a", false},
    };
    json_t *json = json_loads("{\"sub\":\"me\",\"scope\":\"read write\",\"scp\":[\"x y\",\"x\"],"
                              "\"text\":\"one two\",\"roles\":[\"a\",1,[\"c\"],\"b\"],"
                              "\"admin\":true,\"off\":false,\"n\":7,\"below\":-1,"
                              "\"real\":1.5,\"nothing\":null,"
                              "\"object\":{\"a\":\"a\"}}",
                              0, NULL);
    struct jwt_claims claims = {.json = json};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_step step = {.name = str_of(cases[i].claim)};
        struct str values[] = {STR("never"), str_of(cases[i].value)};
        struct authz_claim claim = {.claim = step.name,
                                    .path = {1, &step},
                                    .words = authz_has_words(step.name),
                                    .n_values = 2,
                                    .values = values};
        struct authz_rule rule = {.allow = true, .n_claims = 1, .claims = &claim};
        struct authz_rules rules = {1, &rule};
        struct authz_request q = request("/");
        assert_false(authz_allows(&rules, &q)); /* without a token */
        q.claims = &claims;
        if (authz_allows(&rules, &q) != cases[i].allowed)
            fail_msg("%s %s", cases[i].claim, cases[i].value);
    }
    json_decref(json);
}

/* All conditions hold, or the rule does not fit. */
static void test_all_conditions(UNUSED void **state)
{
    struct str get[] = {STR("HEAD"), STR("GET")}, a[] = {STR("/b"), STR("/a")};
    struct str id[] = {STR("spiffe://d/a")}, value[] = {STR("me")};
    struct json_step step = {.name = STR("sub")};
    struct authz_claim claim = {.path = {1, &step}, .n_values = 1, .values = value};
    struct cidr net;
    assert_int_equal(cidr_parse(STR("10.0.0.0/8"), &net), 0);
    struct authz_rule rule = {
        .allow = true,
        .n_methods = 2,
        .methods = get,
        .n_paths = 2,
        .paths = a,
        .n_spiffe_ids = 1,
        .spiffe_ids = id,
        .n_cidrs = 1,
        .cidrs = &net,
        .n_claims = 1,
        .claims = &claim,
    };
    struct authz_rules rules = {1, &rule};
    json_t *good = json_pack("{s:s}", "sub", "me"), *bad = json_pack("{s:s}", "sub", "you");
    for (unsigned bits = 0; bits < 32; bits++) {
        struct jwt_claims claims = {.json = bits & 1 ? good : bad};
        struct authz_request q = {
            .method = bits & 2 ? STR("GET") : STR("get"),
            .path = bits & 4 ? STR("/a") : STR("/c"),
            .spiffe_id = bits & 8 ? STR("spiffe://d/a") : STR_NONE,
            .source = {.bytes = {[10] = 0xff, 0xff, bits & 16 ? 10 : 11}, .known = true},
            .claims = &claims,
        };
        assert_int_equal(authz_allows(&rules, &q), bits == 31);
    }
    json_decref(good);
    json_decref(bad);
}

/* However a path is written: what a rule denies in its plain form, no slashes, encodings or
 * parameters get past it. */
static void test_no_way_around(UNUSED void **state)
{
    static const char *const slashes[] = {"/", "//", "%2F", "%2f", "\\", "%5C", "/;x/", ";y/"};
    struct rng rng;
    rng_init(&rng, 3);
    for (int i = 0; i < 20000; i++) {
        static const char *const words[] = {"admin", "keys", "x"};
        char path[256];
        int n = snprintf(path, sizeof(path), "/");
        for (size_t w = 0; w < ARRAY_LEN(words); w++) {
            if (w > 0)
                n += snprintf(path + n, sizeof(path) - (size_t)n, "%s",
                              slashes[rng_below(&rng, ARRAY_LEN(slashes))]);
            for (const char *c = words[w]; *c; c++)
                n += snprintf(path + n, sizeof(path) - (size_t)n,
                              rng_below(&rng, 4) ? "%c" : "%%%02X", *c);
        }
        if (allows(false, "/admin/keys/*", path))
            fail_msg("%s", path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),          cmocka_unit_test(test_path_syntax),
        cmocka_unit_test(test_first_decides),  cmocka_unit_test(test_spiffe),
        cmocka_unit_test(test_sources),        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_all_conditions), cmocka_unit_test(test_no_way_around),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
