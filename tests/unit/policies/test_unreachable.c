/* test_unreachable.c - is a lost path told from a slow application, and soon enough? With a kernel
 * that is simulated: what it sends, sends again and probes. */
#include "policies/unreachable.h"

#include "base/check.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define AFTER USEC_PER_SEC
#define MS(n) ((usec_t)(n)*USEC_PER_MSEC)

static void test_verdicts(UNUSED void **state)
{
    static const struct {
        struct unreachable_facts f;
        enum unreachable_verdict v;
    } rows[] = {
        /* all is acknowledged */
        {{.quiet = MS(500)}, UNREACHABLE_ASK},
        {{.quiet = MS(60000)}, UNREACHABLE_ASK},
        {{.quiet = MS(60000), .known = true}, UNREACHABLE_ASK},
        /* data */
        {{.quiet = MS(999), .unacked = 1, .retransmits = 2}, UNREACHABLE_NO},
        {{.quiet = MS(1000), .unacked = 1, .retransmits = 1}, UNREACHABLE_NO},
        {{.quiet = MS(1000), .unacked = 1, .retransmits = 2}, UNREACHABLE_YES},
        {{.quiet = MS(1000), .unacked = 1, .retransmits = 1, .known = true}, UNREACHABLE_YES},
        {{.quiet = MS(999), .unacked = 1, .retransmits = 1, .known = true}, UNREACHABLE_NO},
        {{.quiet = MS(1000), .unacked = 1, .known = true}, UNREACHABLE_NO},
        /* probes alone are no proof */
        {{.quiet = MS(1000), .probes = 9}, UNREACHABLE_SUSPECT},
        {{.quiet = MS(900), .probes = 1}, UNREACHABLE_NO},
        {{.quiet = MS(1000), .probes = 1, .known = true}, UNREACHABLE_YES},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(unreachable_judge(AFTER, &rows[i].f), rows[i].v);
}

static void test_giving_up(UNUSED void **state)
{
    struct unreachable_facts f = {.quiet = MS(1000)};
    assert_true(unreachable_gives_up(AFTER, &f, true, false));
    assert_false(unreachable_gives_up(AFTER, &f, false, true));
    f.quiet = MS(999);
    assert_false(unreachable_gives_up(AFTER, &f, true, true));
    f.quiet = MS(1500);
    assert_true(unreachable_gives_up(AFTER, &f, false, true));
    f.quiet = MS(9000);
    assert_false(unreachable_gives_up(AFTER, &f, false, false)); /* the silence is ours */
}

static void test_connects(UNUSED void **state)
{
    assert_false(unreachable_connect(AFTER, MS(999)));
    assert_true(unreachable_connect(AFTER, MS(1000)));
    assert_false(unreachable_connect(0, MS(999999))); /* it is off */
}

static void test_when_to_look(UNUSED void **state)
{
    struct unreachable_facts f = {.quiet = MS(500)};
    assert_int_equal(unreachable_next_look(AFTER, 0), MS(500));
    assert_int_equal(unreachable_next_look(AFTER, MS(2999)), MS(500));
    assert_int_equal(unreachable_next_look(AFTER, MS(3000)), MS(1000));
    assert_int_equal(unreachable_probe_after(AFTER, &f), 1);
    f.quiet = MS(3000);
    assert_int_equal(unreachable_probe_after(AFTER, &f), 5);
    f.known = true;
    assert_int_equal(unreachable_probe_after(AFTER, &f), 1);
}

/* --- a kernel, and a stream that waits --- */

struct kernel {
    struct rng rng;
    usec_t rtt, rto;
    uint32_t loss;     /* percent of round trips that are lost */
    usec_t black_from; /* nothing comes from then on */
    usec_t sent, next; /* the first transmission, the next one; next 0: acknowledged */
    uint32_t retransmits, probes;
    usec_t heard;
    uint32_t keep_idle; /* s; 0: none */
    usec_t probe_at;
};

static bool comes_back(struct kernel *k, usec_t at)
{
    return at < k->black_from && rng_below(&k->rng, 100) >= k->loss;
}

/* Everything that happens up to `now`. */
static void run(struct kernel *k, usec_t now)
{
    while (k->next != 0 && k->next <= now) {
        usec_t at = k->next;
        if (at != k->sent)
            k->retransmits++;
        if (comes_back(k, at)) {
            k->heard = at + k->rtt;
            k->retransmits = 0;
            k->next = 0;
            break;
        }
        k->next = at + (k->rto << k->retransmits);
    }
    while (k->next == 0 && k->keep_idle > 0) {
        usec_t due = k->probes > 0 ? k->probe_at + USEC_PER_SEC
                                   : max_u64(k->heard + k->keep_idle * USEC_PER_SEC, k->probe_at);
        if (due > now)
            return;
        k->probe_at = due;
        k->probes++;
        if (comes_back(k, due)) {
            k->heard = due + k->rtt;
            k->probes = 0;
        }
    }
}

/* When the stream that sent at 0 is given up; USEC_NEVER: it is not within `until`. The endpoint is
 * known to be unreachable from `known_at` on, as others, and connections, find out. */
static usec_t wait_for_answer(struct kernel *k, usec_t begin, bool repeatable, usec_t known_at,
                              usec_t until)
{
    usec_t look = begin + AFTER / 2;
    k->sent = k->next = begin;
    while (look < until) {
        run(k, look);
        struct unreachable_facts f = {
            .quiet = min_u64(look - begin, look > k->heard ? look - k->heard : 0),
            .unacked = k->next != 0,
            .retransmits = k->retransmits,
            .probes = k->probes,
            .known = look >= known_at,
        };
        switch (unreachable_judge(AFTER, &f)) {
        case UNREACHABLE_ASK:
            k->keep_idle = unreachable_probe_after(AFTER, &f);
            break;
        case UNREACHABLE_SUSPECT:
            if (!comes_back(k, look)) /* a connection is tried */
                known_at = min_u64(known_at, look + AFTER);
            break;
        case UNREACHABLE_YES:
            known_at = min_u64(known_at, look);
            if (unreachable_gives_up(AFTER, &f, repeatable, true))
                return look;
            break;
        case UNREACHABLE_NO:
            break;
        }
        look += unreachable_next_look(AFTER, look - begin);
    }
    return USEC_NEVER;
}

static struct kernel kernel_new(uint64_t seed, usec_t rtt, uint32_t loss, usec_t black_from)
{
    struct kernel k = {.rtt = rtt, .rto = MS(200) + rtt, .loss = loss, .black_from = black_from};
    rng_init(&k.rng, seed);
    return k;
}

static void test_a_slow_application_is_left_alone(UNUSED void **state)
{
    for (uint32_t i = 0; i < 2000; i++) {
        struct kernel k = kernel_new(i, MS(i % 150), 0, USEC_NEVER);
        assert_true(wait_for_answer(&k, MS(1000), i % 2 == 0, USEC_NEVER, MS(900000)) ==
                    USEC_NEVER);
        /* Not even when others think that it cannot be reached. */
        struct kernel known = kernel_new(i, MS(i % 150), 0, USEC_NEVER);
        assert_true(wait_for_answer(&known, MS(1000), true, 0, MS(60000)) == USEC_NEVER);
    }
}

/* One round trip in fifty is lost: who waits is not cut for it. */
static void test_losses_are_borne(UNUSED void **state)
{
    uint32_t given_up = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        struct kernel k = kernel_new(i, MS(i % 150), 2, USEC_NEVER);
        given_up += wait_for_answer(&k, MS(1000), i % 2 == 0, USEC_NEVER, MS(15000)) != USEC_NEVER;
    }
    assert_in_range(given_up, 0, 2);
}

