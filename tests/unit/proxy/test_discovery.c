/* test_discovery.c - names of configurations against a DNS server that does as it is told: what is
 * known when a reload is prepared, who is told of a change, and what is forgotten. */
#include "proxy/discovery_parts.h"

#include "admin/discovery_show.h"
#include "base/mem.h"
#include "config/build.h"
#include "tests/unit/dns_fake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MSEC(n) ((usec_t)(n)*USEC_PER_MSEC)

enum { CHANGES = 16 };

/* Of a look-up; more than a busy machine stands still. */
#define TIMEOUT MSEC(1500)

struct rig {
    struct loop loop;
    struct fake fake;
    struct discovery *d;
    struct timer stop;
    unsigned done, changes;
    const struct conf_upstream *changed[CHANGES];
    bool stop_on_change;
};

static void on_stop(struct timer *t)
{
    loop_stop(&CONTAINER_OF(t, struct rig, stop)->loop);
}

static void on_done(void *ctx)
{
    struct rig *rig = ctx;
    rig->done++;
    loop_stop(&rig->loop);
}

static void on_changed(void *ctx, const struct conf_upstream *u)
{
    struct rig *rig = ctx;
    assert_true(rig->changes < CHANGES);
    rig->changed[rig->changes++] = u;
    if (rig->stop_on_change)
        loop_stop(&rig->loop);
}

static int setup(void **state)
{
    static struct rig rig;
    struct conf_dns dns = {.timeout = TIMEOUT, .tries = 1};
    rig = (struct rig){0};
    assert_int_equal(loop_init(&rig.loop), 0);
    timer_init(&rig.stop, on_stop);
    fake_open(&rig.fake, &rig.loop);
    dns.servers = &rig.fake.address;
    dns.n_servers = 1;
    rig.d = discovery_new(&rig.loop, &dns, on_changed, &rig);
    assert_non_null(rig.d);
    assert_null(rig.d->resolver); /* not without a name */
    FAKE_RULE(&rig.fake, "a.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.1", "A 60 192.0.2.2");
    FAKE_RULE(&rig.fake, "a.test", ns_t_aaaa, FAKE_ANSWER, NULL);
    FAKE_RULE(&rig.fake, "b.test", ns_t_a, FAKE_ANSWER, NULL);
    FAKE_RULE(&rig.fake, "b.test", ns_t_aaaa, FAKE_ANSWER, "AAAA 60 2001:db8::1");
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    rig->d = discovery_free(rig->d);
    fake_close(&rig->fake);
    timer_stop(&rig->loop, &rig->stop);
    loop_free(&rig->loop);
    return 0;
}

static void run_for(struct rig *rig, usec_t how_long)
{
    timer_set(&rig->loop, &rig->stop, clock_mono() + how_long);
    loop_run(&rig->loop);
    timer_stop(&rig->loop, &rig->stop);
}

/* A configuration with one upstream for each list of endpoints. */
static struct conf *make_conf(const char *const *endpoints, const char *dns)
{
    char text[4096] = "version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n  routes:\n"
                      "  - upstream: u0\nupstreams:\n";
    struct config_problems p = {0};
    for (int i = 0; endpoints[i]; i++) {
        size_t n = strlen(text);
        (void)snprintf(text + n, sizeof(text) - n, "- {name: u%d, endpoints: [%s]%s%s}\n", i,
                       endpoints[i], dns ? ", dns: " : "", dns ? dns : "");
    }
    struct conf *c = config_build("test.yaml", text, strlen(text), &p);
    if (!c)
        config_problems_print(&p, "test", 2);
    config_problems_free(&p);
    assert_non_null(c);
    return c;
}
#define CONF(dns, ...) make_conf((const char *const[]){__VA_ARGS__, NULL}, (dns))

static void assert_addresses(struct rig *rig, const struct conf *c, uint32_t u,
                             const char *expected)
{
    const struct endpoint_address *list;
    char all[2048] = "";
    uint32_t n;
    discovery_addresses(rig->d, &c->upstreams[u], &list, &n);
    for (uint32_t i = 0; i < n; i++) {
        size_t o = strlen(all);
        (void)snprintf(all + o, sizeof(all) - o, "%s%.*s", o ? " " : "", STR_FMT(list[i].text));
    }
    assert_string_equal(all, expected);
}

static void prepare(struct rig *rig, const struct conf *c)
{
    unsigned before = rig->done;
    assert_int_equal(discovery_prepare(rig->d, c, on_done, rig), 0);
    assert_int_equal(rig->done, before); /* never before it returns */
    run_for(rig, 10 * TIMEOUT);
    assert_int_equal(rig->done, before + 1);
}

