/* test_resolver.c - look-ups against a server that answers rightly, wrongly or not at all. */
#include "io/resolver.h"

#include "base/mem.h"
#include "tests/unit/dns_fake.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define BOTH (RESOLVE_A | RESOLVE_AAAA)

/* A try takes so long where an answer comes: no machine stands still for that time, and so nothing
 * is asked twice. */
#define PATIENCE (10 * USEC_PER_SEC)
#define SHORT    (100 * USEC_PER_MSEC)

struct rig {
    struct loop loop;
    struct fake fake;
    struct resolver *resolver;
    struct timer stop;
    char resolv_conf[40], hosts[40];
};

/* What one look-up has been told. */
struct got {
    struct rig *rig;
    unsigned calls;
    bool final, keep_going;
    struct resolver_answer answer;
    struct resolver_ip ips[RESOLVER_FAMILIES][RESOLVER_RECORDS_MAX];
    struct resolver_srv srv[RESOLVER_RECORDS_MAX];
    struct resolver_family first[RESOLVER_FAMILIES]; /* of the first call */
    struct resolver_ask *cancel;                     /* from within */
};

static void write_file(char *name, const char *text)
{
    (void)snprintf(name, 40, "/tmp/sluice-resolver-XXXXXX");
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

static void on_stop(struct timer *t)
{
    loop_stop(&CONTAINER_OF(t, struct rig, stop)->loop);
}

static void open_resolver(struct rig *rig, usec_t timeout, uint32_t tries)
{
    struct resolver_options o = {.servers = &rig->fake.address,
                                 .n_servers = 1,
                                 .timeout = timeout,
                                 .tries = tries,
                                 .resolv_conf = rig->resolv_conf};
    rig->resolver = resolver_new(&rig->loop, &o);
    assert_non_null(rig->resolver);
}

static int setup(void **state)
{
    static struct rig rig;
    rig = (struct rig){0};
    assert_int_equal(loop_init(&rig.loop), 0);
    timer_init(&rig.stop, on_stop);
    fake_open(&rig.fake, &rig.loop);
    write_file(rig.resolv_conf,
               "nameserver 192.0.2.53\nsearch one.test two.test\noptions ndots:2\n");
    write_file(rig.hosts, "192.0.2.99 filed.test\n2001:db8::99 filed.test\n192.0.2.98 filed.test\n"
                          "192.0.2.97 four.test\n");
    (void)setenv("CARES_HOSTS", rig.hosts, 1);
    open_resolver(&rig, PATIENCE, 2);
    *state = &rig;
    return 0;
}

/* For servers that are silent: how long a try lasts. */
static void set_timeout(struct rig *rig, usec_t timeout)
{
    rig->resolver = resolver_free(rig->resolver);
    open_resolver(rig, timeout, 2);
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    rig->resolver = resolver_free(rig->resolver);
    fake_close(&rig->fake);
    timer_stop(&rig->loop, &rig->stop);
    loop_free(&rig->loop);
    (void)unlink(rig->resolv_conf);
    (void)unlink(rig->hosts);
    return 0;
}

static void on_answer(void *ctx, const struct resolver_answer *answer)
{
    struct got *g = ctx;
    assert_false(g->final);
    g->calls++;
    g->answer = *answer;
    for (int i = 0; i < RESOLVER_FAMILIES; i++) {
        if (g->calls == 1)
            g->first[i] = answer->family[i];
        if (answer->family[i].n)
            memcpy(g->ips[i], answer->family[i].ips, answer->family[i].n * sizeof(g->ips[i][0]));
    }
    if (answer->n_srv)
        memcpy(g->srv, answer->srv, answer->n_srv * sizeof(g->srv[0]));
    if (g->cancel)
        resolver_cancel(g->cancel);
    g->final = answer->final;
    if (g->final && !g->keep_going)
        loop_stop(&g->rig->loop);
}

static void run_for(struct rig *rig, usec_t how_long)
{
    timer_set(&rig->loop, &rig->stop, clock_mono() + how_long);
    loop_run(&rig->loop);
    timer_stop(&rig->loop, &rig->stop);
}

static struct got *ask(struct rig *rig, const char *name, unsigned kinds)
{
    static struct got g;
    g = (struct got){.rig = rig};
    assert_non_null(resolver_ask(rig->resolver, str_of(name), kinds, on_answer, &g));
    assert_int_equal(g.calls, 0); /* never before it returns */
    run_for(rig, 3 * PATIENCE);
    assert_true(g.final);
    return &g;
}

static void assert_ips(const struct got *g, int family, const char *expected, uint32_t ttl)
{
    char all[RESOLVER_RECORDS_MAX * 48] = "", one[INET6_ADDRSTRLEN];
    assert_int_equal(g->answer.family[family].status, RESOLVED_OK);
    for (uint32_t i = 0; i < g->answer.family[family].n; i++) {
        size_t n = strlen(all);
        assert_int_equal(g->ips[family][i].six, family == RESOLVER_V6);
        assert_non_null(inet_ntop(family == RESOLVER_V6 ? AF_INET6 : AF_INET,
                                  g->ips[family][i].bytes, one, sizeof(one)));
        (void)snprintf(all + n, sizeof(all) - n, "%s%s", n ? " " : "", one);
    }
    assert_string_equal(all, expected);
    assert_int_equal(g->answer.family[family].ttl, ttl);
}

static void assert_status(const struct got *g, enum resolver_status four, enum resolver_status six)
{
    assert_int_equal(g->answer.family[RESOLVER_V4].status, four);
    assert_int_equal(g->answer.family[RESOLVER_V6].status, six);
}

/* ---- right answers ---- */

static void test_both_families(void **state)
{
    struct rig *rig = *state;
    FAKE_RULE(&rig->fake, "app.example.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.1",
              "A 20 192.0.2.2");
    FAKE_RULE(&rig->fake, "app.example.test", ns_t_aaaa, FAKE_ANSWER, "AAAA 300 2001:db8::1");
    struct got *g = ask(rig, "app.example.test", BOTH);
    assert_ips(g, RESOLVER_V4, "192.0.2.1 192.0.2.2", 20);
    assert_ips(g, RESOLVER_V6, "2001:db8::1", 300);
    assert_int_equal(g->answer.srv_status, RESOLVED_NOT_ASKED);
    assert_int_equal(rig->fake.asked, 2);

    g = ask(rig, "app.example.test", RESOLVE_AAAA);
    assert_int_equal(g->answer.family[RESOLVER_V4].status, RESOLVED_NOT_ASKED);
    assert_ips(g, RESOLVER_V6, "2001:db8::1", 300);
    assert_int_equal(rig->fake.asked, 3);
}

static void test_cname_and_ttl(void **state)
{
    struct rig *rig = *state;
    FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, FAKE_ANSWER, "CNAME 7 c.d.test", "A 60 192.0.2.3");
    assert_ips(ask(rig, "a.b.test", RESOLVE_A), RESOLVER_V4, "192.0.2.3", 7);
    /* The top bit of a TTL: 0 (RFC 2181 §8). */
    FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, FAKE_ANSWER, "A 4294967295 192.0.2.3");
    assert_ips(ask(rig, "a.b.test", RESOLVE_A), RESOLVER_V4, "192.0.2.3", 0);
    /* Only a CNAME. */
    FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, FAKE_ANSWER, "CNAME 7 c.d.test");
    assert_int_equal(ask(rig, "a.b.test.", RESOLVE_A)->answer.family[RESOLVER_V4].status,
                     RESOLVED_NODATA);
}

