/* test_termination_message.c - does what matters most stand at the end, whatever the rest is? */
#include "lifecycle/termination_message.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define REPORT                                                                                     \
    "{\"phase\":\"exit\",\"open\":0,\"trigger\":\"prestop\",\"elapsed_ms\":5250,"                  \
    "\"deadline_ms\":34500,\"budget\":{\"notice_ms\":2000,\"drain_ms\":3250},"                     \
    "\"classes\":{\"h1_idle\":{\"completed\":0,\"closed\":3,\"forced\":0},"                        \
    "\"h1_active\":{\"completed\":412,\"closed\":0,\"forced\":1},\"tcp\":{\"forced\":0}},"         \
    "\"longest\":{\"class\":\"h1_active\",\"reason\":\"forced\",\"age_ms\":9120,"                  \
    "\"route\":\"http/0\"},\"forced_total\":%u,\"forced\":[%s],\"cleanups\":%s}"

static size_t message_of(unsigned forced, const char *entries, const char *cleanups, char *out)
{
    size_t cap = strlen(entries) + strlen(cleanups) + sizeof(REPORT) + 32;
    char *text = malloc(cap);
    assert_non_null(text);
    (void)snprintf(text, cap, REPORT, forced, entries, cleanups);
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    size_t n = termination_message(o, out);
    json_decref(o);
    free(text);
    assert_true(n <= TERMINATION_MESSAGE_MAX);
    return n;
}

static void is_text(const char *got, size_t n, const char *want)
{
    assert_int_equal(n, strlen(want));
    assert_memory_equal(got, want, n);
}

static void test_whole(UNUSED void **state)
{
    char out[TERMINATION_MESSAGE_MAX];
    size_t n = message_of(1,
                          "{\"class\":\"h1_active\",\"reason\":\"forced\",\"age_ms\":9120,"
                          "\"peer\":\"10.1.2.3\",\"route\":\"http/0\"}",
                          "{\"released\":1,\"already_gone\":0,\"failed\":1,\"runs\":["
                          "{\"name\":\"device\",\"result\":\"failed\",\"tries\":4,"
                          "\"took_ms\":1500,\"error\":\"refused\\nx\"}]}",
                          out);
    is_text(out, n,
            "forced: h1_active after 9.1 s, peer 10.1.2.3, route http/0, forced\n"
            "cleanup: device failed after 1.5 s, 4 tries: refused?x\n"
            "h1_idle: closed 3\n"
            "h1_active: completed 412, forced 1\n"
            "phases: notice 2.0 s, drain 3.2 s\n"
            "longest: h1_active 9.1 s, route http/0, forced\n"
            "cleanups: 1 released, 0 already gone, 1 failed\n"
            "drained in 5.2 s of 34.5 s, by prestop: 1 forced, 0 open, 1 cleanups failed\n");
}

static void test_no_cleanups(UNUSED void **state)
{
    char out[TERMINATION_MESSAGE_MAX];
    size_t n = message_of(0, "", "null", out);
    assert_true(n > 0 && memchr(out, '\n', n));
    assert_null(memmem(out, n, "cleanups:", 9));
    assert_null(memmem(out, n, "forced:", 7));
}

/* Whole lines only, and the summary is there. */
static void test_too_much(UNUSED void **state)
{
    static const char last[] = ": 500 forced, 0 open, 0 cleanups failed\n";
    char out[TERMINATION_MESSAGE_MAX], *entries = calloc(500, 400);
    assert_non_null(entries);
    size_t at = 0;
    for (int i = 0; i < 500; i++)
        at += (size_t)snprintf(entries + at, 500 * 400 - at,
                               "%s{\"class\":\"tcp\",\"reason\":\"forced\",\"age_ms\":%d,"
                               "\"peer\":\"%0*d\",\"route\":\"r\"}",
                               i ? "," : "", i, i % 250, i);
    size_t n = message_of(500, entries, "null", out);
    free(entries);
    assert_true(n > TERMINATION_MESSAGE_MAX - 200);
    assert_memory_equal(out, "forced: tcp", 11);
    assert_memory_equal(out + n - (sizeof(last) - 1), last, sizeof(last) - 1);
}

static void test_write(UNUSED void **state)
{
    char dir[] = "/tmp/sluice-message-XXXXXX", path[64], got[16] = "";
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/log", dir);
    assert_int_equal(termination_message_write(path, "x", 1), -ENOENT);
    assert_int_equal(access(path, F_OK), -1);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs("what was there before", f);
    (void)fclose(f);
    assert_int_equal(termination_message_write(path, "new\n", 4), 0);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fread(got, 1, sizeof(got), f), 4);
    (void)fclose(f);
    assert_string_equal(got, "new\n");
    (void)unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_true(termination_message_write(path, "x", 1) < 0); /* and nothing waits */
    (void)unlink(path);
    (void)rmdir(dir);
    assert_true(termination_message_write("/dev/null", "x", 1) < 0);
    assert_true(termination_message_write("/", "x", 1) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_no_cleanups),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
