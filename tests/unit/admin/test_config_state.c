/* test_config_state.c - what /v1/config and the metrics say of the configuration. */
#include "admin/config_state.h"

#include "base/mem.h"
#include "config/problems.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const char digest_a[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char digest_b[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#define JANUARY ((usec_t)1767225600 * USEC_PER_SEC) /* 2026-01-01T00:00:00Z */

static void digest(char *out, const char *from)
{
    memcpy(out, from, CONFIG_DIGEST_MAX);
}

static struct config_state good(void)
{
    struct config_state s = {.file = "/etc/sluice/sluice.yaml",
                             .generation = 3,
                             .generations = 2,
                             .oldest = 2,
                             .applied_wall = JANUARY + 1500 * USEC_PER_MSEC,
                             .last_ok = true,
                             .tries = {2, 5, 1},
                             .swap_max = 1250,
                             .swap_last = 40};
    digest(s.sha256, digest_a);
    s.last = (struct config_try){.trigger = CONFIG_BY_WATCH,
                                 .result = CONFIG_APPLIED,
                                 .wall = s.applied_wall,
                                 .took = 12345};
    digest(s.last.sha256, digest_a);
    return s;
}

static void refuse(struct config_state *s)
{
    s->last = s->error = (struct config_try){.trigger = CONFIG_BY_SIGNAL,
                                             .result = CONFIG_REFUSED,
                                             .wall = JANUARY + USEC_PER_SEC,
                                             .took = 800};
    digest(s->error.sha256, digest_b);
    s->last_ok = false;
}

static void add_pending(struct config_state *s, const char *key)
{
    s->pending = mem_realloc(s->pending, (s->n_pending + 1) * sizeof(char *));
    assert_non_null(s->pending);
    s->pending[s->n_pending] = mem_strndup(str_of(key));
    assert_non_null(s->pending[s->n_pending++]);
}

static const char *text(const json_t *o, const char *key)
{
    const char *z = json_string_value(json_object_get(o, key));
    assert_non_null(z);
    return z;
}

static long long number(const json_t *o, const char *key)
{
    assert_true(json_is_integer(json_object_get(o, key)));
    return json_integer_value(json_object_get(o, key));
}

static double millis(const json_t *o, const char *key)
{
    assert_true(json_is_number(json_object_get(o, key)));
    return json_number_value(json_object_get(o, key));
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(config_trigger_word(CONFIG_AT_START), "start");
    assert_string_equal(config_trigger_word(CONFIG_BY_SIGNAL), "signal");
    assert_string_equal(config_trigger_word(CONFIG_BY_ADMIN), "admin");
    assert_string_equal(config_trigger_word(CONFIG_BY_WATCH), "watch");
    assert_string_equal(config_trigger_word(CONFIG_BY_POLL), "poll");
    assert_string_equal(config_source_word(CONFIG_FROM_FILE), "file");
    assert_string_equal(config_source_word(CONFIG_FROM_LAST_GOOD), "last-good");
    assert_string_equal(config_source_word(CONFIG_FROM_MEMORY), "memory");
    assert_string_equal(config_result_word(CONFIG_APPLIED), "applied");
    assert_string_equal(config_result_word(CONFIG_UNCHANGED), "unchanged");
    assert_string_equal(config_result_word(CONFIG_REFUSED), "refused");
}

static void test_good(void **state)
{
    struct config_state s = good();
    (void)state;
    json_t *o = config_state_json(&s);
    assert_non_null(o);
    assert_int_equal(json_object_size(o), 12);
    assert_int_equal(number(o, "generation"), 3);
    assert_string_equal(text(o, "sha256"), digest_a);
    assert_string_equal(text(o, "file"), "/etc/sluice/sluice.yaml");
    assert_string_equal(text(o, "source"), "file");
    assert_string_equal(text(o, "applied"), "2026-01-01T00:00:01.500Z");
    assert_int_equal(number(o, "generations_alive"), 2);
    assert_int_equal(number(o, "oldest_generation"), 2);
    assert_true(json_is_array(json_object_get(o, "pending_restart")));
    assert_int_equal(json_array_size(json_object_get(o, "pending_restart")), 0);
    assert_true(json_is_null(json_object_get(o, "last_error")));
    const json_t *last = json_object_get(o, "last_reload");
    assert_string_equal(text(last, "trigger"), "watch");
    assert_string_equal(text(last, "result"), "applied");
    assert_string_equal(text(last, "time"), "2026-01-01T00:00:01.500Z");
    assert_string_equal(text(last, "sha256"), digest_a);
    assert_float_equal(millis(last, "took_ms"), 12.345, 1e-9);
    const json_t *reloads = json_object_get(o, "reloads");
    assert_int_equal(number(reloads, "applied"), 2);
    assert_int_equal(number(reloads, "unchanged"), 5);
    assert_int_equal(number(reloads, "refused"), 1);
    const json_t *swap = json_object_get(o, "swap_ms");
    assert_float_equal(millis(swap, "last"), 0.04, 1e-9);
    assert_float_equal(millis(swap, "max"), 1.25, 1e-9);
    json_decref(o);
    config_state_free(&s);
}