static void take(struct rig *rig, const struct conf *c)
{
    prepare(rig, c);
    discovery_commit(rig->d, c);
    run_for(rig, MSEC(10));
}

static struct discovered *name_of(struct rig *rig, const struct conf *c, uint32_t u)
{
    const struct discovery_view *v = rig->d->prepared ? rig->d->prepared : rig->d->committed;
    assert_ptr_equal(v->conf, c);
    return v->names[v->first[u]];
}

/* As if its time had come. */
static void ask_again(struct rig *rig, struct discovered *n)
{
    discovered_ask(n);
    while (n->asking)
        run_for(rig, MSEC(5));
    run_for(rig, MSEC(5));
}

static void free_conf(struct conf **c)
{
    *c = config_free(*c);
}
#define CONF_AUTO __attribute__((cleanup(free_conf))) struct conf *

/* The configurations go before the discovery that points at them. */
static void forget(struct rig *rig)
{
    struct conf *none = CONF(NULL, "\"127.0.0.1:1\"");
    take(rig, none);
    rig->d = discovery_free(rig->d);
    (void)config_free(none);
}

/* ---- prepare, commit, abandon ---- */

static void test_prepare(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF(NULL, "\"127.0.0.1:9\", \"a.test.:80\", \"unix:/run/x\"", "\"b.test.:81\"",
                       "\"192.0.2.2:80\", \"A.test.:80\", \"gone.test.:80\"");
    prepare(rig, c);
    assert_addresses(rig, c, 0, "127.0.0.1:9 192.0.2.1:80 192.0.2.2:80 unix:/run/x");
    assert_addresses(rig, c, 1, "[2001:db8::1]:81");
    assert_addresses(rig, c, 2, "192.0.2.2:80 192.0.2.1:80");
    assert_int_equal(discovery_names(rig->d), 3); /* a.test. once */
    assert_int_equal(rig->fake.asked, 6);
    discovery_commit(rig->d, c);
    run_for(rig, MSEC(20));
    assert_int_equal(rig->changes, 0); /* nothing since its addresses were taken */
    forget(rig);
}

static void test_no_names(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF(NULL, "\"127.0.0.1:9\"");
    take(rig, c);
    assert_addresses(rig, c, 0, "127.0.0.1:9");
    assert_null(rig->d->resolver);
    forget(rig);
}

static void test_dead_server(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF(NULL, "\"a.test.:80\"", "\"dead.test.:80\"", "\"half.test.:80\"");
    FAKE_RULE(&rig->fake, "dead.test", ns_t_a, FAKE_SILENT, NULL);
    FAKE_RULE(&rig->fake, "dead.test", ns_t_aaaa, FAKE_SILENT, NULL);
    FAKE_RULE(&rig->fake, "half.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.7");
    FAKE_RULE(&rig->fake, "half.test", ns_t_aaaa, FAKE_SILENT, NULL);
    usec_t before = clock_mono();
    prepare(rig, c);
    assert_in_range(clock_mono() - before, TIMEOUT - MSEC(10), 5 * TIMEOUT);
    assert_addresses(rig, c, 0, "192.0.2.1:80 192.0.2.2:80");
    assert_addresses(rig, c, 1, "");
    assert_addresses(rig, c, 2, "192.0.2.7:80"); /* the late family does not hold it up */
    discovery_commit(rig->d, c);
    /* It comes in by itself when the server does. */
    FAKE_RULE(&rig->fake, "dead.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.9");
    FAKE_RULE(&rig->fake, "dead.test", ns_t_aaaa, FAKE_ANSWER, NULL);
    rig->stop_on_change = true;
    run_for(rig, MSEC(30000));
    assert_int_equal(rig->changes, 1);
    assert_ptr_equal(rig->changed[0], &c->upstreams[1]);
    assert_addresses(rig, c, 1, "192.0.2.9:80");
    forget(rig);
}

