/* test_last_good.c - reading files that may be anything, and the copy of the last good one. */
#include "config/last_good.h"

#include "base/mem.h"
#include "config/build.h"
#include "config/file_text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64]; /* a directory for each test */

static char *in_root(const char *name)
{
    static char path[4][128];
    static unsigned turn;
    char *p = path[turn++ % 4];
    (void)snprintf(p, sizeof(path[0]), "%s/%s", root, name);
    return p;
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof(root), "/tmp/sluice-last-good-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command) == 0 ? 0 : -1;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* How many names are in the directory. */
static unsigned names_in(const char *dir)
{
    char command[192];
    unsigned n = UINT_MAX;
    (void)snprintf(command, sizeof(command), "ls -A '%s' | wc -l", dir);
    FILE *f = popen(command, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%u", &n), 1);
    (void)pclose(f);
    return n;
}

/* ---- reading ---- */

static int refusal(const char *path, size_t max)
{
    size_t n = 77;
    int error = 0;
    assert_null(file_text_read(path, max, &n, &error));
    return error;
}

static void test_read(void **state)
{
    size_t n = 0;
    int error = 1;
    (void)state;
    put(in_root("a"), "version: 1\n");
    char *text = file_text_read(in_root("a"), 11, &n, &error);
    assert_non_null(text);
    assert_int_equal(n, 11);
    assert_string_equal(text, "version: 1\n");
    assert_int_equal(error, 1); /* untouched */
    free(text);
    assert_int_equal(refusal(in_root("a"), 10), -EFBIG);
    put(in_root("empty"), "");
    text = file_text_read(in_root("empty"), 10, &n, &error);
    assert_non_null(text);
    assert_int_equal(n, 0);
    free(text);
    /* A file that tells no size is read to its end all the same. */
    text = file_text_read("/proc/self/limits", 65536, &n, &error);
    assert_non_null(text);
    assert_true(n > 100 && strlen(text) == n);
    free(text);
    assert_int_equal(refusal("/proc/self/limits", 100), -EFBIG);
}

/* None of these may hold the reader up: the alarm would end the test. */
static void test_not_a_file(void **state)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)state;
    (void)alarm(20);
    assert_int_equal(refusal(in_root("none"), 10), -ENOENT);
    assert_int_equal(refusal(root, 10), -EISDIR);
    assert_int_equal(mkfifo(in_root("fifo"), 0600), 0);
    assert_int_equal(refusal(in_root("fifo"), 10), -EINVAL);
    assert_int_equal(refusal("/dev/zero", 10), -EINVAL);
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", in_root("sock"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(refusal(in_root("sock"), 10), -EINVAL);
    (void)close(fd);
    assert_int_equal(symlink("loop", in_root("loop")), 0);
    assert_int_equal(refusal(in_root("loop"), 10), -ELOOP);
    put(in_root("file"), "");
    assert_int_equal(refusal(in_root("file/x"), 10), -ENOTDIR);
    (void)alarm(0);
}

static void test_config_read_words(void **state)
{
    struct config_problems p = {0};
    size_t n = 0;
    (void)state;
    assert_int_equal(mkfifo(in_root("fifo"), 0600), 0);
    assert_null(config_read(in_root("fifo"), &n, &p));
    assert_int_equal(p.errors, 1);
    assert_string_equal(p.items[0].message, "not a regular file");
    config_problems_free(&p);
    assert_null(config_read(root, &n, &p));
    assert_string_equal(p.items[0].message, "Is a directory");
    config_problems_free(&p);
    put(in_root("a"), "x");
    mem_fail_at(1, false);
    assert_null(config_read(in_root("a"), &n, &p));
    mem_fail_at(0, false);
    assert_string_equal(p.items[0].message, "out of memory");
    config_problems_free(&p);
}

static atomic_bool stop_growing;
static atomic_uint grown;

static void *grow(void *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    while (!atomic_load(&stop_growing)) {
        assert_int_equal(write(fd, "a:1\n", 4), 4);
        atomic_fetch_add(&grown, 1);
    }
    (void)close(fd);
    return NULL;
}

