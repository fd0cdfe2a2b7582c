/* test_build.c - a text to a configuration, or to every mistake at its place. */
#include "config/build.h"
#include "env.h"
#include "mistakes_more.h"
#include "config/endpoint.h"
#include "rich.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SEC USEC_PER_SEC

static struct conf *build(const char *text, struct config_problems *p)
{
    *p = (struct config_problems){0};
    return config_build_env("test.yaml", text, strlen(text), &test_env, p);
}

static struct conf *build_good(const char *text)
{
    struct config_problems p;
    struct conf *c = build(text, &p);
    config_problems_print(&p, "test.yaml", STDERR_FILENO);
    assert_int_equal(p.n, 0);
    assert_non_null(c);
    config_problems_free(&p);
    return c;
}

static void assert_str(struct str s, const char *expected)
{
    assert_non_null(s.p);
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.p, expected, s.n);
}

static void assert_address(const struct address *a, const char *expected)
{
    char text[ADDRESS_TEXT_MAX];
    assert_string_equal(address_format(a, text), expected);
}

/* ---- mistakes ---- */

static bool told(const struct config_problems *p, const struct mistake *m, bool warning)
{
    const struct config_problem *it = p->items;
    return p->n == 1 && it->warning == warning && it->line == m->line && it->column == m->column &&
           strcmp(it->path, m->path) == 0 && strstr(it->message, m->message);
}

static void run_table(const struct mistake *table, size_t n, bool warning)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < n; i++) {
        struct config_problems p;
        struct conf *c = build(table[i].text, &p);
        if (!told(&p, &table[i], warning) || (c != NULL) != warning) {
            (void)fprintf(stderr, "--- %zu: expected %u:%u %s: %s\n%s---\n", i, table[i].line,
                          table[i].column, table[i].path, table[i].message, table[i].text);
            config_problems_print(&p, "got", STDERR_FILENO);
            wrong++;
        }
        (void)config_free(c);
        config_problems_free(&p);
    }
    assert_int_equal(wrong, 0);
}

static void test_mistakes(void **state)
{
    (void)state;
    run_table(mistakes, ARRAY_LEN(mistakes), false);
    run_table(more_mistakes, ARRAY_LEN(more_mistakes), false);
}

static const struct mistake *nth(size_t i)
{
    return i < ARRAY_LEN(mistakes) ? &mistakes[i] : &more_mistakes[i - ARRAY_LEN(mistakes)];
}

/* No mistake is counted twice. */
static void test_distinct(void **state)
{
    (void)state;
    size_t n = ARRAY_LEN(mistakes) + ARRAY_LEN(more_mistakes);
    assert_true(n >= 400);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(nth(i)->text, nth(k)->text) == 0)
                fail_msg("%s", nth(i)->text);
        }
    }
}

/* What no text with an end can hold. */
static void test_nul(void **state)
{
    (void)state;
    static const char *const texts[] = {"version: 1\n\0", "version: \0001\n", "\0version: 1\n"};
    static const size_t sizes[] = {12, 12, 12};
    static const uint32_t places[][2] = {{2, 1}, {1, 10}, {1, 1}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct config_problems p = {0};
        assert_null(config_build_env("nul", texts[i], sizes[i], &test_env, &p));
        assert_int_equal(p.n, 1);
        assert_string_equal(p.items[0].message, "control character 0x00 in the text");
        assert_int_equal(p.items[0].line, places[i][0]);
        assert_int_equal(p.items[0].column, places[i][1]);
        config_problems_free(&p);
    }
}

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
    assert_int_equal(c->upstreams[0].max_connections, 200);
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
    assert_int_equal(u->max_connections, 1024);
    assert_int_equal(u->max_requests, 1024);
    assert_int_equal(u->max_pending, 1024);
    assert_int_equal(u->queue_timeout, 1 * SEC);
    assert_false(u->breaker.enabled);
    assert_int_equal(u->max_retries, 1024);
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

