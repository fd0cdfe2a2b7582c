/* test_watch.c - what tells that the configuration's file has changed, on a real file system. */
#include "config/watch.h"

#include "base/mem.h"
#include "config/last_good.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MSEC(n) ((usec_t)(n)*USEC_PER_MSEC)

/* A change is told well within this, on a slow machine too; nothing is looked for so long. */
enum { PATIENCE_MS = 10000, QUIET_MS = 120, DEBOUNCE_MS = 20 };

struct fixture {
    struct loop loop;
    struct config_watch *watch;
    char root[64];
    char file[96];
    unsigned calls, by_poll;
    struct timer until;  /* ends a run */
    struct timer writer; /* writes every 5 ms while it is on */
    usec_t first_write;
};

static struct fixture *the;

static void on_changed(void *ctx, bool by_poll)
{
    struct fixture *f = ctx;
    f->calls++;
    f->by_poll += by_poll;
    loop_stop(&f->loop);
}

static void on_until(struct timer *t)
{
    struct fixture *f = CONTAINER_OF(t, struct fixture, until);
    loop_stop(&f->loop);
}

static void run_for(unsigned ms)
{
    timer_set(&the->loop, &the->until, clock_mono() + MSEC(ms));
    loop_run(&the->loop);
    timer_stop(&the->loop, &the->until);
}

/* ---- doing things to files ---- */

/* root/name; four at a time. */
static const char *at(const char *name)
{
    static char path[4][192];
    static unsigned turn;
    char *p = path[turn++ % 4];
    (void)snprintf(p, sizeof(path[0]), "%s/%s", the->root, name);
    return p;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void move(const char *from, const char *to)
{
    assert_int_equal(rename(from, to), 0);
}

static void seen(const char *text)
{
    char sha256[65];
    config_digest(text, strlen(text), sha256);
    config_watch_seen(the->watch, sha256);
}

/* ---- */

static int setup(void **state)
{
    struct fixture *f = the = mem_zalloc(sizeof(*f));
    (void)state;
    if (!f || loop_init(&f->loop) < 0)
        return -1;
    (void)snprintf(f->root, sizeof(f->root), "/tmp/sluice-watch-XXXXXX");
    if (!mkdtemp(f->root))
        return -1;
    (void)snprintf(f->file, sizeof(f->file), "%s/etc/sluice.yaml", f->root);
    timer_init(&f->until, on_until);
    timer_init(&f->writer, NULL);
    return mkdir(at("etc"), 0755);
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    the->watch = config_watch_free(the->watch);
    timer_stop(&the->loop, &the->writer);
    loop_free(&the->loop);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", the->root);
    free(the);
    return system(command) == 0 ? 0 : -1;
}

static void start(bool watch, unsigned poll_ms, unsigned debounce_ms)
{
    struct conf_reload conf = {watch, MSEC(poll_ms), MSEC(debounce_ms)};
    the->watch = config_watch_new(&the->loop, the->file, &conf, on_changed, the);
    assert_non_null(the->watch);
}

/* With inotify alone: the first look is over and has found what was seen. */
static void start_watching(const char *text)
{
    start(true, 0, DEBOUNCE_MS);
    seen(text);
    run_for(QUIET_MS);
    assert_int_equal(the->calls, 0);
}

/* One call, and no second one. */
static void expect_one(void)
{
    unsigned before = the->calls;
    if (the->calls == 0)
        run_for(PATIENCE_MS);
    assert_int_equal(the->calls, before + 1);
    run_for(QUIET_MS);
    assert_int_equal(the->calls, before + 1);
    the->calls = 0;
}

static void expect_none(void)
{
    run_for(QUIET_MS);
    assert_int_equal(the->calls, 0);
}

/* ---- inotify ---- */

static void test_plain_write(void **state)
{
    (void)state;
    put(the->file, "a");
    start_watching("a");
    put(the->file, "b");
    expect_one();
    assert_int_equal(the->by_poll, 0);
    int fd = open(the->file, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "c", 1), 1);
    (void)close(fd);
    expect_one();
}

/* Reading it, ours or another's, is no change. */
static void test_reading(void **state)
{
    (void)state;
    put(the->file, "a");
    start_watching("a");
    int fd = open(the->file, O_RDONLY | O_CLOEXEC);
    char c;
    assert_int_equal(read(fd, &c, 1), 1);
    (void)close(fd);
    expect_none();
}

/* sed -i writes sedXXXXXX and renames it. */
static void test_rename_over(void **state)
{
    (void)state;
    put(the->file, "a");
    start_watching("a");
    for (int i = 0; i < 3; i++) {
        put(at("etc/sedAb12"), "b");
        move(at("etc/sedAb12"), the->file);
        expect_one();
    }
}

