/* test_build.c - a text to a configuration: what is said, and what is not said. */
#include "build_rig.h"
#include "config/endpoint.h"
#include "rich.h"

/* As the design shows it, without what this version does not know yet. */
static const char sample[] =
    "version: 1\n"
    "lifecycle:\n"
    "  noticePeriod: 5s        # unready, but still accepting\n"
    "  drainTimeout: 20s       # DRAIN, with LAST_CALL in its last second\n"
    "  appCleanup: 10s         # bounds EGRESS_ONLY and CLEANUP together\n"
    "listeners:\n"
    "  - name: http\n"
    "    direction: inbound\n"
    "    address: 0.0.0.0:15080\n"
    "    routes:\n"
    "      - match: { pathPrefix: / }\n"
    "        timeout: 2s\n"
    "        backends:\n"
    "          - { upstream: app, weight: 95 }\n"
    "          - { upstream: app-next, weight: 5 }\n"
    "upstreams:\n"
    "  - name: app\n"
    "    endpoints: [\"127.0.0.1:8080\"]\n"
    "    circuitBreaker: { maxConnections: 200 }\n"
    "  - name: app-next\n"
    "    endpoints: [\"127.0.0.1:8081\"]\n";

static void test_sample(void **state)
{
    (void)state;
    struct conf *c = build_good(sample);
    const struct conf_listener *l = c->listeners;
    const struct conf_route *r = l->routes;

    assert_str(c->file, "test.yaml");
    assert_int_equal(c->n_listeners, 1);
    assert_int_equal(c->n_routes, 1);
    assert_int_equal(c->lifecycle.drain_timeout, 20 * SEC);
    assert_str(l->name, "http");
    assert_address(&l->address, "0.0.0.0:15080");
    assert_non_null(l->route_table);
    assert_str(r->name, "http/0");
    assert_int_equal(r->line, 11);
    assert_int_equal(r->action, ACTION_FORWARD);
    assert_int_equal(r->match.path_how, ROUTE_PATH_PREFIX);
    assert_str(r->match.path, "/");
    assert_int_equal(r->timeout, 2 * SEC);
    assert_int_equal(r->n_backends, 2);
    assert_ptr_equal(r->backends[0].upstream, &c->upstreams[0]);
    assert_int_equal(r->backends[0].weight, 95);
    assert_int_equal(r->backends[0].ppm, 950000);
    assert_int_equal(r->ppm[1], 50000);
    assert_int_equal(c->upstreams[0].limits.connections, 200);
    assert_int_equal(c->upstreams[1].index, 1);
    assert_str(c->upstreams[1].endpoints[0].text, "127.0.0.1:8081");
    assert_null(config_free(c));
}

static void check_default_upstream(const struct conf_upstream *u)
{
    assert_int_equal(u->balance, BALANCE_LEAST_REQUEST);
    assert_int_equal(u->protocol, UPSTREAM_HTTP1);
    assert_int_equal(u->http2.max_concurrent_streams, 100);
    assert_int_equal(u->http2.stream_window, 64 * 1024);
    assert_int_equal(u->http2.connection_window, 1024 * 1024);
    assert_int_equal(u->http2.ping_interval, 0);
    assert_int_equal(u->connect_timeout, 5 * SEC);
    assert_int_equal(u->unreachable_after, SEC);
    assert_int_equal(u->idle_timeout, 1500 * USEC_PER_MSEC);
    assert_int_equal(u->max_lifetime, 0);
    assert_int_equal(u->min_idle, 0);
    assert_int_equal(u->max_requests_per_connection, 0);
    assert_int_equal(u->limits.connections, 1024);
    assert_int_equal(u->bounds.connections, 1024);
    assert_int_equal(u->limits.requests, 1024);
    assert_int_equal(u->limits.pending, 1024);
    assert_int_equal(u->queue_timeout, 1 * SEC);
    assert_false(u->breaker.enabled);
    assert_int_equal(u->limits.retries, 1024);
    assert_int_equal(u->retry_budget.percent, 20);
    assert_int_equal(u->retry_budget.min_per_second, 10);
    assert_int_equal(u->retry_budget.window, 10 * SEC);
}

