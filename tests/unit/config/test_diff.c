/* The settings of a configuration, and two of them beside each other. */
#include "base/arena.h"
#include "base/mem.h"
#include "config/build.h"
#include "config/diff.h"
#include "rich.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LISTENERS                                                                                  \
    "listeners:\n"                                                                                 \
    "- {name: in, address: \"127.0.0.1:1\", routes: [{upstream: a}]}\n"
#define UPSTREAMS "upstreams: [{name: a, endpoints: [\"127.0.0.1:9\"]}]\n"
#define WITH(x)   "version: 1\n" x "\n" LISTENERS UPSTREAMS
#define ROUTES(x)                                                                                  \
    "version: 1\nlisteners:\n- name: in\n  address: 127.0.0.1:1\n  routes:\n" x UPSTREAMS

static struct setting *flatten(struct arena *a, const char *text)
{
    struct config_problems problems = {0};
    struct setting *list = NULL;
    struct yaml_node *root = yaml_tree_parse(a, text, strlen(text), &problems);
    assert_non_null(root);
    assert_true(settings_flatten(a, root, false, &list));
    config_problems_free(&problems);
    return list;
}

/* One line a change: "R+ path: value", "~ path: old > new", " + " for what is inside. */
static const char *diff_text(const char *was, const char *is)
{
    static char out[8192];
    struct arena *a = arena_new();
    struct config_diff d;
    size_t o = 0;

    assert_int_equal(0, config_diff(flatten(a, was), flatten(a, is), &d));
    out[0] = '\0';
    for (uint32_t i = 0; i < d.n; i++) {
        const struct config_change *c = &d.items[i];
        const struct setting *s = c->is ? c->is : c->was;
        o += (size_t)snprintf(out + o, sizeof(out) - o, "%s%s%c %.*s", c->restart ? "R" : "",
                              c->inside ? " " : "", "+-~^"[c->kind], STR_FMT(s->path));
        if (c->was && c->is)
            o += (size_t)snprintf(out + o, sizeof(out) - o, ": %.*s > %.*s", STR_FMT(c->was->value),
                                  STR_FMT(c->is->value));
        else if (s->value.n)
            o += (size_t)snprintf(out + o, sizeof(out) - o, ": %.*s", STR_FMT(s->value));
        o += (size_t)snprintf(out + o, sizeof(out) - o, "%s\n", s->given ? "" : " (default)");
        assert_true(o < sizeof(out));
    }
    config_diff_free(&d);
    arena_free(a);
    return out;
}

static void test_values(void **state)
{
    (void)state;
    assert_string_equal("", diff_text(rich, rich));
    /* the same in other words, or the default written out */
    assert_string_equal("", diff_text(WITH("lifecycle: {lastCall: 1500ms, noticePeriod: 5s}"),
                                      WITH("lifecycle: {lastCall: 1.5s}")));
    assert_string_equal("", diff_text(WITH("admin: {address: \"[0:0::1]:80\"}"),
                                      WITH("admin: {address: \"[::1]:80\"}")));
    assert_string_equal("", diff_text(WITH(""), WITH("log: {level: info}")));
    assert_string_equal("~ lifecycle.noticePeriod: 2s > 5s (default)\n",
                        diff_text(WITH("lifecycle: {noticePeriod: 2s}"), WITH("")));
    /* without a default it is there or not */
    assert_string_equal("- lifecycle.terminationGracePeriod: 1h\n",
                        diff_text(WITH("lifecycle: {terminationGracePeriod: 60m}"), WITH("")));
    assert_string_equal("~ allowLinkLocal: false > true\n",
                        diff_text(WITH(""), WITH("allowLinkLocal: true")));
}