/* vim with backupcopy=no: 4913 to try, the file to file~, a new file, file~ away. */
static void test_vim(void **state)
{
    (void)state;
    put(the->file, "a");
    start_watching("a");
    put(at("etc/4913"), "");
    assert_int_equal(unlink(at("etc/4913")), 0);
    move(the->file, at("etc/sluice.yaml~"));
    put(the->file, "b");
    assert_int_equal(unlink(at("etc/sluice.yaml~")), 0);
    expect_one();
}

static void test_unrelated(void **state)
{
    (void)state;
    put(the->file, "a");
    start_watching("a");
    put(at("etc/sluice.yaml.swp"), "x");
    put(at("etc/sluice"), "x");
    move(at("etc/sluice"), at("etc/sluice.yaml.bak"));
    assert_int_equal(unlink(at("etc/sluice.yaml.bak")), 0);
    assert_int_equal(mkdir(at("etc/..data"), 0755), 0);
    assert_int_equal(mkdir(at("other"), 0755), 0);
    put(at("other/sluice.yaml"), "x");
    expect_none();
    put(the->file, "b"); /* and it is not deaf */
    expect_one();
}

static void test_delete_and_recreate(void **state)
{
    (void)state;
    put(the->file, "a");
    start_watching("a");
    assert_int_equal(unlink(the->file), 0);
    expect_one();
    put(the->file, "b");
    expect_one();
    move(the->file, at("etc/away"));
    expect_one();
    move(at("etc/away"), the->file);
    expect_one();
}

/* Unreadable, and readable again. */
static void test_mode(void **state)
{
    (void)state;
    put(the->file, "a");
    start_watching("a");
    assert_int_equal(chmod(the->file, 0), 0);
    expect_one();
    assert_int_equal(chmod(the->file, 0600), 0);
    expect_one();
}

/* Written by another name, as one file that is mounted into a container is. */
static void test_hard_link(void **state)
{
    (void)state;
    put(the->file, "a");
    assert_int_equal(mkdir(at("host"), 0755), 0);
    assert_int_equal(link(the->file, at("host/file")), 0);
    start_watching("a");
    put(at("host/file"), "b");
    expect_one();
}

/* What the kubelet does (pkg/volume/util/atomic_writer.go): a new directory named by the time, a
 * link to it as ..data_tmp, renamed over ..data, the old directory removed. */
static void swap_config_map(const char *stamp, const char *old, const char *text)
{
    char dir[64], path[96];
    (void)snprintf(dir, sizeof(dir), "etc/%s", stamp);
    (void)snprintf(path, sizeof(path), "etc/%s/sluice.yaml", stamp);
    assert_int_equal(mkdir(at(dir), 0755), 0);
    put(at(path), text);
    assert_int_equal(symlink(stamp, at("etc/..data_tmp")), 0);
    move(at("etc/..data_tmp"), at("etc/..data"));
    if (!old) {
        assert_int_equal(symlink("..data/sluice.yaml", the->file), 0);
        return;
    }
    (void)snprintf(path, sizeof(path), "etc/%s/sluice.yaml", old);
    assert_int_equal(unlink(at(path)), 0);
    (void)snprintf(dir, sizeof(dir), "etc/%s", old);
    assert_int_equal(rmdir(at(dir)), 0);
}

static void test_config_map(void **state)
{
    (void)state;
    swap_config_map("..2026_01_01_00_00_00.1", NULL, "a");
    start_watching("a");
    swap_config_map("..2026_01_01_00_01_00.2", "..2026_01_01_00_00_00.1", "b");
    expect_one();
    swap_config_map("..2026_01_01_00_02_00.3", "..2026_01_01_00_01_00.2", "c");
    expect_one();
    /* A new directory that ..data does not name yet. */
    assert_int_equal(mkdir(at("etc/..2026_01_01_00_03_00.4"), 0755), 0);
    put(at("etc/..2026_01_01_00_03_00.4/sluice.yaml"), "d");
    expect_none();
    /* And a write through the links. */
    put(the->file, "e");
    expect_one();
}

/* The whole ConfigMap comes after the start. */
static void test_config_map_comes_later(void **state)
{
    (void)state;
    start_watching("");
    config_watch_seen(the->watch, "");
    swap_config_map("..2026_01_01_00_00_00.1", NULL, "a");
    expect_one();
    swap_config_map("..2026_01_01_00_01_00.2", "..2026_01_01_00_00_00.1", "b");
    expect_one();
}

