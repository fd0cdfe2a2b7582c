/* test_build_health.c - does a healthCheck become what it says, and what it does not say? */
#include "config/build.h"

#include "env.h"
#include "rich.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#define SEC USEC_PER_SEC

static struct conf *build(const char *text)
{
    struct config_problems p = {0};
    struct conf *c = config_build_env("test", text, strlen(text), &test_env, &p);
    if (!c && p.n > 0)
        print_error("%u: %s\n", p.items[0].line, p.items[0].message);
    assert_non_null(c);
    config_problems_free(&p);
    return c;
}

static void assert_str(struct str s, const char *expected)
{
    assert_true(str_eq(s, str_of(expected)));
}

static const struct conf_health_check *check_of(const struct conf *c, const char *upstream)
{
    const struct conf_upstream *u = conf_find_upstream(c, str_of(upstream));
    assert_non_null(u);
    return &u->health_check;
}

/* The smallest file of the design. */
static void test_defaults(void **state)
{
    struct conf *c = build("version: 1\n"
                           "listeners:\n"
                           "- {name: in, address: '127.0.0.1:1', routes: [{upstream: a}]}\n"
                           "upstreams:\n"
                           "- name: a\n"
                           "  endpoints: ['127.0.0.1:2']\n"
                           "  healthCheck: { http: { path: /healthz }, interval: 2s }\n"
                           "- {name: b, endpoints: ['127.0.0.1:3']}\n");
    const struct conf_health_check *h = check_of(c, "a");
    (void)state;
    assert_true(h->enabled && conf_find_upstream(c, STR("a"))->used);
    assert_int_equal(h->probe.kind, PROBE_HTTP);
    assert_str(h->probe.target, "/healthz");
    assert_str(h->probe.method, "GET");
    assert_int_equal(h->probe.n_ranges, 1);
    assert_int_equal(h->probe.ranges[0].from, 200);
    assert_int_equal(h->probe.ranges[0].to, 399);
    assert_int_equal(h->probe.body.n + h->probe.body_regex.n + h->probe.host.n, 0);
    assert_int_equal(h->rules.interval, 2 * SEC);
    assert_int_equal(h->rules.unhealthy_interval, SEC);
    assert_int_equal(h->rules.timeout, SEC);
    assert_int_equal(h->rules.rise, 2);
    assert_int_equal(h->rules.fall, 3);
    assert_int_equal(h->rules.jitter, 10);
    assert_false(h->rules.initially_unhealthy);
    assert_true(h->rules.skip_while_serving);
    assert_false(check_of(c, "b")->enabled);
    assert_false(conf_find_upstream(c, STR("b"))->used);
    assert_int_equal(c->max_probes, 64);
    (void)config_free(c);
}

static void test_rich(void **state)
{
    struct conf *c = build(rich);
    const struct conf_health_check *h = check_of(c, "app");
    (void)state;
    assert_int_equal(c->max_probes, 100);
    assert_int_equal(c->n_app_probes, 1);
    assert_str(c->app_probes[0].name, "live");
    assert_int_equal(c->app_probes[0].port, 8080);
    assert_str(c->app_probes[0].path, "/h?a");
    assert_str(c->app_probes[0].host, "app.internal");
    assert_int_equal(c->app_probes[0].timeout, 2 * SEC);
    assert_str(h->probe.target, "/healthz?deep=1");
    assert_str(h->probe.method, "POST");
    assert_str(h->probe.host, "app.internal:81");
    assert_int_equal(h->probe.n_fields, 1);
    assert_str(h->probe.fields[0].name, "X-Probe");
    assert_str(h->probe.fields[0].value, "1");
    assert_true(probe_status_fits(&h->probe, 204) && probe_status_fits(&h->probe, 404));
    assert_false(probe_status_fits(&h->probe, 300) || probe_status_fits(&h->probe, 403));
    assert_str(h->probe.body, "fine");
    assert_str(h->probe.body_regex, "^f.n");
    assert_int_equal(h->rules.unhealthy_interval, SEC / 2);
    assert_int_equal(h->rules.timeout, SEC / 4);
    assert_int_equal(h->rules.rise, 3);
    assert_int_equal(h->rules.fall, 4);
    assert_int_equal(h->rules.jitter, 20);
    assert_true(h->rules.initially_unhealthy);
    assert_false(h->rules.skip_while_serving);
    h = check_of(c, "app-next");
    assert_int_equal(h->probe.kind, PROBE_GRPC);
    assert_str(h->probe.service, "a.B");
    assert_str(h->probe.host, "a.internal");
    h = check_of(c, "db");
    assert_int_equal(h->probe.kind, PROBE_TCP);
    assert_str(h->probe.send, "PING\r\n");
    assert_str(h->probe.expect, "PONG");
    h = check_of(c, "named");
    assert_int_equal(h->probe.kind, PROBE_EXEC);
    assert_string_equal(h->probe.command[0], "/usr/bin/check");
    assert_string_equal(h->probe.command[1], "--quick");
    assert_null(h->probe.command[2]);
    (void)config_free(c);
}

static void test_empty_maps(void **state)
{
    struct conf *c = build("version: 1\n"
                           "listeners:\n"
                           "- {name: in, address: '127.0.0.1:1', routes: [{upstream: a}]}\n"
                           "upstreams:\n"
                           "- {name: a, endpoints: ['127.0.0.1:2'], healthCheck: {tcp: {}}}\n"
                           "- {name: b, endpoints: ['127.0.0.1:3'], healthCheck: {http: {}}}\n"
                           "- {name: c, endpoints: ['127.0.0.1:4'], protocol: http2, "
                           "healthCheck: {grpc: {}}}\n");
    (void)state;
    assert_int_equal(check_of(c, "a")->probe.kind, PROBE_TCP);
    assert_int_equal(check_of(c, "a")->probe.expect.n, 0);
    assert_int_equal(check_of(c, "b")->probe.kind, PROBE_HTTP);
    assert_str(check_of(c, "b")->probe.target, "/");
    assert_int_equal(check_of(c, "c")->probe.kind, PROBE_GRPC);
    assert_int_equal(check_of(c, "c")->probe.service.n, 0);
    (void)config_free(c);
}

static void test_health_port_is_off(void **state)
{
    static const char text[] = "version: 1\n"
                               "health: {address: off, appProbes: [{name: a, port: 1}]}\n"
                               "listeners:\n"
                               "- {name: in, address: '127.0.0.1:1', routes: [{upstream: a}]}\n"
                               "upstreams: [{name: a, endpoints: ['127.0.0.1:2']}]\n";
    struct config_problems p = {0};
    struct conf *c = config_build_env("test", text, strlen(text), &test_env, &p);
    (void)state;
    assert_non_null(c);
    assert_false(c->health_enabled);
    assert_int_equal(p.n, 1);
    assert_non_null(strstr(p.items[0].message, "has no effect: health.address is off"));
    config_problems_free(&p);
    (void)config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_rich),
        cmocka_unit_test(test_empty_maps),
        cmocka_unit_test(test_health_port_is_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
