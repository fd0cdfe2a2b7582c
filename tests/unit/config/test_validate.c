/* test_validate.c - what `sluice validate` prints, and its exit codes. */
#include "cmd_validate.h"
#include "mistake.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct files {
    char good[32], bad[32], warn[32], out[32];
};

static void write_file(char *name, const char *text)
{
    (void)snprintf(name, 32, "/tmp/sluice-validate-XXXXXX");
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

static int setup(void **state)
{
    static struct files f;
    (void)unsetenv("SLUICE_TERMINATION_GRACE_PERIOD");
    write_file(f.good, GOOD);
    write_file(f.bad, FORWARD_7_5("wieght: 1"));
    write_file(f.warn, ADMIN_3_3("address: 0.0.0.0:1"));
    write_file(f.out, "");
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct files *f = *state;
    (void)unlink(f->good);
    (void)unlink(f->bad);
    (void)unlink(f->warn);
    (void)unlink(f->out);
    return 0;
}

/* Runs it with stdout and stderr in one file; its text is to be freed. */
static char *run(const struct files *f, int expected_exit, const char *const *args)
{
    char *argv[8] = {(char *)"validate"};
    int argc = 1;
    char *text = calloc(1, 8192);
    assert_non_null(text);
    for (; *args; args++)
        argv[argc++] = (char *)*args;
    (void)fflush(stdout);
    int out = dup(1), err = dup(2);
    assert_non_null(freopen(f->out, "w", stdout));
    (void)dup2(1, 2);
    int exit_code = command_validate.fn(argc, argv);
    (void)fflush(stdout);
    (void)dup2(out, 1);
    (void)dup2(err, 2);
    (void)close(out);
    (void)close(err);
    FILE *in = fopen(f->out, "r");
    assert_non_null(in);
    (void)fread(text, 1, 8191, in);
    (void)fclose(in);
    assert_int_equal(exit_code, expected_exit);
    return text;
}

#define RUN(f, exit_code, ...) run((f), (exit_code), (const char *const[]){__VA_ARGS__, NULL})

static void test_text(void **state)
{
    struct files *f = *state;
    char expected[128];
    char *text = RUN(f, 0, f->good);
    (void)snprintf(expected, sizeof(expected), "%s: ok\n", f->good);
    assert_string_equal(text, expected);
    free(text);
    text = RUN(f, 1, f->good, f->bad);
    assert_non_null(strstr(text, ":7:5: listeners[0].routes[0].wieght: unknown key"));
    free(text);
    text = RUN(f, 0, f->warn);
    assert_non_null(strstr(text, "admin.address: warning: not a loopback address"));
    free(text);
    text = RUN(f, 1, "--strict", f->warn);
    assert_null(strstr(text, ": ok"));
    free(text);
    text = RUN(f, 1, "/nonexistent/sluice.yaml");
    assert_string_equal(text, "/nonexistent/sluice.yaml: No such file or directory\n");
    free(text);
}

static void test_json(void **state)
{
    struct files *f = *state;
    const char *file, *path, *message, *severity;
    int line, column;
    char *text = RUN(f, 1, "-o", "json", f->bad, f->warn, f->good);
    json_t *array = json_loads(text, 0, NULL);
    assert_non_null(array);
    assert_int_equal(json_array_size(array), 2);
    assert_int_equal(json_unpack(json_array_get(array, 0), "{s:s s:i s:i s:s s:s s:s !}", "file",
                                 &file, "line", &line, "column", &column, "path", &path, "message",
                                 &message, "severity", &severity),
                     0);
    assert_string_equal(file, f->bad);
    assert_int_equal(line, 7);
    assert_int_equal(column, 5);
    assert_string_equal(path, "listeners[0].routes[0].wieght");
    assert_string_equal(message, "unknown key \"wieght\"");
    assert_string_equal(severity, "error");
    assert_string_equal(json_string_value(json_object_get(json_array_get(array, 1), "severity")),
                        "warning");
    json_decref(array);
    free(text);
    text = RUN(f, 0, "-o", "json", f->good);
    assert_string_equal(text, "[]\n");
    free(text);
    text = RUN(f, 1, "--strict", "-o", "json", f->warn);
    assert_non_null(strstr(text, "\"severity\": \"error\""));
    free(text);
}

static void test_usage(void **state)
{
    struct files *f = *state;
    free(RUN(f, 2, NULL));
    free(RUN(f, 2, "-o", "xml", f->good));
    free(RUN(f, 2, "--lax", f->good));
    char *text = RUN(f, 0, "--help");
    assert_non_null(strstr(text, "usage: sluice validate"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