static void test_reload(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO one = CONF(NULL, "\"a.test.:80\"", "\"b.test.:80\"");
    CONF_AUTO two = CONF(NULL, "\"c.test.:80\", \"a.test.:80\"");
    CONF_AUTO bad = CONF(NULL, "\"d.test.:80\", \"a.test.:80\"");
    FAKE_RULE(&rig->fake, "c.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.5");
    take(rig, one);
    struct discovered *a = name_of(rig, one, 0);
    uint64_t asked = a->name.results[RESOLVED_OK];
    usec_t next = a->name.next;

    prepare(rig, bad); /* refused for another reason */
    assert_int_equal(discovery_names(rig->d), 3);
    discovery_abandon(rig->d, bad);
    assert_int_equal(discovery_names(rig->d), 2);

    prepare(rig, two);
    assert_addresses(rig, one, 0, "192.0.2.1:80 192.0.2.2:80"); /* still in force */
    assert_addresses(rig, two, 0, "192.0.2.5:80 192.0.2.1:80 192.0.2.2:80");
    discovery_commit(rig->d, two);
    assert_int_equal(discovery_names(rig->d), 2);
    /* The name that stays keeps all that it has. */
    assert_ptr_equal(rig->d->committed->names[1], a);
    assert_int_equal(a->name.results[RESOLVED_OK], asked);
    assert_int_equal(a->name.next, next);
    forget(rig);
}

static void test_abandon_while_asking(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF(NULL, "\"dead.test.:80\"", "\"srv:_h._tcp.dead.test.\"");
    CONF_AUTO again = CONF(NULL, "\"dead.test.:80\"");
    FAKE_RULE(&rig->fake, "dead.test", ns_t_a, FAKE_SILENT, NULL);
    FAKE_RULE(&rig->fake, "_h._tcp.dead.test", ns_t_srv, FAKE_ANSWER, "SRV 60 0 0 80 dead.test");
    assert_int_equal(discovery_prepare(rig->d, c, on_done, rig), 0);
    run_for(rig, MSEC(20));
    assert_int_equal(discovery_prepare(rig->d, again, on_done, rig), 0); /* takes its place */
    run_for(rig, MSEC(20));
    discovery_abandon(rig->d, c); /* not the one that is prepared */
    assert_int_equal(discovery_names(rig->d), 1);
    discovery_abandon(rig->d, again);
    assert_int_equal(discovery_names(rig->d), 0);
    run_for(rig, TIMEOUT + MSEC(400));
    assert_int_equal(rig->done, 0);
}

/* ---- changes ---- */

static void test_changes(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF("{onNotFound: remove}", "\"a.test.:80\"", "\"b.test.:80\"",
                       "\"a.test.:81\", \"127.0.0.1:1\"");
    take(rig, c);
    for (uint32_t i = 0; i < 3; i++) {
        const struct endpoint_address *list;
        uint32_t n;
        discovery_addresses(rig->d, &c->upstreams[i], &list, &n);
    }
    rig->changes = 0;
    ask_again(rig, name_of(rig, c, 0));
    assert_int_equal(rig->changes, 0); /* the same answer */

    FAKE_RULE(&rig->fake, "a.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.2", "A 60 192.0.2.3");
    ask_again(rig, name_of(rig, c, 0));
    assert_int_equal(rig->changes, 2); /* both upstreams that use it, and no other */
    assert_ptr_equal(rig->changed[0], &c->upstreams[0]);
    assert_ptr_equal(rig->changed[1], &c->upstreams[2]);
    assert_addresses(rig, c, 0, "192.0.2.2:80 192.0.2.3:80");

    static const enum fake_how failures[] = {FAKE_SERVFAIL, FAKE_SILENT, FAKE_GARBAGE, FAKE_LOOP};
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        FAKE_RULE(&rig->fake, "a.test", ns_t_a, failures[i], NULL);
        FAKE_RULE(&rig->fake, "a.test", ns_t_aaaa, failures[i], NULL);
        ask_again(rig, name_of(rig, c, 0));
        assert_addresses(rig, c, 0, "192.0.2.2:80 192.0.2.3:80");
    }
    assert_int_equal(rig->changes, 2);
    assert_true(name_of(rig, c, 0)->name.next > rig->loop.now);

    FAKE_RULE(&rig->fake, "a.test", ns_t_a, FAKE_NXDOMAIN, NULL);
    FAKE_RULE(&rig->fake, "a.test", ns_t_aaaa, FAKE_NXDOMAIN, NULL);
    ask_again(rig, name_of(rig, c, 0));
    assert_int_equal(rig->changes, 4);
    assert_addresses(rig, c, 0, "");
    assert_addresses(rig, c, 2, "127.0.0.1:1");
    forget(rig);
}

/* Between taking the addresses and committing them. */
static void test_change_before_commit(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF(NULL, "\"a.test.:80\"");
    prepare(rig, c);
    assert_addresses(rig, c, 0, "192.0.2.1:80 192.0.2.2:80");
    FAKE_RULE(&rig->fake, "a.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.3");
    ask_again(rig, name_of(rig, c, 0));
    assert_int_equal(rig->changes, 0); /* it is not in force */
    rig->stop_on_change = true;
    discovery_commit(rig->d, c);
    run_for(rig, MSEC(10000));
    assert_int_equal(rig->changes, 1);
    assert_addresses(rig, c, 0, "192.0.2.3:80");
    forget(rig);
}

