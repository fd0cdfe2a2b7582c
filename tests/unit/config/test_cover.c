/* test_cover.c - which route leaves nothing for a later one: against all pairs, and counted. */
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "config/cover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { ROUTES = 12, REQUESTS = 300, ROUNDS = 2000 };

static const struct str hosts[] = {STR("a.b.c"), STR("x.a.b.c"), STR("*.b.c"),
                                   STR("*.c"),   STR("*.A.b.c"), STR("d")};
static const struct str paths[] = {STR("/"),     STR("/a"),  STR("/a/"), STR("/a/b"),
                                   STR("/a//b"), STR("/ab"), STR("//")};
static const struct str methods[] = {STR("GET"), STR("PUT")};
static const struct str request_hosts[] = {STR("A.b.c"), STR("x.a.b.c:80"), STR("y.c"), STR("d"),
                                           STR("b.c")};
static const struct route_condition conditions[] = {
    {.name = STR("x"), .how = ROUTE_TEXT_EXACT, .value = STR("1")},
    {.name = STR("X"), .how = ROUTE_TEXT_EXACT, .value = STR("1")},
    {.name = STR("x"), .how = ROUTE_TEXT_EXACT, .value = STR("1"), .invert = true},
    {.name = STR("x"), .how = ROUTE_TEXT_PREFIX, .value = STR("1")},
};

#define ANY_OF(rng, list) (&(list)[rng_below((rng), (uint32_t)ARRAY_LEN(list))])

static void random_match(struct rng *rng, struct route_match *m, struct str *room)
{
    *m = (struct route_match){.n_hosts = (uint32_t)rng_below(rng, 3),
                              .n_methods = (uint32_t)rng_below(rng, 3),
                              .hosts = room,
                              .methods = room + 2};
    for (uint32_t i = 0; i < m->n_hosts; i++)
        room[i] = *ANY_OF(rng, hosts);
    for (uint32_t i = 0; i < m->n_methods; i++)
        room[2 + i] = *ANY_OF(rng, methods);
    m->path_how = (enum route_path_match)rng_below(rng, 3);
    m->path = *ANY_OF(rng, paths);
    if (rng_below(rng, 3) == 0) {
        m->headers = ANY_OF(rng, conditions);
        m->n_headers = 1;
    }
}

static struct str header(const void *ctx, struct str name)
{
    (void)name;
    return *(const struct str *)ctx;
}

/* No request ever takes a route that is said to be covered. */
static void test_random(void **state)
{
    (void)state;
    struct rng rng;
    unsigned said = 0;
    rng_init(&rng, 7);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct route_match m[ROUTES];
        struct str room[ROUTES][4];
        bool covered[ROUTES];
        struct arena *a = arena_new();
        struct cover x;
        uint32_t bad;
        char why[64];
        cover_init(&x, a);
        for (uint32_t i = 0; i < ROUTES; i++) {
            uint32_t by;
            bool several;
            random_match(&rng, &m[i], room[i]);
            assert_int_equal(cover_add(&x, &m[i], i, &by, &several), 0);
            covered[i] = by != HASH_NONE;
            assert_true(by == HASH_NONE || by < i);
            said += covered[i];
        }
        struct route_table *t = route_table_new(m, ROUTES, &bad, why, sizeof(why));
        assert_non_null(t);
        for (unsigned k = 0; k < REQUESTS; k++) {
            struct str value = rng_below(&rng, 2) ? STR("1") : STR_NONE;
            struct route_request q = {.method = *ANY_OF(&rng, methods),
                                      .host = *ANY_OF(&rng, request_hosts),
                                      .path = *ANY_OF(&rng, paths),
                                      .header = header,
                                      .ctx = &value};
            int got = route_table_match(t, &q, NULL);
            assert_true(got < 0 || !covered[got]);
        }
        (void)route_table_free(t);
        (void)arena_free(a);
    }
    assert_true(said > ROUNDS); /* it does speak */
}

struct pair {
    struct route_match earlier, later;
    bool covered;
};

#define EXACT(p)  .path_how = ROUTE_PATH_EXACT, .path = STR(p)
#define PREFIX(p) .path_how = ROUTE_PATH_PREFIX, .path = STR(p)
#define REGEX(p)  .path_how = ROUTE_PATH_REGEX, .path = STR(p)
#define HOST(h)   .n_hosts = 1, .hosts = &STR(h)
#define METHOD(m) .n_methods = 1, .methods = &STR(m)
#define HEADER(i) .n_headers = 1, .headers = &conditions[i]
#define QUERY(i)  .n_query = 1, .query = &conditions[i]

