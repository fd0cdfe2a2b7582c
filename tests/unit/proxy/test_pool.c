/* test_pool.c - do connections outlive other limits and other endpoints, and no longer than that?
 */
#include "pool_fixture.h"

/* A stream on a connection to the server of that number. */
static struct stream *busy_at(struct fixture *f, int server)
{
    enum reason reason;
    struct stream *s = stream_for(f);
    assert_int_equal(pool_lease(f->pool, s, false, &reason), POOL_WAITS);
    UNTIL(f, s->up);
    assert_true(str_eq(s->endpoint->shared->text, f->servers[server].text));
    return s;
}

/* What the stream had could carry another request. */
static void release_clean(struct stream *s)
{
    struct upstream_conn *u = CONTAINER_OF(s->up, struct upstream_conn, h1.side);
    u->h1.keep = true;
    u->h1.side.ended = true;
    stream_drop_upstream(s, true, REASON_NONE);
}

static uint64_t connections_to(const struct fixture *f, uint32_t i)
{
    return count_read(&f->pool->endpoints[i]->stats->connections);
}

static void test_idle_ones_go_and_stay(void **state)
{
    struct fixture *f = *state;
    struct pool *p = f->pool;
    f->conf.min_idle = 4;
    pool_fill(p);
    UNTIL(f, p->n_idle == 4);
    struct endpoint *stays = p->endpoints[1];
    struct endpoint_shared *goes = endpoint_shared_ref(p->endpoints[0]->shared);
    assert_int_equal(connections_to(f, 0), 2);
    SET(f, 1, 2);
    assert_int_equal(p->n_idle, 2);
    assert_ptr_equal(p->endpoints[0], stays);
    assert_int_equal(stays->index, 0);
    assert_int_equal(connections_to(f, 0), 2);
    assert_int_equal(count_read(&goes->worker[0].stats.connections), 0);
    assert_null(goes->worker[0].endpoint);
    assert_int_equal(p->endpoints_alive, 2);
    UNTIL(f, p->n_idle == 4); /* minIdle is kept by those that are listed */
    assert_true(connections_to(f, 1) > 0);
    assert_int_equal(count_read(&goes->worker[0].stats.connections), 0);
    endpoint_shared_unref(goes);
}

static void test_busy_one_ends_with_its_stream(void **state)
{
    struct fixture *f = *state;
    struct stream *s = busy_at(f, 0);
    SET(f, 1);
    assert_non_null(s->up);
    assert_int_equal(f->pool->endpoints_alive, 2);
    release_clean(s);
    assert_int_equal(f->pool->n_idle, 0);
    assert_int_equal(f->shared->connections, 0);
    /* Who wants to know where the stream was still can. */
    assert_true(str_eq(s->endpoint->shared->text, f->servers[0].text));
    finish(s);
    assert_int_equal(f->pool->endpoints_alive, 1);
}

/* Who waits for a slot gets one of the listed endpoints, and not what is left of another. */
static void test_what_is_left_is_not_handed_on(void **state)
{
    struct fixture *f = *state;
    enum reason reason;
    f->conf.bounds.connections = 1;
    struct stream *has = busy_at(f, 0), *waits = stream_for(f), *late = stream_for(f);
    assert_int_equal(pool_lease(f->pool, waits, false, &reason), POOL_WAITS);
    SET(f, 1);
    release_clean(has);
    assert_null(waits->up);
    UNTIL(f, waits->up);
    assert_true(str_eq(waits->endpoint->shared->text, f->servers[1].text));
    finish(has);
    finish(waits);
    /* The same with a connection being made, whose stream goes after its endpoint went. */
    struct stream *goes = stream_for(f);
    assert_int_equal(pool_lease(f->pool, goes, false, &reason), POOL_WAITS);
    assert_int_equal(pool_lease(f->pool, late, false, &reason), POOL_WAITS);
    SET(f, 2);
    finish(goes);
    UNTIL(f, late->up);
    assert_true(str_eq(late->endpoint->shared->text, f->servers[2].text));
    finish(late);
}

static void test_one_that_comes_back(void **state)
{
    struct fixture *f = *state;
    struct stream *s = busy_at(f, 0);
    struct endpoint *e = s->endpoint;
    SET(f, 1);
    assert_false(endpoint_listed(e));
    SET(f, 1, 0);
    assert_ptr_equal(f->pool->endpoints[1], e);
    assert_int_equal(e->index, 1);
    assert_int_equal(count_read(&e->stats->requests), 1);
    release_clean(s);
    assert_int_equal(f->pool->n_idle, 1);
    finish(s);
}