static void test_srv(void **state)
{
    struct rig *rig = *state;
    FAKE_RULE(&rig->fake, "_h._tcp.app.test", ns_t_srv, FAKE_ANSWER, "SRV 60 1 5 8080 one.test",
              "SRV 60 0 0 9090 two.test");
    struct got *g = ask(rig, "_h._tcp.app.test", RESOLVE_SRV);
    assert_int_equal(g->answer.srv_status, RESOLVED_OK);
    assert_int_equal(g->answer.family[RESOLVER_V4].status, RESOLVED_NOT_ASKED);
    assert_int_equal(g->answer.n_srv, 2);
    assert_string_equal(g->srv[0].host, "one.test");
    assert_int_equal(g->srv[0].port, 8080);
    assert_int_equal(g->srv[0].priority, 1);
    assert_int_equal(g->srv[0].weight, 5);
    assert_string_equal(g->srv[1].host, "two.test");
    FAKE_RULE(&rig->fake, "_h._tcp.app.test", ns_t_srv, FAKE_ANSWER, "SRV 60 0 0 0 .");
    g = ask(rig, "_h._tcp.app.test", RESOLVE_SRV);
    assert_int_equal(g->answer.n_srv, 1);
    assert_string_equal(g->srv[0].host, "");
    assert_int_equal(ask(rig, "_h._tcp.b.test", RESOLVE_SRV)->answer.srv_status, RESOLVED_NXDOMAIN);
}