static void check_rich_listener(const struct conf *c)
{
    const struct conf_listener *l = &c->listeners[0];
    assert_address(&l->address, "unix:/run/in.sock");
    assert_str(l->address_text, "unix:/run/in.sock");
    assert_int_equal(l->socket_mode, 0600);
    assert_int_equal(l->limits.max_line, 4096);
    assert_int_equal(l->limits.max_field_bytes, 16384);
    assert_int_equal(l->keep_alive_timeout, 4 * SEC);
    assert_int_equal(l->max_requests, 1000);
    assert_int_equal(l->path_policy, PATH_REFUSE);
    assert_non_null(l->via.p);
    assert_int_equal(l->via.n, 0);
    assert_int_equal(l->n_trusted, 2);
    assert_int_equal(l->trusted[0].bits, 104);
    assert_int_equal(l->n_routes, 4);
    l = &c->listeners[1];
    assert_int_equal(l->index, 1);
    assert_int_equal(l->direction, DIRECTION_OUTBOUND);
    assert_int_equal(l->protocol, PROTOCOL_TCP);
    assert_int_equal(l->tcp_idle_timeout, 7200 * SEC);
    assert_null(l->route_table);
    assert_int_equal(l->n_routes, 1);
    assert_str(l->routes[0].name, "db/0");
    assert_int_equal(l->routes[0].index, 4);
    assert_ptr_equal(l->routes[0].backends[0].upstream, &c->upstreams[2]);
    assert_int_equal(l->routes[0].ppm[0], 750000);
    l = &c->listeners[2];
    assert_int_equal(l->protocol, PROTOCOL_TLS);
    assert_non_null(l->route_table);
    assert_int_equal(l->n_routes, 1);
    assert_int_equal(l->routes[0].match.n_hosts, 2);
    assert_str(l->routes[0].match.hosts[1], "*.db.example");
    l = &c->listeners[3];
    assert_int_equal(l->protocol, PROTOCOL_AUTO);
    assert_int_equal(l->auto_timeout, 250 * USEC_PER_MSEC);
    assert_int_equal(l->n_routes, 2);
    assert_int_equal(l->raw_route, 1);
    assert_str(l->routes[1].name, "any/bytes");
    assert_int_equal(l->routes[1].index, 7);
    assert_ptr_equal(l->routes[1].backends[0].upstream, &c->upstreams[2]);
}

static void assert_file(const struct conf_file *f, const char *path, uint32_t column)
{
    assert_str(f->path, path);
    assert_true(f->line > 20);
    assert_int_equal(f->column, column);
}

static void check_rich_tls(const struct conf *c)
{
    const struct conf_listener_tls *l = &c->listeners[0].tls;
    const struct conf_upstream_tls *u = &c->upstreams[0].tls;
    assert_true(l->enabled);
    assert_str(c->listeners[0].scheme, "https");
    assert_int_equal(l->n_certificates, 2);
    assert_file(&l->certificates[0].cert, "/etc/tls/tls.crt", 22);
    assert_file(&l->certificates[1].key, "/etc/tls/other.key", 51);
    assert_int_equal(l->certificates[1].cert.line, l->certificates[0].cert.line + 1);
    assert_int_equal(l->min_version, TLS_1_3);
    assert_int_equal(l->client_auth, TLS_CLIENT_REQUIRE);
    assert_file(&l->ca, "/etc/tls/ca.crt", 15);
    assert_int_equal(l->n_spiffe_ids, 2);
    assert_str(l->spiffe_ids[0], "spiffe://example.org/ns/web/*");
    assert_false(c->listeners[1].tls.enabled);
    assert_str(c->listeners[1].scheme, "http");
    assert_true(u->enabled);
    assert_file(&u->ca, "/etc/tls/upstream-ca.crt", 15);
    assert_str(u->server_name, "app.internal");
    assert_int_equal(u->n_sans, 2);
    assert_str(u->sans[1], "::1");
    assert_false(u->insecure);
    assert_file(&u->pair.key, "/etc/tls/client.key", 16);
    assert_int_equal(u->min_version, TLS_1_3);
    u = &c->upstreams[1].tls;
    assert_true(u->enabled);
    assert_null(u->ca.path.p);
    assert_null(u->pair.cert.path.p);
    assert_int_equal(u->min_version, TLS_1_2);
    assert_str(u->spiffe_ids[0], "spiffe://example.org/app");
    assert_false(c->upstreams[2].tls.enabled);
}

