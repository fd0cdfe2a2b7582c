/* test_cleanup_try.c - answers, pauses, and what may be seen of an action. */
#include "lifecycle/cleanup_try.h"

#include "base/check.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define MS USEC_PER_MSEC

static void test_answers(UNUSED void **state)
{
    for (unsigned status = 0; status < 600; status++) {
        enum cleanup_verdict v = cleanup_judge(status);
        if (status >= 200 && status < 300)
            assert_int_equal(v, CLEANUP_SAYS_RELEASED);
        else if (status == 404 || status == 410)
            assert_int_equal(v, CLEANUP_SAYS_GONE);
        else if (status < 200 || status >= 500 || status == 408 || status == 425 || status == 429)
            assert_int_equal(v, CLEANUP_SAYS_AGAIN);
        else
            assert_int_equal(v, CLEANUP_SAYS_NO);
    }
}

/* From nothing to all of 100, 200, 400 ... 5000 ms. */
static void test_backoff(UNUSED void **state)
{
    static const usec_t most[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct rng rng;
    rng_init(&rng, 1);
    for (uint32_t i = 0; i < ARRAY_LEN(most); i++) {
        usec_t least = USEC_NEVER, longest = 0, sum = 0;
        for (int k = 0; k < 10000; k++) {
            usec_t t = cleanup_backoff(i + 1, rng_next(&rng));
            assert_true(t <= most[i] * MS);
            least = min_u64(least, t);
            longest = max_u64(longest, t);
            sum += t;
        }
        assert_true(least < most[i] * MS / 100);
        assert_true(longest > most[i] * MS * 99 / 100);
        assert_true(sum / 10000 > most[i] * MS * 48 / 100 && sum / 10000 < most[i] * MS * 52 / 100);
    }
    assert_true(cleanup_backoff(UINT32_MAX, UINT64_MAX) <= CLEANUP_BACKOFF_MOST);
}

/* A whole run against a server that never answers, in simulated time. */
static void test_tries_end(UNUSED void **state)
{
    struct rng rng;
    rng_init(&rng, 2);
    for (uint32_t retries = 0; retries < 8; retries++) {
        const struct cleanup_action a = {.timeout = 50 * MS, .retries = retries};
        usec_t now = 1000, at = now;
        uint32_t tries = 0;
        while (at != 0) {
            assert_true(at >= now);
            tries++;
            now = at + a.timeout;
            at = cleanup_try_again(&a, tries, now, USEC_NEVER, 0, rng_next(&rng));
        }
        assert_int_equal(tries, retries + 1);
        assert_true(now - 1000 <= cleanup_longest(&a));
    }
}

static void test_no_try_begins_at_the_deadline(UNUSED void **state)
{
    const struct cleanup_action a = {.timeout = 50 * MS, .retries = 1000};
    struct rng rng;
    rng_init(&rng, 3);
    for (int round = 0; round < 1000; round++) {
        usec_t now = 0, deadline = 3 * USEC_PER_SEC;
        for (uint32_t tries = 1; now != 0 || tries == 1; tries++) {
            assert_true(tries < 1000);
            now = cleanup_try_again(&a, tries, now, deadline, 0, rng_next(&rng));
            assert_true(now < deadline);
            now += now ? a.timeout : 0;
        }
    }
}

static void test_retry_after(UNUSED void **state)
{
    const struct cleanup_action a = {.timeout = 1, .retries = 3};
    assert_int_equal(cleanup_try_again(&a, 1, 10, USEC_NEVER, 2 * USEC_PER_SEC, 0),
                     10 + 2 * USEC_PER_SEC);
    assert_int_equal(cleanup_try_again(&a, 1, 10, USEC_NEVER, 3600 * USEC_PER_SEC, 0),
                     10 + 5 * USEC_PER_SEC);
    assert_int_equal(cleanup_try_again(&a, 1, 10, USEC_PER_SEC, 2 * USEC_PER_SEC, 0), 0);
    assert_int_equal(cleanup_try_again(&a, 4, 10, USEC_NEVER, 0, 0), 0);
}

static void test_copied_compared_shown(UNUSED void **state)
{
    struct cleanup_field fields[] = {{"A", "1"}, {"B", ""}};
    char run[] = "/bin/run", arg[] = "--secret";
    char *const command[] = {run, arg, NULL};
    struct cleanup_action a = {.method = "PUT",
                               .url = "https://h:8443/path/SECRET?SECRET",
                               .connect_to = "h:8443:1.2.3.4:1",
                               .ca_file = "/ca",
                               .fields = fields,
                               .n_fields = 2,
                               .body = STR("x\0y"),
                               .timeout = 7,
                               .retries = 2,
                               .idempotency_key = "k"};
    char shown[CLEANUP_SHOWN_MAX];
    struct cleanup_action *c = cleanup_action_copy(&a);
    assert_non_null(c);
    assert_true(cleanup_action_equal(&a, c));
    assert_ptr_not_equal(c->url, a.url);
    assert_string_equal(c->idempotency_key, "k");
    assert_int_equal(c->body.n, 3);
    assert_string_equal(cleanup_action_shown(c, shown), "PUT https://h:8443");
    c->retries = 3;
    assert_false(cleanup_action_equal(&a, c));
    free(c);
    fields[1].value = "2";
    c = cleanup_action_copy(&a);
    fields[1].value = "3";
    assert_false(cleanup_action_equal(&a, c));
    assert_string_equal(c->fields[1].value, "2");
    free(c);
    a = (struct cleanup_action){.method = "", .url = "", .command = command};
    c = cleanup_action_copy(&a);
    assert_true(cleanup_action_equal(&a, c));
    assert_string_equal(c->command[1], "--secret");
    assert_null(c->command[2]);
    assert_string_equal(cleanup_action_shown(c, shown), "command /bin/run");
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),     cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_tries_end),   cmocka_unit_test(test_no_try_begins_at_the_deadline),
        cmocka_unit_test(test_retry_after), cmocka_unit_test(test_copied_compared_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