static void test_truncated(void **state)
{
    struct rig *rig = *state;
    FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, FAKE_TRUNCATED, "A 60 192.0.2.1");
    assert_ips(ask(rig, "a.b.test", RESOLVE_A), RESOLVER_V4, "192.0.2.1", 60);
    assert_int_equal(rig->fake.over_tcp, 1);
}

static void test_huge(void **state)
{
    struct rig *rig = *state;
    FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, FAKE_HUGE, NULL);
    struct got *g = ask(rig, "a.b.test", RESOLVE_A);
    assert_int_equal(g->answer.family[RESOLVER_V4].status, RESOLVED_OK);
    assert_int_equal(g->answer.family[RESOLVER_V4].n, RESOLVER_RECORDS_MAX);
}

/* ---- answers without a record ---- */

static void test_nothing_there(void **state)
{
    struct rig *rig = *state;
    assert_status(ask(rig, "no.example.test", BOTH), RESOLVED_NXDOMAIN, RESOLVED_NXDOMAIN);
    FAKE_RULE(&rig->fake, "no.example.test", ns_t_a, FAKE_ANSWER, NULL);
    FAKE_RULE(&rig->fake, "no.example.test", ns_t_aaaa, FAKE_ANSWER, NULL);
    assert_status(ask(rig, "no.example.test", BOTH), RESOLVED_NODATA, RESOLVED_NODATA);
    FAKE_RULE(&rig->fake, "no.example.test", ns_t_aaaa, FAKE_ANSWER, "AAAA 60 ::2");
    assert_status(ask(rig, "no.example.test", BOTH), RESOLVED_NODATA, RESOLVED_OK);
}

static void test_failures(void **state)
{
    struct rig *rig = *state;
    static const struct {
        enum fake_how how;
        enum resolver_status status;
    } cases[] = {
        {FAKE_SERVFAIL, RESOLVED_SERVFAIL}, {FAKE_REFUSED, RESOLVED_SERVFAIL},
        {FAKE_SILENT, RESOLVED_TIMEOUT},    {FAKE_GARBAGE, RESOLVED_MALFORMED},
        {FAKE_LOOP, RESOLVED_MALFORMED},    {FAKE_CUT, RESOLVED_MALFORMED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_timeout(rig, cases[i].how == FAKE_SILENT ? SHORT : PATIENCE);
        FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, cases[i].how, "A 60 192.0.2.1");
        FAKE_RULE(&rig->fake, "a.b.test", ns_t_aaaa, cases[i].how, "AAAA 60 ::1");
        assert_status(ask(rig, "a.b.test.", BOTH), cases[i].status, cases[i].status);
        FAKE_RULE(&rig->fake, "_h._tcp.b.test", ns_t_srv, cases[i].how, "SRV 9 0 0 80 a.test");
        assert_int_equal(ask(rig, "_h._tcp.b.test.", RESOLVE_SRV)->answer.srv_status,
                         cases[i].status);
    }
}

static void test_timeout_takes_its_tries(void **state)
{
    struct rig *rig = *state;
    struct fake_rule *rule = FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, FAKE_SILENT, NULL);
    set_timeout(rig, SHORT);
    usec_t before = clock_mono();
    (void)ask(rig, "a.b.test.", RESOLVE_A);
    assert_int_equal(rule->asked, 2);
    /* 100 ms and then 200 ms */
    assert_in_range(clock_mono() - before, 280 * USEC_PER_MSEC, PATIENCE);
}

/* The process stands still between the answer and its reading, for longer than a try may take. */
static void test_an_answer_that_waited_is_in_time(void **state)
{
    struct rig *rig = *state;
    struct got g = {.rig = rig};
    FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.1");
    rig->resolver = resolver_free(rig->resolver);
    open_resolver(rig, SHORT, 1);
    assert_non_null(resolver_ask(rig->resolver, STR("a.b.test."), RESOLVE_A, on_answer, &g));
    while (rig->fake.asked == 0)
        (void)ev_run(rig->loop.ev, EVRUN_NOWAIT);
    assert_int_equal(g.calls, 0);
    (void)poll(NULL, 0, 3 * SHORT / USEC_PER_MSEC);
    run_for(rig, PATIENCE);
    assert_true(g.final);
    assert_ips(&g, RESOLVER_V4, "192.0.2.1", 60);
}