static void check_rich_routes(const struct conf_route *r)
{
    assert_str(r[0].name, "old");
    assert_int_equal(r[0].action, ACTION_REDIRECT);
    assert_int_equal(r[0].match.n_hosts, 2);
    assert_str(r[0].match.hosts[1], "*.example.com");
    assert_int_equal(r[0].match.n_methods, 2);
    assert_int_equal(r[0].redirect_status, 308);
    assert_str(r[0].redirect_scheme, "https");
    assert_str(r[0].redirect_host, "new.example:8443");
    assert_str(r[0].redirect_prefix, "/new");
    assert_int_equal(r[1].action, ACTION_DIRECT);
    assert_int_equal(r[1].direct_status, 418);
    assert_str(r[1].direct_body, "<p>one</p>\n<p>two</p>\n");
    assert_str(r[1].direct_content_type, "text/html");
    assert_int_equal(r[2].match.n_hosts, 1);
    assert_str(r[2].match.methods[0], "POST");
    assert_int_equal(r[2].match.n_headers, 2);
    assert_int_equal(r[2].match.headers[0].how, ROUTE_TEXT_EXACT);
    assert_str(r[2].match.headers[0].value, "1");
    assert_int_equal(r[2].match.headers[1].how, ROUTE_TEXT_PREFIX);
    assert_true(r[2].match.headers[1].invert);
    assert_int_equal(r[2].match.query[0].how, ROUTE_TEXT_REGEX);
    assert_int_equal(r[2].match.query[1].how, ROUTE_TEXT_PRESENT);
    assert_str(r[2].rewrite_host, "api.internal");
    assert_str(r[2].rewrite_prefix, "/");
    assert_int_equal(r[2].first_byte_timeout, 1 * SEC);
    assert_false(r[2].upgrade_websocket);
    assert_int_equal(r[2].ppm[0] + r[2].ppm[1], SPLIT_WHOLE_PPM);
    assert_int_equal(r[3].match.path_how, ROUTE_PATH_REGEX);
    assert_str(r[3].rewrite_path, "/number");
    assert_true(r[3].upgrade_websocket);
    assert_int_equal(r[3].websocket.ping_interval, 20 * SEC);
    assert_int_equal(r[3].websocket.max_frame_size, 1024 * 1024);
    assert_int_equal(r[3].websocket.max_message_rate, 100);
    assert_int_equal(r[3].websocket.max_lifetime, 12 * 3600 * SEC);
    assert_int_equal(r[3].websocket.idle_timeout, 3600 * SEC);
    assert_str(r[3].name, "in/3");
}

