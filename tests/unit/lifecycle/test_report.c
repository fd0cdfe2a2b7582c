/* test_report.c - is what the drain did told as it was? */
#include "lifecycle/report.h"

#include "base/check.h"
#include "base/log.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define T0 (1000 * USEC_PER_SEC)

static void test_words(UNUSED void **state)
{
    assert_string_equal(drain_class_word(DRAIN_H1_IDLE), "h1_idle");
    assert_string_equal(drain_class_word(DRAIN_TCP), "tcp");
    assert_string_equal(drain_how_word(DRAIN_COMPLETED), "completed");
    assert_string_equal(drain_how_word(DRAIN_FORCED), "forced");
}

static void test_counts(UNUSED void **state)
{
    struct drain_tally t = {0};
    drain_tally_add(&t, DRAIN_H1_ACTIVE, DRAIN_COMPLETED, REASON_NONE, 10, STR("10.0.0.1"),
                    STR("a"));
    drain_tally_add(&t, DRAIN_H1_ACTIVE, DRAIN_COMPLETED, REASON_NONE, 30, STR("10.0.0.2"),
                    STR("b"));
    drain_tally_add(&t, DRAIN_TCP, DRAIN_FORCED, REASON_FORCED, 20, STR("10.0.0.3"), STR("c"));
    drain_tally_add(&t, DRAIN_H1_IDLE, DRAIN_CLOSED, REASON_NONE, 99, STR("10.0.0.4"), STR_NONE);
    assert_int_equal(t.counts[DRAIN_H1_ACTIVE][DRAIN_COMPLETED], 2);
    assert_int_equal(t.counts[DRAIN_TCP][DRAIN_FORCED], 1);
    assert_int_equal(t.counts[DRAIN_H1_IDLE][DRAIN_CLOSED], 1);
    assert_int_equal(t.n_forced, 1);
    assert_string_equal(t.forced[0].peer, "10.0.0.3");
    assert_string_equal(t.forced[0].route, "c");
    /* An idle connection is no work that took long. */
    assert_int_equal(t.longest.age, 30);
    assert_string_equal(t.longest.route, "b");
}

static void test_long_names_are_cut(UNUSED void **state)
{
    struct drain_tally t = {0};
    char name[300];
    memset(name, 'x', sizeof(name));
    struct str s = {name, sizeof(name)};
    drain_tally_add(&t, DRAIN_TCP, DRAIN_FORCED, REASON_FORCED, 1, s, s);
    assert_int_equal(strlen(t.forced[0].peer), sizeof(t.forced[0].peer) - 1);
    assert_int_equal(strlen(t.forced[0].route), DRAIN_NAME_MAX - 1);
}

static void force_some(struct drain_tally *t, uint32_t n, usec_t age)
{
    for (uint32_t i = 0; i < n; i++)
        drain_tally_add(t, DRAIN_TCP, DRAIN_FORCED, REASON_FORCED, age, STR("p"), STR("r"));
}

static void test_merge(UNUSED void **state)
{
    struct drain_tally sum = {0}, one = {0}, two = {0}, many = {0};
    force_some(&one, 3, 5);
    one.crossed = 2;
    force_some(&two, DRAIN_FORCED_KEPT - 1, 7);
    two.crossed = 1;
    drain_tally_add(&two, DRAIN_WEBSOCKET, DRAIN_PEER, REASON_CLIENT_ABORT, 50, STR("q"), STR("w"));
    force_some(&many, 1000, 1);
    drain_tally_merge(&sum, &one);
    drain_tally_merge(&sum, &two);
    drain_tally_merge(&sum, &many);
    assert_int_equal(sum.counts[DRAIN_TCP][DRAIN_FORCED], 3 + DRAIN_FORCED_KEPT - 1 + 1000);
    assert_int_equal(sum.n_forced, 3 + DRAIN_FORCED_KEPT - 1 + 1000);
    assert_int_equal(sum.crossed, 3);
    assert_int_equal(sum.forced[2].age, 5);
    assert_int_equal(sum.forced[3].age, 7);
    assert_int_equal(sum.forced[DRAIN_FORCED_KEPT - 1].age, 7);
    assert_int_equal(sum.longest.age, 50);
    assert_string_equal(sum.longest.peer, "q");
}

static json_t *report(const struct drain *d, const struct drain_tally *t, usec_t now)
{
    char *text = drain_report_json(d, t, NULL, json_pack("{s:s}", "state", "alive"), 7, now);
    assert_non_null(text);
    assert_null(strchr(text, '\n'));
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    free(text);
    return o;
}

static json_int_t number(const json_t *o, const char *key)
{
    assert_true(json_is_integer(json_object_get(o, key)));
    return json_integer_value(json_object_get(o, key));
}

static void test_json_while_serving(UNUSED void **state)
{
    struct drain d;
    struct drain_tally t = {0};
    drain_init(&d);
    json_t *o = report(&d, &t, T0);
    assert_string_equal(json_string_value(json_object_get(o, "phase")), "serving");
    assert_int_equal(number(o, "open"), 7);
    assert_string_equal(json_string_value(json_object_get(json_object_get(o, "app"), "state")),
                        "alive");
    assert_int_equal(json_object_size(o), 3);
    json_decref(o);
}

