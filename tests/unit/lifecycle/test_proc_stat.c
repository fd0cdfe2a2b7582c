/* test_proc_stat.c - texts of /proc: real ones, cut ones, and those of processes that name
 * themselves what they like. */
#include "lifecycle/proc_stat.h"

#include "base/check.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define BEHIND                                                                                     \
    " S 1 17 17 0 -1 4194560 100 200 0 0 11 22 0 0 20 0 7 0 123456 1048576 345 "                   \
    "18446744073709551615"                                                                         \
    " 1 1 0 0 0 0 0 4096 81920 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

static int parse(const char *text, struct proc_stat *ret)
{
    return proc_stat_parse(text, strlen(text), ret);
}

static void test_stat(UNUSED void **state)
{
    static const struct {
        const char *text, *comm;
    } good[] = {
        {"17 (app)" BEHIND, "app"},
        {"17 (a b)" BEHIND, "a b"},
        {"17 (a) R 9 9)" BEHIND, "a) R 9 9"},
        {"17 ())" BEHIND, ")"},
        {"17 (()" BEHIND, "("},
        {"17 ()" BEHIND, ""},
        {"17 (kworker/u8:1-events_unbound)" BEHIND, "kworker/u8:1-ev"},
        {"17 (a\nb)" BEHIND, "a\nb"},
    };
    struct proc_stat s;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(parse(good[i].text, &s), 0);
        assert_int_equal(s.pid, 17);
        assert_string_equal(s.comm, good[i].comm);
        assert_int_equal(s.state, 'S');
        assert_int_equal(s.threads, 7);
        assert_int_equal(s.start, 123456);
        assert_int_equal(s.rss_pages, 345);
    }
}

static void test_stat_that_is_none(UNUSED void **state)
{
    static const char *const bad[] = {
        "",
        "17",
        "17 (app",
        "17 app)" BEHIND,
        ") 17 (",
        "(app)" BEHIND,
        "0 (app)" BEHIND,
        "-17 (app)" BEHIND,
        "99999999999 (app)" BEHIND,
        "17 (app)",
        "17 (app) S 1 17 17 0 -1 4194560 100 200 0 0 11 22 0 0 20 0 7 0 123456 1048576 345",
        "17 (app) S 1 17 17 0 -1 4194560 100 200 0 0 11 22 0 0 20 0 7 0 123456",
        "17 (app) SS 1 17 17 0 -1 4194560 100 200 0 0 11 22 0 0 20 0 7 0 123456 1048576 345 0",
        "17 (app) S 1 17 17 0 -1 4194560 100 200 0 0 11 22 0 0 20 0 -7 0 123456 1048576 345 0",
        "17 (app) S 1 17 17 0 -1 4194560 100 200 0 0 11 22 0 0 20 0 7 0 1234x6 1048576 345 0",
        "17 (app) S 1 17 17 0 -1 4194560 100 200 0 0 11 22 0 0 20 0 7 0 1 1 99999999999999999999 0",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct proc_stat s = {.pid = 5};
        assert_int_equal(parse(bad[i], &s), -EINVAL);
        assert_int_equal(s.pid, 5);
    }
}

/* Cut anywhere it is refused, or what it gives is what the whole gives. */
static void test_cut(UNUSED void **state)
{
    static const char text[] = "17 (a) (b)" BEHIND;
    struct proc_stat s;
    for (size_t n = 0; n < sizeof(text); n++) {
        if (proc_stat_parse(text, n, &s) == 0)
            assert_true(s.rss_pages == 345 && s.start == 123456 && s.threads == 7);
    }
}

static void test_children(UNUSED void **state)
{
    pid_t at[3] = {0};
    assert_int_equal(proc_children_parse("", 0, at, 3), 0);
    assert_int_equal(proc_children_parse("12 ", 3, at, 3), 1);
    assert_int_equal(at[0], 12);
    assert_int_equal(proc_children_parse("12 13 14 15 ", 12, at, 3), 4);
    assert_int_equal(at[2], 14);
    /* Cut: 1 is the beginning of another number. */
    assert_int_equal(proc_children_parse("12 13 1", 7, at, 3), 2);
    assert_int_equal(proc_children_parse("12 x 13 ", 8, at, 3), 1);
    assert_int_equal(proc_children_parse("-1 ", 3, at, 3), 0);
    assert_int_equal(proc_children_parse("0 ", 2, at, 3), 0);
    assert_int_equal(proc_children_parse("4294967297 ", 11, at, 3), 0);
}

static void test_uid(UNUSED void **state)
{
    static const char good[] = "Name:\tapp\nUmask:\t0022\nUid:\t1000\t65534\t1000\t1000\nGid:\t1\n";
    static const char *const bad[] = {"",
                                      "Name:\tUid:\t1\t2\n",
                                      "\nUid:\t1\n",
                                      "\nUid:\t1\t",
                                      "\nUid:\t1\t-2\t3\n",
                                      "\nUid:\t1\t4294967296\t1\n",
                                      "\nUid:\t1\t6553"};
    uid_t user = 5;
    assert_int_equal(proc_status_uid(good, sizeof(good) - 1, &user), 0);
    assert_int_equal(user, 65534);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(proc_status_uid(bad[i], strlen(bad[i]), &user), -EINVAL);
}

static void test_noise(UNUSED void **state)
{
    static const char letters[] = "0123456789 ()\n\t-SZUid:\0";
    struct rng rng;
    char text[200];
    rng_init(&rng, 7);
    for (int i = 0; i < 20000; i++) {
        size_t n = rng_below(&rng, sizeof(text));
        struct proc_stat s;
        pid_t at[4];
        uid_t user;
        for (size_t k = 0; k < n; k++)
            text[k] = letters[rng_below(&rng, sizeof(letters) - 1)];
        if (proc_stat_parse(text, n, &s) == 0)
            assert_true(s.pid > 0);
        (void)proc_children_parse(text, n, at, 4);
        (void)proc_status_uid(text, n, &user);
    }
}

static void test_our_own(UNUSED void **state)
{
    struct proc_stat s;
    char text[2048];
    uid_t user;
    assert_int_equal(proc_stat_read("/proc", getpid(), &s), 0);
    assert_int_equal(s.pid, getpid());
    assert_int_equal(s.threads, 1);
    assert_true(s.rss_pages > 0 && s.start > 0);
    ssize_t n = proc_read("/proc", getpid(), "status", text, sizeof(text));
    assert_true(n > 0);
    assert_int_equal(proc_status_uid(text, (size_t)n, &user), 0);
    assert_int_equal(user, geteuid());
    assert_int_equal(proc_read("/proc", getpid(), "no-such-file", text, sizeof(text)), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stat),    cmocka_unit_test(test_stat_that_is_none),
        cmocka_unit_test(test_cut),     cmocka_unit_test(test_children),
        cmocka_unit_test(test_uid),     cmocka_unit_test(test_noise),
        cmocka_unit_test(test_our_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