/* A connection being made to an endpoint that goes serves who waits for it, once. */
static void test_connecting(void **state)
{
    struct fixture *f = *state;
    enum reason reason;
    struct stream *s = stream_for(f), *gone = stream_for(f);
    assert_int_equal(pool_lease(f->pool, s, false, &reason), POOL_WAITS);
    f->pool->cursor = 0;
    assert_int_equal(pool_lease(f->pool, gone, false, &reason), POOL_WAITS);
    finish(gone);
    assert_int_equal(f->pool->n_connecting, 2);
    SET(f, 1);
    assert_int_equal(f->pool->n_connecting, 1);
    UNTIL(f, s->up);
    assert_true(str_eq(s->endpoint->shared->text, f->servers[0].text));
    release_clean(s);
    assert_int_equal(f->shared->connections, 0);
    finish(s);
}

static void test_no_endpoints(void **state)
{
    struct fixture *f = *state;
    enum reason reason = REASON_NONE;
    f->conf.bounds.connections = 1;
    f->conf.min_idle = 1;
    struct stream *has = busy_at(f, 0), *waits = stream_for(f), *late = stream_for(f);
    assert_int_equal(pool_lease(f->pool, waits, false, &reason), POOL_WAITS);
    SET(f);
    finish(has);
    UNTIL(f, waits->step == STREAM_FINISHED);
    assert_int_equal(waits->reason, REASON_NO_ENDPOINT);
    assert_int_equal(pool_lease(f->pool, late, false, &reason), POOL_REFUSED);
    assert_int_equal(reason, REASON_NO_ENDPOINT);
    pool_fill(f->pool);
    assert_int_equal(f->shared->connections, 0);
    finish(late);
    SET(f, 2);
    UNTIL(f, f->pool->n_idle == 1);
}

static void test_set_endpoints_without_memory(void **state)
{
    struct fixture *f = *state;
    struct endpoint *a = f->pool->endpoints[0], *b = f->pool->endpoints[1];
    for (uint64_t nth = 1; nth <= 2; nth++) {
        struct endpoint_list *l = LIST(f, 1, 2);
        mem_fail_at(nth, false);
        assert_int_equal(pool_set_endpoints(f->pool, l), -ENOMEM);
        mem_fail_at(0, false);
        assert_true(atomic_exchange(&f->shared->missed, false)); /* it is told again */
        assert_int_equal(f->pool->n_endpoints, 2);
        assert_true(f->pool->endpoints[0] == a && f->pool->endpoints[1] == b);
        assert_true(a->index == 0 && b->index == 1);
        assert_int_equal(f->pool->endpoints_alive, 2);
    }
    for (uint64_t nth = 1; nth <= 3; nth++) { /* the pool, its list, its endpoint */
        struct endpoint_list *l = LIST(f, 2);
        mem_fail_at(nth, false);
        assert_null(pool_new(&f->workers[1], &f->conf, f->shared, l));
        mem_fail_at(0, false);
        assert_null(f->shared->worker[1].pool);
        assert_null(f->shared->endpoints[0]->worker[1].endpoint);
    }
    SET(f, 0, 1);
}

static void test_a_higher_limit_serves_who_waits(void **state)
{
    struct fixture *f = *state;
    enum reason reason;
    f->conf.bounds.connections = 1;
    struct stream *first = busy_at(f, 0), *second = stream_for(f);
    assert_int_equal(pool_lease(f->pool, second, false, &reason), POOL_WAITS);
    assert_int_equal(f->shared->pending, 1);
    struct conf_upstream more = f->conf;
    more.bounds.connections = 2;
    pool_configure(f->pool, &more);
    UNTIL(f, second->up);
    /* And a lower one cuts nothing: what is over it is not kept afterwards. */
    pool_configure(f->pool, &f->conf);
    turn(f);
    assert_true(first->up && second->up);
    release_clean(first);
    assert_int_equal(f->shared->connections, 1);
    release_clean(second);
    assert_int_equal(f->pool->n_idle, 1);
    finish(first);
    finish(second);
}

