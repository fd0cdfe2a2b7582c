/* test_dns_name.c - what answers make of a name, when it is asked for again, and in which order its
 * addresses come; with a clock of the test's own. */
#include "proxy/dns_list.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#define SEC(n) ((usec_t)(n)*USEC_PER_SEC)

struct world {
    struct dns_name name;
    struct rng rng;
    usec_t now, wait;
    struct dns_bounds bounds;
    struct conf_upstream_dns u;
    struct dns_list *list;
};

static int setup(void **state)
{
    static struct world w;
    w = (struct world){.now = SEC(1000),
                       .bounds = {SEC(5), SEC(300), SEC(30)},
                       .u = {.min_ttl = SEC(5), .max_ttl = SEC(300), .srv_ttl = SEC(30)}};
    rng_init(&w.rng, 7);
    dns_name_init(&w.name, ENDPOINT_NAME, DNS_ANY, STR("App.Test"));
    w.list = dns_list_new();
    assert_non_null(w.list);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    dns_name_free(&w->name);
    free(w->list);
    return 0;
}

/* "192.0.2.1 192.0.2.2" into a family of an answer; "nodata", "timeout", ... are a status. */
static struct resolver_family family(const char *text, uint32_t ttl, struct resolver_ip *ips)
{
    struct resolver_family f = {.ttl = ttl, .ips = ips};
    for (int s = RESOLVED_NXDOMAIN; s < RESOLVED_STATUSES; s++) {
        if (strcmp(text, resolver_status_word((enum resolver_status)s)) == 0)
            f.status = (enum resolver_status)s;
    }
    if (strcmp(text, "pending") == 0)
        f.status = RESOLVED_PENDING;
    if (strcmp(text, "-") == 0)
        f.status = RESOLVED_NOT_ASKED;
    for (const char *p = text; f.status == RESOLVED_OK && *p;) {
        char one[64];
        size_t n = strcspn(p, " ");
        (void)snprintf(one, sizeof(one), "%.*s", (int)n, p);
        ips[f.n] = (struct resolver_ip){.six = strchr(one, ':') != NULL};
        assert_int_equal(inet_pton(ips[f.n].six ? AF_INET6 : AF_INET, one, ips[f.n].bytes), 1);
        f.n++;
        p += n + (p[n] == ' ');
    }
    return f;
}

static void add(struct world *w, struct dns_lookup *l, uint32_t i, const char *four,
                const char *six, uint32_t ttl)
{
    struct resolver_ip a[RESOLVER_RECORDS_MAX], b[RESOLVER_RECORDS_MAX];
    struct resolver_answer answer = {.family = {family(four, ttl, a), family(six, ttl, b)}};
    dns_lookup_add(l, i, &w->name, &answer);
}

/* A whole look-up of name:port; true: something has changed. */
static bool look_up(struct world *w, const char *four, const char *six, uint32_t ttl)
{
    struct dns_lookup l;
    bool final = strcmp(four, "pending") != 0 && strcmp(six, "pending") != 0;
    assert_int_equal(dns_lookup_begin(&l, NULL, 0), 0);
    add(w, &l, 0, four, six, ttl);
    return dns_name_settle(&w->name, &l, final, &w->bounds, &w->rng, w->now, &w->wait);
}

static void assert_list(struct world *w, const char *expected)
{
    char all[4096] = "";
    dns_list_clear(w->list);
    dns_list_add_name(w->list, &w->name, 80, &w->u);
    for (uint32_t i = 0; i < w->list->n; i++) {
        size_t n = strlen(all);
        (void)snprintf(all + n, sizeof(all) - n, "%s%.*s", n ? " " : "",
                       STR_FMT(w->list->at[i].text));
    }
    assert_string_equal(all, expected);
}

#define ASSERT_NEAR(wait, seconds)                                                                 \
    assert_in_range((wait), SEC(seconds) / 10 * 9, SEC(seconds) / 10 * 11)

/* ---- when ---- */

