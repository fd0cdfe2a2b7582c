/* test_substitute.c - what variables become, and that nobody is told what is in them. */
#include "config/diff.h"
#include "config/flatten.h"
#include "config/substitute.h"
#include "env.h"
#include "mistake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define BODY(x) ROUTE_6_5("directResponse: {body: " x "}")

static struct conf *build(const char *text, struct config_problems *p)
{
    *p = (struct config_problems){0};
    return config_build_env("test.yaml", text, strlen(text), &test_env, p);
}

static struct conf *build_good(const char *text)
{
    struct config_problems p;
    struct conf *c = build(text, &p);
    if (p.errors > 0)
        config_problems_print(&p, "test.yaml", 2);
    assert_non_null(c);
    config_problems_free(&p);
    return c;
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } bodies[] = {
        {BODY("\"${NUMBER}\""), "7"},
        {BODY("\"<${NUMBER}${_x9}>\""), "<79>"},
        {BODY("'${EMPTY}'"), ""},
        {BODY("\"${EMPTY:-none}\""), "none"},
        {BODY("\"${ABSENT:-none}\""), "none"},
        {BODY("\"${ABSENT:-}\""), ""},
        {BODY("\"${NUMBER:-none}\""), "7"},
        {BODY("\"${ABSENT:-a b:-c, \\\"d}\""), "a b:-c, \"d"},
        {BODY("\"$${NUMBER}\""), "${NUMBER}"},
        {BODY("\"$$${NUMBER}\""), "$${NUMBER}"},
        {BODY("\"$${ ${NUMBER}\""), "${ 7"},
        {BODY("\"$ $1 $NUMBER $$ {} $\""), "$ $1 $NUMBER $$ {} $"},
        {BODY("\"${AGAIN}\""), "${SECRET}"}, /* once, not again */
        {BODY("\"${YAML}\""), "{a: b}, #c"}, /* text, not structure */
        {BODY("\"${LINES}\""), "a\nb: [c, d]"},
        {BODY("\"${NULL_WORD}\""), "null"},
        {ROUTE_6_5("directResponse:\n      body: ${NULL_WORD}"), "null"},
        {ROUTE_6_5("directResponse:\n      body: |\n        <${NUMBER}>\n        x"), "<7>\nx"},
        {ROUTE_6_5("directResponse:\n      body: a ${ABSENT:-b c} d"), "a b c d"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct conf *c = build_good(bodies[i].text);
        struct str body = c->listeners[0].routes[0].direct_body;
        if (!str_eq(body, str_of(bodies[i].expected)) &&
            !(body.n > 0 && str_eq((struct str){body.p, body.n - 1}, str_of(bodies[i].expected))))
            fail_msg("%zu: got %.*s", i, STR_FMT(body));
        (void)config_free(c);
    }
}

static void test_types(void **state)
{
    (void)state;
    struct conf *c =
        build_good("version: 1\nworkers: \"${NUMBER}\"\nallowLinkLocal: ${YES}\n"
                   "lifecycle: {noticePeriod: \"${FIVE}\", drainTimeout: \"1${NUMBER}s\"}\n"
                   "admin: {address: \"127.0.0.1:${PORT}\", socket: \"${ABSENT:-off}\"}\n"
                   "listeners:\n- name: ${NAME}\n  address: 127.0.0.1:1\n"
                   "  routes: [{upstream: \"${NAME}\"}]\n"
                   "upstreams:\n- name: app\n  endpoints: [\"127.0.0.1:${PORT}\"]\n");
    assert_int_equal(c->workers, 7);
    assert_true(c->allow_link_local);
    assert_int_equal(c->lifecycle.notice_period, 5 * USEC_PER_SEC);
    assert_int_equal(c->lifecycle.drain_timeout, 17 * USEC_PER_SEC);
    assert_int_equal(address_port(&c->admin.tcp), 8080);
    assert_int_equal(c->admin.socket_path.n, 0);
    assert_non_null(conf_find_listener(c, STR("app")));
    assert_true(str_eq(c->upstreams[0].endpoints[0].text, STR("127.0.0.1:8080")));
    (void)config_free(c);
}