static void test_links(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("store"), 0755), 0);
    put(at("store/one"), "a");
    put(at("store/two"), "b");
    assert_int_equal(symlink(at("store/one"), the->file), 0); /* absolute */
    start_watching("a");
    put(at("store/two"), "c");
    expect_none();
    put(at("store/one"), "d");
    expect_one();
    assert_int_equal(symlink("../store/two", at("etc/new")), 0);
    move(at("etc/new"), the->file);
    expect_one();
    put(at("store/one"), "e"); /* no more on the way */
    expect_none();
    put(at("store/two"), "f");
    expect_one();
    assert_int_equal(unlink(the->file), 0);
    assert_int_equal(symlink("sluice.yaml", the->file), 0); /* to itself */
    expect_one();
    assert_int_equal(unlink(the->file), 0);
    put(the->file, "g");
    expect_one();
}

static void test_directory_replaced(void **state)
{
    (void)state;
    put(the->file, "a");
    start_watching("a");
    assert_int_equal(mkdir(at("new"), 0755), 0);
    put(at("new/sluice.yaml"), "b");
    move(at("etc"), at("old"));
    move(at("new"), at("etc"));
    expect_one();
    put(the->file, "c");
    expect_one();
    put(at("old/sluice.yaml"), "x"); /* the old place is none any more */
    expect_none();
    assert_int_equal(unlink(the->file), 0);
    assert_int_equal(rmdir(at("etc")), 0);
    expect_one();
    assert_int_equal(mkdir(at("etc"), 0755), 0);
    put(the->file, "d");
    expect_one();
}

/* An ancestor goes, and comes again. */
static void test_ancestor_replaced(void **state)
{
    char away[96];
    (void)state;
    put(the->file, "a");
    start_watching("a");
    (void)snprintf(away, sizeof(away), "%s.away", the->root);
    move(the->root, away);
    expect_one();
    move(away, the->root);
    expect_one();
    put(the->file, "b");
    expect_one();
}

/* ---- debounce ---- */

static void test_burst(void **state)
{
    (void)state;
    put(the->file, "a");
    start(true, 0, 300);
    seen("a");
    run_for(600);
    assert_int_equal(the->calls, 0);
    for (int i = 0; i < 200; i++)
        put(the->file, i % 2 ? "b" : "c");
    usec_t last = clock_mono();
    run_for(PATIENCE_MS);
    assert_int_equal(the->calls, 1);
    assert_true(clock_mono() - last >= MSEC(290));
    run_for(600);
    assert_int_equal(the->calls, 1);
}

static void on_writer(struct timer *t)
{
    if (the->first_write == 0)
        the->first_write = clock_mono();
    put(the->file, "b");
    timer_set(&the->loop, t, clock_mono() + MSEC(5));
}

/* Who never rests is told of at last. */
static void test_endless_burst(void **state)
{
    (void)state;
    put(the->file, "a");
    start(true, 0, 50);
    seen("a");
    run_for(200);
    assert_int_equal(the->calls, 0);
    timer_init(&the->writer, on_writer);
    timer_set(&the->loop, &the->writer, clock_mono());
    run_for(PATIENCE_MS);
    assert_int_equal(the->calls, 1);
    assert_true(clock_mono() - the->first_write < MSEC(5000)); /* 500 as told */
}

/* Somebody writes slowly, and closes it in the end: the pieces before are not told of. */
static void test_slow_writer(void **state)
{
    (void)state;
    put(the->file, "a");
    start_watching("a");
    int fd = open(the->file, O_WRONLY | O_TRUNC | O_CLOEXEC);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(write(fd, "b", 1), 1);
        run_for(2 * DEBOUNCE_MS);
        assert_int_equal(the->calls, 0);
    }
    (void)close(fd);
    expect_one();
}

/* ---- the poll ---- */

static void test_poll_alone(void **state)
{
    (void)state;
    put(the->file, "a");
    start(false, 30, DEBOUNCE_MS);
    seen("a");
    expect_none();
    put(the->file, "b");
    run_for(PATIENCE_MS);
    assert_int_equal(the->calls, 1);
    assert_int_equal(the->by_poll, 1);
    seen("b");
    the->calls = 0;
    expect_none();
    /* The same text under another identity: no change. */
    put(at("etc/new"), "b");
    move(at("etc/new"), the->file);
    expect_none();
    assert_int_equal(unlink(the->file), 0);
    run_for(PATIENCE_MS);
    assert_int_equal(the->calls, 1);
    config_watch_seen(the->watch, ""); /* it could not be read */
    the->calls = 0;
    expect_none();
    put(the->file, "b");
    run_for(PATIENCE_MS);
    assert_int_equal(the->calls, 1);
}