static void test_ttl_is_kept(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF("{minTtl: 1s, maxTtl: 1s}", "\"a.test.:80\"");
    usec_t before = clock_mono();
    take(rig, c);
    struct fake_rule *rule = fake_find(&rig->fake, "a.test", ns_t_a);
    unsigned asked = rule->asked;
    rule->records[0] = "A 0 192.0.2.8";
    rule->records[1] = NULL;
    rig->stop_on_change = true;
    run_for(rig, MSEC(10000));
    assert_in_range(clock_mono() - before, MSEC(700), MSEC(5000));
    assert_int_equal(rule->asked, asked + 1);
    assert_addresses(rig, c, 0, "192.0.2.8:80");
    forget(rig);
}

/* ---- SRV, families, link-local ---- */

static void test_srv(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF(NULL, "\"srv:_h._tcp.s.test.\"");
    FAKE_RULE(&rig->fake, "_h._tcp.s.test", ns_t_srv, FAKE_ANSWER, "SRV 60 1 0 9000 c.test",
              "SRV 60 0 5 8001 a.test", "SRV 60 0 5 8002 b.test", "SRV 60 0 0 0 a.test",
              "SRV 60 0 0 1 .");
    FAKE_RULE(&rig->fake, "c.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.99");
    take(rig, c);
    assert_addresses(rig, c, 0, "192.0.2.1:8001 192.0.2.2:8001 [2001:db8::1]:8002");
    /* One target is slow: what it had stays. */
    FAKE_RULE(&rig->fake, "b.test", ns_t_aaaa, FAKE_SILENT, NULL);
    FAKE_RULE(&rig->fake, "a.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.3");
    ask_again(rig, name_of(rig, c, 0));
    assert_addresses(rig, c, 0, "192.0.2.3:8001 [2001:db8::1]:8002");
    /* The lowest priority is gone. */
    FAKE_RULE(&rig->fake, "_h._tcp.s.test", ns_t_srv, FAKE_ANSWER, "SRV 60 1 0 9000 c.test",
              "SRV 60 0 5 8001 gone.test");
    ask_again(rig, name_of(rig, c, 0));
    assert_addresses(rig, c, 0, "192.0.2.99:9000");
    FAKE_RULE(&rig->fake, "_h._tcp.s.test", ns_t_srv, FAKE_SERVFAIL, NULL);
    ask_again(rig, name_of(rig, c, 0));
    assert_addresses(rig, c, 0, "192.0.2.99:9000");
    FAKE_RULE(&rig->fake, "_h._tcp.s.test", ns_t_srv, FAKE_ANSWER, "SRV 60 0 0 0 .");
    ask_again(rig, name_of(rig, c, 0));
    assert_int_equal(name_of(rig, c, 0)->name.state, DNS_EMPTY);
    assert_addresses(rig, c, 0, "192.0.2.99:9000"); /* onEmpty: keep */
    forget(rig);
}

static void test_families(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF("{family: ipv6}", "\"a.test.:80\"", "\"b.test.:80\"");
    take(rig, c);
    assert_addresses(rig, c, 0, "");
    assert_addresses(rig, c, 1, "[2001:db8::1]:80");
    assert_int_equal(fake_find(&rig->fake, "a.test", ns_t_a)->asked, 0);
    forget(rig);
}

static void count_status(void *ctx, const struct discovery_status *s)
{
    struct discovery_status *last = ctx;
    *last = *s;
}

static void check_shown(struct rig *rig)
{
    static const char *const lines[] = {
        "sluice_dns_queries_total{name=\"m.test.\",family=\"any\",result=\"ok\"} 1\n",
        "sluice_dns_queries_total{name=\"m.test.\",family=\"any\",result=\"timeout\"} 0\n",
        "sluice_dns_addresses{name=\"m.test.\",family=\"any\"} 3\n",
        "sluice_dns_addresses_refused{name=\"m.test.\",family=\"any\"} 2\n",
        "sluice_dns_last_good_age_seconds{name=\"m.test.\",family=\"any\"} 0.",
    };
    struct exposition t = {0};
    discovery_metrics(rig->d, &t);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_non_null(strstr(t.p, lines[i]));
    free(t.p);
    json_t *all = discovery_json(rig->d);
    const char *name, *state;
    int addresses, ok;
    assert_int_equal(json_array_size(all), 1);
    assert_int_equal(json_unpack(json_array_get(all, 0), "{s:s s:s s:i s:{s:i}}", "name", &name,
                                 "state", &state, "addresses", &addresses, "queries", "ok", &ok),
                     0);
    assert_string_equal(name, "m.test.");
    assert_string_equal(state, "good");
    assert_int_equal(addresses, 3);
    assert_int_equal(ok, 1);
    json_decref(all);
}