static void test_nobody_listens(void **state)
{
    struct rig *rig = *state;
    ev_io_stop(rig->loop.ev, &rig->fake.udp_io);
    (void)close(rig->fake.udp);
    rig->fake.udp = -1;
    assert_int_equal(ask(rig, "a.b.test.", RESOLVE_A)->answer.family[RESOLVER_V4].status,
                     RESOLVED_SERVFAIL);
}

/* ---- lies ---- */

static void test_lies(void **state)
{
    struct rig *rig = *state;
    static const enum fake_how lies[] = {FAKE_WRONG_ID, FAKE_WRONG_QUESTION, FAKE_WRONG_SOURCE,
                                         FAKE_EMPTY};
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, lies[i], "A 60 192.0.2.1");
        assert_ips(ask(rig, "a.b.test.", RESOLVE_A), RESOLVER_V4, "192.0.2.1", 60);
    }
}

/* A record of another name than the one asked for, in an answer that is right otherwise. */
static void test_other_owner(void **state)
{
    struct rig *rig = *state;
    FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.1", "CNAME 60 x.test",
              "CNAME 60 y.test");
    struct got *g = ask(rig, "a.b.test.", RESOLVE_A);
    assert_true(g->answer.family[RESOLVER_V4].n <= 1);
}

/* ---- hosts, search ---- */

static void test_hosts(void **state)
{
    struct rig *rig = *state;
    struct got *g = ask(rig, "filed.test", BOTH);
    assert_ips(g, RESOLVER_V4, "192.0.2.99 192.0.2.98", RESOLVER_HOSTS_TTL);
    assert_ips(g, RESOLVER_V6, "2001:db8::99", RESOLVER_HOSTS_TTL);
    g = ask(rig, "four.test.", BOTH);
    assert_ips(g, RESOLVER_V4, "192.0.2.97", RESOLVER_HOSTS_TTL);
    assert_int_equal(g->answer.family[RESOLVER_V6].status, RESOLVED_NODATA);
    g = ask(rig, "localhost", BOTH);
    assert_ips(g, RESOLVER_V4, "127.0.0.1", RESOLVER_HOSTS_TTL);
    assert_ips(g, RESOLVER_V6, "::1", RESOLVER_HOSTS_TTL);
    assert_ips(ask(rig, "App.LocalHost.", RESOLVE_A), RESOLVER_V4, "127.0.0.1", RESOLVER_HOSTS_TTL);
    assert_int_equal(rig->fake.asked, 0);
}

static void test_search(void **state)
{
    struct rig *rig = *state;
    FAKE_RULE(&rig->fake, "db.two.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.1");
    FAKE_RULE(&rig->fake, "db.two.test", ns_t_aaaa, FAKE_ANSWER, NULL);
    assert_ips(ask(rig, "db", BOTH), RESOLVER_V4, "192.0.2.1", 60);
    assert_int_equal(rig->fake.asked, 4); /* db.one.test, db.two.test */
    /* A trailing dot: as it is. */
    assert_status(ask(rig, "db.", BOTH), RESOLVED_NXDOMAIN, RESOLVED_NXDOMAIN);
    assert_int_equal(rig->fake.asked, 6);
    /* Two dots are ndots: as it is first, and then the list. */
    FAKE_RULE(&rig->fake, "a.b.c.one.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.2");
    FAKE_RULE(&rig->fake, "a.b.c", ns_t_a, FAKE_ANSWER, NULL);
    assert_ips(ask(rig, "a.b.c", RESOLVE_A), RESOLVER_V4, "192.0.2.2", 60);
    assert_int_equal(rig->fake.asked, 8);
}

