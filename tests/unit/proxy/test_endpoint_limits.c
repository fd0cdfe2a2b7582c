/* test_endpoint_limits.c - are an endpoint's limits exact, whoever takes at once? */
#include "proxy/endpoint_limits.h"

#include "base/mem.h"
#include "proxy/worker.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

enum { WORKERS = 4, ROUNDS = 50000, MOST = 3 };

struct part {
    struct worker worker;
    struct pool pool;
    struct endpoint *at[2];
    struct fixture *f;
    pthread_t thread;
    uint32_t refused;
};

struct fixture {
    struct process process;
    struct conf_upstream conf;
    struct upstream_shared *shared;
    _Atomic uint32_t requests[2], connections[2]; /* by the test's own account */
    _Atomic bool over;
    struct part parts[WORKERS];
};

static struct fixture *fixture_new(uint32_t most_connections, uint32_t most_requests)
{
    struct fixture *f = NULL;
    struct endpoint_address list[2] = {0};
    char text[2][32];
    const char *why;
    bool changed;
    assert_int_equal(posix_memalign((void **)&f, 64, sizeof(*f)), 0);
    memset(f, 0, sizeof(*f));
    f->conf.limits = f->conf.bounds =
        (struct conf_limits){.connections = 1024,
                             .connections_per_endpoint = most_connections,
                             .requests_per_endpoint = most_requests};
    f->shared = upstream_shared_new(WORKERS);
    for (uint32_t i = 0; i < 2; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "10.0.0.%u:80", i + 1);
        list[i].text = str_of(text[i]);
        assert_int_equal(address_parse(list[i].text, &list[i].address, &why), 0);
    }
    assert_int_equal(upstream_shared_set(f->shared, list, 2, &changed), 0);
    for (uint32_t k = 0; k < WORKERS; k++) {
        struct part *p = &f->parts[k];
        p->f = f;
        p->worker.id = k;
        p->worker.process = &f->process;
        rng_init(&p->worker.loop.rng, k + 1);
        p->pool.worker = &p->worker;
        p->pool.conf = &f->conf;
        p->pool.shared = f->shared;
        p->pool.endpoints = p->at;
        p->pool.n_endpoints = 2;
        list_init(&p->pool.waiting);
        list_init(&p->pool.connecting);
        for (uint32_t i = 0; i < 2; i++) {
            p->at[i] = endpoint_get(&p->pool, f->shared->endpoints[i]);
            assert_non_null(p->at[i]);
            p->at[i]->index = i;
        }
    }
    return f;
}

static void fixture_free(struct fixture *f)
{
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(atomic_load(&f->shared->endpoints[i]->requests), 0);
        assert_int_equal(atomic_load(&f->shared->endpoints[i]->connections), 0);
        for (uint32_t k = 0; k < WORKERS; k++)
            endpoint_unref(f->parts[k].at[i]);
    }
    upstream_shared_unref(f->shared);
    free(f);
}

static void enters(struct fixture *f, _Atomic uint32_t *count)
{
    if (atomic_fetch_add(count, 1) >= MOST)
        atomic_store(&f->over, true);
}

static void *works(void *arg)
{
    struct part *p = arg;
    struct fixture *f = p->f;
    struct stream *s = mem_zalloc(sizeof(*s));
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t e = rng_below(&p->worker.loop.rng, 2);
        if (!endpoint_take_connection(p->at[e])) {
            p->refused++;
            continue;
        }
        enters(f, &f->connections[e]);
        if (endpoint_place(p->at[e], s)) {
            enters(f, &f->requests[e]);
            atomic_fetch_sub(&f->requests[e], 1);
            endpoint_leave_place(s);
        }
        atomic_fetch_sub(&f->connections[e], 1);
        endpoint_give_connection(p->at[e]);
    }
    free(s);
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *f = fixture_new(MOST, MOST);
    (void)state;
    for (uint32_t k = 0; k < WORKERS; k++)
        assert_int_equal(pthread_create(&f->parts[k].thread, NULL, works, &f->parts[k]), 0);
    for (uint32_t k = 0; k < WORKERS; k++)
        (void)pthread_join(f->parts[k].thread, NULL);
    assert_false(atomic_load(&f->over));
    fixture_free(f);
}

static void test_a_place(void **state)
{
    struct fixture *f = fixture_new(0, 1);
    struct endpoint *a = f->parts[0].at[0], *b = f->parts[0].at[1], *other = f->parts[1].at[0];
    struct stream *s = mem_zalloc(sizeof(*s)), *t = mem_zalloc(sizeof(*t));
    (void)state;
    assert_true(endpoint_place(a, s));
    assert_true(endpoint_place(a, s));      /* it has it */
    assert_false(endpoint_place(other, t)); /* another worker sees the same */
    assert_true(endpoint_is_full(other, t) && endpoint_has_no_place(a, NULL));
    assert_false(endpoint_is_full(a, s));
    assert_true(endpoint_limited(&f->parts[1].pool, NULL));
    assert_true(endpoint_place(b, s)); /* it moves */
    assert_true(endpoint_place(other, t));
    endpoint_leave_place(s);
    endpoint_leave_place(s);
    endpoint_leave_place(t);
    assert_null(s->place);
    /* The limit goes while somebody has a place. */
    assert_true(endpoint_place(a, s));
    f->conf.limits.requests_per_endpoint = f->conf.bounds.requests_per_endpoint = 0;
    assert_true(endpoint_place(a, t));
    assert_null(t->place);
    endpoint_leave_place(s);
    free(s);
    free(t);
    fixture_free(f);
}

static void test_connections(void **state)
{
    struct fixture *f = fixture_new(1, 0);
    struct endpoint *a = f->parts[0].at[0], *other = f->parts[1].at[0];
    (void)state;
    assert_true(endpoint_take_connection(a));
    assert_false(endpoint_take_connection(other));
    assert_true(endpoint_is_full(other, NULL));
    endpoint_give_connection(a);
    assert_false(endpoint_is_full(other, NULL));
    assert_true(endpoint_take_connection(other));
    endpoint_give_connection(other);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_a_place),
        cmocka_unit_test(test_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
