/* test_tls_files.c - the contexts that files make: what is the same stays the same context, what is
 * bad is told at its place, and each allocation may fail. */
#include "config/tls_files.h"

#include "base/mem.h"
#include "../io/tls_certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];
static struct made first, second, old;

static void put(const char *name, struct str text)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    if (text.n > 0)
        assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
    assert_int_equal(fclose(f), 0);
}

static void put_pair(const char *name, const struct made *m)
{
    char file[64];
    (void)snprintf(file, sizeof(file), "%s.crt", name);
    put(file, m->cert_pem);
    (void)snprintf(file, sizeof(file), "%s.key", name);
    put(file, m->key_pem);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof(root), "/tmp/sluice-tls-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    first = make((struct wish){.cn = "a.test", .sans = "DNS:a.test"});
    second = make((struct wish){.cn = "a.test", .sans = "DNS:a.test"});
    old = make((struct wish){.cn = "a.test", .sans = "DNS:a.test", .from = -7200, .until = -3600});
    put_pair("one", &first);
    put_pair("two", &second);
    put("ca.crt", first.cert_pem);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    made_free(&first);
    made_free(&second);
    made_free(&old);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command) == 0 ? 0 : -1;
}

static const char *const one_listener =
    "- {name: l1, address: \"127.0.0.1:1\", routes: [{upstream: u1}], tls: {certificates: "
    "[{certFile: ROOT/one.crt, keyFile: ROOT/one.key}]}}\n";
static const char *const two_listener =
    "- {name: l2, address: \"127.0.0.1:2\", routes: [{upstream: u1}], tls: {certificates: "
    "[{certFile: ROOT/two.crt, keyFile: ROOT/two.key}], clientAuth: require, caFile: "
    "ROOT/ca.crt}}\n";
static const char *const plain_listener =
    "- {name: l3, address: \"127.0.0.1:3\", routes: [{upstream: u2}]}\n";
static const char *const upstreams =
    "upstreams:\n- {name: u1, endpoints: [\"127.0.0.1:9\"], tls: {caFile: ROOT/ca.crt, certFile: "
    "ROOT/one.crt, keyFile: ROOT/one.key}}\n- {name: u2, endpoints: [\"127.0.0.1:8\"]}\n";

static struct conf *build(const char *a, const char *b, const char *c, const char *more)
{
    struct config_problems p = {0};
    char raw[4096], text[8192];
    const char *from = raw, *at;
    size_t n = 0;
    (void)snprintf(raw, sizeof(raw), "version: 1\nlisteners:\n%s%s%s%s%s", a, b, c, upstreams,
                   more);
    while ((at = strstr(from, "ROOT")) != NULL) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s%s", (int)(at - from), from, root);
        from = at + 4;
    }
    (void)snprintf(text + n, sizeof(text) - n, "%s", from);
    struct conf *conf = config_build("test.yaml", text, strlen(text), &p);
    config_problems_print(&p, "test.yaml", STDERR_FILENO);
    assert_int_equal(p.errors, 0);
    config_problems_free(&p);
    return conf;
}

static struct conf *build_all(void)
{
    return build(one_listener, two_listener, plain_listener, "");
}

/* How many problems. */
static uint32_t load(const struct conf *c, const struct conf *in_force, const struct tls_set *have,
                     struct tls_set *ret)
{
    struct config_problems p = {0};
    assert_int_equal(tls_files_load(c, in_force, have, time(NULL), ret, &p), 0);
    uint32_t n = p.errors;
    config_problems_free(&p);
    return n;
}

static void assert_state(const struct tls_entry *e, enum tls_entry_state state)
{
    assert_non_null(e);
    assert_int_equal(e->state, state);
    assert_int_equal(e->context != NULL, state == TLS_ENTRY_SAME || state == TLS_ENTRY_NEW);
}

static void test_same_and_new(void **state)
{
    struct conf *c = build_all();
    struct tls_set a, b;
    (void)state;
    assert_int_equal(load(c, NULL, NULL, &a), 0);
    assert_state(tls_set_listener(&a, 0), TLS_ENTRY_NEW);
    assert_state(tls_set_listener(&a, 1), TLS_ENTRY_NEW);
    assert_state(tls_set_listener(&a, 2), TLS_ENTRY_NONE);
    assert_state(tls_set_upstream(&a, 0), TLS_ENTRY_NEW);
    assert_state(tls_set_upstream(&a, 1), TLS_ENTRY_NONE);
    assert_null(tls_set_listener(&a, 3));
    assert_null(tls_set_upstream(&a, 2));
    assert_int_equal(load(c, c, &a, &b), 0);
    for (uint32_t i = 0; i < a.n; i++)
        assert_ptr_equal(a.entries[i].context, b.entries[i].context);
    assert_state(tls_set_listener(&b, 0), TLS_ENTRY_SAME);
    tls_set_free(&b);
    put_pair("two", &first);
    assert_int_equal(load(c, c, &a, &b), 0);
    assert_state(tls_set_listener(&b, 0), TLS_ENTRY_SAME);
    assert_state(tls_set_listener(&b, 1), TLS_ENTRY_NEW);
    assert_state(tls_set_upstream(&b, 0), TLS_ENTRY_SAME);
    put_pair("two", &second);
    tls_set_free(&a);
    tls_set_free(&b);
    assert_int_equal(b.n, 0);
    (void)config_free(c);
}