/* Every kind of key with a value that is wrong for it: the message is there, the value is not. */
static void test_secrets(void **state)
{
    (void)state;
    static const char *const texts[] = {
        ROOT_2_1("workers: ${SECRET}"),
        ROOT_2_1("allowLinkLocal: ${SECRET}"),
        ROOT_2_1("log: {level: \"${SECRET}\"}"),
        ROOT_2_1("lifecycle: ${SECRET}"),
        ROOT_2_1("accessLog: {bufferSize: \"${SECRET}\"}"),
        "${SECRET}\n",
        "version: 1\nlisteners: ${SECRET}\n" TAIL,
        LIFE_3_3("noticePeriod: ${SECRET}"),
        ADMIN_3_3("address: ${SECRET}"),
        ADMIN_3_3("socket: ${SECRET}"),
        LISTENER_5_3("socketMode: ${SECRET}"),
        LISTENER_5_3("protocol: ${SECRET}"),
        HTTP_6_5("trustedProxies: [\"${SECRET}\"]"),
        HTTP_6_5("via: \"a ${SECRET}\""),
        ROUTE_6_5("upstream: ${SECRET}"),
        ROUTE_6_5("redirect: {status: \"${SECRET}\", path: /}"),
        ROUTE_6_5("redirect: {scheme: \"${SECRET}\"}"),
        MATCH_8_7("path: ${SECRET}"),
        MATCH_8_7("pathRegex: (${SECRET}"),
        MATCH_8_7("host: a/${SECRET}"),
        UPSTREAMS_8_1("- {name: \"${SECRET}/\", endpoints: [\"127.0.0.1:80\"]}"),
        UPSTREAMS_8_1("- {name: a, endpoints: [\"${SECRET}/:80\"]}"),
        UPSTREAMS_8_1("- {name: a, endpoints: [\"srv:${SECRET}\"]}"),
        /* what is near to it is not told either */
        "version: 1\nlisteners:\n- {name: in, address: \"127.0.0.1:1\", "
        "routes: [{upstream: s3cr3}]}\n"
        "upstreams:\n- {name: \"${SECRET}\", endpoints: [\"127.0.0.1:9\"]}\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct config_problems p;
        struct conf *c = build(texts[i], &p);
        if (c || p.n == 0)
            fail_msg("%s", texts[i]);
        for (uint32_t k = 0; k < p.n; k++) {
            if (strstr(p.items[k].message, secret) || strstr(p.items[k].path, secret))
                fail_msg("%s", p.items[k].message);
        }
        config_problems_free(&p);
    }
}

/* Messages that compare two values show variables as they are written. */
static void test_comparisons(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {LIFE_3_3("lastCall: ${NUMBER}s\n  drainTimeout: ${FIVE}"),
         "lastCall ${NUMBER}s is the end of drainTimeout ${FIVE}, and"},
        {LIFE_3_3("noticePeriod: ${FIVE}\n  terminationGracePeriod: 1${NUMBER}s"),
         "noticePeriod ${FIVE} + drainTimeout 20s + appCleanup 10s is more than "
         "terminationGracePeriod 1${NUMBER}s"},
        {UPSTREAM_7_3("pool: {minIdle: \"200${NUMBER}\"}\n"
                      "  circuitBreaker: {maxConnections: \"${NUMBER}\"}"),
         "200${NUMBER} is more than circuitBreaker.maxConnections ${NUMBER}"},
        {ROUTE_6_5("directResponse: {status: \"${S:-204}\", body: x}"),
         "an answer of status ${S:-204} has no body"},
        {FORWARD_7_5("timeout: ${FIVE}\n    firstByteTimeout: 1${NUMBER}s"),
         "1${NUMBER}s has no effect: the route's timeout is ${FIVE}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_problems p;
        struct conf *c = build(cases[i].text, &p);
        assert_int_equal(p.n, 1);
        if (!strstr(p.items[0].message, cases[i].expected))
            fail_msg("%s", p.items[0].message);
        (void)config_free(c);
        config_problems_free(&p);
    }
}

static void test_length(void **state)
{
    (void)state;
    static char text[200000];
    struct config_problems p;
    for (int more = 0; more < 2; more++) {
        static char filler[SUBSTITUTE_BYTES_MAX + 1];
        memset(filler, 'a', SUBSTITUTE_BYTES_MAX - 1);
        (void)snprintf(text, sizeof(text), ROUTE_6_5("directResponse:\n      body: %s%s${NUMBER}"),
                       filler, more ? "a" : "");
        struct conf *c = build(text, &p);
        assert_int_equal(c != NULL, !more);
        if (c)
            assert_int_equal(c->listeners[0].routes[0].direct_body.n, SUBSTITUTE_BYTES_MAX);
        else
            assert_string_equal(p.items[0].message, "more than 64 KiB with its variables put in");
        (void)config_free(c);
        config_problems_free(&p);
    }
}

/* The settings that are compared and printed hold what the file says. */
static void test_settings(void **state)
{
    (void)state;
    static const char text[] =
        ADMIN_3_3("tokenFile: /run/${SECRET}\n  allowedHosts: [\"${SECRET}\"]");
    struct config_problems p = {0};
    struct arena *a = arena_new();
    struct yaml_node *root = yaml_tree_parse(a, text, strlen(text), &p);
    struct setting *list = NULL;
    unsigned variables = 0;
    substitute_tree(a, root, STR(text), &test_env, &p);
    assert_int_equal(p.n, 0);
    assert_true(settings_flatten(a, root, false, &list));
    for (const struct setting *it = list; it; it = it->next) {
        assert_null(memmem(it->value.p ? it->value.p : "", it->value.n, secret, strlen(secret)));
        assert_null(memmem(it->path.p, it->path.n, secret, strlen(secret)));
        variables += it->value.n > 0 && memmem(it->value.p, it->value.n, "${SECRET}", 9) != NULL;
        variables += memmem(it->path.p, it->path.n, "${SECRET}", 9) != NULL;
    }
    assert_int_equal(variables, 2);
    (void)arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),   cmocka_unit_test(test_types),
        cmocka_unit_test(test_secrets), cmocka_unit_test(test_comparisons),
        cmocka_unit_test(test_length),  cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