static void test_more_requests_are_let_in(void **state)
{
    struct fixture *f = *state;
    enum reason reason;
    struct stream *first = stream_for(f), *second = stream_for(f);
    f->conf.bounds.requests = 1;
    assert_int_equal(admission_ask(f->pool, first, &reason), ADMISSION_GRANTED);
    second->step = STREAM_PICK;
    assert_int_equal(admission_ask(f->pool, second, &reason), ADMISSION_WAITS);
    turn(f);
    turn(f);
    assert_false(second->admitted);
    struct conf_upstream more = f->conf;
    more.bounds.requests = 2;
    pool_configure(f->pool, &more);
    UNTIL(f, second->up);
    assert_true(second->admitted);
    pool_configure(f->pool, &f->conf);
    finish(first);
    finish(second);
    assert_int_equal(f->shared->requests, 0);
}

static void test_other_times(void **state)
{
    struct fixture *f = *state;
    enum reason reason;
    struct stream *s = busy_at(f, 0), *waits = stream_for(f), *has;
    release_clean(s);
    finish(s);
    assert_int_equal(f->pool->n_idle, 1);
    struct conf_upstream shorter = f->conf;
    shorter.idle_timeout = USEC_PER_MSEC;
    shorter.bounds.connections = 1;
    pool_configure(f->pool, &shorter);
    UNTIL(f, f->pool->n_idle == 0);
    has = busy_at(f, 1);
    assert_int_equal(pool_lease(f->pool, waits, false, &reason), POOL_WAITS);
    turn(f);
    assert_int_not_equal(waits->step, STREAM_FINISHED);
    shorter.queue_timeout = USEC_PER_MSEC;
    pool_configure(f->pool, &shorter);
    UNTIL(f, waits->step == STREAM_FINISHED);
    assert_int_equal(waits->reason, REASON_QUEUE_TIMEOUT);
    finish(has);
}

static void test_retired(void **state)
{
    struct fixture *f = *state;
    struct pool *p = f->pool;
    f->conf.min_idle = 2;
    pool_fill(p);
    UNTIL(f, p->n_idle == 2);
    f->conf.min_idle = 3;
    pool_fill(p);
    assert_int_equal(p->n_connecting, 1);
    pool_retire(p);
    assert_int_equal(p->n_idle + p->n_connecting, 0);
    assert_int_equal(f->shared->connections, 0);
    pool_fill(p);
    p->cursor = 0;
    struct stream *s = busy_at(f, 0);
    release_clean(s);
    assert_int_equal(f->shared->connections, 0);
    finish(s);
    pool_configure(p, &f->conf);
    UNTIL(f, p->n_idle == 3);
}

/* Behind an IPv4 that refuses comes an IPv6, though another IPv4 is next. */
static void test_the_other_family_comes_first(void **state)
{
    struct fixture *f = *state;
    enum reason reason;
    int six = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has_six = six >= 0 && bind(six, (struct sockaddr *)&any, sizeof(any)) == 0;
    if (six >= 0)
        (void)close(six);
    if (!has_six)
        skip();
    serve_at(f, 0, "127.0.0.1:1", false);
    serve_at(f, 1, "127.0.0.1:1", false);
    serve_at(f, 2, "[::1]:1", true);
    SET(f, 0, 1, 2);
    struct stream *s = stream_for(f);
    assert_int_equal(pool_lease(f->pool, s, false, &reason), POOL_WAITS);
    UNTIL(f, s->up);
    assert_int_equal(s->endpoint->index, 2);
    assert_int_equal(count_read(&f->pool->endpoints[0]->stats->errors), 1);
    assert_int_equal(count_read(&f->pool->endpoints[1]->stats->errors), 0);
    finish(s);
}

/* What refused was in another list: an endpoint that has its index now is another one. */
static void test_tried_is_of_one_list(void **state)
{
    struct fixture *f = *state;
    enum reason reason;
    serve_at(f, 0, "127.0.0.1:1", false);
    SET(f, 0, 1);
    struct stream *s = stream_for(f);
    assert_int_equal(pool_lease(f->pool, s, false, &reason), POOL_WAITS);
    struct conf_upstream none = f->conf;
    none.bounds.connections = 0; /* so that it waits for a slot once it has been refused */
    pool_configure(f->pool, &none);
    UNTIL(f, s->exchange->wait.counted);
    assert_int_equal(s->tries, 1);
    SET(f, 2);
    pool_configure(f->pool, &f->conf);
    UNTIL(f, s->up);
    assert_true(str_eq(s->endpoint->shared->text, f->servers[2].text));
    finish(s);
}

