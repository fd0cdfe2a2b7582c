/* test_again.c - what is sent once more without a retry, where to, and what speaks against nobody.
 */
#include "pool_fixture.h"

#include "proxy/upstream_shared.h"

#include <sys/resource.h>

static const struct conf_route plain = {.name = STR("r")};
static const struct retry_rules counts_only = {.attempts = 1, .dry_run = true};
static const struct retry_rules others = {.attempts = 1, .on = RETRY_BIT(RETRY_ON_CONNECT_FAILURE)};

/* A GET that has gone out on a new connection; its server says nothing. */
static struct stream *sent(struct fixture *f, const struct conf_route *route)
{
    enum reason reason;
    struct stream *s = request_for(f);
    f->conf.retry_budget =
        (struct retry_budget_rules){.min_per_second = 10, .window = 10 * USEC_PER_SEC};
    s->route = route;
    assert_int_equal(pool_lease(f->pool, s, true, &reason), POOL_WAITS);
    while (!s->up)
        turn(f);
    assert_int_equal(s->step, STREAM_RESPOND);
    return s;
}

static void take_head(struct side *s, const struct message *m, enum side_end end)
{
    (void)s;
    (void)m;
    (void)end;
}

static void take_body(struct side *s, const char *p, size_t n)
{
    (void)s;
    (void)p;
    (void)n;
}

static void take_end(struct side *s, const struct message *trailers)
{
    (void)s;
    (void)trailers;
}

/* A client that takes our own answer. */
static const struct side_ops takes = {
    .head = take_head, .body = take_body, .end = take_end, .release = no_release};

/* True: that was its end. */
static bool fails(struct stream *s, enum reason reason, enum upstream_silence silence)
{
    s->down->ops = &takes;
    stream_on_upstream_failed(s, reason, NULL, silence);
    return s->step == STREAM_FINISHED;
}

static uint64_t moved(const struct fixture *f)
{
    return count_read(&f->pool->stats->moved[MOVED_LOST]);
}

static void test_goes_to_another(void **state)
{
    struct fixture *f = *state;
    struct stream *s = sent(f, &plain);
    struct endpoint *was = s->endpoint;
    assert_false(fails(s, REASON_UPSTREAM_RESET, UPSTREAM_SILENT));
    assert_int_equal(s->step, STREAM_CONNECT);
    assert_int_equal(moved(f), 1);
    assert_true(s->moved);
    assert_non_null(s->exchange->wait.making);
    assert_ptr_not_equal(s->exchange->wait.making->endpoint, was);
    assert_int_equal(count_read(&was->stats->errors), 1);
    finish(s);
}

static void test_once(void **state)
{
    struct fixture *f = *state;
    struct stream *s = sent(f, &plain);
    s->moved = true;
    assert_true(fails(s, REASON_UPSTREAM_RESET, UPSTREAM_SILENT));
    assert_int_equal(moved(f), 0);
}

static void expect_end(struct fixture *f, struct stream *s, enum reason reason,
                       enum upstream_silence silence)
{
    assert_true(fails(s, reason, silence));
    assert_int_equal(moved(f), 0);
}

static void test_not_where_it_may_harm(void **state)
{
    struct fixture *f = *state;
    struct stream *s = sent(f, &plain);
    s->req.method = METHOD_POST;
    expect_end(f, s, REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT);
    s = sent(f, &plain);
    s->request.bytes = 1;
    expect_end(f, s, REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT);
    s = sent(f, &plain);
    s->request_ended = false;
    expect_end(f, s, REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT);
    s = sent(f, &plain);
    s->interims = 1;
    expect_end(f, s, REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT);
    s = sent(f, &plain);
    s->head_gone = true;
    expect_end(f, s, REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT);
    expect_end(f, sent(f, &plain), REASON_UPSTREAM_CLOSED, UPSTREAM_SPOKE);
    expect_end(f, sent(f, &plain), REASON_UPSTREAM_PROTOCOL, UPSTREAM_SILENT);
    expect_end(f, sent(f, &plain), REASON_OUT_OF_MEMORY, UPSTREAM_SILENT);
}

static void test_not_without_another(void **state)
{
    struct fixture *f = *state;
    SET(f, 0);
    expect_end(f, sent(f, &plain), REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT);
    SET(f, 0, 1);
    struct stream *s = sent(f, &plain);
    for (uint32_t i = 0; i < 2; i++) {
        struct endpoint *e = f->pool->endpoints[i];
        if (e != s->endpoint) /* it has just refused somebody */
            endpoint_avoid(e);
    }
    expect_end(f, s, REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT);
}

static void test_not_beyond_the_budget(void **state)
{
    struct fixture *f = *state;
    struct stream *s = sent(f, &plain);
    f->conf.retry_budget.min_per_second = 0;
    expect_end(f, s, REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT);
    assert_int_equal(count_read(&f->pool->stats->retries_refused[RETRY_BUDGET]), 1);
}

static void test_not_into_an_open_breaker(void **state)
{
    struct fixture *f = *state;
    struct stream *s = sent(f, &plain);
    struct breaker_change change;
    assert_true(breaker_force(&f->shared->breaker, clock_mono(), &change));
    expect_end(f, s, REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT);
    assert_int_equal(count_read(&f->pool->stats->retries_refused[RETRY_BREAKER]), 1);
}

static void test_rules_of_the_route(void **state)
{
    struct fixture *f = *state;
    const struct conf_route by_rules = {.retry = &others}, counting = {.retry = &counts_only};
    expect_end(f, sent(f, &by_rules), REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT);
    struct stream *s = sent(f, &counting);
    assert_false(fails(s, REASON_UPSTREAM_CLOSED, UPSTREAM_SILENT));
    assert_int_equal(moved(f), 1);
    finish(s);
}

/* One that was reused costs nothing the first time, and says nothing of its endpoint. */
static void test_stale(void **state)
{
    struct fixture *f = *state;
    struct stream *s = sent(f, &plain);
    struct endpoint *was = s->endpoint;
    assert_false(fails(s, REASON_UPSTREAM_CLOSED, UPSTREAM_STALE));
    assert_int_equal(moved(f), 0);
    assert_int_equal(count_read(&f->pool->stats->retried), 1);
    assert_int_equal(count_read(&was->stats->errors), 0);
    assert_true(s->fresh);
    while (!s->up)
        turn(f);
    assert_false(fails(s, REASON_UPSTREAM_CLOSED, UPSTREAM_STALE));
    assert_int_equal(moved(f), 1);
    finish(s);
}

/* --- what we lack ourselves --- */

/* It speaks against no endpoint, and nothing is kept of the try. */
static void test_no_descriptor(void **state)
{
    struct fixture *f = *state;
    struct rlimit was, none;
    enum reason reason = REASON_NONE;
    struct stream *s = stream_for(f);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum pool_lease got = pool_lease(f->pool, s, false, &reason);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(got, POOL_REFUSED);
    assert_int_equal(reason, REASON_NO_SOCKET);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(count_read(&f->pool->endpoints[i]->stats->errors), 0);
        assert_int_equal(f->pool->endpoints[i]->avoid_until, 0);
    }
    assert_int_equal(f->shared->connections, 0);
    finish(s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_goes_to_another),       TEST(test_once),
        TEST(test_not_where_it_may_harm), TEST(test_not_without_another),
        TEST(test_not_beyond_the_budget), TEST(test_not_into_an_open_breaker),
        TEST(test_rules_of_the_route),    TEST(test_stale),
        TEST(test_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
