/* test_build_rich.c - a configuration with every key becomes what it says. */
#include "build_rig.h"
#include "rich.h"

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
    assert_int_equal(c->upstreams[0].limits.pending, 7);
    assert_int_equal(c->upstreams[0].queue_timeout, 250 * USEC_PER_MSEC);
    assert_int_equal(c->upstreams[0].protocol, UPSTREAM_AUTO);
    assert_int_equal(c->upstreams[0].http2.max_concurrent_streams, 50);
    assert_int_equal(c->upstreams[0].http2.stream_window, 128 * 1024);
    assert_int_equal(c->upstreams[0].http2.connection_window, 2 * 1024 * 1024);
    assert_int_equal(c->upstreams[0].http2.ping_interval, 30 * SEC);
    (void)config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key),
    };
    (void)unsetenv("SLUICE_TERMINATION_GRACE_PERIOD");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