/* Neither of them holds the loop, and a FIFO counts as nothing that can be read. */
static void test_poll_fifo(void **state)
{
    (void)state;
    (void)alarm(30);
    put(the->file, "a");
    start(false, 30, DEBOUNCE_MS);
    seen("a");
    expect_none();
    assert_int_equal(unlink(the->file), 0);
    assert_int_equal(mkfifo(the->file, 0600), 0);
    run_for(PATIENCE_MS);
    assert_int_equal(the->calls, 1);
    config_watch_seen(the->watch, "");
    the->calls = 0;
    expect_none();
    (void)alarm(0);
}

static void test_nothing_on(void **state)
{
    (void)state;
    put(the->file, "a");
    start(false, 0, DEBOUNCE_MS);
    seen("a");
    put(the->file, "b");
    expect_none();
    /* Until it is asked for: then what has happened meanwhile is found too. */
    config_watch_configure(the->watch, &(struct conf_reload){true, 0, MSEC(DEBOUNCE_MS)});
    run_for(PATIENCE_MS);
    assert_int_equal(the->calls, 1);
    seen("b");
    the->calls = 0;
    expect_none();
    put(the->file, "c");
    expect_one();
    config_watch_configure(the->watch, &(struct conf_reload){false, 0, MSEC(DEBOUNCE_MS)});
    put(the->file, "d");
    expect_none();
}

/* It changed after it was read, and before it was watched. */
static void test_change_before_the_watch(void **state)
{
    (void)state;
    put(the->file, "new");
    start(true, 0, DEBOUNCE_MS);
    seen("old");
    expect_one();
}

/* No fd for inotify: the poll goes on, and inotify comes back when there is one. */
static void test_no_inotify(void **state)
{
    struct rlimit old, low;
    (void)state;
    put(the->file, "a");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    int lowest = dup(STDERR_FILENO); /* a limit there leaves none */
    assert_true(lowest >= 0);
    (void)close(lowest);
    low.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    start(true, 30, DEBOUNCE_MS);
    seen("a");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    put(the->file, "b");
    run_for(PATIENCE_MS);
    assert_int_equal(the->calls, 1);
    assert_int_equal(the->by_poll, 1);
    seen("b");
    the->calls = the->by_poll = 0;
    run_for(QUIET_MS); /* a poll has opened inotify again */
    config_watch_configure(the->watch, &(struct conf_reload){true, 0, MSEC(DEBOUNCE_MS)});
    run_for(QUIET_MS);
    put(the->file, "c");
    expect_one();
    assert_int_equal(the->by_poll, 0);
}

/* Each allocation of it fails in turn: NULL, or a watch that works by its poll. */
static void test_no_memory(void **state)
{
    (void)state;
    put(the->file, "a");
    for (uint64_t n = 1; n < 20; n++) {
        mem_fail_at(n, false);
        the->watch = config_watch_new(
            &the->loop, the->file, &(struct conf_reload){true, MSEC(20), MSEC(5)}, on_changed, the);
        mem_fail_at(0, false);
        if (!the->watch) {
            assert_int_equal(n, 1);
            continue;
        }
        char text[32];
        (void)snprintf(text, sizeof(text), "%u", (unsigned)n);
        seen("a");
        put(the->file, text);
        the->calls = 0;
        run_for(PATIENCE_MS);
        assert_int_equal(the->calls, 1);
        put(the->file, "a");
        the->watch = config_watch_free(the->watch);
    }
}

/* A relative path, from where the process started. */
static void test_relative(void **state)
{
    char before[512];
    (void)state;
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(the->root), 0);
    (void)snprintf(the->file, sizeof(the->file), "./etc/../etc//sluice.yaml");
    put(the->file, "a");
    start_watching("a");
    put(at("etc/sluice.yaml"), "b");
    expect_one();
    the->watch = config_watch_free(the->watch);
    assert_int_equal(chdir(before), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_plain_write),
        TEST(test_reading),
        TEST(test_rename_over),
        TEST(test_vim),
        TEST(test_unrelated),
        TEST(test_delete_and_recreate),
        TEST(test_mode),
        TEST(test_hard_link),
        TEST(test_config_map),
        TEST(test_config_map_comes_later),
        TEST(test_links),
        TEST(test_directory_replaced),
        TEST(test_ancestor_replaced),
        TEST(test_burst),
        TEST(test_endless_burst),
        TEST(test_slow_writer),
        TEST(test_poll_alone),
        TEST(test_poll_fifo),
        TEST(test_nothing_on),
        TEST(test_change_before_the_watch),
        TEST(test_no_inotify),
        TEST(test_no_memory),
        TEST(test_relative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