static void test_ttl(void **state)
{
    struct world *w = *state;
    usec_t least = USEC_NEVER, most = 0;
    for (int i = 0; i < 1000; i++) {
        usec_t t = dns_wait_ttl(100, &w->bounds, &w->rng);
        ASSERT_NEAR(t, 100);
        least = min_u64(least, t);
        most = max_u64(most, t);
    }
    assert_true(least < SEC(91) && most > SEC(109)); /* it is spread */
    ASSERT_NEAR(dns_wait_ttl(0, &w->bounds, &w->rng), 5);
    ASSERT_NEAR(dns_wait_ttl(1, &w->bounds, &w->rng), 5);
    ASSERT_NEAR(dns_wait_ttl(100000, &w->bounds, &w->rng), 300);
    ASSERT_NEAR(dns_wait_ttl(UINT32_MAX, &w->bounds, &w->rng), 300);
}

static void test_backoff(void **state)
{
    struct world *w = *state;
    static const unsigned seconds[] = {1, 2, 4, 8, 16, 30, 30, 30};
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        assert_false(look_up(w, "timeout", "timeout", 0));
        ASSERT_NEAR(w->wait, seconds[i]);
        assert_int_equal(w->name.next, w->now + w->wait);
    }
    ASSERT_NEAR(dns_wait_failure(UINT32_MAX, &w->rng), 30);
    (void)look_up(w, "192.0.2.1", "nodata", 60);
    ASSERT_NEAR(w->wait, 60);
    (void)look_up(w, "servfail", "servfail", 0);
    ASSERT_NEAR(w->wait, 1);
    assert_int_equal(w->name.results[RESOLVED_TIMEOUT], 8);
    assert_int_equal(w->name.results[RESOLVED_OK], 1);
    assert_int_equal(w->name.results[RESOLVED_SERVFAIL], 1);
}

static void test_bounds(void **state)
{
    struct dns_bounds b = {0};
    (void)state;
    dns_bounds_tighten(&b, &(struct conf_upstream_dns){.min_ttl = 5, .max_ttl = 50, .srv_ttl = 9});
    dns_bounds_tighten(&b, &(struct conf_upstream_dns){.min_ttl = 7, .max_ttl = 40, .srv_ttl = 8});
    assert_int_equal(b.min_ttl, 5);
    assert_int_equal(b.max_ttl, 40);
    assert_int_equal(b.srv_ttl, 8);
}

/* ---- order ---- */

static void test_order(void **state)
{
    struct world *w = *state;
    assert_string_equal(w->name.host, "app.test");
    assert_true(look_up(w, "192.0.2.1 192.0.2.2 192.0.2.3", "2001:db8::1", 60));
    assert_list(w, "[2001:db8::1]:80 192.0.2.1:80 192.0.2.2:80 192.0.2.3:80");
    assert_true(look_up(w, "192.0.2.1", "2001:db8::1 2001:db8::2 2001:db8::3", 60));
    assert_list(w, "[2001:db8::1]:80 192.0.2.1:80 [2001:db8::2]:80 [2001:db8::3]:80");
}

static void test_rotation_changes_nothing(void **state)
{
    struct world *w = *state;
    assert_true(look_up(w, "192.0.2.1 192.0.2.2 192.0.2.3", "nodata", 60));
    assert_false(look_up(w, "192.0.2.3 192.0.2.1 192.0.2.2", "nodata", 60));
    assert_list(w, "192.0.2.1:80 192.0.2.2:80 192.0.2.3:80");
    assert_true(look_up(w, "192.0.2.4 192.0.2.3 192.0.2.1 192.0.2.1", "nodata", 60));
    assert_list(w, "192.0.2.1:80 192.0.2.3:80 192.0.2.4:80");
}

static void test_list(void **state)
{
    struct world *w = *state;
    struct address a;
    const char *why;
    (void)look_up(w, "192.0.2.1 192.0.2.2", "nodata", 60);
    dns_list_clear(w->list);
    assert_int_equal(address_parse(STR("192.0.2.2:80"), &a, &why), 0);
    dns_list_add(w->list, STR("192.0.2.2:80"), &a);
    assert_int_equal(address_parse(STR("unix:/run/x"), &a, &why), 0);
    dns_list_add(w->list, STR("unix:/run/x"), &a);
    dns_list_add_name(w->list, &w->name, 80, &w->u);
    dns_list_add_name(w->list, &w->name, 81, &w->u);
    assert_int_equal(w->list->n, 5); /* 192.0.2.2:80 once */
    assert_true(str_eq(w->list->at[2].text, STR("192.0.2.1:80")));
    assert_true(str_eq(w->list->at[4].text, STR("192.0.2.2:81")));
    for (uint16_t port = 100; port < 700; port++)
        dns_list_add_name(w->list, &w->name, port, &w->u);
    assert_int_equal(w->list->n, DNS_LIST_MAX);
    assert_int_equal(w->list->left_out, 5 + 1200 - DNS_LIST_MAX);
}