static void check_default_listener(const struct conf_listener *l)
{
    assert_int_equal(l->direction, DIRECTION_INBOUND);
    assert_int_equal(l->protocol, PROTOCOL_HTTP);
    assert_int_equal(l->socket_mode, 0660);
    assert_int_equal(l->backlog, 4096);
    assert_int_equal(l->max_connections, 10000);
    assert_int_equal(l->limits.max_line, 8192);
    assert_int_equal(l->limits.max_field_bytes, 32768);
    assert_int_equal(l->limits.max_fields, 100);
    assert_int_equal(l->header_timeout, 10 * SEC);
    assert_int_equal(l->body_idle_timeout, 30 * SEC);
    assert_int_equal(l->write_timeout, 30 * SEC);
    assert_int_equal(l->keep_alive_timeout, 60 * SEC);
    assert_int_equal(l->max_requests, 0);
    assert_int_equal(l->path_policy, PATH_NORMALISE);
    assert_str(l->via, "sluice");
    assert_str(l->scheme, "http");
    assert_int_equal(l->trusted_hops, 0);
    assert_int_equal(l->n_trusted, 0);
    assert_int_equal(l->tcp_idle_timeout, 3600 * SEC);
}

static void check_default_route(const struct conf_route *r)
{
    assert_int_equal(r->match.path_how, ROUTE_PATH_ANY);
    assert_int_equal(r->timeout, 15 * SEC);
    assert_int_equal(r->first_byte_timeout, 0);
    assert_int_equal(r->idle_timeout, 300 * SEC);
    assert_null(r->retry);
    assert_false(r->pass_deadline || r->abort_on_close);
    assert_int_equal(r->priority, PRIORITY_NORMAL);
    assert_true(r->upgrade_websocket);
    assert_int_equal(r->websocket.ping_interval, 30 * SEC);
    assert_int_equal(r->websocket.max_frame_size, 0);
    assert_int_equal(r->websocket.max_message_rate, 0);
    assert_int_equal(r->websocket.max_lifetime, 0);
    assert_int_equal(r->websocket.idle_timeout, 300 * SEC); /* the route's */
    assert_int_equal(r->n_backends, 1);
    assert_int_equal(r->backends[0].weight, 1);
    assert_int_equal(r->ppm[0], SPLIT_WHOLE_PPM);
    assert_null(r->rewrite_prefix.p);
    assert_int_equal(r->rewrite_path.n, 0);
}

static void test_defaults(void **state)
{
    (void)state;
    struct conf *c = build_good(GOOD);

    assert_int_equal(c->workers, 0);
    assert_int_equal(c->max_connections, 0);
    assert_false(c->allow_link_local);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_int_equal(c->lifecycle.notice_period, 5 * SEC);
    assert_int_equal(c->lifecycle.drain_timeout, 20 * SEC);
    assert_int_equal(c->lifecycle.last_call, 1 * SEC);
    assert_int_equal(c->lifecycle.app_cleanup, 10 * SEC);
    assert_int_equal(c->lifecycle.termination_grace, 0);
    assert_int_equal(c->lifecycle.close_listeners, CLOSE_LISTENERS_AUTO);
    assert_true(c->admin.tcp_enabled);
    assert_address(&c->admin.tcp, "127.0.0.1:15900");
    assert_str(c->admin.socket_path, "/run/sluice/admin.sock");
    assert_int_equal(c->admin.token_file.n, 0);
    assert_int_equal(c->admin.n_allowed_hosts, 0);
    assert_true(c->health_enabled);
    assert_address(&c->health, "0.0.0.0:15901");
    assert_false(c->access_log.enabled);
    assert_int_equal(c->access_log.buffer_bytes, 256 * 1024);
    check_default_listener(&c->listeners[0]);
    check_default_route(&c->listeners[0].routes[0]);
    check_default_upstream(&c->upstreams[0]);
    (void)config_free(c);
}

static void assert_server(const char *upstream, const char *name)
{
    char text[512];
    (void)snprintf(text, sizeof(text),
                   "version: 1\n" GOOD_LISTENERS "upstreams:\n- {name: a, %s}\n", upstream);
    struct conf *c = build_good(text);
    assert_true(str_eq(c->upstreams[0].tls.server_name, str_of(name)));
    (void)config_free(c);
}

static void test_server_names(void **state)
{
    (void)state;
    assert_server("endpoints: [\"127.0.0.1:9\", \"[::1]:9\"], tls: {}", "");
    assert_server("endpoints: [\"a.example:9\"], tls: {}", "a.example");
    assert_server("endpoints: [\"a.example.:9\", \"A.example.:8\"], tls: {}", "a.example");
    assert_server("endpoints: [\"a.example:9\"], tls: {serverName: b}", "b");
    assert_server("endpoints: [\"a.example:9\", \"b.example:9\"], tls: {sans: [c]}", "");
    assert_server("endpoints: [\"a.example:9\"]", "");
}