static void check_rich_dns(const struct conf *c)
{
    const struct conf_upstream *u = &c->upstreams[3];
    assert_int_equal(c->dns.n_servers, 2);
    assert_address(&c->dns.servers[1], "[2001:db8::53]:5353");
    assert_int_equal(c->dns.timeout, 500 * USEC_PER_MSEC);
    assert_int_equal(c->dns.tries, 3);
    assert_false(c->reload.watch);
    assert_int_equal(c->reload.poll_interval, 60 * SEC);
    assert_int_equal(c->reload.debounce, 250 * USEC_PER_MSEC);
    assert_int_equal(u->n_endpoints, 3);
    assert_int_equal(u->endpoints[0].kind, ENDPOINT_NAME);
    assert_str(u->endpoints[0].text, "app.example:8080");
    assert_str(u->endpoints[0].host, "app.example");
    assert_int_equal(u->endpoints[0].port, 8080);
    assert_int_equal(u->endpoints[1].kind, ENDPOINT_SRV);
    assert_str(u->endpoints[1].host, "_http._tcp.App_1.example.");
    assert_int_equal(u->endpoints[2].kind, ENDPOINT_ADDRESS);
    assert_int_equal(u->dns.family, DNS_IPV6);
    assert_int_equal(u->dns.min_ttl, 2 * SEC);
    assert_int_equal(u->dns.max_ttl, 60 * SEC);
    assert_int_equal(u->dns.srv_ttl, 10 * SEC);
    assert_int_equal(u->dns.on_not_found, DNS_REMOVE);
    assert_int_equal(u->dns.on_empty, DNS_REMOVE);
    assert_true(u->dns.allow_link_local);
    u = &c->upstreams[0];
    assert_int_equal(u->dns.family, DNS_ANY);
    assert_int_equal(u->dns.min_ttl, 5 * SEC);
    assert_int_equal(u->dns.max_ttl, 300 * SEC);
    assert_int_equal(u->dns.srv_ttl, 30 * SEC);
    assert_int_equal(u->dns.on_not_found, DNS_KEEP);
    assert_int_equal(u->dns.on_empty, DNS_KEEP);
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

static void check_rich_cleanups(const struct conf *c)
{
    assert_int_equal(c->n_cleanups, 2);
    const struct conf_cleanup *k = &c->cleanups[0];
    assert_str(k->name, "registry");
    assert_int_equal(k->n_after, 1);
    assert_str(k->after[0], "sessions");
    assert_int_equal(k->timeout, 2 * SEC);
    assert_int_equal(k->retries, 5);
    assert_true(k->request.given);
    assert_str(k->request.method, "PUT");
    assert_str(k->request.headers[0].value, "secret");
    assert_str(k->request.body, "{}");
    assert_str(k->request.pair.key.path, "/etc/tls/registry.key");
    assert_int_equal(c->cleanups[1].n_command, 2);
    assert_false(c->cleanups[1].request.given);
    assert_int_equal(c->leases.max, 500);
    assert_int_equal(c->leases.max_ttl, 3600 * SEC);
    assert_int_equal(c->leases.concurrency, 4);
    assert_str(c->leases.journal_path, "/var/lib/sluice/leases");
    assert_str(c->leases.journal_key_file, "/etc/sluice/key");
    assert_int_equal(c->leases.on_failure, JOURNAL_ALLOW);
    assert_int_equal(c->n_hooks, 1);
    assert_str(c->hooks[0].on_ready.method, "PUT");
    assert_str(c->hooks[0].heartbeat.method, "POST");
    assert_int_equal(c->hooks[0].heartbeat_interval, 20 * SEC);
    assert_int_equal(c->hooks[0].timeout, 3 * SEC);
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

static void test_every_key(void **state)
{
    (void)state;
    struct conf *c = build_good(rich);
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->lifecycle.last_call, 1500 * USEC_PER_MSEC);
    assert_int_equal(c->lifecycle.app_cleanup, 30 * SEC);
    assert_int_equal(c->lifecycle.termination_grace, 44 * SEC);
    assert_int_equal(c->lifecycle.close_listeners, CLOSE_LISTENERS_AT_EXIT);
    assert_int_equal(c->app.n_command, 3);
    assert_str(c->app.command[2], "8080");
    assert_str(c->app.process, "app");
    assert_int_equal(c->app.death_grace, 1500 * USEC_PER_MSEC);
    assert_int_equal(c->app.n_addresses, 4);
    assert_address(&c->app.addresses[0], "127.0.0.1:8080");
    assert_address(&c->app.addresses[3], "[::1]:8081");
    assert_address(&c->admin.tcp, "[::1]:15902");
    assert_int_equal(c->admin.socket_path.n, 0);
    assert_str(c->admin.allowed_hosts[1], "admin.example");
    assert_address(&c->health, "127.0.0.1:15909");
    assert_true(c->access_log.enabled);
    assert_str(c->access_log.path, "/var/log/sluice.json");
    assert_int_equal(c->access_log.buffer_bytes, 1 << 20);
    assert_int_equal(c->n_routes, 9);
    check_rich_listener(c);
    check_rich_routes(c->listeners[0].routes);
    check_rich_dns(c);
    check_rich_tls(c);
    check_rich_cleanups(c);
    assert_int_equal(c->upstreams[0].n_endpoints, 3);
    assert_int_equal(c->upstreams[0].connect_timeout, 1500);
    assert_int_equal(c->upstreams[0].max_pending, 7);
    assert_int_equal(c->upstreams[0].queue_timeout, 250 * USEC_PER_MSEC);
    assert_int_equal(c->upstreams[0].protocol, UPSTREAM_AUTO);
    assert_int_equal(c->upstreams[0].http2.max_concurrent_streams, 50);
    assert_int_equal(c->upstreams[0].http2.stream_window, 128 * 1024);
    assert_int_equal(c->upstreams[0].http2.connection_window, 2 * 1024 * 1024);
    assert_int_equal(c->upstreams[0].http2.ping_interval, 30 * SEC);
    (void)config_free(c);
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

/* ---- the list of problems ---- */

static void test_all_at_once(void **state)
{
    (void)state;
    struct config_problems p;
    /* The unknown upstream is found after the bad balance, and stands before it. */
    assert_null(build("version: 1\n"
                      "workers: many\n"
                      "workers: 3\n"
                      "listeners:\n"
                      "- name: in\n"
                      "  address: nowhere\n"
                      "  routes:\n"
                      "  - {upstream: x, timeout: 5, wieght: 1}\n"
                      "upstreams:\n"
                      "- {name: a, endpoints: [], balance: best}\n",
                      &p));
    static const uint32_t lines[] = {2, 3, 6, 8, 8, 8, 10, 10};
    assert_int_equal(p.n, ARRAY_LEN(lines));
    assert_int_equal(p.errors, ARRAY_LEN(lines));
    for (uint32_t i = 0; i < p.n; i++)
        assert_int_equal(p.items[i].line, lines[i]);
    config_problems_free(&p);
}

static void test_many_problems(void **state)
{
    (void)state;
    char text[8192];
    size_t n = 0;
    struct config_problems p = {0};
    for (unsigned i = 0; i < 250; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "nothing%u: 1\n", i);
    assert_null(config_build("many", text, n, &p));
    assert_int_equal(p.n, 100);
    assert_int_equal(p.errors, 252);
    assert_int_equal(p.dropped, 152);
    assert_int_equal(p.items[0].line, 1);
    for (uint32_t i = 1; i < p.n; i++)
        assert_true(p.items[i].line >= p.items[i - 1].line);
    config_problems_free(&p);
}

static void test_print(void **state)
{
    (void)state;
    struct config_problems p;
    char out[1024];
    int fds[2];
    assert_null(build(FORWARD_7_5("wieght: 1"), &p));
    assert_int_equal(pipe(fds), 0);
    config_problems_print(&p, "a.yaml", fds[1]);
    ssize_t n = read(fds[0], out, sizeof(out) - 1);
    assert_true(n > 0);
    out[n] = '\0';
    assert_string_equal(out, "a.yaml:7:5: listeners[0].routes[0].wieght: unknown key \"wieght\"\n");
    (void)close(fds[0]);
    (void)close(fds[1]);
    config_problems_free(&p);
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

/* ---- files ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_distinct),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_server_names),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_where_the_application_listens),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_journal_place),
        cmocka_unit_test(test_after_a_learned_session),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_many_problems),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_grace_variable),
        cmocka_unit_test(test_process_environment),
        cmocka_unit_test(test_load),
    };
    (void)unsetenv("SLUICE_TERMINATION_GRACE_PERIOD");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
