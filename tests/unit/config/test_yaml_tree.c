/* test_yaml_tree.c - a YAML text as a tree with places. */
#include "base/mem.h"
#include "config/scalar.h"
#include "config/yaml_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

struct fixture {
    struct arena *arena;
    struct config_problems problems;
};

static struct yaml_node *parse_n(struct fixture *f, const char *text, size_t n)
{
    *f = (struct fixture){.arena = arena_new()};
    assert_non_null(f->arena);
    return yaml_tree_parse(f->arena, text, n, &f->problems);
}

static struct yaml_node *parse(struct fixture *f, const char *text)
{
    return parse_n(f, text, strlen(text));
}

static void release(struct fixture *f)
{
    config_problems_free(&f->problems);
    (void)arena_free(f->arena);
}

static void assert_text(const struct yaml_node *node, const char *text, uint32_t line,
                        uint32_t column)
{
    assert_non_null(node);
    assert_int_equal(node->kind, NODE_SCALAR);
    assert_int_equal(node->text.n, strlen(text));
    assert_memory_equal(node->text.p, text, node->text.n);
    assert_int_equal(node->line, line);
    assert_int_equal(node->column, column);
}

static void assert_path(const struct yaml_node *node, const char *path)
{
    char out[YAML_PATH_MAX];
    assert_string_equal(yaml_path(node, out), path);
}

static void test_places(void **state)
{
    (void)state;
    struct fixture f;
    const struct yaml_node *root = parse(&f, "# first\n"
                                             "a: 5s\n"
                                             "list:\n"
                                             "- x\n"
                                             "-   {k: \"5\", 'q q': [1, two]}\n"
                                             "\xc3\xa9\xc3\xa9:  z\n");
    assert_non_null(root);
    assert_int_equal(f.problems.n, 0);
    assert_int_equal(root->kind, NODE_MAP);
    assert_int_equal(root->n, 3);
    assert_path(root, "");
    const struct yaml_node *a = yaml_get(root, "a");
    assert_text(a, "5s", 2, 4);
    assert_false(a->quoted);
    assert_int_equal(a->key_line, 2);
    assert_int_equal(a->key_column, 1);
    const struct yaml_node *list = yaml_get(root, "list");
    assert_int_equal(list->kind, NODE_LIST);
    assert_int_equal(list->n, 2);
    assert_text(yaml_at(list, 0), "x", 4, 3);
    const struct yaml_node *k = yaml_get(yaml_at(list, 1), "k");
    assert_text(k, "5", 5, 9);
    assert_true(k->quoted);
    const struct yaml_node *two = yaml_at(yaml_get(yaml_at(list, 1), "q q"), 1);
    assert_text(two, "two", 5, 25);
    assert_path(two, "list[1].q q[1]");
    /* Columns count characters, not bytes. */
    assert_text(yaml_get(root, "\xc3\xa9\xc3\xa9"), "z", 6, 6);
    assert_null(yaml_get(root, "none"));
    assert_null(yaml_get(list, "a"));
    assert_null(yaml_at(list, 2));
    assert_null(yaml_at(root, 0));
    assert_null(yaml_get(NULL, "a"));
    release(&f);
}

static void test_scalars(void **state)
{
    (void)state;
    struct fixture f;
    const struct yaml_node *root = parse(&f, "- \n"
                                             "- ~\n"
                                             "- null\n"
                                             "- ''\n"
                                             "- 'null'\n"
                                             "- |\n"
                                             "  one\n"
                                             "  two\n"
                                             "- >-\n"
                                             "  one\n"
                                             "  two\n"
                                             "- \"tab\\tend\"\n"
                                             "- plain text # comment\n");
    assert_non_null(root);
    assert_int_equal(root->n, 9);
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(yaml_is_null(yaml_at(root, i)), i < 3);
    assert_text(yaml_at(root, 5), "one\ntwo\n", 6, 3);
    assert_true(yaml_at(root, 5)->quoted);
    assert_text(yaml_at(root, 6), "one two", 9, 3);
    assert_text(yaml_at(root, 7), "tab\tend", 12, 3);
    assert_text(yaml_at(root, 8), "plain text", 13, 3);
    release(&f);
}