static void test_refused(void **state)
{
    struct world *w = *state;
    uint32_t n, refused;
    (void)look_up(w, "169.254.169.254 192.0.2.1 0.0.0.0 224.0.0.1 255.255.255.255",
                  "fe80::1 :: ff02::1 ::ffff:169.254.1.1 ::ffff:0.0.0.0 fd00:ec2::254 2001:db8::1",
                  60);
    assert_list(w, "[2001:db8::1]:80 192.0.2.1:80");
    dns_name_count(&w->name, false, &n, &refused);
    assert_int_equal(n, 12);
    assert_int_equal(refused, 10);
    w->u.allow_link_local = true;
    assert_list(w, "[fe80::1]:80 169.254.169.254:80 169.254.1.1:80 192.0.2.1:80 "
                   "[fd00:ec2::254]:80 [2001:db8::1]:80");
    dns_name_count(&w->name, true, &n, &refused);
    assert_int_equal(refused, 6);
}

/* ---- failures and policies ---- */

static void test_failures_keep(void **state)
{
    struct world *w = *state;
    static const char *const failures[] = {"timeout", "servfail", "malformed", "error"};
    assert_true(look_up(w, "192.0.2.1", "2001:db8::1", 60));
    w->u.on_not_found = w->u.on_empty = DNS_REMOVE;
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        assert_false(look_up(w, failures[i], failures[i], 0));
        assert_false(look_up(w, failures[i], "nodata", 0)); /* not known to be empty */
        assert_false(look_up(w, "nxdomain", failures[i], 0));
        assert_list(w, "[2001:db8::1]:80 192.0.2.1:80");
    }
    assert_int_equal(w->name.last_good, w->now);
    assert_int_equal(w->name.state, DNS_GOOD);
}

static void test_one_family_fails(void **state)
{
    struct world *w = *state;
    assert_true(look_up(w, "192.0.2.1", "2001:db8::1", 600));
    assert_true(look_up(w, "192.0.2.2", "timeout", 600));
    assert_list(w, "[2001:db8::1]:80 192.0.2.2:80");
    ASSERT_NEAR(w->wait, 1); /* the other family is tried again soon */
    assert_int_equal(w->name.last, RESOLVED_TIMEOUT);
    /* One family is known, the other one late. */
    assert_true(look_up(w, "192.0.2.3", "pending", 600));
    assert_list(w, "[2001:db8::1]:80 192.0.2.3:80");
    assert_int_equal(w->wait, 0);
    assert_false(look_up(w, "192.0.2.3", "2001:db8::1", 600));
    ASSERT_NEAR(w->wait, 300);
    /* One family is gone for good. */
    assert_true(look_up(w, "192.0.2.3", "nodata", 600));
    assert_list(w, "192.0.2.3:80");
    assert_true(look_up(w, "nxdomain", "2001:db8::2", 600));
    assert_list(w, "[2001:db8::2]:80");
}

static void test_policies(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *four, *six;
        enum dns_state state;
    } cases[] = {
        {"nxdomain", "nxdomain", DNS_NOT_FOUND},
        {"nodata", "nodata", DNS_EMPTY},
        {"nxdomain", "nodata", DNS_NOT_FOUND},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)look_up(w, "192.0.2.1", "nodata", 60);
        w->u.on_not_found = w->u.on_empty = DNS_KEEP;
        assert_true(look_up(w, cases[i].four, cases[i].six, 0));
        assert_int_equal(w->name.state, cases[i].state);
        ASSERT_NEAR(w->wait, 1);
        assert_list(w, "192.0.2.1:80");
        assert_false(look_up(w, cases[i].four, cases[i].six, 0));
        bool not_found = cases[i].state == DNS_NOT_FOUND;
        *(not_found ? &w->u.on_empty : &w->u.on_not_found) = DNS_REMOVE; /* the other one */
        assert_list(w, "192.0.2.1:80");
        *(not_found ? &w->u.on_not_found : &w->u.on_empty) = DNS_REMOVE;
        assert_list(w, "");
        assert_false(look_up(w, "timeout", "timeout", 0)); /* what was said last holds */
        assert_list(w, "");
        assert_true(look_up(w, "192.0.2.1", "nodata", 60)); /* back again */
        assert_list(w, "192.0.2.1:80");
    }
}