static void test_names(void **state)
{
    static const char *const good[] = {"app:80",   "localhost:80", "a_b.example.:80",
                                       "7.app:80", "0x-1.a:80",    LABEL_63 ".a:65535"};
    static const char *const good_srv[] = {"_a._b.c", "_a._b.c.", "_http._tcp.app.7"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct conf_endpoint e = {0};
        const char *expected = NULL, *why = NULL;
        assert_int_equal(endpoint_parse(str_of(good[i]), &e, &expected, &why), 0);
        assert_int_equal(e.kind, ENDPOINT_NAME);
    }
    for (size_t i = 0; i < ARRAY_LEN(good_srv); i++)
        assert_null(endpoint_check_name(str_of(good_srv[i])));
}

/* Loopback endpoints of what inbound listeners lead to, each once. */
static void test_where_the_application_listens(void **state)
{
    (void)state;
    struct conf *c = build_good(
        "version: 1\nlisteners:\n"
        "- {name: in, address: \"127.0.0.1:1\", routes: [{match: {path: /b}, upstream: b}, "
        "{upstream: a}]}\n"
        "- {name: out, direction: outbound, address: \"127.0.0.1:2\", routes: [{upstream: c}]}\n"
        "upstreams:\n"
        "- {name: a, endpoints: [\"127.0.0.1:80\", \"192.0.2.1:80\", \"localhost:81\"]}\n"
        "- {name: b, endpoints: [\"127.0.0.1:80\", \"unix:/run/app.sock\"]}\n"
        "- {name: c, endpoints: [\"127.0.0.1:82\"]}\n");
    static const char *const expected[] = {"127.0.0.1:80", "unix:/run/app.sock", "127.0.0.1:81",
                                           "[::1]:81"};
    assert_int_equal(c->app.n_addresses, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_address(&c->app.addresses[i], expected[i]);
    assert_int_equal(c->app.death_grace, SEC);
    assert_int_equal(c->app.n_command, 0);
    c = config_free(c);
}

static void test_after_a_learned_session(void **state)
{
    (void)state;
    struct conf *c = build_good(
        "version: 1\ncleanups: [{name: x, after: [device], command: [a]}]\nlisteners:\n- name: "
        "out\n"
        "  direction: outbound\n  address: 127.0.0.1:1\n  routes:\n  - upstream: a\n    learn:\n"
        "    - {name: device, acquire: {path: /in}, hold: {path: /out}}\n" TAIL);
    assert_str(c->cleanups[0].after[0], "device");
    (void)config_free(c);
}

/* Beside the admin socket, unless said otherwise. */
static void test_journal_place(void **state)
{
    (void)state;
    static const char *const places[][2] = {
        {"admin: {socket: /x/y.sock}", "/x/y.leases"},
        {"admin: {socket: /x/y}", "/x/y.leases"},
        {"admin: {socket: off}", ""},
        {"leases: {journal: {path: off}}", ""},
        {"leases: {journal: {path: /z}}", "/z"},
        {"{}", "/run/sluice/admin.leases"},
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text), "version: 1\n%s\n" GOOD_LISTENERS TAIL,
                       places[i][0][0] == '{' ? "" : places[i][0]);
        struct conf *c = build_good(text);
        if (places[i][1][0])
            assert_str(c->leases.journal_path, places[i][1]);
        else
            assert_int_equal(c->leases.journal_path.n, 0);
        (void)config_free(c);
    }
}

static void test_spellings(void **state)
{
    (void)state;
    struct conf *c = build_good(HTTP_6_5("{pathPolicy: normalize, maxRequestLine: \"64KiB\"}"));
    assert_int_equal(c->listeners[0].path_policy, PATH_NORMALISE);
    assert_int_equal(c->listeners[0].limits.max_line, 65536);
    (void)config_free(c);
    c = build_good(ROOT_2_1("accessLog: {}"));
    assert_true(c->access_log.enabled);
    assert_str(c->access_log.path, "-");
    (void)config_free(c);
    c = build_good(ROUTE_6_5("directResponse: {}"
                             "\n    match: {path: /x}\n  - upstream: a"));
    assert_int_equal(c->listeners[0].routes[0].direct_status, 200);
    assert_str(c->listeners[0].routes[0].direct_body, "");
    (void)config_free(c);
    c = build_good("\xef\xbb\xbf%YAML 1.1\r\n---\r\n" GOOD "...\n");
    (void)config_free(c);
}

static const char *grace_get(const void *ctx, const char *name)
{
    return strcmp(name, "SLUICE_TERMINATION_GRACE_PERIOD") == 0 ? ctx : NULL;
}