struct refusal {
    const char *text;
    bool root; /* there is something to go on with */
    uint32_t line, column;
    const char *path, *message;
};

static const struct refusal refusals[] = {
    {"", false, 1, 1, "", "empty"},
    {" \n\n", false, 1, 1, "", "empty"},
    {"a: 1\nb: 2\na: 3\n", true, 3, 1, "a", "twice; the first is on line 1"},
    {"m:\n  a: 1\n  'a': 3\n", true, 3, 3, "m.a", "twice; the first is on line 2"},
    {"l:\n- {a: 1, b: 2, a: 3}\n", true, 2, 16, "l[0].a", "twice"},
    {"a: &x 1\n", true, 1, 4, "a", "anchors (&)"},
    {"&x a: 1\n", true, 1, 1, "", "anchors (&)"},
    {"a: &x {b: 1}\n", true, 1, 4, "a", "anchors (&)"},
    {"a: &x [b]\n", true, 1, 4, "a", "anchors (&)"},
    {"a: *x\n", true, 1, 4, "a", "aliases (*)"},
    {"*x : 1\n", true, 1, 1, "", "aliases (*)"},
    {"- b\n- *x\n", true, 2, 3, "[1]", "aliases (*)"},
    {"a: !x 1\n", true, 1, 4, "a", "tags (!)"},
    {"a: !!str 1\n", true, 1, 4, "a", "tags (!)"},
    {"a: !<tag:x> [1]\n", true, 1, 4, "a", "tags (!)"},
    {"a: !e!x 1\n", false, 1, 4, "", "tags (!)"},
    {"<<: 1\n", true, 1, 1, "", "merge keys (<<)"},
    {"[a]: 1\n", true, 1, 1, "", "a key is a word"},
    {"{a: 1}: {b: 2}\n", true, 1, 1, "", "a key is a word"},
    {"a: 1\n---\nb: 2\n", true, 2, 1, "", "a second document"},
    {"--- a\n--- b\n", true, 2, 1, "", "a second document"},
    {"a: \"x\n---\n", false, 1, 4, "", "a quoted string has no end"},
    {"a: 'x", false, 1, 4, "", "a quoted string has no end"},
    {"a:\n  b: 1\n c: 2\n", false, 3, 2, "", "expected a key: check the indentation"},
    {"a: [1, 2\nb: 3\n", false, 2, 2, "", "expected \",\" or \"]\" (of what begins on line 1)"},
    {"a: {b: 1, c: ]}\n", false, 1, 14, "", "expected a value"},
    {"a: b\n- c\n", false, 2, 1, "", "expected a key"},
    {"a: - c\n", false, 1, 4, "", "no list item can be here"},
    {"- a\nb: c\n", false, 2, 1, "", "expected \"- \" here"},
    {"a: `b`\n", false, 1, 4, "", "put it in quotes"},
    {"a: %b\n", false, 1, 4, "", "put it in quotes"},
    {"a: 1\nb\nc: 2\n", false, 2, 1, "", "expected \": \" behind the key"},
    {"a: \x7f\n", false, 1, 4, "", "control character 0x7f"},
    {"a: 1\n\xc3\xa9: \x1b\n", false, 2, 4, "", "control character 0x1b"},
    {"a: 1\nb: \xed\xa0\x80\n", false, 2, 4, "", "not UTF-8"},
    {"a: \xc0\x80\n", false, 1, 4, "", "not UTF-8"},
    {"a: \xf8\x88\x80\x80\x80\n", false, 1, 4, "", "not UTF-8"},
};

static void test_refusals(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refusal *r = &refusals[i];
        struct fixture f;
        bool root = parse(&f, r->text) != NULL;
        const struct config_problem *p = f.problems.items;
        if (root != r->root || f.problems.n != 1 || p->line != r->line || p->column != r->column ||
            strcmp(p->path, r->path) != 0 || !strstr(p->message, r->message)) {
            (void)fprintf(stderr, "--- %zu: expected %u:%u %s: %s\n%s---\n", i, r->line, r->column,
                          r->path, r->message, r->text);
            config_problems_print(&f.problems, root ? "root" : "none", 2);
            wrong++;
        }
        release(&f);
    }
    assert_int_equal(wrong, 0);
}

