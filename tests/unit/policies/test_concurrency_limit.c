/* test_concurrency_limit.c - does the limit find what a server can do? Simulated: so many places, a
 * time for each request, a queue before them, and clients that come at a rate whatever happens. */
#include "policies/concurrency.h"

#include "base/check.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MS  USEC_PER_MSEC
#define SEC USEC_PER_SEC

enum { PLACES_MAX = 512, QUEUE_MAX = 65536 };

static const struct concurrency_rules usual = {
    .min_limit = 1,
    .max_limit = 1000,
    .initial_limit = 20,
    .tolerance = 125,
    .interval = 100 * MS,
    .min_rtt_window = 60 * SEC,
};

struct sim {
    struct concurrency *c;
    struct concurrency_rules r;
    struct rng rng;
    uint32_t places;
    usec_t service;
    bool exponential; /* else each request takes the same */
    enum priority priority;
    double rate; /* requests a second */
    usec_t now, next;
    uint32_t busy, n_queue, head;
    struct {
        usec_t came, done;
    } place[PLACES_MAX];
    usec_t queue[QUEUE_MAX]; /* when each came */
    /* Clients that go when it is over; the server does not see that, and works for them all the
     * same. 0: they wait for ever. */
    usec_t patience;
    uint32_t n_waiting, first; /* who has neither an answer nor gone, oldest first */
    usec_t waiting[QUEUE_MAX];
    /* Since the last reset(). */
    uint64_t served, refused, left;
    uint32_t most_in_flight, least_limit, most_limit;
    uint64_t latency[HISTOGRAM_BUCKETS];
};

static double uniform(struct sim *s)
{
    return ((double)(rng_next(&s->rng) >> 11) + 0.5) / 9007199254740992.0;
}

static usec_t random_time(struct sim *s, double mean)
{
    return 1 + (usec_t)(-log(uniform(s)) * mean);
}

static struct sim *sim_new(const struct concurrency_rules *r, uint32_t places, usec_t service)
{
    struct sim *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->r = *r;
    s->c = concurrency_new(1, r);
    assert_non_null(s->c);
    rng_init(&s->rng, 7);
    s->places = places;
    s->service = service;
    s->priority = PRIORITY_NORMAL;
    s->now = 1000 * SEC;
    return s;
}

static void sim_free(struct sim *s)
{
    (void)concurrency_free(s->c);
    free(s);
}

static void reset(struct sim *s)
{
    s->served = s->refused = s->left = 0;
    s->most_in_flight = s->most_limit = 0;
    s->least_limit = UINT32_MAX;
    memset(s->latency, 0, sizeof(s->latency));
}

static void serve(struct sim *s, usec_t came)
{
    usec_t takes = s->exponential ? random_time(s, (double)s->service) : s->service;
    assert_true(s->busy < PLACES_MAX);
    s->place[s->busy].came = came;
    s->place[s->busy++].done = s->now + takes;
}

static void arrive(struct sim *s)
{
    s->next = s->now + random_time(s, 1e6 / s->rate);
    if (!concurrency_enter(s->c, &s->r, 0, s->priority)) {
        s->refused++;
        return;
    }
    assert_true(s->n_waiting < QUEUE_MAX);
    if (s->patience)
        s->waiting[(s->first + s->n_waiting++) % QUEUE_MAX] = s->now;
    if (s->busy < s->places) {
        serve(s, s->now);
        return;
    }
    if (s->n_queue == QUEUE_MAX)
        return;
    s->queue[(s->head + s->n_queue++) % QUEUE_MAX] = s->now;
}

static uint32_t first_done(const struct sim *s)
{
    uint32_t first = 0;
    for (uint32_t i = 1; i < s->busy; i++) {
        if (s->place[i].done < s->place[first].done)
            first = i;
    }
    return first;
}

static void look_around(struct sim *s)
{
    struct concurrency_view v;
    concurrency_look(s->c, &s->r, &v);
    assert_true(v.limit >= s->r.min_limit && v.limit <= s->r.max_limit);
    if (v.in_flight > s->most_in_flight)
        s->most_in_flight = v.in_flight;
    if (v.limit < s->least_limit)
        s->least_limit = v.limit;
    if (v.limit > s->most_limit)
        s->most_limit = v.limit;
}