/* Both families come from one name, and NXDOMAIN is not what an outage looks like. */
static void test_search_is_careful(void **state)
{
    struct rig *rig = *state;
    FAKE_RULE(&rig->fake, "db.one.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.1");
    FAKE_RULE(&rig->fake, "db.one.test", ns_t_aaaa, FAKE_ANSWER, NULL);
    FAKE_RULE(&rig->fake, "db.two.test", ns_t_aaaa, FAKE_ANSWER, "AAAA 60 2001:db8::bad");
    assert_status(ask(rig, "db", BOTH), RESOLVED_OK, RESOLVED_NODATA);
    FAKE_RULE(&rig->fake, "db.one.test", ns_t_a, FAKE_SERVFAIL, NULL);
    assert_status(ask(rig, "db", BOTH), RESOLVED_SERVFAIL, RESOLVED_NODATA);
    FAKE_RULE(&rig->fake, "db.one.test", ns_t_a, FAKE_SILENT, NULL);
    FAKE_RULE(&rig->fake, "db.one.test", ns_t_aaaa, FAKE_SILENT, NULL);
    set_timeout(rig, SHORT);
    assert_status(ask(rig, "db", BOTH), RESOLVED_TIMEOUT, RESOLVED_TIMEOUT);
    set_timeout(rig, PATIENCE);
    FAKE_RULE(&rig->fake, "x.one.test", ns_t_a, FAKE_SERVFAIL, NULL);
    assert_int_equal(ask(rig, "x", RESOLVE_A)->answer.family[RESOLVER_V4].status,
                     RESOLVED_SERVFAIL);
    FAKE_RULE(&rig->fake, "x.two.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.7");
    assert_ips(ask(rig, "x", RESOLVE_A), RESOLVER_V4, "192.0.2.7", 60);
}

static void test_impossible_names(void **state)
{
    struct rig *rig = *state;
    char longest[260];
    memset(longest, 'a', sizeof(longest));
    for (size_t i = 50; i < 250; i += 50)
        longest[i] = '.';
    longest[253] = '\0';
    assert_int_equal(ask(rig, longest, RESOLVE_A)->answer.family[RESOLVER_V4].status,
                     RESOLVED_NXDOMAIN);
    assert_int_equal(rig->fake.asked, 1); /* with a domain it is too long */
    longest[253] = 'a';
    longest[257] = '\0';
    assert_int_equal(ask(rig, longest, RESOLVE_A)->answer.family[RESOLVER_V4].status,
                     RESOLVED_MALFORMED);
    assert_int_equal(ask(rig, ".", RESOLVE_A)->answer.family[RESOLVER_V4].status,
                     RESOLVED_MALFORMED);
}

/* ---- time, and the end ---- */

static void test_late_family(void **state)
{
    struct rig *rig = *state;
    FAKE_RULE(&rig->fake, "a.b.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.1");
    FAKE_RULE(&rig->fake, "a.b.test", ns_t_aaaa, FAKE_SILENT, NULL);
    set_timeout(rig, 5 * SHORT);
    struct got *g = ask(rig, "a.b.test.", BOTH);
    assert_int_equal(g->calls, 2);
    assert_int_equal(g->first[RESOLVER_V4].status, RESOLVED_OK);
    assert_int_equal(g->first[RESOLVER_V6].status, RESOLVED_PENDING);
    assert_status(g, RESOLVED_OK, RESOLVED_TIMEOUT);
    assert_ips(g, RESOLVER_V4, "192.0.2.1", 60);
}

static void test_cancel(void **state)
{
    struct rig *rig = *state;
    struct got silent = {.rig = rig}, good = {.rig = rig}, hosts = {.rig = rig};
    FAKE_RULE(&rig->fake, "s.b.test", ns_t_a, FAKE_SILENT, NULL);
    FAKE_RULE(&rig->fake, "g.b.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.1");
    set_timeout(rig, 5 * SHORT);
    struct resolver_ask *a =
        resolver_ask(rig->resolver, STR("s.b.test."), RESOLVE_A, on_answer, &silent);
    struct resolver_ask *b =
        resolver_ask(rig->resolver, STR("localhost"), RESOLVE_A, on_answer, &hosts);
    assert_non_null(resolver_ask(rig->resolver, STR("g.b.test."), RESOLVE_A, on_answer, &good));
    resolver_cancel(b);
    good.cancel = a; /* from within a callback */
    run_for(rig, 5 * USEC_PER_SEC);
    assert_true(good.final);
    run_for(rig, 20 * SHORT); /* past its time out */
    assert_int_equal(silent.calls, 0);
    assert_int_equal(hosts.calls, 0);
}