static void test_restart(void **state)
{
    (void)state;
    assert_string_equal("R~ workers: 0 > 2\n", diff_text(WITH(""), WITH("workers: 2")));
    assert_string_equal("R~ admin.address: 127.0.0.1:15900 > off\n",
                        diff_text(WITH(""), WITH("admin: {address: off}")));
    assert_string_equal("R+ admin.allowedHosts: [a, b]\n",
                        diff_text(WITH(""), WITH("admin: {allowedHosts: [a, b]}")));
    assert_string_equal("R~ health.address: 0.0.0.0:15901 > 127.0.0.1:1234\n",
                        diff_text(WITH(""), WITH("health: {address: \"127.0.0.1:1234\"}")));
    assert_string_equal("R~ dns.timeout: 2s > 3s\n",
                        diff_text(WITH(""), WITH("dns: {timeout: 3s}")));
    assert_string_equal("R+ accessLog\n"
                        "R + accessLog.path: /tmp/x\n"
                        "R + accessLog.bufferSize: 256KiB (default)\n",
                        diff_text(WITH(""), WITH("accessLog: {path: /tmp/x}")));
    assert_string_equal("R- accessLog\n", diff_text(WITH("accessLog: {path: /tmp/x}"), WITH("")));
    /* live in a map that is not, and waiting with it where all of it is new */
    assert_string_equal(
        "+ accessLog.redact.fields[peer]\n",
        diff_text(WITH("accessLog: {}"), WITH("accessLog: {redact: {fields: [peer]}}")));
    assert_string_equal("R+ accessLog\n"
                        "R + accessLog.path: - (default)\n"
                        "R + accessLog.bufferSize: 256KiB (default)\n"
                        "R + accessLog.redact.fields[peer]\n",
                        diff_text(WITH(""), WITH("accessLog: {redact: {fields: [peer]}}")));
    assert_string_equal("R~ accessLog.path: - > /tmp/x\n",
                        diff_text(WITH("accessLog: {}"), WITH("accessLog: {path: /tmp/x}")));
}

static void test_items(void **state)
{
    (void)state;
    const char *old = ROUTES("  - {name: x, upstream: a}\n  - {name: y, match: {path: /y}, "
                             "redirect: {path: /z}}\n");
    assert_string_equal("", diff_text(old, old));
    assert_string_equal("- listeners[in].routes[y]\n",
                        diff_text(old, ROUTES("  - {name: x, upstream: a}\n")));
    assert_string_equal(
        "^ listeners[in].routes: x, y > y, x\n",
        diff_text(old, ROUTES("  - {name: y, match: {path: /y}, redirect: {path: /z}}\n"
                              "  - {name: x, upstream: a}\n")));
    /* one in the middle is no other order */
    const char *text = diff_text(old, ROUTES("  - {name: x, upstream: a}\n"
                                             "  - {name: new, timeout: 3s, upstream: a}\n"
                                             "  - {name: y, match: {path: /y}, "
                                             "redirect: {path: /z}}\n"));
    assert_int_equal(0, strncmp(text, "+ listeners[in].routes[new]\n", 28));
    assert_non_null(strstr(text, "\n + listeners[in].routes[new].timeout: 3s\n"));
    assert_null(strchr(text, '^'));
    assert_string_equal(
        "~ listeners[in].routes[y].redirect.path: /z > /q\n"
        "~ listeners[in].routes[y].timeout: 15s > 1s\n",
        diff_text(old, ROUTES("  - {name: x, upstream: a}\n  - {name: y, match: {path: /y}, "
                              "timeout: 1000ms, redirect: {path: /q}}\n")));
}

static void test_lists(void **state)
{
    (void)state;
    assert_string_equal("- listeners[in].routes[#0].match.hosts[b]\n"
                        "+ listeners[in].routes[#0].match.hosts[c]\n",
                        diff_text(ROUTES("  - {match: {hosts: [a, b]}, upstream: a}\n"),
                                  ROUTES("  - {match: {hosts: [a, c]}, upstream: a}\n")));
    assert_string_equal("", diff_text(ROUTES("  - {match: {hosts: [a, b]}, upstream: a}\n"),
                                      ROUTES("  - {match: {hosts: [b, a]}, upstream: a}\n")));
    /* absent is not empty */
    assert_string_equal(
        "+ listeners[in].routes[#0].upgrades: []\n",
        diff_text(ROUTES("  - {upstream: a}\n"), ROUTES("  - {upgrades: [], upstream: a}\n")));
    /* two conditions on one header are told apart */
    const char *text =
        diff_text(ROUTES("  - {match: {headers: [{name: x, exact: \"1\", invert: true}, "
                         "{name: x, prefix: t}]}, upstream: a}\n"),
                  ROUTES("  - {match: {headers: [{name: x, exact: \"1\"}, "
                         "{name: x, prefix: t, invert: true}]}, upstream: a}\n"));
    assert_string_equal("~ listeners[in].routes[#0].match.headers[#0].invert: true > false "
                        "(default)\n"
                        "~ listeners[in].routes[#0].match.headers[#1].invert: false > true\n",
                        text);
}

