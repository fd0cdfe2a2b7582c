/* test_names.c - upstreams, listeners and routes by name, in files of any size. */
#include "config/build.h"
#include "config/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MANY = 10000 };

static struct conf *build(const char *text, size_t n)
{
    struct config_problems p = {0};
    struct conf *c = config_build("names", text, n, &p);
    config_problems_print(&p, "names", 2);
    assert_int_equal(p.n, 0);
    config_problems_free(&p);
    assert_non_null(c);
    return c;
}

static void test_names(void **state)
{
    (void)state;
    static const char text[] = "version: 1\n"
                               "listeners:\n"
                               "- {name: a, address: \"127.0.0.1:1\", routes: [{upstream: x}]}\n"
                               "- name: b\n"
                               "  address: 127.0.0.1:2\n"
                               "  routes:\n"
                               "  - {name: r, match: {path: /}, upstream: y}\n"
                               "  - {upstream: x}\n"
                               "- {name: t, address: \"127.0.0.1:3\", protocol: tcp, "
                               "backends: [{upstream: y}]}\n"
                               "upstreams:\n"
                               "- {name: x, endpoints: [\"127.0.0.1:9\"]}\n"
                               "- {name: y, endpoints: [\"127.0.0.1:8\"]}\n";
    struct conf *c = build(text, strlen(text));
    assert_ptr_equal(conf_find_upstream(c, STR("y")), &c->upstreams[1]);
    assert_null(conf_find_upstream(c, STR("Y")));
    assert_null(conf_find_upstream(c, STR("")));
    assert_ptr_equal(conf_find_listener(c, STR("b")), &c->listeners[1]);
    assert_null(conf_find_listener(c, STR("x")));
    assert_ptr_equal(conf_find_route(c, STR("b"), STR("r")), &c->listeners[1].routes[0]);
    assert_ptr_equal(conf_find_route(c, STR("b"), STR("b/1")), &c->listeners[1].routes[1]);
    assert_ptr_equal(conf_find_route(c, STR("t"), STR("t/0")), &c->listeners[2].routes[0]);
    assert_null(conf_find_route(c, STR("a"), STR("r")));
    assert_null(conf_find_route(c, STR("b"), STR("a/0")));
    assert_null(conf_find_route(c, STR("none"), STR("r")));
    (void)config_free(c);
}

static char *large(size_t *ret_n)
{
    size_t n = 0, cap = (size_t)MANY * 200;
    char *text = malloc(cap);
    assert_non_null(text);
    n += (size_t)snprintf(text, cap,
                          "version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n"
                          "  routes:\n");
    for (unsigned i = 0; i < MANY; i++)
        n += (size_t)snprintf(text + n, cap - n,
                              "  - {name: r%u, match: {path: /x/%u}, upstream: u%u}\n", i, i, i);
    n += (size_t)snprintf(text + n, cap - n, "upstreams:\n");
    for (unsigned i = 0; i < MANY; i++)
        n += (size_t)snprintf(text + n, cap - n, "- {name: u%u, endpoints: [\"10.0.%u.%u:80\"]}\n",
                              i, i / 250, i % 250);
    *ret_n = n;
    return text;
}

/* A look-up among 10,000 passes a few slots, as one among 10. */
static void test_work(void **state)
{
    (void)state;
    size_t n;
    char *text = large(&n), name[16];
    struct conf *c = build(text, n);
    free(text);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "u%u", i);
        assert_ptr_equal(conf_find_upstream(c, str_of(name)), &c->upstreams[i]);
        name[0] = 'r';
        assert_ptr_equal(conf_find_route(c, STR("in"), str_of(name)), &c->listeners[0].routes[i]);
    }
    assert_true(hash_index_longest(&c->names->upstreams) <= 64);
    assert_true(hash_index_longest(&c->names->routes) <= 64);
    (void)config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_work),
    };
    (void)unsetenv("SLUICE_TERMINATION_GRACE_PERIOD");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