/* Lists that change while all refuse neither hide an endpoint nor make the tries endless. */
static void test_tries_are_bounded_across_lists(void **state)
{
    struct fixture *f = *state;
    enum reason reason;
    uint64_t failed = 0;
    for (int i = 0; i < SERVERS; i++)
        serve_at(f, i, "127.0.0.1:1", false);
    SET(f, 0);
    struct stream *s = stream_for(f);
    assert_int_equal(pool_lease(f->pool, s, false, &reason), POOL_WAITS);
    for (int i = 0; s->step != STREAM_FINISHED; i++) {
        int next = i % SERVERS;
        SET(f, next, (next + 1) % SERVERS);
        turn(f);
        failed = count_read(&f->pool->stats->connect_failed);
        assert_true(failed <= CONNECT_TRIES);
    }
    assert_int_equal(failed, CONNECT_TRIES);
    assert_int_equal(s->reason, REASON_CONNECT_REFUSED);
}

static int called;

static void note(struct pool *p)
{
    assert_int_equal(p->worker->id, 1);
    called++;
}

/* A mail finds the pool that its worker has when it arrives, or none. */
static void test_mail_to_a_pool_that_went(void **state)
{
    struct fixture *f = *state;
    struct pool *other = pool_new(&f->workers[1], &f->conf, f->shared, LIST(f, 0, 1));
    assert_ptr_equal(f->shared->worker[1].pool, other);
    pool_post(f->pool, 1, note);
    UNTIL(f, called == 1);
    pool_post(f->pool, 1, note);
    other = pool_free(other);
    assert_int_equal(atomic_load(&f->shared->refs), 3);
    UNTIL(f, atomic_load(&f->shared->refs) == 2);
    assert_int_equal(called, 1);
}

/* --- HTTP/2: many streams on a connection --- */

static void speak_http2(struct fixture *f, uint32_t streams, uint32_t connections)
{
    f->conf.protocol = UPSTREAM_HTTP2;
    f->conf.http2.max_concurrent_streams = streams;
    f->conf.http2.stream_window = 64 * 1024;
    f->conf.http2.connection_window = 1024 * 1024;
    f->conf.bounds.connections = connections;
    SET(f, 0);
}

enum { CROWD = 5 };

/* They all come at once; returns how many wait. */
static uint32_t lease_crowd(struct fixture *f, struct stream **crowd)
{
    enum reason reason;
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < CROWD; i++) {
        struct side *client = mem_zalloc(sizeof(*client));
        crowd[i] = request_for(f);
        client->ops = &client_ops;
        client->stream = crowd[i];
        crowd[i]->down = client;
        enum pool_lease how = pool_lease(f->pool, crowd[i], false, &reason);
        assert_int_not_equal(how, POOL_REFUSED);
        if (how == POOL_LEASED)
            stream_on_connected(crowd[i]);
        waiting += how == POOL_WAITS;
    }
    return waiting;
}

static void finish_one(struct stream *s)
{
    struct side *client = s->down;
    finish(s);
    free(client);
}

static uint32_t n_up(struct stream **crowd)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < CROWD; i++)
        n += crowd[i] && crowd[i]->up != NULL;
    return n;
}

static void finish_crowd(struct stream **crowd)
{
    for (uint32_t i = 0; i < CROWD; i++) {
        if (crowd[i])
            finish_one(crowd[i]);
    }
}

static void test_http2_wait_for_one_connection(void **state)
{
    struct fixture *f = *state;
    struct stream *crowd[CROWD];
    speak_http2(f, 100, 64);
    assert_int_equal(lease_crowd(f, crowd), CROWD);
    assert_int_equal(f->pool->n_connecting, 1);
    finish_one(crowd[0]); /* one of them goes away meanwhile */
    crowd[0] = NULL;
    UNTIL(f, n_up(crowd) == CROWD - 1);
    struct endpoint *e = f->pool->endpoints[0];
    assert_int_equal(f->shared->connections, 1);
    assert_int_equal(e->active, CROWD - 1);
    assert_int_equal(count_read(&f->pool->stats->active), 1);
    assert_int_equal(count_read(&f->pool->stats->http2_streams), CROWD - 1);
    assert_false(list_empty(&e->open));
    finish_crowd(crowd);
    assert_int_equal(f->pool->n_idle, 1);
    assert_int_equal(count_read(&f->pool->stats->http2_streams), 0);
}