/* NUL, and what looks like another encoding. */
static void test_bytes(void **state)
{
    (void)state;
    struct fixture f;
    assert_null(parse_n(&f, "a: \0b\n", 6));
    assert_int_equal(f.problems.items[0].column, 4);
    release(&f);
    assert_null(parse_n(&f,
                        "\xff\xfe"
                        "a\0:\0 \0b\0",
                        10));
    assert_int_equal(f.problems.items[0].line, 1);
    assert_string_equal(f.problems.items[0].message, "the text is not UTF-8 here");
    release(&f);
    assert_null(parse_n(&f, NULL, 0));
    assert_int_equal(f.problems.n, 1);
    release(&f);
}

/* Several mistakes, and the keys that are left are there. */
static void test_goes_on(void **state)
{
    (void)state;
    struct fixture f;
    const struct yaml_node *root = parse(&f, "a: &x 1\n"
                                             "<<: *x\n"
                                             "[b, *y]: {c: !t 2, c: 3}\n"
                                             "a: {d: *z}\n"
                                             "e: 4\n");
    assert_non_null(root);
    assert_int_equal(root->n, 2);
    assert_text(yaml_get(root, "a"), "1", 1, 4);
    assert_text(yaml_get(root, "e"), "4", 5, 4);
    static const uint32_t lines[] = {1, 2, 2, 3, 3, 3, 3, 4, 4};
    assert_int_equal(f.problems.n, ARRAY_LEN(lines));
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_int_equal(f.problems.items[i].line, lines[i]);
    release(&f);
}

static char *repeat(const char *piece, size_t times, const char *end, size_t *ret_n)
{
    size_t len = strlen(piece), n = len * times;
    char *text = malloc(n + strlen(end) + 1);
    assert_non_null(text);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * len, piece, len);
    memcpy(text + n, end, strlen(end) + 1);
    *ret_n = n + strlen(end);
    return text;
}

static void assert_refused(const char *text, size_t n, const char *message)
{
    struct fixture f;
    assert_null(parse_n(&f, text, n));
    assert_int_equal(f.problems.n, 1);
    assert_non_null(strstr(f.problems.items[0].message, message));
    release(&f);
}

static void test_bounds(void **state)
{
    (void)state;
    struct fixture f;
    size_t n;
    char *text = repeat("[", 32, "x]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", &n);
    assert_non_null(parse_n(&f, text, n));
    release(&f);
    free(text);
    text = repeat("[", 33, "x]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", &n);
    assert_refused(text, n, "nested more than 32 deep");
    free(text);
    text = repeat("{a: ", 4000000, "", &n);
    assert_refused(text, n, "nested more than 32 deep");
    free(text);
    text = repeat("- 1\n", YAML_TREE_NODES - 1, "", &n);
    assert_non_null(parse_n(&f, text, n));
    release(&f);
    free(text);
    text = repeat("- 1\n", YAML_TREE_NODES, "", &n);
    assert_refused(text, n, "more than 250000 values");
    free(text);
    text = repeat("# 34567890123456", 1 << 20, "", &n);
    assert_refused(text, n, "the file is empty");
    assert_refused(text, n + 1, "larger than 16 MiB"); /* its size is enough to refuse it */
    free(text);
}