static void test_pairs(void **state)
{
    (void)state;
    static const struct str two[] = {STR("GET"), STR("PUT")};
    const struct pair pairs[] = {
        {{0}, {0}, true},
        {{0}, {EXACT("/a"), HOST("a"), METHOD("GET"), HEADER(0)}, true},
        {{EXACT("/a")}, {0}, false},
        {{EXACT("/a")}, {EXACT("/a")}, true},
        {{EXACT("/a")}, {EXACT("/a/")}, false},
        {{EXACT("/a")}, {PREFIX("/a")}, false},
        {{PREFIX("/a")}, {EXACT("/a/")}, true},
        {{PREFIX("/a/")}, {EXACT("/a")}, true},
        {{PREFIX("/a")}, {PREFIX("/a/b/c")}, true},
        {{PREFIX("/a")}, {PREFIX("/ab")}, false},
        {{PREFIX("/a/b")}, {PREFIX("/a")}, false},
        {{PREFIX("/")}, {REGEX("x")}, true},
        {{PREFIX("/a")}, {REGEX("^/a")}, false},
        {{REGEX("x")}, {REGEX("x")}, true},
        {{REGEX("x")}, {EXACT("x")}, false},
        {{HOST("*.b.c")}, {HOST("A.B.C")}, true},
        {{HOST("*.b.c")}, {HOST("b.c")}, false},
        {{HOST("*.b.c")}, {HOST("*.a.b.c")}, true},
        {{HOST("*.a.b.c")}, {HOST("*.b.c")}, false},
        {{HOST("a")}, {0}, false},
        {{METHOD("GET")}, {METHOD("GET")}, true},
        {{METHOD("GET")}, {METHOD("PUT")}, false},
        {{METHOD("GET")}, {.n_methods = 2, .methods = two}, false},
        {{.n_methods = 2, .methods = two}, {METHOD("PUT")}, true},
        {{HEADER(0)}, {HEADER(1)}, true}, /* a header's name has no case */
        {{QUERY(0)}, {QUERY(1)}, false},
        {{QUERY(0)}, {QUERY(0)}, true},
        {{HEADER(0)}, {QUERY(0)}, false},
        {{HEADER(0)}, {HEADER(2)}, false},
        {{HEADER(0)}, {HEADER(3)}, false},
        {{HEADER(0)}, {0}, false},
        {{EXACT("/a"), HEADER(0)}, {EXACT("/a"), HEADER(0), HOST("a")}, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct arena *a = arena_new();
        struct cover x;
        uint32_t by;
        bool several;
        cover_init(&x, a);
        assert_int_equal(cover_add(&x, &pairs[i].earlier, 3, &by, &several), 0);
        assert_int_equal(by, HASH_NONE);
        assert_int_equal(cover_add(&x, &pairs[i].later, 4, &by, &several), 0);
        if ((by == 3) != pairs[i].covered)
            fail_msg("pair %zu", i);
        (void)arena_free(a);
    }
}

static void test_several(void **state)
{
    (void)state;
    static const struct str ab[] = {STR("a"), STR("b")};
    const struct route_match m[] = {{HOST("a")}, {HOST("b")}, {.n_hosts = 2, .hosts = ab}};
    struct arena *a = arena_new();
    struct cover x;
    uint32_t by = 0;
    bool several = false;
    cover_init(&x, a);
    for (uint32_t i = 0; i < ARRAY_LEN(m); i++)
        assert_int_equal(cover_add(&x, &m[i], i, &by, &several), 0);
    assert_int_equal(by, 1);
    assert_true(several);
    (void)arena_free(a);
}

static uint64_t lookups_of(unsigned n)
{
    struct arena *a = arena_new();
    struct cover x;
    struct str host = STR("www.example.com");
    cover_init(&x, a);
    for (unsigned i = 0; i < n; i++) {
        char path[40];
        (void)snprintf(path, sizeof(path), "/team/service-%u", i);
        struct route_match *m = arena_alloc(a, sizeof(*m));
        uint32_t by;
        bool several;
        *m = (struct route_match){.hosts = &host,
                                  .n_hosts = i % 2,
                                  .path_how = i % 3 ? ROUTE_PATH_EXACT : ROUTE_PATH_PREFIX,
                                  .path = arena_str(a, str_of(path))};
        assert_int_equal(cover_add(&x, m, i, &by, &several), 0);
        assert_int_equal(by, HASH_NONE);
    }
    assert_true(hash_index_longest(&x.index) <= 64);
    uint64_t lookups = x.lookups;
    (void)arena_free(a);
    return lookups;
}

/* Ten times the routes, ten times the work (their names are longer by a digit). */
static void test_work(void **state)
{
    (void)state;
    uint64_t small = lookups_of(2000), large = lookups_of(20000);
    assert_true(large <= 20000 * 40);
    assert_true(large <= small * 11);
}

/* Many hosts with many methods in each route: it gives up before it takes long. */
static void test_bound(void **state)
{
    (void)state;
    enum { SIDE = 3000 };
    static struct str many[SIDE];
    static char text[SIDE][8];
    struct route_match m = {.hosts = many, .n_hosts = SIDE, .methods = many, .n_methods = SIDE};
    struct arena *a = arena_new();
    struct cover x;
    uint32_t by;
    bool several;
    for (unsigned i = 0; i < SIDE; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "A%u", i);
        many[i] = str_of(text[i]);
    }
    cover_init(&x, a);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(cover_add(&x, &m, i, &by, &several), 0);
        assert_int_equal(by, HASH_NONE);
    }
    assert_true(x.lookups <= COVER_LOOKUPS_MAX + 1000);
    (void)arena_free(a);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct route_match m = {EXACT("/a")};
    struct arena *a = arena_new();
    struct cover x;
    uint32_t by;
    bool several;
    cover_init(&x, a);
    int rc = 0;
    for (uint64_t n = 1; n < 10 && rc == 0; n++) { /* the arena's first block may have room */
        static char path[20000];
        (void)memset(path, 'a', sizeof(path) - 1);
        m.path = (struct str){path, n};
        mem_fail_at(1, true);
        rc = cover_add(&x, &m, 0, &by, &several);
        mem_fail_at(0, false);
    }
    assert_true(rc < 0);
    assert_int_equal(by, HASH_NONE);
    assert_int_equal(cover_add(&x, &m, 1, &by, &several), 0);
    (void)arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),  cmocka_unit_test(test_several),
        cmocka_unit_test(test_random), cmocka_unit_test(test_work),
        cmocka_unit_test(test_bound),  cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
