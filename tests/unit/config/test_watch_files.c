/* test_watch_files.c - what tells that one of several files may have changed. */
#include "config/watch_files.h"

#include "base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 10000, QUIET_MS = 150, DEBOUNCE_MS = 20 };

static struct fixture {
    struct loop loop;
    struct files_watch *watch;
    char root[64];
    char paths[3][128];
    unsigned news[3]; /* by enum files_news */
    struct timer until;
} f;

static void on_news(void *ctx, enum files_news how)
{
    assert_ptr_equal(ctx, &f);
    f.news[how]++;
    loop_stop(&f.loop);
}

static void on_until(struct timer *t)
{
    (void)t;
    loop_stop(&f.loop);
}

/* Until there is news, or no longer than that. */
static void run_for(unsigned ms)
{
    timer_set(&f.loop, &f.until, clock_mono() + ms * USEC_PER_MSEC);
    loop_run(&f.loop);
    timer_stop(&f.loop, &f.until);
}

static const char *at(const char *name)
{
    static char path[4][192];
    static unsigned turn;
    char *p = path[turn++ % 4];
    (void)snprintf(p, sizeof(path[0]), "%s/%s", f.root, name);
    return p;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(at(name), "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    (void)snprintf(f.root, sizeof(f.root), "/tmp/sluice-files-XXXXXX");
    if (!mkdtemp(f.root) || loop_init(&f.loop) < 0)
        return -1;
    timer_init(&f.until, on_until);
    for (int i = 0; i < 3; i++)
        (void)snprintf(f.paths[i], sizeof(f.paths[i]), "%s/%d", f.root, i);
    put("0", "zero");
    put("1", "one");
    f.watch = files_watch_new(&f.loop, on_news, &f);
    return f.watch ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    f.watch = files_watch_free(f.watch);
    loop_free(&f.loop);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", f.root);
    return system(command) == 0 ? 0 : -1;
}

static void set(uint32_t n, bool watch, unsigned poll_ms)
{
    const char *files[] = {f.paths[0], f.paths[1], f.paths[2]};
    struct conf_reload conf = {
        .watch = watch,
        .poll_interval = poll_ms * USEC_PER_MSEC,
        .debounce = DEBOUNCE_MS * USEC_PER_MSEC,
    };
    assert_int_equal(files_watch_set(f.watch, files, n, &conf), 0);
}

/* The one look that follows every set(). */
static void first_look(void)
{
    run_for(PATIENCE_MS);
    assert_int_equal(f.news[FILES_LOOK], 1);
    memset(f.news, 0, sizeof(f.news));
}

static void expect(enum files_news how)
{
    run_for(PATIENCE_MS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(f.news[i], i == (int)how);
    memset(f.news, 0, sizeof(f.news));
}

static void expect_nothing(void)
{
    run_for(QUIET_MS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(f.news[i], 0);
}

static void test_events(void **state)
{
    (void)state;
    set(3, true, 0);
    first_look();
    expect_nothing();
    put("0", "other");
    expect(FILES_BY_EVENT);
    put("new", "one more");
    assert_int_equal(rename(at("new"), at("1")), 0);
    expect(FILES_BY_EVENT);
    put("2", "it was not there");
    expect(FILES_BY_EVENT);
    assert_int_equal(unlink(at("2")), 0);
    expect(FILES_BY_EVENT);
    put("somebody", "else's");
    expect_nothing();
}

static void test_two_renames_are_one(void **state)
{
    (void)state;
    set(2, true, 0);
    first_look();
    put("a", "other");
    put("b", "other");
    assert_int_equal(rename(at("a"), at("0")), 0);
    assert_int_equal(rename(at("b"), at("1")), 0);
    expect(FILES_BY_EVENT);
    expect_nothing();
}

/* As a Secret: 0 and 1 lead through ..data. */
static void test_link_swap(void **state)
{
    (void)state;
    assert_int_equal(unlink(at("0")) | unlink(at("1")), 0);
    for (int i = 0; i < 2; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "..v%d", i);
        assert_int_equal(mkdir(at(name), 0755), 0);
        (void)snprintf(name, sizeof(name), "..v%d/0", i);
        put(name, "x");
        (void)snprintf(name, sizeof(name), "..v%d/1", i);
        put(name, "x");
    }
    assert_int_equal(symlink("..v0", at("..data")), 0);
    assert_int_equal(symlink("..data/0", at("0")), 0);
    assert_int_equal(symlink("..data/1", at("1")), 0);
    set(2, true, 0);
    first_look();
    assert_int_equal(symlink("..v1", at("..tmp")), 0);
    assert_int_equal(rename(at("..tmp"), at("..data")), 0);
    expect(FILES_BY_EVENT);
    put("..v0/0", "nobody looks there any more");
    expect_nothing();
    put("..v1/1", "but here");
    expect(FILES_BY_EVENT);
}

static void test_poll(void **state)
{
    (void)state;
    set(2, false, 30);
    first_look();
    put("1", "longer than it was");
    expect(FILES_BY_POLL);
    assert_int_equal(unlink(at("0")), 0);
    expect(FILES_BY_POLL);
    run_for(PATIENCE_MS); /* and now and then a look for what nothing tells of */
    assert_int_equal(f.news[FILES_LOOK], 1);
}

static void test_other_files(void **state)
{
    (void)state;
    set(2, true, 0);
    first_look();
    set(1, true, 0);
    first_look();
    put("1", "not watched any more");
    expect_nothing();
    put("0", "still");
    expect(FILES_BY_EVENT);
    put("0", "just before");
    set(0, true, 30);
    expect_nothing();
    set(2, false, 0); /* nothing is asked for: nothing is told */
    put("0", "again");
    expect_nothing();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_events), TEST(test_two_renames_are_one), TEST(test_link_swap),
        TEST(test_poll),   TEST(test_other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