static void test_free_ends_all(void **state)
{
    struct rig *rig = *state;
    static struct got all[RESOLVER_IN_FLIGHT + 20];
    FAKE_RULE(&rig->fake, "s.b.test", ns_t_a, FAKE_SILENT, NULL);
    FAKE_RULE(&rig->fake, "s.b.test", ns_t_aaaa, FAKE_SILENT, NULL);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        all[i] = (struct got){.rig = rig, .keep_going = true};
        assert_non_null(resolver_ask(rig->resolver, STR("s.b.test."), BOTH, on_answer, &all[i]));
    }
    for (int i = 0; i < 1000 && rig->fake.asked < 2 * RESOLVER_IN_FLIGHT; i++)
        run_for(rig, 10 * USEC_PER_MSEC);
    run_for(rig, 50 * USEC_PER_MSEC);
    assert_int_equal(rig->fake.asked, 2 * RESOLVER_IN_FLIGHT); /* the others wait */
    rig->resolver = resolver_free(rig->resolver);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_int_equal(all[i].calls, 1);
        assert_status(&all[i], RESOLVED_CANCELED, RESOLVED_CANCELED);
    }
}

static void test_more_than_in_flight(void **state)
{
    struct rig *rig = *state;
    static struct got all[RESOLVER_IN_FLIGHT * 3];
    FAKE_RULE(&rig->fake, "g.b.test", ns_t_a, FAKE_ANSWER, "A 60 192.0.2.1");
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        all[i] = (struct got){.rig = rig, .keep_going = i + 1 < ARRAY_LEN(all)};
        assert_non_null(
            resolver_ask(rig->resolver, STR("g.b.test."), RESOLVE_A, on_answer, &all[i]));
    }
    run_for(rig, 3 * PATIENCE);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        assert_ips(&all[i], RESOLVER_V4, "192.0.2.1", 60);
}

/* Each allocation fails in turn, c-ares' own too: an answer comes all the same, or no look-up
 * begins. */
static void test_failing_allocations(void **state)
{
    struct rig *rig = *state;
    unsigned refused = 0, bad = 0, good = 0;
    FAKE_RULE(&rig->fake, "db.two.test", ns_t_a, FAKE_TRUNCATED, "A 60 192.0.2.1");
    FAKE_RULE(&rig->fake, "db.two.test", ns_t_aaaa, FAKE_ANSWER, "AAAA 60 ::1");
    rig->resolver = resolver_free(rig->resolver);
    for (uint64_t n = 1; n < 400; n++) {
        struct resolver_options o = {.servers = &rig->fake.address,
                                     .n_servers = 1,
                                     .timeout = 20 * USEC_PER_MSEC,
                                     .tries = 1,
                                     .resolv_conf = rig->resolv_conf};
        struct got g = {.rig = rig};
        uint64_t before = mem_failures();
        mem_fail_at(n, false);
        struct resolver *r = resolver_new(&rig->loop, &o);
        struct resolver_ask *a = r ? resolver_ask(r, STR("db"), BOTH, on_answer, &g) : NULL;
        if (a)
            run_for(rig, 5 * USEC_PER_SEC);
        mem_fail_at(0, false);
        refused += !a;
        if (a) {
            assert_true(g.final);
            bad += g.answer.family[RESOLVER_V4].status != RESOLVED_OK;
            good += g.answer.family[RESOLVER_V4].status == RESOLVED_OK;
        }
        r = resolver_free(r);
        if (mem_failures() == before)
            break;
    }
    assert_true(refused > 0);
    assert_true(bad > 0);
    assert_true(good > 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_both_families),
        TEST(test_cname_and_ttl),
        TEST(test_srv),
        TEST(test_truncated),
        TEST(test_huge),
        TEST(test_nothing_there),
        TEST(test_failures),
        TEST(test_timeout_takes_its_tries),
        TEST(test_an_answer_that_waited_is_in_time),
        TEST(test_nobody_listens),
        TEST(test_lies),
        TEST(test_other_owner),
        TEST(test_hosts),
        TEST(test_search),
        TEST(test_search_is_careful),
        TEST(test_impossible_names),
        TEST(test_late_family),
        TEST(test_cancel),
        TEST(test_free_ends_all),
        TEST(test_more_than_in_flight),
        TEST(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
