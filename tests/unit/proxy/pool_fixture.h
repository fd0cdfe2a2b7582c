/* pool_fixture.h - a pool on a worker whose loop the test turns, and servers that it connects to.
 */
#ifndef SLUICE_TESTS_POOL_FIXTURE_H
#define SLUICE_TESTS_POOL_FIXTURE_H

#include "proxy/listener.h"
#include "proxy/pool.h"

#include "base/mem.h"
#include "io/socket.h"
#include "proxy/admission.h"
#include "proxy/endpoint.h"
#include "proxy/stream.h"
#include "proxy/stream_steps.h"
#include "proxy/upstream.h"
#include "proxy/upstream_h2.h"
#include "proxy/view.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

enum { SERVERS = 3, WORKERS = 2, PATIENCE_MS = 5000 };

static inline void no_release(struct side *s, bool clean, enum reason reason)
{
    (void)s;
    (void)clean;
    (void)reason;
}

static const struct side_ops client_ops = {.release = no_release};

/* Two workers on one thread, whose loops the test turns itself; the pool is the first one's. */
struct fixture {
    struct process process;
    struct worker workers[WORKERS];
    struct view view;
    struct conf_listener listener_conf;
    struct listener listener;
    struct conf_upstream conf;
    struct upstream_shared *shared;
    struct pool *pool;
    int fds[SERVERS];
    struct endpoint_address servers[SERVERS];
    char texts[SERVERS][ADDRESS_TEXT_MAX];
    struct side client;
};

/* On a port of the kernel's choice. */
static inline void serve_at(struct fixture *f, int i, const char *text, bool listening)
{
    struct endpoint_address *a = &f->servers[i];
    const char *why;
    assert_int_equal(address_parse(str_of(text), &a->address, &why), 0);
    if (a->address.u.sa.sa_family == AF_INET6)
        a->address.u.in6.sin6_port = 0;
    else
        a->address.u.in.sin_port = 0;
    int fd = socket(a->address.u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, &a->address.u.sa, a->address.len), 0);
    if (listening)
        assert_int_equal(listen(fd, 512), 0);
    assert_int_equal(getsockname(fd, &a->address.u.sa, &a->address.len), 0);
    a->text = str_of(address_format(&a->address, f->texts[i]));
    if (f->fds[i] >= 0)
        (void)close(f->fds[i]);
    f->fds[i] = fd;
}

/* The servers of these numbers, up to -1. */
static inline struct endpoint_list *list_of(struct fixture *f, const int *which)
{
    struct endpoint_address list[SERVERS];
    uint32_t n = 0;
    bool changed;
    for (; which[n] >= 0; n++)
        list[n] = f->servers[which[n]];
    assert_int_equal(upstream_shared_set(f->shared, list, n, &changed), 0);
    struct endpoint_list *l = endpoint_list_new(f->shared);
    assert_non_null(l);
    return l;
}

#define LIST(f, ...) list_of(f, (const int[]){__VA_ARGS__ __VA_OPT__(, ) - 1})
#define SET(f, ...)  assert_int_equal(pool_set_endpoints((f)->pool, LIST(f, __VA_ARGS__)), 0)

static inline int setup(void **state)
{
    struct fixture *f = NULL;
    assert_int_equal(posix_memalign((void **)&f, 64, sizeof(*f)), 0);
    memset(f, 0, sizeof(*f));
    f->process = (struct process){.n_workers = WORKERS, .workers = f->workers};
    drain_init(&f->process.drain);
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct worker *w = &f->workers[i];
        *w = (struct worker){.magic = WORKER_MAGIC, .id = i, .process = &f->process};
        assert_int_equal(loop_init(&w->loop), 0);
        mailbox_init(&w->mailbox, &w->loop, w);
        slab_init(&w->exchanges, sizeof(struct exchange));
        slab_init(&w->streams, sizeof(struct stream));
        slab_init(&w->upstreams, sizeof(struct upstream_conn));
        slab_init(&w->upstream_streams, sizeof(struct upstream_h2_stream));
    }
    f->view.worker = &f->workers[0];
    list_init(&f->view.streams);
    f->workers[0].view = &f->view;
    f->listener_conf.protocol = PROTOCOL_TCP;
    f->listener_conf.direction = DIRECTION_OUTBOUND;
    f->listener.view = &f->view;
    f->listener.conf = &f->listener_conf;
    f->conf = (struct conf_upstream){
        .name = STR("app"),
        .balance = BALANCE_ROUND_ROBIN,
        .connect_timeout = 5 * USEC_PER_SEC,
        .idle_timeout = 60 * USEC_PER_SEC,
        .bounds = {.connections = 64, .requests = 64, .pending = 64},
        .queue_timeout = 60 * USEC_PER_SEC,
    };
    f->client.ops = &client_ops;
    for (int i = 0; i < SERVERS; i++) {
        f->fds[i] = -1;
        serve_at(f, i, "127.0.0.1:1", true);
    }
    f->shared = upstream_shared_new(WORKERS);
    f->pool = pool_new(&f->workers[0], &f->conf, f->shared, LIST(f, 0, 1));
    assert_non_null(f->pool);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    f->pool = pool_free(f->pool);
    /* Nothing holds a connection's slot any more, or waits. */
    assert_int_equal(f->shared->connections, 0);
    assert_int_equal(f->shared->pending, 0);
    assert_int_equal(count_read(&f->shared->worker[0].stats.connections), 0);
    upstream_shared_unref(f->shared);
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct worker *w = &f->workers[i];
        mailbox_free(&w->mailbox);
        loop_free(&w->loop);
        slab_free_all(&w->exchanges);
        slab_free_all(&w->streams);
        slab_free_all(&w->upstreams);
        slab_free_all(&w->upstream_streams);
    }
    for (int i = 0; i < SERVERS; i++)
        (void)close(f->fds[i]);
    free(f);
    return 0;
}

/* Turns the loops until the condition holds. */
#define UNTIL(f, cond)                                                                             \
    for (usec_t until_ = clock_mono() + PATIENCE_MS * USEC_PER_MSEC; !(cond);) {                   \
        assert_true(clock_mono() < until_);                                                        \
        turn(f);                                                                                   \
    }

static inline void turn(struct fixture *f)
{
    for (uint32_t i = 0; i < WORKERS; i++)
        (void)ev_run(f->workers[i].loop.ev, EVRUN_NOWAIT);
}

/* A TCP stream that comes to where a connection is needed. */
static inline struct stream *stream_for(struct fixture *f)
{
    f->client.stream = NULL;
    struct stream *s = stream_new(&f->workers[0], &f->listener, &f->client, NULL, STR("peer"));
    s->tcp = true;
    s->pool = f->pool;
    s->step = STREAM_CONNECT;
    return s;
}

/* A GET that comes to where a connection is needed. The servers take it in and say nothing. */
static inline struct stream *request_for(struct fixture *f)
{
    static const struct conf_route plain;
    struct stream *s = stream_for(f);
    s->route = &plain;
    s->tcp = false;
    s->req.method = METHOD_GET;
    s->req.version_minor = 1;
    assert_int_equal(message_append(&s->req, "GET", 3, &s->req.method_text), 0);
    assert_int_equal(message_append(&s->req, "/", 1, &s->req.path), 0);
    assert_int_equal(message_append(&s->req, "test", 4, &s->req.authority), 0);
    s->request_ended = true;
    return s;
}

static inline void finish(struct stream *s)
{
    stream_force(s);
}

#endif