static void test_never_any(void **state)
{
    struct world *w = *state;
    assert_list(w, "");
    assert_true(look_up(w, "nxdomain", "nxdomain", 0));
    assert_list(w, "");
    assert_int_equal(w->name.last_good, 0);
}

/* ---- SRV ---- */

static void begin_srv(struct dns_lookup *l, const char *const *hosts, const unsigned *priorities,
                      uint32_t n)
{
    struct resolver_srv srv[8] = {0};
    for (uint32_t i = 0; i < n; i++) {
        (void)snprintf(srv[i].host, sizeof(srv[i].host), "%s", hosts[i]);
        srv[i].priority = (uint16_t)priorities[i];
        srv[i].port = (uint16_t)(8000 + hosts[i][0]);
    }
    assert_int_equal(dns_lookup_begin(l, srv, n), 0);
}

static void test_srv(void **state)
{
    struct world *w = *state;
    struct dns_lookup l;
    w->name.kind = ENDPOINT_SRV;
    begin_srv(&l, (const char *const[]){"c", "B", "a"}, (const unsigned[]){1, 0, 0}, 3);
    assert_string_equal(l.targets->at[0].host, "a"); /* by priority, then by name */
    assert_string_equal(l.targets->at[1].host, "b");
    add(w, &l, 0, "192.0.2.1", "nodata", 20);
    add(w, &l, 1, "192.0.2.2", "2001:db8::2", 600);
    add(w, &l, 2, "192.0.2.3", "nodata", 600);
    assert_true(dns_name_settle(&w->name, &l, true, &w->bounds, &w->rng, w->now, &w->wait));
    ASSERT_NEAR(w->wait, 20);
    assert_list(w, "192.0.2.1:8097 [2001:db8::2]:8066 192.0.2.2:8066");

    /* A target that fails keeps its addresses; one that is gone has none. */
    begin_srv(&l, (const char *const[]){"a", "b", "c"}, (const unsigned[]){0, 0, 1}, 3);
    add(w, &l, 0, "timeout", "timeout", 0);
    add(w, &l, 1, "nxdomain", "nxdomain", 0);
    add(w, &l, 2, "192.0.2.3", "nodata", 600);
    assert_true(dns_name_settle(&w->name, &l, true, &w->bounds, &w->rng, w->now, &w->wait));
    ASSERT_NEAR(w->wait, 1);
    assert_list(w, "192.0.2.1:8097");

    /* The lowest priority has no address: the next one. */
    begin_srv(&l, (const char *const[]){"b", "c"}, (const unsigned[]){0, 1}, 2);
    add(w, &l, 0, "nodata", "nodata", 0);
    add(w, &l, 1, "192.0.2.3", "nodata", 600);
    assert_true(dns_name_settle(&w->name, &l, true, &w->bounds, &w->rng, w->now, &w->wait));
    ASSERT_NEAR(w->wait, 30);
    assert_list(w, "192.0.2.3:8099");

    /* All targets are without one. */
    w->u.on_empty = DNS_REMOVE;
    begin_srv(&l, (const char *const[]){"c"}, (const unsigned[]){0}, 1);
    add(w, &l, 0, "nodata", "nodata", 0);
    assert_true(dns_name_settle(&w->name, &l, true, &w->bounds, &w->rng, w->now, &w->wait));
    assert_list(w, "");
}

static void test_families_asked(void **state)
{
    struct world *w = *state;
    assert_int_equal(dns_name_kinds(&w->name), RESOLVE_A | RESOLVE_AAAA);
    w->name.family = DNS_IPV4;
    assert_int_equal(dns_name_kinds(&w->name), RESOLVE_A);
    w->name.family = DNS_IPV6;
    assert_int_equal(dns_name_kinds(&w->name), RESOLVE_AAAA);
    assert_true(look_up(w, "-", "2001:db8::1", 60));
    assert_list(w, "[2001:db8::1]:80");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ttl),
        TEST(test_backoff),
        TEST(test_bounds),
        TEST(test_order),
        TEST(test_rotation_changes_nothing),
        TEST(test_list),
        TEST(test_refused),
        TEST(test_failures_keep),
        TEST(test_one_family_fails),
        TEST(test_policies),
        TEST(test_never_any),
        TEST(test_srv),
        TEST(test_families_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