/* All have the same patience: the oldest loses it first. */
static void leave(struct sim *s)
{
    usec_t waited = s->now - s->waiting[s->first];
    s->first = (s->first + 1) % QUEUE_MAX;
    s->n_waiting--;
    s->left++;
    concurrency_left(s->c, &s->r, 0, waited, s->now);
    concurrency_leave(s->c);
    look_around(s);
}

static void answer(struct sim *s, usec_t came)
{
    usec_t latency = s->now - came;
    if (s->patience) { /* who came at the same time is as good */
        uint32_t at = s->first;
        while (s->waiting[at] != came)
            at = (at + 1) % QUEUE_MAX;
        for (; at != s->first; at = (at + QUEUE_MAX - 1) % QUEUE_MAX)
            s->waiting[at] = s->waiting[(at + QUEUE_MAX - 1) % QUEUE_MAX];
        s->first = (s->first + 1) % QUEUE_MAX;
        s->n_waiting--;
    }
    s->served++;
    s->latency[histogram_bucket(latency)]++;
    concurrency_answered(s->c, &s->r, 0, latency, s->now);
    concurrency_leave(s->c);
    look_around(s);
}

static void finish(struct sim *s, uint32_t i)
{
    usec_t came = s->place[i].came;
    s->place[i] = s->place[--s->busy];
    if (!s->patience || s->now - came < s->patience)
        answer(s, came);
    if (s->n_queue == 0 || s->busy >= s->places)
        return;
    serve(s, s->queue[s->head]);
    s->head = (s->head + 1) % QUEUE_MAX;
    s->n_queue--;
}

static void run(struct sim *s, double rate, usec_t length)
{
    usec_t end = s->now + length;
    s->rate = rate;
    s->next = s->now + random_time(s, 1e6 / rate);
    reset(s);
    for (;;) {
        uint32_t i = first_done(s);
        bool done = s->busy > 0 && s->place[i].done < s->next;
        usec_t at = done ? s->place[i].done : s->next;
        bool left = s->n_waiting > 0 && s->waiting[s->first] + s->patience <= at;
        if (left)
            at = s->waiting[s->first] + s->patience;
        if (at >= end)
            break;
        s->now = at;
        if (left)
            leave(s);
        else if (done)
            finish(s, i);
        else
            arrive(s);
    }
    s->now = end;
}

static uint32_t limit_of(const struct sim *s)
{
    struct concurrency_view v;
    concurrency_look(s->c, &s->r, &v);
    return v.limit;
}

static usec_t min_rtt_of(const struct sim *s)
{
    struct concurrency_view v;
    concurrency_look(s->c, &s->r, &v);
    return v.min_rtt;
}

static double capacity(const struct sim *s)
{
    return s->places * 1e6 / (double)s->service;
}

static double goodput(const struct sim *s, usec_t length)
{
    return (double)s->served * 1e6 / (double)length / capacity(s);
}

static void show(const char *what, const struct sim *s, usec_t length)
{
    print_message("%s: limit %u (%u to %u), in flight up to %u, goodput %.3f, p50 %.1f ms, p99 "
                  "%.1f ms, minRTT %.1f ms, %u probes\n",
                  what, limit_of(s), s->least_limit, s->most_limit, s->most_in_flight,
                  goodput(s, length), (double)histogram_quantile(s->latency, 500000) / 1e3,
                  (double)histogram_quantile(s->latency, 990000) / 1e3, (double)min_rtt_of(s) / 1e3,
                  (unsigned)s->c->probes);
}

/* Overload from the first request on, for longer than minRTT's window. */
static void overload(uint32_t places, usec_t service, bool exponential, double most_p99)
{
    struct sim *s = sim_new(&usual, places, service);
    s->exponential = exponential;
    run(s, 3 * capacity(s), 10 * SEC);
    show("first", s, 10 * SEC);
    for (int i = 0; i < 2; i++) {
        run(s, 3 * capacity(s), 60 * SEC);
        show("then", s, 60 * SEC);
        assert_true(goodput(s, 60 * SEC) >= 0.9);
        assert_true((double)histogram_quantile(s->latency, 990000) <= most_p99 * (double)service);
    }
    sim_free(s);
}

static void test_converges(UNUSED void **state)
{
    overload(8, 10 * MS, false, 3);
    overload(100, 10 * MS, false, 3);
    overload(8, 200 * MS, false, 3);
    overload(2, 10 * MS, false, 4.5);
    overload(1, 10 * MS, false, 6);
}