/* Sent up to when all know of it, a second and more after the packets began to be lost; or long
 * before that, and acknowledged. */
static void test_a_lost_path_is_found_in_time(UNUSED void **state)
{
    struct rng rng;
    rng_init(&rng, 3);
    for (uint32_t i = 0; i < 5000; i++) {
        usec_t black = MS(100000), known = black + MS(1000) + rng_below(&rng, 200000);
        usec_t begin = i % 2 == 0 ? black + rng_below(&rng, (uint32_t)(known - black))
                                  : black - rng_below(&rng, 20000000);
        struct kernel k = kernel_new(i, MS(rng_below(&rng, 50)), 0, black);
        usec_t end = wait_for_answer(&k, begin, i % 3 != 0, known, MS(200000));
        assert_true(end < black + MS(3000));
    }
}

/* Nobody else has noticed: a lone request finds it out by itself. */
static void test_a_lone_request(UNUSED void **state)
{
    for (uint32_t i = 0; i < 1000; i++) {
        struct kernel k = kernel_new(i, MS(i % 50), 0, MS(100000));
        usec_t end = wait_for_answer(&k, MS(100000) + MS(i), i % 2 == 0, USEC_NEVER, MS(200000));
        assert_true(end <= MS(100000) + MS(i) + MS(i % 2 == 0 ? 1500 : 2000));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_giving_up),
        cmocka_unit_test(test_connects),
        cmocka_unit_test(test_when_to_look),
        cmocka_unit_test(test_a_slow_application_is_left_alone),
        cmocka_unit_test(test_losses_are_borne),
        cmocka_unit_test(test_a_lost_path_is_found_in_time),
        cmocka_unit_test(test_a_lone_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