/* Repeated keys are found by hash, not by looking at all the others. */
static void test_wide_map(void **state)
{
    (void)state;
    struct fixture f;
    size_t n = 0, cap = (size_t)16 * YAML_TREE_NODES;
    char *text = malloc(cap);
    assert_non_null(text);
    for (unsigned i = 0; i < YAML_TREE_NODES - 2; i++)
        n += (size_t)snprintf(text + n, cap - n, "k%u: 1\n", i);
    n += (size_t)snprintf(text + n, cap - n, "k77: 1\n");
    clock_t begin = clock(); /* of the processor: others may have it for most of the time */
    const struct yaml_node *root = parse_n(&f, text, n);
    assert_true(clock() - begin < 10 * CLOCKS_PER_SEC);
    assert_non_null(root);
    assert_int_equal(root->n, YAML_TREE_NODES - 2);
    assert_int_equal(f.problems.n, 1);
    assert_non_null(strstr(f.problems.items[0].message, "the first is on line 78"));
    release(&f);
    free(text);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    static const char text[] = "a: {b: [1, 2, {c: d}], e: \"f\"}\na: 2\n";
    for (uint64_t nth = 1;; nth++) {
        struct fixture f = {.arena = arena_new()};
        uint64_t failures = mem_failures();
        mem_fail_at(nth, false);
        const struct yaml_node *root = yaml_tree_parse(f.arena, text, strlen(text), &f.problems);
        mem_fail_at(0, false);
        assert_true(f.problems.errors > 0);
        assert_true(root || f.problems.n > 0);
        release(&f);
        if (mem_failures() == failures)
            break;
    }
}

/* ---- single words ---- */

static void test_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t usec;
        const char *back;
    } durations[] = {
        {"0", 0, "0s"},
        {"0ms", 0, "0s"},
        {"100us", 100, "100us"},
        {"250ms", 250000, "250ms"},
        {"1500ms", 1500000, "1.5s"},
        {"1.25s", 1250000, "1250ms"},
        {"90s", 90000000, "90s"},
        {"60s", 60000000, "1m"},
        {"1.5h", 5400000000, "90m"},
        {"168h", 604800000000, "168h"},
    };
    char out[SCALAR_TEXT_MAX];
    uint64_t v = 7;
    bool b;
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        assert_true(scalar_duration(str_of(durations[i].text), &v));
        assert_int_equal(v, durations[i].usec);
        assert_string_equal(scalar_duration_text(v, out), durations[i].back);
    }
    assert_true(scalar_size(STR("1.5KiB"), &v));
    assert_int_equal(v, 1536);
    assert_string_equal(scalar_size_text(v, out), "1536B");
    assert_true(scalar_size(STR("2GiB"), &v));
    assert_string_equal(scalar_size_text(v, out), "2GiB");
    v = 7;
    assert_false(scalar_size(STR("18446744073709551615GiB"), &v));
    assert_false(scalar_size(STR(""), &v));
    assert_false(scalar_size(STR("B"), &v));
    assert_false(scalar_duration(STR("1.0000001s"), &v));
    assert_false(scalar_duration(STR("s"), &v));
    assert_false(scalar_int(STR("00"), &v));
    uint32_t ppm = 7;
    assert_false(scalar_percent(STR(""), &ppm) || scalar_percent(STR("."), &ppm));
    assert_false(scalar_percent(STR("1."), &ppm) || scalar_percent(STR(".1"), &ppm));
    assert_false(scalar_percent(STR("100.0001"), &ppm) || scalar_percent(STR("101"), &ppm));
    assert_false(scalar_percent(STR("1.00001"), &ppm) || scalar_percent(STR("1e1"), &ppm));
    assert_int_equal(ppm, 7);
    assert_true(scalar_percent(STR("0"), &ppm) && ppm == 0);
    assert_true(scalar_percent(STR("12.5"), &ppm) && ppm == 125000);
    assert_true(scalar_percent(STR("0.0001"), &ppm) && ppm == 1);
    assert_true(scalar_percent(STR("100.0000"), &ppm) && ppm == 1000000);
    assert_false(scalar_mode(STR("66"), &v));
    assert_false(scalar_mode(STR("00660"), &v));
    assert_int_equal(v, 7);
    assert_true(scalar_mode(STR("660"), &v));
    assert_int_equal(v, 0660);
    assert_true(scalar_bool(STR("false"), &b));
    assert_false(b);
    assert_false(scalar_bool(STR("FALSE"), &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),   cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_goes_on),  cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_wide_map), cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