static void test_http2_streams_used_up(void **state)
{
    struct fixture *f = *state;
    struct stream *crowd[CROWD];
    speak_http2(f, 2, 64);
    assert_int_equal(lease_crowd(f, crowd), CROWD);
    assert_int_equal(f->pool->n_connecting, 3);
    UNTIL(f, n_up(crowd) == CROWD);
    assert_int_equal(f->shared->connections, 3);
    finish_crowd(crowd);
    assert_int_equal(f->pool->n_idle, 3);
}

static void test_http2_queue(void **state)
{
    struct fixture *f = *state;
    struct stream *crowd[CROWD];
    speak_http2(f, 2, 1);
    assert_int_equal(lease_crowd(f, crowd), CROWD);
    UNTIL(f, n_up(crowd) == 2);
    assert_int_equal(f->shared->pending, 3);
    finish_one(crowd[0]); /* its stream is the next one's, at once */
    crowd[0] = NULL;
    assert_int_equal(n_up(crowd), 2);
    assert_int_equal(f->shared->pending, 2);
    f->conf.http2.max_concurrent_streams = 3; /* a reload lets one more through */
    pool_configure(f->pool, &f->conf);
    UNTIL(f, n_up(crowd) == 3);
    assert_int_equal(f->shared->pending, 1);
    finish_crowd(crowd);
    assert_int_equal(f->pool->n_idle, 1);
}

/* Its streams go on; nothing new comes to it, and it closes behind the last. */
static void test_http2_leaves(void **state)
{
    struct fixture *f = *state;
    struct stream *crowd[CROWD];
    speak_http2(f, 100, 64);
    (void)lease_crowd(f, crowd);
    UNTIL(f, n_up(crowd) == CROWD);
    SET(f, 1);
    assert_int_equal(n_up(crowd), CROWD);
    struct stream *late[CROWD];
    assert_int_equal(lease_crowd(f, late), CROWD);
    UNTIL(f, n_up(late) == CROWD);
    assert_int_equal(f->shared->connections, 2);
    assert_true(str_eq(late[0]->endpoint->shared->text, f->servers[1].text));
    finish_crowd(crowd);
    assert_int_equal(f->shared->connections, 1);
    pool_retire(f->pool);
    assert_int_equal(n_up(late), CROWD);
    finish_crowd(late);
    assert_int_equal(f->shared->connections, 0);
}

/* A TCP stream has a connection of its own, that no request gets. */
static void test_http2_and_tcp(void **state)
{
    struct fixture *f = *state;
    struct stream *crowd[CROWD];
    speak_http2(f, 100, 64);
    enum reason reason;
    struct stream *tcp = stream_for(f);
    assert_int_equal(pool_lease(f->pool, tcp, true, &reason), POOL_WAITS);
    assert_int_equal(lease_crowd(f, crowd), CROWD);
    assert_int_equal(f->pool->n_connecting, 2);
    UNTIL(f, tcp->up && n_up(crowd) == CROWD);
    assert_ptr_not_equal(tcp->up->ops, crowd[0]->up->ops);
    finish(tcp);
    assert_int_equal(f->shared->connections, 1);
    finish_crowd(crowd);
}

/* Another worker waits for the only slot: the connection is given up, though it is never idle. */
static void test_http2_yields(void **state)
{
    struct fixture *f = *state;
    struct stream *crowd[CROWD];
    speak_http2(f, 100, 1);
    (void)lease_crowd(f, crowd);
    UNTIL(f, n_up(crowd) == CROWD);
    atomic_store(&f->shared->starving, pool_bit(1));
    finish_one(crowd[0]);
    crowd[0] = NULL;
    assert_true(list_empty(&f->pool->open));
    finish_crowd(crowd);
    assert_int_equal(f->shared->connections, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_idle_ones_go_and_stay),
        TEST(test_busy_one_ends_with_its_stream),
        TEST(test_what_is_left_is_not_handed_on),
        TEST(test_one_that_comes_back),
        TEST(test_connecting),
        TEST(test_no_endpoints),
        TEST(test_set_endpoints_without_memory),
        TEST(test_a_higher_limit_serves_who_waits),
        TEST(test_more_requests_are_let_in),
        TEST(test_other_times),
        TEST(test_retired),
        TEST(test_the_other_family_comes_first),
        TEST(test_tried_is_of_one_list),
        TEST(test_tries_are_bounded_across_lists),
        TEST(test_mail_to_a_pool_that_went),
        TEST(test_http2_wait_for_one_connection),
        TEST(test_http2_streams_used_up),
        TEST(test_http2_queue),
        TEST(test_http2_leaves),
        TEST(test_http2_and_tcp),
        TEST(test_http2_yields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