/* Somebody writes all the time: each read ends, with whole lines or a refusal. */
static void test_growing(void **state)
{
    pthread_t thread;
    unsigned whole = 0, busy = 0;
    (void)state;
    put(in_root("log"), "a:1\n"); /* no line lies on two pages */
    char *path = in_root("log");
    assert_int_equal(pthread_create(&thread, NULL, grow, path), 0);
    while (atomic_load(&grown) < 100)
        (void)sched_yield();
    for (int i = 0; i < 200; i++) {
        size_t n = 0;
        int error = 0;
        char *text = file_text_read(path, 1 << 20, &n, &error);
        if (text) {
            assert_int_equal(n % 4, 0);
            assert_int_equal(strlen(text), n);
            whole++;
        } else {
            assert_true(error == -EBUSY || error == -EFBIG);
            busy++;
        }
        free(text);
    }
    atomic_store(&stop_growing, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(whole + busy, 200);
}

/* ---- the copy ---- */

static void assert_copy(const char *dir, const char *expected)
{
    size_t n = 0;
    int error = 0;
    char *text = last_good_load(dir, &n, &error);
    assert_non_null(text);
    assert_int_equal(n, strlen(expected));
    assert_string_equal(text, expected);
    free(text);
}

static void test_save_and_load(void **state)
{
    char path[PATH_MAX];
    size_t n = 0;
    int error = 0;
    struct stat st;
    (void)state;
    assert_null(last_good_load(root, &n, &error));
    assert_int_equal(error, -ENOENT);
    assert_int_equal(last_good_save(root, "one\n", 4), 0);
    assert_copy(root, "one\n");
    assert_int_equal(stat(last_good_path(root, path), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(last_good_save(root, "the second\n", 11), 0);
    assert_copy(root, "the second\n");
    assert_int_equal(last_good_save(root, "3", 1), 0); /* a shorter one leaves nothing behind */
    assert_copy(root, "3");
    assert_int_equal(names_in(root), 1);
}

static void test_no_directory(void **state)
{
    static char deep[PATH_MAX + 10];
    char path[PATH_MAX];
    size_t n = 0;
    int error = 0;
    (void)state;
    assert_int_equal(last_good_save(in_root("none"), "x", 1), -ENOENT);
    assert_null(last_good_load(in_root("none"), &n, &error));
    assert_int_equal(error, -ENOENT);
    put(in_root("file"), "");
    assert_int_equal(last_good_save(in_root("file"), "x", 1), -ENOTDIR);
    assert_null(last_good_load(in_root("file"), &n, &error));
    assert_int_equal(error, -ENOTDIR);
    /* Somebody's directory where the file goes. */
    assert_int_equal(mkdir(last_good_path(root, path), 0700), 0);
    assert_int_equal(last_good_save(root, "x", 1), -EISDIR);
    assert_null(last_good_load(root, &n, &error));
    assert_int_equal(error, -EISDIR);
    assert_int_equal(names_in(root), 2); /* and the "file" */
    memset(deep, 'd', sizeof(deep) - 1);
    assert_int_equal(last_good_save(deep, "x", 1), -ENAMETOOLONG);
    assert_null(last_good_load(deep, &n, &error));
    assert_int_equal(error, -ENAMETOOLONG);
}

/* A file that may not grow stands for a full disk where none can be mounted. */
static void test_size_limit(void **state)
{
    static char big[8192];
    (void)state;
    memset(big, '#', sizeof(big));
    assert_int_equal(last_good_save(root, "old", 3), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit r = {4096, 4096};
        (void)signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &r) < 0)
            _exit(1);
        _exit(last_good_save(root, big, sizeof(big)) == -EFBIG ? 0 : 2);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_copy(root, "old");
    assert_int_equal(names_in(root), 1); /* no half of it stays */
}

static void test_unreadable(void **state)
{
    char path[PATH_MAX];
    (void)state;
    assert_int_equal(last_good_save(root, "old", 3), 0);
    assert_int_equal(chmod(last_good_path(root, path), 0), 0);
    assert_int_equal(chmod(root, 0555), 0);
    pid_t pid = fork();
    if (pid == 0) { /* root may do everything */
        size_t n = 0;
        int error = 0;
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(1);
        if (last_good_load(root, &n, &error) || error != -EACCES)
            _exit(2);
        _exit(last_good_save(root, "new", 3) == -EACCES ? 0 : 3);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(chmod(root, 0755), 0);
    assert_int_equal(status, 0);
}

static void test_full_and_read_only(void **state)
{
    static char big[256 * 1024];
    (void)state;
    memset(big, '#', sizeof(big));
    if (mount("tmpfs", root, "tmpfs", 0, "size=64k") < 0)
        skip(); /* needs root; test_size_limit does without */
    int saved = last_good_save(root, "old", 3);
    int full = last_good_save(root, big, sizeof(big));
    unsigned names = names_in(root);
    int again = last_good_save(root, "new", 3);
    int remounted = mount("tmpfs", root, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=64k");
    int read_only = last_good_save(root, "newer", 5);
    size_t n = 0;
    int error = 0;
    char *text = last_good_load(root, &n, &error);
    int unmounted = umount(root);
    assert_int_equal(unmounted, 0);
    assert_int_equal(saved, 0);
    assert_int_equal(full, -ENOSPC);
    assert_int_equal(names, 1);
    assert_int_equal(again, 0);
    assert_int_equal(remounted, 0);
    assert_int_equal(read_only, -EROFS);
    assert_non_null(text);
    assert_string_equal(text, "new");
    free(text);
}

static void test_too_large(void **state)
{
    char path[PATH_MAX];
    size_t n = 0;
    int error = 0;
    (void)state;
    assert_int_equal(last_good_save(root, "x", 1), 0);
    assert_int_equal(truncate(last_good_path(root, path), 16 * 1024 * 1024 + 1), 0);
    assert_null(last_good_load(root, &n, &error));
    assert_int_equal(error, -EFBIG);
}

/* FIPS 180-4's examples. */
static void test_digest(void **state)
{
    char out[65];
    (void)state;
    config_digest("", 0, out);
    assert_string_equal(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    config_digest("abc", 3, out);
    assert_string_equal(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_read),       TEST(test_not_a_file),    TEST(test_config_read_words),
        TEST(test_growing),    TEST(test_save_and_load), TEST(test_no_directory),
        TEST(test_size_limit), TEST(test_unreadable),    TEST(test_full_and_read_only),
        TEST(test_too_large),  TEST(test_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