/* ---- a running process ---- */

static struct conf *build(const char *text)
{
    struct config_problems problems = {0};
    struct conf *c = config_build("test", text, strlen(text), &problems);
    config_problems_free(&problems);
    return c;
}

static const char *pending(const char *at_start, const char *now)
{
    static char out[512];
    struct conf *a = build(at_start), *b = build(now);
    char **paths = NULL;
    uint32_t n = 0;
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(0, config_pending_restart(a, b, &paths, &n));
    out[0] = '\0';
    for (uint32_t i = 0, o = 0; i < n; i++) {
        o += (uint32_t)snprintf(out + o, sizeof(out) - o, "%s%s", i ? " " : "", paths[i]);
        assert_true(o < sizeof(out));
    }
    assert_true(n > 0 || !paths);
    config_pending_free(paths, n);
    config_free(a);
    config_free(b);
    return out;
}

#define UNIX(name, mode, more)                                                                     \
    "version: 1\nlisteners:\n- {name: " name ", address: \"unix:/x\", socketMode: \"" mode         \
    "\", routes: [{upstream: a}]}\n" more UPSTREAMS

static void test_pending(void **state)
{
    (void)state;
    assert_string_equal("", pending(rich, rich));
    assert_string_equal("workers", pending(WITH("workers: 1"), WITH("workers: 2")));
    assert_string_equal("", pending(WITH("lifecycle: {noticePeriod: 1s}"), WITH("")));
    assert_string_equal("workers admin.socket admin.tokenFile health.address accessLog",
                        pending(WITH(""), WITH("workers: 2\n"
                                               "admin: {socket: /a, tokenFile: /b}\n"
                                               "health: {address: off}\n"
                                               "accessLog: {path: /tmp/x}")));
    assert_string_equal("listeners[in].socketMode",
                        pending(UNIX("in", "0600", ""), UNIX("in", "0660", "")));
    /* a listener that comes or goes is live, whatever its mode */
    assert_string_equal("", pending(UNIX("in", "0600", ""), UNIX("other", "0660", "")));
    assert_string_equal("", pending(WITH(""), UNIX("in", "0660", "")));
}

static void test_failing_allocations(void **state)
{
    (void)state;
    struct conf *a = build(WITH("")), *b = build(rich);
    char **paths = NULL;
    uint32_t n = 0;
    assert_non_null(a);
    assert_non_null(b);
    for (uint64_t nth = 1;; nth++) {
        uint64_t before = mem_failures();
        mem_fail_at(nth, false);
        int rc = config_pending_restart(a, b, &paths, &n);
        mem_fail_at(0, false);
        if (mem_failures() == before) {
            assert_int_equal(0, rc);
            break;
        }
        assert_true(rc < 0);
        assert_null(paths);
    }
    assert_true(n > 3);
    config_pending_free(paths, n);
    config_free(a);
    config_free(b);

    /* what needs an arena */
    struct config_problems problems = {0};
    struct arena *tree = arena_new();
    struct yaml_node *root = yaml_tree_parse(tree, rich, strlen(rich), &problems);
    struct setting *list = NULL;
    assert_non_null(root);
    for (uint64_t nth = 1;; nth++) {
        struct arena *arena = arena_new();
        uint64_t before = mem_failures();
        mem_fail_at(nth, false);
        bool good = settings_flatten(arena, root, false, &list);
        mem_fail_at(0, false);
        arena_free(arena);
        assert_int_equal(good, mem_failures() == before);
        if (good)
            break;
    }
    arena_free(tree);
    config_problems_free(&problems);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_restart),
        cmocka_unit_test(test_items),   cmocka_unit_test(test_lists),
        cmocka_unit_test(test_pending), cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
