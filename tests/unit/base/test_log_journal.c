/* test_log_journal.c - datagrams as journald reads them, and stderr when it does not. */
#include "base/log.h"
#include "base/log_journal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static int server = -1, kept_stderr = -1, captured = -1;
static char path[] = "/tmp/sluice-journal-XXXXXX";

/* A journald of our own, and a stderr that is its stream. */
static int set_up(UNUSED void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char file[] = "/tmp/sluice-log-XXXXXX", stream[64];
    struct stat st;

    memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
    (void)close(mkstemp(path));
    (void)unlink(path);
    memcpy(un.sun_path, path, sizeof(path));
    server = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(0, bind(server, (struct sockaddr *)&un, sizeof(un)));
    log_journal_set_path(path);

    captured = mkstemp(file);
    (void)unlink(file);
    kept_stderr = dup(STDERR_FILENO);
    assert_true(dup2(captured, STDERR_FILENO) >= 0);
    assert_int_equal(0, fstat(STDERR_FILENO, &st));
    (void)snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    (void)setenv("JOURNAL_STREAM", stream, 1);
    log_set_name("supervisor");
    return 0;
}

static int tear_down(UNUSED void **state)
{
    log_journal_close();
    log_set_name(NULL);
    (void)unsetenv("JOURNAL_STREAM");
    (void)dup2(kept_stderr, STDERR_FILENO);
    (void)close(kept_stderr);
    (void)close(captured);
    if (server >= 0)
        (void)close(server);
    (void)unlink(path);
    return 0;
}

static size_t on_stderr(char *out, size_t cap)
{
    ssize_t n = pread(captured, out, cap - 1, 0);
    assert_true(n >= 0);
    out[n] = '\0';
    return (size_t)n;
}

static size_t datagram(char *out, size_t cap)
{
    ssize_t n = recv(server, out, cap - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    out[n] = '\0';
    return (size_t)n;
}

static void test_fields(UNUSED void **state)
{
    char got[512];
    assert_true(log_journal_open("serving"));
    errno = EPROTO;
    log_warn("%d of %s", 3, "four");
    assert_int_equal(EPROTO, errno);
    (void)datagram(got, sizeof(got));
    assert_string_equal("SYSLOG_IDENTIFIER=sluice\nSLUICE_COMPONENT=serving\n"
                        "MESSAGE=3 of four\nPRIORITY=4\n",
                        got);
    log_error("no");
    (void)datagram(got, sizeof(got));
    assert_non_null(strstr(got, "PRIORITY=3\n"));
    log_info("yes");
    (void)datagram(got, sizeof(got));
    assert_non_null(strstr(got, "PRIORITY=6\n"));
    assert_int_equal(0, on_stderr(got, sizeof(got)));
}

/* A value with newlines could else be another field. */
static void test_lines(UNUSED void **state)
{
    static const char value[] = "one\nPRIORITY=0\nthree";
    char got[512];
    assert_true(log_journal_open("serving"));
    log_info("%s", value);
    size_t n = datagram(got, sizeof(got));
    static const char before[] = "SYSLOG_IDENTIFIER=sluice\nSLUICE_COMPONENT=serving\nMESSAGE\n";
    static const char size[8] = {sizeof(value) - 1, 0, 0, 0, 0, 0, 0, 0};
    const char *p = got;
    assert_memory_equal(before, p, sizeof(before) - 1);
    p += sizeof(before) - 1;
    assert_memory_equal(size, p, 8);
    p += 8;
    assert_memory_equal(value, p, sizeof(value) - 1);
    p += sizeof(value) - 1;
    assert_string_equal("\nPRIORITY=6\n", p);
    assert_int_equal(n, (size_t)(p - got) + strlen(p));
}

static void test_not_the_journal(UNUSED void **state)
{
    char got[512];
    (void)setenv("JOURNAL_STREAM", "1:2", 1);
    assert_false(log_journal_open("serving"));
    (void)setenv("JOURNAL_STREAM", "x", 1);
    assert_false(log_journal_open("serving"));
    (void)unsetenv("JOURNAL_STREAM");
    assert_false(log_journal_open("serving"));
    log_info("a line");
    (void)on_stderr(got, sizeof(got));
    assert_string_equal(" info  supervisor: a line\n", got + 24);
}

static void test_journald_is_gone(UNUSED void **state)
{
    char got[512];
    assert_true(log_journal_open("serving"));
    (void)close(server);
    server = -1;
    (void)unlink(path);
    log_error("told all the same");
    (void)on_stderr(got, sizeof(got));
    assert_string_equal("<3>told all the same\n", got);
}

static void test_too_large(UNUSED void **state)
{
    static char text[8000], got[16384];
    int small = 1;
    memset(text, 'x', sizeof(text) - 1);
    assert_true(log_journal_open("serving"));
    (void)setsockopt(server, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    /* Until nobody takes any more: nothing blocks, and nothing is lost. */
    for (int i = 0; i < 1000; i++) {
        log_info("%s", text);
        if (on_stderr(got, sizeof(got)) > 0)
            break;
    }
    assert_memory_equal("<6>xxx", got, 6);
    assert_non_null(strchr(got, '\n'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_the_journal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_journald_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_large, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
