/* build_rig.h - a test's text as a configuration, or the mistakes in it. */
#ifndef SLUICE_TESTS_BUILD_RIG_H
#define SLUICE_TESTS_BUILD_RIG_H

#include "config/build.h"
#include "env.h"
#include "mistake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SEC USEC_PER_SEC

static inline struct conf *build(const char *text, struct config_problems *p)
{
    *p = (struct config_problems){0};
    return config_build_env("test.yaml", text, strlen(text), &test_env, p);
}

static inline struct conf *build_good(const char *text)
{
    struct config_problems p;
    struct conf *c = build(text, &p);
    config_problems_print(&p, "test.yaml", STDERR_FILENO);
    assert_int_equal(p.n, 0);
    assert_non_null(c);
    config_problems_free(&p);
    return c;
}

static inline void assert_str(struct str s, const char *expected)
{
    assert_non_null(s.p);
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.p, expected, s.n);
}

static inline void assert_address(const struct address *a, const char *expected)
{
    char text[ADDRESS_TEXT_MAX];
    assert_string_equal(address_format(a, text), expected);
}

/* The one mistake at its place, and no value of a variable in what is told. */
static inline bool told(const struct config_problems *p, const struct mistake *m)
{
    const struct config_problem *it = p->items;
    return p->n == 1 && !it->warning && it->line == m->line && it->column == m->column &&
           strcmp(it->path, m->path) == 0 && strstr(it->message, m->message) &&
           !strstr(it->message, secret);
}

static inline void assert_mistakes(const struct mistake *table, size_t n)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < n; i++) {
        struct config_problems p;
        struct conf *c = build(table[i].text, &p);
        if (c || !told(&p, &table[i])) {
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

#endif