static struct conf *build_grace(const char *grace, const char *text, struct config_problems *p)
{
    const struct config_env env = {.get = grace_get, .ctx = grace};
    *p = (struct config_problems){0};
    return config_build_env("test.yaml", text, strlen(text), &env, p);
}

static void test_grace_variable(void **state)
{
    (void)state;
    struct config_problems p;
    struct conf *c = build_grace("40", GOOD, &p);
    assert_int_equal(c->lifecycle.termination_grace, 40 * SEC);
    (void)config_free(c);
    assert_null(build_grace("30s", LIFE_3_3("appCleanup: 10s"), &p));
    assert_int_equal(p.n, 1);
    assert_int_equal(p.items[0].line, 3);
    assert_non_null(strstr(p.items[0].message, "= 35s is more than SLUICE_TERMINATION_GRACE_PER"));
    config_problems_free(&p);
    c = build_grace("30s", LIFE_3_3("terminationGracePeriod: 60s"), &p); /* the key is nearer */
    assert_int_equal(c->lifecycle.termination_grace, 60 * SEC);
    (void)config_free(c);
    assert_null(build_grace("soon", GOOD, &p));
    assert_string_equal(p.items[0].path, "SLUICE_TERMINATION_GRACE_PERIOD");
    config_problems_free(&p);
}

/* The process's own environment, as main programs use it. */
static void test_process_environment(void **state)
{
    (void)state;
    struct config_problems p = {0};
    static const char text[] = ROOT_2_1("workers: ${SLUICE_TEST_WORKERS}");
    assert_int_equal(setenv("SLUICE_TEST_WORKERS", "5", 1), 0);
    struct conf *c = config_build("test.yaml", text, strlen(text), &p);
    assert_non_null(c);
    assert_int_equal(c->workers, 5);
    (void)config_free(c);
    assert_int_equal(unsetenv("SLUICE_TEST_WORKERS"), 0);
    assert_null(config_build("test.yaml", text, strlen(text), &p));
    config_problems_free(&p);
}

static void test_load(void **state)
{
    (void)state;
    struct config_problems p = {0};
    char file[] = "/tmp/sluice-test-XXXXXX";
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, rich, strlen(rich)), strlen(rich));
    struct conf *c = config_load(file, &p);
    assert_non_null(c);
    assert_str(c->file, file);
    (void)config_free(c);
    assert_int_equal(ftruncate(fd, 16 * 1024 * 1024 + 1), 0);
    assert_null(config_load(file, &p));
    assert_string_equal(p.items[0].message, "the file is larger than 16 MiB");
    config_problems_free(&p);
    (void)close(fd);
    assert_int_equal(unlink(file), 0);
    assert_null(config_load(file, &p));
    assert_string_equal(p.items[0].message, "No such file or directory");
    assert_int_equal(p.items[0].line, 0);
    config_problems_free(&p);
    assert_null(config_load("/", &p));
    assert_int_equal(p.n, 1);
    config_problems_free(&p);
}

/* What only counts holds nobody up, and says nothing of the breaker. */
static void test_limits_that_only_count(void **state)
{
    (void)state;
    struct conf *c =
        build_good("version: 1\n"
                   "listeners: [{name: in, address: \"127.0.0.1:1\", routes: "
                   "[{upstream: a, timeout: 1s, timeoutDryRun: true}]}]\n"
                   "upstreams: [{name: a, endpoints: [\"127.0.0.1:9\"], circuitBreaker: "
                   "{limitsDryRun: true, maxRequests: 7, maxRequestsPerEndpoint: 3}}]\n");
    const struct conf_upstream *u = &c->upstreams[0];
    assert_true(c->listeners[0].routes[0].timeout_dry_run);
    assert_true(u->limits_dry_run && !u->breaker.enabled);
    assert_int_equal(u->limits.requests, 7);
    assert_int_equal(u->limits.requests_per_endpoint, 3);
    assert_int_equal(u->bounds.requests, UINT32_MAX);
    assert_int_equal(u->bounds.connections, UINT32_MAX);
    assert_int_equal(u->bounds.pending, UINT32_MAX);
    assert_int_equal(u->bounds.retries, UINT32_MAX);
    assert_int_equal(u->bounds.requests_per_endpoint, 0);
    assert_int_equal(u->bounds.connections_per_endpoint, 0);
    (void)config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_server_names),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_where_the_application_listens),
        cmocka_unit_test(test_journal_place),
        cmocka_unit_test(test_after_a_learned_session),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_grace_variable),
        cmocka_unit_test(test_process_environment),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_limits_that_only_count),
    };
    (void)unsetenv("SLUICE_TERMINATION_GRACE_PERIOD");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
