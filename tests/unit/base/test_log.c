/* test_log.c - one line a message, whatever is in it. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* What was written to stderr since capture_begin(), terminated. */
static int kept_stderr, captured;

static void capture_begin(void)
{
    char path[] = "/tmp/sluice-log-XXXXXX";
    captured = mkstemp(path);
    assert_true(captured >= 0);
    (void)unlink(path);
    kept_stderr = dup(STDERR_FILENO);
    assert_true(dup2(captured, STDERR_FILENO) >= 0);
}

static size_t capture_end(char *out, size_t cap)
{
    assert_true(dup2(kept_stderr, STDERR_FILENO) >= 0);
    (void)close(kept_stderr);
    ssize_t n = pread(captured, out, cap - 1, 0);
    assert_true(n >= 0);
    (void)close(captured);
    out[n] = '\0';
    return (size_t)n;
}

static int teardown(UNUSED void **state)
{
    log_set_level(LOG_INFO);
    log_set_name(NULL);
    return 0;
}

static void test_a_line(UNUSED void **state)
{
    char got[256];
    capture_begin();
    log_info("%d of %s", 3, "four");
    log_error("no");
    (void)capture_end(got, sizeof(got));
    /* 2026-01-01T00:00:00.000Z, the level, the message */
    assert_int_equal(got[10], 'T');
    assert_int_equal(got[23], 'Z');
    char *second = strchr(got, '\n');
    assert_non_null(second);
    *second++ = '\0';
    assert_string_equal(got + 24, " info  3 of four");
    assert_string_equal(second + 24, " error no\n");
}

static void test_level(UNUSED void **state)
{
    char got[256];
    capture_begin();
    log_debug("unseen");
    log_set_level(LOG_WARN);
    log_info("unseen");
    log_warn("seen");
    assert_true(log_enabled(LOG_ERROR) && log_enabled(LOG_WARN) && !log_enabled(LOG_INFO));
    log_set_level(LOG_DEBUG);
    log_debug("seen too");
    (void)capture_end(got, sizeof(got));
    assert_null(strstr(got, "unseen"));
    assert_non_null(strstr(got, " warn  seen\n"));
    assert_non_null(strstr(got, " debug seen too\n"));
}

static void test_name(UNUSED void **state)
{
    char got[256];
    capture_begin();
    log_set_name("supervisor");
    log_info("here");
    (void)capture_end(got, sizeof(got));
    assert_string_equal(got + 24, " info  supervisor: here\n");
}

/* Cut, and still a line. */
static void test_long(UNUSED void **state)
{
    static char text[20000], got[20000];
    memset(text, 'x', sizeof(text) - 1);
    capture_begin();
    log_info("%s", text);
    log_info("next");
    size_t n = capture_end(got, sizeof(got));
    char *end = strchr(got, '\n');
    assert_non_null(end);
    assert_int_equal(end - (got + 31), LOG_TEXT_MAX);
    assert_memory_equal(end - 13, "x [truncated]", 13);
    assert_string_equal(got + n - 6, " next\n");
}

/* Whole, whatever stands in front of it. */
static void test_longest(UNUSED void **state)
{
    static char text[LOG_TEXT_MAX + 1], got[20000];
    memset(text, 'x', sizeof(text) - 1);
    log_set_name("supervisor");
    capture_begin();
    log_info("%s", text);
    (void)capture_end(got, sizeof(got));
    char *at = strchr(got, 'x');
    assert_memory_equal(at - 12, "supervisor: ", 12);
    assert_memory_equal(at, text, LOG_TEXT_MAX);
    assert_string_equal(at + LOG_TEXT_MAX, "\n");
}

static void test_keeps_errno(UNUSED void **state)
{
    char got[256];
    int closed = dup(STDERR_FILENO);
    (void)close(STDERR_FILENO);
    errno = EPROTO;
    log_warn("nobody reads this");
    assert_int_equal(errno, EPROTO);
    assert_true(dup2(closed, STDERR_FILENO) >= 0);
    (void)close(closed);
    capture_begin();
    errno = EPROTO;
    log_warn("told");
    assert_int_equal(errno, EPROTO);
    (void)capture_end(got, sizeof(got));
}

static void test_quote(UNUSED void **state)
{
    char out[64], small[8];
    assert_string_equal(log_quote(STR("GET /a b"), out, sizeof(out)), "GET /a b");
    assert_string_equal(log_quote(STR("a\n\"\\\x7f\xc3"), out, sizeof(out)),
                        "a\\x0a\\x22\\x5c\\x7f\\xc3");
    assert_string_equal(log_quote((struct str){"\0", 1}, out, sizeof(out)), "\\x00");
    assert_string_equal(log_quote(STR_NONE, out, sizeof(out)), "");
    /* At most cap - 1 bytes, and never half an escape. */
    (void)log_quote(STR("abcdefghij"), small, sizeof(small));
    assert_true(strlen(small) < sizeof(small));
    assert_memory_equal(small, "abc", 3);
    (void)log_quote(STR("\n\n\n"), small, sizeof(small));
    assert_string_equal(small, "\\x0a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_line, teardown),
        cmocka_unit_test_teardown(test_level, teardown),
        cmocka_unit_test_teardown(test_name, teardown),
        cmocka_unit_test_teardown(test_long, teardown),
        cmocka_unit_test_teardown(test_longest, teardown),
        cmocka_unit_test_teardown(test_keeps_errno, teardown),
        cmocka_unit_test_teardown(test_quote, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