static void test_json_of_a_drain(UNUSED void **state)
{
    static const struct conf_lifecycle c = {.notice_period = 1 * USEC_PER_SEC,
                                            .drain_timeout = 8 * USEC_PER_SEC,
                                            .last_call = 1 * USEC_PER_SEC,
                                            .app_cleanup = 1 * USEC_PER_SEC};
    struct drain d;
    struct drain_tally t = {0};
    usec_t next;
    drain_init(&d);
    (void)drain_begin(&d, &c, DRAIN_BY_ADMIN, 0, T0, T0);
    struct drain_facts f = {.inbound = 1};
    (void)drain_step(&d, &f, T0 + 1 * USEC_PER_SEC, &next);
    force_some(&t, DRAIN_FORCED_KEPT + 8, 2500 * USEC_PER_MSEC);
    json_t *o = report(&d, &t, T0 + 4 * USEC_PER_SEC);
    assert_string_equal(json_string_value(json_object_get(o, "phase")), "drain");
    assert_string_equal(json_string_value(json_object_get(o, "trigger")), "admin");
    assert_int_equal(number(o, "elapsed_ms"), 4000);
    assert_int_equal(number(o, "deadline_ms"), 9500);
    assert_int_equal(number(o, "remaining_ms"), 5500);
    json_t *budget = json_object_get(o, "budget");
    assert_int_equal(json_object_size(budget), 2);
    assert_int_equal(number(budget, "notice_ms"), 1000);
    assert_int_equal(number(budget, "drain_ms"), 3000);
    assert_int_equal(json_array_size(json_object_get(o, "forced")), DRAIN_FORCED_KEPT);
    assert_int_equal(number(o, "forced_total"), DRAIN_FORCED_KEPT + 8);
    json_t *tcp = json_object_get(json_object_get(o, "classes"), "tcp");
    assert_int_equal(number(tcp, "forced"), DRAIN_FORCED_KEPT + 8);
    assert_int_equal(json_object_size(tcp), DRAIN_HOWS);
    json_t *longest = json_object_get(o, "longest");
    assert_int_equal(number(longest, "age_ms"), 2500);
    assert_string_equal(json_string_value(json_object_get(longest, "reason")), "forced");
    json_decref(o);
}

/* Asked again later, it tells of the drain as it was when it ended. */
static void test_json_after_the_end(UNUSED void **state)
{
    static const struct conf_lifecycle c = {.drain_timeout = 8 * USEC_PER_SEC};
    struct drain d;
    struct drain_tally t = {0};
    usec_t next;
    drain_init(&d);
    (void)drain_begin(&d, &c, DRAIN_BY_SIGNAL, 0, T0, T0);
    struct drain_facts f = {.cleaned = true};
    while (drain_step(&d, &f, T0 + 2 * USEC_PER_SEC, &next) != DRAIN_EXIT)
        ;
    json_t *o = report(&d, &t, T0 + 3600 * USEC_PER_SEC);
    assert_string_equal(json_string_value(json_object_get(o, "phase")), "exit");
    assert_int_equal(number(o, "elapsed_ms"), 2000);
    assert_true(json_is_null(json_object_get(o, "longest")));
    json_decref(o);
}

static size_t length(const json_t *o, const char *object, const char *list)
{
    return json_array_size(json_object_get(object ? json_object_get(o, object) : o, list));
}

/* With lists as long as they get, of names that JSON makes longer. */
static char *longest_report(void)
{
    static const struct conf_lifecycle c = {.drain_timeout = 8 * USEC_PER_SEC};
    struct drain d;
    struct drain_tally t = {0};
    char name[DRAIN_NAME_MAX];
    json_t *ports = json_array(), *runs = json_array();
    memset(name, '\x01', sizeof(name));
    struct str s = {name, sizeof(name)};
    drain_init(&d);
    (void)drain_begin(&d, &c, DRAIN_BY_SIGNAL, 0, T0, T0);
    for (uint32_t i = 0; i < 100; i++)
        drain_tally_add(&t, DRAIN_TCP, DRAIN_FORCED, REASON_FORCED, 7, s, s);
    for (int i = 0; i < 32; i++) {
        (void)json_array_append_new(ports, json_string("unix:/run/application/some.sock"));
        (void)json_array_append_new(
            runs, json_pack("{s:s, s:s}", "name", "registry", "error", "connection refused"));
    }
    char *text = drain_report_json(&d, &t, json_pack("{s:i, s:o}", "failed", 5000, "runs", runs),
                                   json_pack("{s:o, s:i}", "ports", ports, "ports_total", 5000), 7,
                                   T0 + USEC_PER_SEC);
    assert_non_null(text);
    return text;
}

/* However short the line has to be, it is JSON, and what it leaves out is told. */
static void test_a_line(UNUSED void **state)
{
    char *text = longest_report();
    size_t whole = strlen(text), kept = SIZE_MAX;
    assert_true(whole > 20000);
    char *line = drain_report_line(text, whole);
    assert_string_equal(line, text);
    free(line);
    for (size_t most = whole - 1; (line = drain_report_line(text, most)); most -= 7) {
        assert_true(strlen(line) <= most);
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(o);
        assert_true(json_is_true(json_object_get(o, "truncated")));
        assert_int_equal(number(o, "forced_total"), 100);
        assert_int_equal(number(json_object_get(o, "app"), "ports_total"), 5000);
        assert_int_equal(number(json_object_get(o, "cleanups"), "failed"), 5000);
        assert_true(length(o, NULL, "forced") <= kept);
        kept = length(o, NULL, "forced");
        assert_int_equal(length(o, "app", "ports"), kept);
        assert_int_equal(length(o, "cleanups", "runs"), kept);
        json_decref(o);
        free(line);
    }
    assert_int_equal(kept, 0);
    /* The log has room for what is left at the least. */
    line = drain_report_line(text, LOG_TEXT_MAX / 2);
    assert_non_null(line);
    free(line);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_long_names_are_cut),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_json_while_serving),
        cmocka_unit_test(test_json_of_a_drain),
        cmocka_unit_test(test_json_after_the_end),
        cmocka_unit_test(test_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