static void test_refused(void **state)
{
    struct config_state s = good();
    (void)state;
    refuse(&s);
    problem_add(&s.problems, 7, 5, "listeners[0].name", false, "expected a name");
    problem_add(&s.problems, 2, 1, "workers", true, "only a warning");
    add_pending(&s, "workers");
    add_pending(&s, "admin.address");
    json_t *o = config_state_json(&s);
    assert_non_null(o);
    const json_t *error = json_object_get(o, "last_error");
    assert_string_equal(text(error, "trigger"), "signal");
    assert_string_equal(text(error, "time"), "2026-01-01T00:00:01.000Z");
    assert_string_equal(text(error, "sha256"), digest_b);
    assert_int_equal(number(error, "dropped"), 0);
    const json_t *problems = json_object_get(error, "problems");
    assert_int_equal(json_array_size(problems), 2);
    const json_t *p = json_array_get(problems, 1);
    assert_int_equal(number(p, "line"), 7);
    assert_int_equal(number(p, "column"), 5);
    assert_string_equal(text(p, "path"), "listeners[0].name");
    assert_string_equal(text(p, "message"), "expected a name");
    assert_string_equal(text(p, "severity"), "error");
    assert_string_equal(text(json_array_get(problems, 0), "severity"), "warning");
    /* It was refused before its text was known. */
    assert_true(json_is_null(json_object_get(json_object_get(o, "last_reload"), "sha256")));
    const json_t *pending = json_object_get(o, "pending_restart");
    assert_int_equal(json_array_size(pending), 2);
    assert_string_equal(json_string_value(json_array_get(pending, 1)), "admin.address");
    json_decref(o);
    config_state_free(&s);
    assert_int_equal(s.n_pending, 0);
    assert_int_equal(s.problems.n, 0);
}

/* Messages quote the file, are cut at their length, and a file's name is any bytes. */
static void test_hostile_bytes(void **state)
{
    struct config_state s = good();
    char fill[1022];
    (void)state;
    refuse(&s);
    s.file = "/etc/\xff\xfe\"\n.yaml";
    memset(fill, 'm', sizeof(fill) - 1);
    fill[sizeof(fill) - 1] = '\0';
    problem_add(&s.problems, 1, 1, "a\xc3", false, "%s\xe2\x82\xac", fill); /* cut in the middle */
    problem_add(&s.problems, 2, 1, "", false, "\x01\x1b[2J\"\\ \x80\xed\xa0\x80 \xf4\x90\x80\x80");
    for (int i = 0; i < 300; i++)
        problem_add(&s.problems, 3, 1, "", false, "%d", i);
    add_pending(&s, "\xfe");
    json_t *o = config_state_json(&s);
    assert_non_null(o);
    char *dump = json_dumps(o, JSON_COMPACT);
    assert_non_null(dump);
    for (const char *c = dump; *c; c++)
        assert_true((unsigned char)*c >= 0x20);
    json_error_t e;
    json_t *back = json_loads(dump, 0, &e);
    assert_non_null(back);
    assert_true(json_equal(o, back));
    const json_t *error = json_object_get(back, "last_error");
    const json_t *problems = json_object_get(error, "problems");
    assert_int_equal(json_array_size(problems), 100);
    assert_int_equal(number(error, "dropped"), 202);
    const char *cut = text(json_array_get(problems, 0), "message");
    assert_string_equal(cut + 1021, "\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(text(back, "file"), "/etc/\xef\xbf\xbd\xef\xbf\xbd\"\n.yaml");
    json_decref(back);
    free(dump);
    json_decref(o);
    config_state_free(&s);
}

/* ---- memory ---- */

static long allowed = -1; /* allocations of jansson's; -1: all */

static void *sparing(size_t n)
{
    if (allowed == 0)
        return NULL;
    if (allowed > 0)
        allowed--;
    return malloc(n);
}

/* Each allocation fails in turn, jansson's and ours: NULL, and nothing is leaked (ASan tells). */
static void test_no_memory(void **state)
{
    struct config_state s = good();
    (void)state;
    refuse(&s);
    problem_add(&s.problems, 7, 5, "listeners[0].name", false, "expected a name");
    add_pending(&s, "workers");
    json_set_alloc_funcs(sparing, free);
    json_t *o = NULL;
    long n = 0;
    for (; !o && n < 1000; n++) {
        allowed = n;
        o = config_state_json(&s);
        allowed = -1;
    }
    assert_non_null(o);
    assert_true(n > 50);
    assert_int_equal(json_object_size(o), 12);
    json_decref(o);
    for (uint64_t i = 1; i <= 4; i++) { /* file, path, message, pending */
        mem_fail_at(i, false);
        assert_null(config_state_json(&s));
        mem_fail_at(0, false);
    }
    json_set_alloc_funcs(malloc, free);
    config_state_free(&s);
}

static void test_metrics(void **state)
{
    struct config_state s = good();
    struct exposition t = {0};
    static const char *const expected[] = {
        "\nsluice_config_generation 3\n",
        "\nsluice_config_generations 2\n",
        "\nsluice_config_last_reload_success 1\n",
        "\nsluice_config_pending_restart 0\n",
        "\nsluice_config_last_applied_timestamp_seconds 1767225601.500\n",
        "\nsluice_config_reloads_total{result=\"applied\"} 2\n",
        "\nsluice_config_reloads_total{result=\"unchanged\"} 5\n",
        "\nsluice_config_reloads_total{result=\"refused\"} 1\n",
        "\nsluice_config_swap_seconds_max 0.001250\n",
    };
    (void)state;
    config_state_metrics(&s, &t);
    assert_false(t.failed);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_non_null(strstr(t.p, expected[i]));
    free(t.p);
    refuse(&s);
    add_pending(&s, "workers");
    t = (struct exposition){0};
    config_state_metrics(&s, &t);
    assert_non_null(strstr(t.p, "\nsluice_config_last_reload_success 0\n"));
    assert_non_null(strstr(t.p, "\nsluice_config_pending_restart 1\n"));
    free(t.p);
    t = (struct exposition){0};
    mem_fail_at(1, false);
    config_state_metrics(&s, &t);
    mem_fail_at(0, false);
    assert_true(t.failed);
    free(t.p);
    config_state_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),     cmocka_unit_test(test_good),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