static void test_converges_exponential(UNUSED void **state)
{
    overload(8, 10 * MS, true, 12);
}

static void step(uint32_t places, usec_t service, uint32_t factor)
{
    struct sim *s = sim_new(&usual, places, service);
    run(s, 3 * capacity(s), 30 * SEC);
    show("before", s, 30 * SEC);
    s->service *= factor;
    run(s, 3 * capacity(s), 5 * SEC);
    show("step", s, 5 * SEC);
    run(s, 3 * capacity(s), 5 * SEC);
    show("5 s later", s, 5 * SEC);
    run(s, 3 * capacity(s), 10 * SEC);
    show("10 s later", s, 10 * SEC);
    assert_true(goodput(s, 10 * SEC) >= 0.9);
    s->service /= factor;
    run(s, 3 * capacity(s), 10 * SEC);
    show("back", s, 10 * SEC);
    run(s, 3 * capacity(s), 10 * SEC);
    show("later", s, 10 * SEC);
    sim_free(s);
}

static void test_step(UNUSED void **state)
{
    step(8, 10 * MS, 5);
    step(100, 10 * MS, 5);
    step(50, 20 * MS, 2);
}

static void test_low_load(UNUSED void **state)
{
    for (int exponential = 0; exponential < 2; exponential++) {
        struct sim *s = sim_new(&usual, 100, 20 * MS);
        s->exponential = exponential;
        run(s, 0.7 * capacity(s), 60 * SEC);
        show("0.7", s, 60 * SEC);
        run(s, 100, 5 * SEC);
        uint32_t was = limit_of(s);
        run(s, 100, 300 * SEC);
        show("low", s, 300 * SEC);
        assert_true(s->least_limit >= was);
        s->now += 3600 * SEC;
        run(s, 0.9 * capacity(s), 1 * SEC);
        show("burst", s, 1 * SEC);
        assert_true(exponential ? s->refused * 50 < s->served : s->refused == 0);
        sim_free(s);
    }
}

/* Clients that go, under overload and after a time with little load, in which the limit has grown.
 * Those who are let through wait for longer than they have patience, and leave their places to
 * others while the server works for them all the same: it must not stay so. */
static void impatient(uint32_t places, usec_t service, double patience, double least)
{
    struct sim *s = sim_new(&usual, places, service);
    s->patience = (usec_t)(patience * (double)service);
    run(s, 0.5 * capacity(s), 30 * SEC);
    run(s, 3 * capacity(s), 10 * SEC);
    show("first", s, 10 * SEC);
    run(s, 3 * capacity(s), 60 * SEC);
    show("then", s, 60 * SEC);
    print_message("  patience %.1f times: %u have left\n", patience, (unsigned)s->left);
    assert_true(goodput(s, 60 * SEC) >= least);
    sim_free(s);
}

static void test_impatient(UNUSED void **state)
{
    static const struct {
        double patience, least;
    } cases[] = {{5, 0.9}, {3, 0.9}, {2, 0.9}, {1.3, 0.5}, {1.1, 0.35}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        impatient(20, 10 * MS, cases[i].patience, cases[i].least);
        impatient(100, 20 * MS, cases[i].patience, cases[i].least);
        impatient(8, 200 * MS, cases[i].patience, cases[i].least);
    }
}

/* Patience that is shorter than an answer takes: nothing helps, and when answers come sooner again
 * so do the requests. */
static void test_hopeless(UNUSED void **state)
{
    struct sim *s = sim_new(&usual, 20, 10 * MS);
    s->patience = 8 * MS;
    run(s, 0.5 * capacity(s), 5 * SEC);
    assert_int_equal(s->served, 0);
    assert_int_equal(limit_of(s), 1);
    s->service = 5 * MS;
    run(s, 0.5 * capacity(s), 2 * SEC);
    run(s, 0.5 * capacity(s), 5 * SEC);
    show("again", s, 5 * SEC);
    assert_true(s->refused == 0 && s->left == 0);
    sim_free(s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_converges), cmocka_unit_test(test_converges_exponential),
        cmocka_unit_test(test_step),      cmocka_unit_test(test_low_load),
        cmocka_unit_test(test_impatient), cmocka_unit_test(test_hopeless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
