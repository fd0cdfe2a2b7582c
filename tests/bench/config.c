/* config.c - how long a configuration takes to build, and a request to find its route in it.
 *
 * `make bench-config`. Prints the best of several runs; a reload as a whole (read, build, bind,
 * swap) has 50 ms for 1,000 routes, and 10,000 routes may cost a request 1 µs more than 10. */
#include "base/arena.h"
#include "base/mem.h"
#include "config/build.h"

#include <inttypes.h>
#include <stdio.h>

enum { TEXT_PER_ITEM = 320, LOOKUPS = 400000 };

struct page {
    char *p;
    size_t n, cap;
};

static void add(struct page *t, const char *fmt, unsigned i, unsigned k)
{
    int n = snprintf(t->p + t->n, t->cap - t->n, fmt, i, k);
    CHECK(n > 0 && (size_t)n < t->cap - t->n);
    t->n += (size_t)n;
}

/* Routes as people write them: every second one is a prefix; each has a name and an upstream. */
static struct page file_text(unsigned routes, unsigned upstreams)
{
    struct page t = {.cap = 4096 + (size_t)TEXT_PER_ITEM * (routes + upstreams)};
    t.p = malloc(t.cap);
    CHECK(t.p != NULL);
    add(&t, "version: 1\nlisteners:\n  - name: in\n    address: 127.0.0.1:15080\n    routes:\n", 0,
        0);
    for (unsigned i = 0; i < routes; i++) {
        add(&t, "      - name: route-%u\n        match: { ", i, 0);
        add(&t, i % 2 ? "path: /team/service-%u/item }\n" : "pathPrefix: /team/service-%u }\n", i,
            0);
        add(&t, "        upstream: app-%u\n", i % upstreams, 0);
    }
    add(&t, "upstreams:\n", 0, 0);
    for (unsigned i = 0; i < upstreams; i++)
        add(&t, "  - name: app-%u\n    endpoints: [\"127.0.0.1:%u\"]\n", i, 1024 + i % 60000);
    return t;
}

static double ms_of(usec_t usec)
{
    return (double)usec / 1000.0;
}

static struct conf *build(const struct page *t)
{
    struct config_problems p = {0};
    struct conf *c = config_build("bench", t->p, t->n, &p);
    config_problems_print(&p, "bench", 2);
    CHECK(c != NULL && p.n == 0);
    config_problems_free(&p);
    return c;
}

static void bench_build(unsigned routes, unsigned upstreams)
{
    struct page t = file_text(routes, upstreams);
    usec_t best = USEC_NEVER;
    size_t bytes = 0;
    for (unsigned run = 0; run < 7; run++) {
        usec_t begin = clock_mono();
        struct conf *c = build(&t);
        usec_t took = clock_mono() - begin;
        best = took < best ? took : best;
        bytes = arena_bytes(c->arena);
        (void)config_free(c);
    }
    (void)printf("build  %6u routes %6u endpoints  %8.2f ms  %7.1f KiB of text  %8.1f KiB kept\n",
                 routes, upstreams, ms_of(best), (double)t.n / 1024, (double)bytes / 1024);
    free(t.p);
}

static struct str no_header(const void *ctx, struct str name)
{
    (void)ctx;
    (void)name;
    return STR_NONE;
}

static void bench_match(const struct conf *c, const char *what, const char *path, int expected)
{
    struct route_request q = {.method = STR("GET"),
                              .host = STR("example.com"),
                              .path = str_of(path),
                              .header = no_header};
    usec_t best = USEC_NEVER;
    for (unsigned run = 0; run < 5; run++) {
        usec_t begin = clock_mono();
        for (unsigned i = 0; i < LOOKUPS; i++)
            CHECK(route_table_match(c->listeners[0].route_table, &q, NULL) == expected);
        usec_t took = clock_mono() - begin;
        best = took < best ? took : best;
    }
    (void)printf("match  %6u routes  %-16s %8.1f ns\n", c->listeners[0].n_routes, what,
                 (double)best * 1000.0 / LOOKUPS);
}

static void bench_matches(unsigned routes)
{
    struct page t = file_text(routes, routes < 1000 ? routes : 1000);
    struct conf *c = build(&t);
    char path[96];
    (void)snprintf(path, sizeof(path), "/team/service-%u/item", routes - 1);
    bench_match(c, "exact, last", path, (int)routes - 1);
    (void)snprintf(path, sizeof(path), "/team/service-%u/a/b/c", routes - 2);
    bench_match(c, "prefix, last", path, (int)routes - 2);
    bench_match(c, "miss", "/team/service-x/item", ROUTE_NONE);
    (void)config_free(c);
    free(t.p);
}

int main(void)
{
    bench_build(1000, 1000);
    bench_build(10000, 1000);
    bench_build(20000, 1000);
    bench_matches(10);
    bench_matches(1000);
    bench_matches(10000);
    return 0;
}