static void test_by_name(void **state)
{
    struct conf *c = build_all(), *d = build(plain_listener, two_listener, one_listener, "");
    struct conf *e = build(one_listener, two_listener,
                           "- {name: l4, address: \"127.0.0.1:4\", routes: [{upstream: u2}], tls: "
                           "{minVersion: 1.3, certificates: [{certFile: ROOT/one.crt, keyFile: "
                           "ROOT/one.key}]}}\n",
                           "");
    struct tls_set a, b, x;
    (void)state;
    assert_int_equal(load(c, NULL, NULL, &a), 0);
    assert_int_equal(load(d, c, &a, &b), 0);
    assert_ptr_equal(tls_set_listener(&b, 2)->context, tls_set_listener(&a, 0)->context);
    assert_ptr_equal(tls_set_listener(&b, 1)->context, tls_set_listener(&a, 1)->context);
    assert_state(tls_set_listener(&b, 0), TLS_ENTRY_NONE);
    assert_int_equal(load(e, c, &a, &x), 0);
    assert_state(tls_set_listener(&x, 2), TLS_ENTRY_NEW); /* another name */
    tls_set_free(&a);
    tls_set_free(&b);
    tls_set_free(&x);
    (void)config_free(c);
    (void)config_free(d);
    (void)config_free(e);
}

static void test_other_settings(void **state)
{
    struct conf *c = build_all();
    struct tls_set a, b;
    (void)state;
    assert_int_equal(load(c, NULL, NULL, &a), 0);
    c->listeners[0].tls.min_version = TLS_1_3;
    c->listeners[1].http2 = false;
    c->upstreams[0].tls.server_name = STR("b.test");
    assert_int_equal(load(c, c, &a, &b), 0);
    assert_state(tls_set_listener(&b, 0), TLS_ENTRY_NEW);
    assert_state(tls_set_listener(&b, 1), TLS_ENTRY_NEW);
    assert_state(tls_set_upstream(&b, 0), TLS_ENTRY_NEW);
    tls_set_free(&a);
    tls_set_free(&b);
    (void)config_free(c);
}

/* Of a bad one nothing is kept, and what it is has a digest of its own. */
static void test_refused(void **state)
{
    struct conf *c = build_all();
    struct tls_set a, b, d;
    (void)state;
    assert_int_equal(load(c, NULL, NULL, &a), 0);
    put("two.key", first.key_pem);
    assert_int_equal(load(c, c, &a, &b), 1);
    assert_state(tls_set_listener(&b, 1), TLS_ENTRY_REFUSED);
    assert_state(tls_set_listener(&b, 0), TLS_ENTRY_SAME);
    put_pair("two", &old);
    assert_int_equal(load(c, c, &a, &d), 1);
    assert_memory_not_equal(b.entries[1].digest, d.entries[1].digest, TLS_DIGEST_BYTES);
    tls_set_free(&b);
    tls_set_free(&d);
    put("two.crt", STR_NONE);
    put("two.key", STR_NONE);
    assert_int_equal(load(c, c, &a, &b), 1);
    put_pair("two", &second);
    assert_int_equal(load(c, c, &a, &d), 0);
    assert_state(tls_set_listener(&d, 1), TLS_ENTRY_SAME);
    tls_set_free(&a);
    tls_set_free(&b);
    tls_set_free(&d);
    (void)config_free(c);
}

static void test_names(void **state)
{
    struct conf *c = build_all();
    const char **names;
    uint32_t n;
    (void)state;
    assert_int_equal(tls_files_names(c, NULL, &names, &n), 0);
    assert_int_equal(n, 5); /* each once */
    free(names);
    assert_int_equal(tls_files_names(c, c, &names, &n), 0);
    assert_int_equal(n, 5);
    free(names);
    (void)config_free(c);
}

static void test_failing_allocations(void **state)
{
    struct conf *c = build_all();
    struct tls_set a, b;
    bool failed = true;
    (void)state;
    assert_int_equal(load(c, NULL, NULL, &a), 0);
    for (uint64_t nth = 1; failed; nth++) {
        struct config_problems p = {0};
        uint64_t failures = mem_failures();
        mem_fail_at(nth, false);
        int rc = tls_files_load(c, NULL, NULL, time(NULL), &b, &p);
        mem_fail_at(0, false);
        failed = mem_failures() != failures;
        assert_int_equal(p.errors > 0, failed);
        assert_true(rc == 0 || (failed && b.n == 0));
        for (uint32_t i = 0; i < b.n; i++)
            assert_int_equal(b.entries[i].state == TLS_ENTRY_REFUSED ||
                                 b.entries[i].state == TLS_ENTRY_NONE,
                             b.entries[i].context == NULL);
        tls_set_free(&b);
        config_problems_free(&p);
    }
    tls_set_free(&a);
    (void)config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_and_new),   cmocka_unit_test(test_by_name),
        cmocka_unit_test(test_other_settings), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_names),          cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
