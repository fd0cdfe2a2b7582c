/* test_broken.c - files cut off or with a wrong byte, at each place, and memory that runs out.
 *
 * Whatever comes: a configuration that holds together, or mistakes at places that the file has. */
#include "base/mem.h"
#include "config/text_place.h"
#include "env.h"
#include "mistake.h"
#include "rich.h"
#include "tests/unit/slow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char variables[] =
    ADMIN_3_3("tokenFile: \"/run/${ABSENT:-secrets}/$${x}/${NAME}\"\n  socket: ${ABSENT:-off}");

/* To be run from the repository's root. Each file is read once, and kept. */
static const char *read_file(const char *name)
{
    static char text[4][32768];
    static const char *names[4];
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        if (names[i] == name)
            return text[i];
        if (names[i])
            continue;
        FILE *f = fopen(name, "r");
        if (!f)
            fail_msg("%s: not found from here", name);
        size_t n = fread(text[i], 1, sizeof(text[i]) - 1, f);
        assert_true(n > 0 && n < sizeof(text[i]) - 1);
        text[i][n] = '\0';
        (void)fclose(f);
        names[i] = name;
        return text[i];
    }
    fail();
    return NULL;
}

/* ---- one text ---- */

static void check_place(const char *text, size_t n, const struct config_problem *it)
{
    struct text_place at = text_place_begin((struct str){text, n});
    if (it->line == 0) {
        assert_int_equal(it->column, 0);
        return;
    }
    text_place_seek(&at, it->line, it->column);
    if (at.line != it->line || at.column != it->column)
        fail_msg("%u:%u is not in the text: %s", it->line, it->column, it->message);
}

static struct conf *build(const char *text, size_t n)
{
    struct config_problems p = {0};
    char *copy = malloc(n + 1); /* for the address sanitizer: nothing behind it is read */
    assert_non_null(copy);
    memcpy(copy, text, n);
    char *exact = n > 0 ? realloc(copy, n) : copy;
    struct conf *c = config_build_env("broken", exact, n, &test_env, &p);
    assert_true((c != NULL) == (p.errors == 0));
    assert_true(c || (p.n > 0 && p.items[0].message[0]));
    for (uint32_t i = 0; i < p.n; i++)
        check_place(exact, n, &p.items[i]);
    free(exact);
    config_problems_free(&p);
    return c;
}

/* ---- cut ---- */

static bool str_same(struct str a, struct str b)
{
    return str_eq(a, b) && !a.p == !b.p;
}

static void check_part_of_route(const struct conf_route *part, const struct conf_route *whole)
{
    assert_true(str_same(part->name, whole->name));
    assert_int_equal(part->action, whole->action);
    assert_int_equal(part->match.path_how, whole->match.path_how);
    assert_true(str_same(part->match.path, whole->match.path));
    assert_int_equal(part->match.n_hosts, whole->match.n_hosts);
    assert_int_equal(part->match.n_headers, whole->match.n_headers);
    assert_int_equal(part->match.n_query, whole->match.n_query);
    assert_true(str_same(part->redirect_prefix, whole->redirect_prefix));
    assert_true(str_same(part->direct_body, whole->direct_body));
    assert_int_equal(part->n_backends, whole->n_backends);
    assert_memory_equal(part->ppm, whole->ppm, sizeof(part->ppm));
    assert_int_equal(part->timeout, whole->timeout);
}

/* All that stands before the last listener, and before its last route, is as in the whole. */
static void check_part(const struct conf *part, const struct conf *whole)
{
    assert_int_equal(part->workers, whole->workers);
    /* the numbers in front of the texts */
    assert_memory_equal(&part->lifecycle, &whole->lifecycle,
                        offsetof(struct conf_lifecycle, prestop_token_file));
    assert_int_equal(part->admin.n_allowed_hosts, whole->admin.n_allowed_hosts);
    assert_int_equal(part->access_log.enabled, whole->access_log.enabled);
    assert_true(part->n_listeners <= whole->n_listeners);
    for (uint32_t i = 0; i < part->n_listeners; i++) {
        const struct conf_listener *l = &part->listeners[i];
        bool last = i + 1 == part->n_listeners;
        assert_true(str_same(l->name, whole->listeners[i].name));
        assert_true(address_equal(&l->address, &whole->listeners[i].address));
        assert_true(last || l->n_routes == whole->listeners[i].n_routes);
        for (uint32_t r = 0; r + (last ? 1 : 0) < l->n_routes; r++)
            check_part_of_route(&l->routes[r], &whole->listeners[i].routes[r]);
    }
}