static void test_link_local(void **state)
{
    struct rig *rig = *state;
    struct discovery_status s = {0};
    CONF_AUTO c = CONF(NULL, "\"m.test.:80\"");
    FAKE_RULE(&rig->fake, "m.test", ns_t_a, FAKE_ANSWER, "A 60 169.254.169.254", "A 60 192.0.2.1");
    FAKE_RULE(&rig->fake, "m.test", ns_t_aaaa, FAKE_ANSWER, "AAAA 60 fd00:ec2::254");
    take(rig, c);
    assert_addresses(rig, c, 0, "192.0.2.1:80");
    discovery_walk(rig->d, count_status, &s);
    assert_string_equal(s.name->host, "m.test.");
    assert_int_equal(s.addresses, 3);
    assert_int_equal(s.refused, 2);
    assert_int_equal(s.name->results[RESOLVED_OK], 1);
    check_shown(rig);
    c->upstreams[0].dns.allow_link_local = true;
    assert_addresses(rig, c, 0, "[fd00:ec2::254]:80 169.254.169.254:80 192.0.2.1:80");
    forget(rig);
}

/* A shorter maxTtl holds for names that wait already. */
static void test_bounds_of_a_reload(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO slow = CONF(NULL, "\"a.test.:80\"");
    CONF_AUTO fast = CONF("{minTtl: 1s, maxTtl: 2s}", "\"a.test.:80\"");
    take(rig, slow);
    assert_true(name_of(rig, slow, 0)->timer.at > rig->loop.now + MSEC(50000));
    take(rig, fast);
    assert_true(name_of(rig, fast, 0)->timer.at < rig->loop.now + MSEC(2300));
    forget(rig);
}

/* ---- memory ---- */

static void test_failing_allocations(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF(NULL, "\"a.test.:80\", \"srv:_h._tcp.s.test.\"");
    FAKE_RULE(&rig->fake, "_h._tcp.s.test", ns_t_srv, FAKE_ANSWER, "SRV 60 0 5 8001 a.test");
    unsigned whole = 0;
    for (uint64_t n = 1; n < 400 && whole < 3; n++) {
        struct conf_dns dns = {
            .timeout = MSEC(50), .tries = 1, .servers = &rig->fake.address, .n_servers = 1};
        uint64_t before = mem_failures();
        mem_fail_at(n, false);
        struct discovery *d = discovery_new(&rig->loop, &dns, on_changed, rig);
        if (d && discovery_prepare(d, c, on_done, rig) == 0) {
            run_for(rig, MSEC(1000));
            discovery_commit(d, c);
        }
        mem_fail_at(0, false);
        whole += mem_failures() == before;
        d = discovery_free(d);
        assert_null(d);
        rig->changes = 0;
    }
    assert_int_equal(whole, 3);
}

static void test_free_while_asking(void **state)
{
    struct rig *rig = *state;
    CONF_AUTO c = CONF(NULL, "\"dead.test.:80\", \"srv:_h._tcp.s.test.\"");
    FAKE_RULE(&rig->fake, "dead.test", ns_t_a, FAKE_SILENT, NULL);
    FAKE_RULE(&rig->fake, "_h._tcp.s.test", ns_t_srv, FAKE_ANSWER, "SRV 60 0 5 8001 dead.test");
    assert_int_equal(discovery_prepare(rig->d, c, on_done, rig), 0);
    run_for(rig, MSEC(50));
    rig->d = discovery_free(rig->d);
    run_for(rig, MSEC(300));
    assert_int_equal(rig->done, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_prepare),
        TEST(test_no_names),
        TEST(test_dead_server),
        TEST(test_reload),
        TEST(test_abandon_while_asking),
        TEST(test_changes),
        TEST(test_change_before_commit),
        TEST(test_ttl_is_kept),
        TEST(test_srv),
        TEST(test_families),
        TEST(test_link_local),
        TEST(test_bounds_of_a_reload),
        TEST(test_failing_allocations),
        TEST(test_free_while_asking),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