/* A build of all keys takes a millisecond, and ten under a sanitizer, which gets every 23rd place.
 */
enum { PLACES = SLOW_BUILD ? 23 : 1 };

/* A file that was cut while it was written is told, or it is whole on its own: then all but its
 * last piece is as it was written. Returns how many were whole. */
static unsigned cut(const char *text)
{
    unsigned good = 0;
    struct conf *whole = build(text, strlen(text));
    assert_non_null(whole);
    for (size_t n = 0; n < strlen(text); n += PLACES) {
        struct conf *c = build(text, n);
        if (c)
            check_part(c, whole);
        good += c != NULL;
        (void)config_free(c);
    }
    (void)config_free(whole);
    return good;
}

static void test_cut(void **state)
{
    (void)state;
    unsigned good = cut(rich);
    /* Behind the redirect, which needs no upstream, and before the next route: about 150 bytes. */
    assert_true(good > 0 && good < 300);
    (void)cut(read_file("docs/guide/examples/sluice.yaml"));
    (void)cut(read_file("tests/fuzz/corpus/config/every-key.yaml"));
    (void)cut(variables);
}

/* ---- another byte ---- */

static void replace(const char *text)
{
    static const char hostile[] = {'\0', '\xff', '\t', '{', ':', '\r', '"', '$', '-', '9', '\xc2'};
    size_t n = strlen(text);
    char *copy = malloc(n + 1);
    assert_non_null(copy);
    memcpy(copy, text, n + 1);
    for (size_t i = 0; i < n; i += PLACES) {
        /* All of them at every twelfth byte, and one of them at the others. */
        bool all = i / PLACES % 12 == 0;
        size_t k = all ? 0 : i % ARRAY_LEN(hostile), end = all ? ARRAY_LEN(hostile) : k + 1;
        for (; k < end; k++) {
            copy[i] = hostile[k % ARRAY_LEN(hostile)];
            (void)config_free(build(copy, n));
        }
        copy[i] = text[i];
    }
    free(copy);
}

static void test_replaced(void **state)
{
    (void)state;
    replace(rich);
    replace(variables);
}

/* ---- memory ---- */

static void run_failing(const char *text)
{
    for (uint64_t nth = 1;; nth += PLACES) {
        struct config_problems p = {0};
        uint64_t failures = mem_failures();
        mem_fail_at(nth, false);
        struct conf *c = config_build_env("oom", text, strlen(text), &test_env, &p);
        mem_fail_at(0, false);
        bool failed = mem_failures() != failures;
        bool said = false;
        for (uint32_t i = 0; i < p.n; i++)
            said = said || strstr(p.items[i].message, "out of memory");
        assert_true(c || p.errors > 0);
        if (failed)
            assert_true(!c && said);
        (void)config_free(c);
        config_problems_free(&p);
        if (!failed)
            return;
    }
}

static void test_failing_allocations(void **state)
{
    (void)state;
    run_failing(rich);
    run_failing(read_file("docs/guide/examples/sluice.yaml"));
    run_failing(read_file("tests/fuzz/corpus/config/every-key.yaml"));
    run_failing(variables);
    run_failing(LIFE_3_3("noticePeriod: ${ABSENT}"));
    run_failing(UPSTREAMS_8_1("- {name: a, endpoints: [\"127.0.0.1:80\"]}\n"
                              "- {name: b, endpoints: [\"127.0.0.1:81\"]}")); /* a warning */
    run_failing(FORWARD_7_5("wieght: 1")); /* the message itself has no memory */
}

static void test_no_memory_at_all(void **state)
{
    (void)state;
    struct conf *c = NULL;
    for (uint64_t every = 1; !c; every++) {
        struct config_problems p = {0};
        mem_fail_at(every, true);
        c = config_build_env("oom", rich, strlen(rich), &test_env, &p);
        mem_fail_at(0, false);
        assert_true(c || p.errors > 0);
        config_problems_free(&p);
    }
    (void)config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_no_memory_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
