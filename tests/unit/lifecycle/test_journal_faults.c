/* test_journal_faults.c - a disk that is full, read-only, broken: the write says so, nothing that
 * counted is lost, nothing that failed counts, and later writes work again. */
#include "journal_rig.h"

#include <grp.h>
#include <sys/mount.h>
#include <sys/resource.h>

static const char *file(void)
{
    return rig_path("journal");
}

static int setup(void **state)
{
    atomic_store(&rig_sync_error, 0);
    atomic_store(&rig_write_error, 0);
    atomic_store(&rig_cut_error, 0);
    atomic_store(&rig_rename_error, 0);
    atomic_store(&rig_room, -1);
    return rig_setup(state);
}

static void test_write_fails(void **state)
{
    static const int errors[] = {EIO, ENOSPC, EDQUOT, EROFS};
    (void)state;
    struct journal *j = rig_open(file());
    assert_int_equal(rig_put(j, 1, "a"), 0);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        atomic_store(&rig_write_error, errors[i]);
        assert_int_equal(rig_put(j, 2, "b"), -errors[i]);
        assert_int_equal(rig_stats(j).trouble, -errors[i]);
        assert_int_equal(rig_drop(j, 1), -errors[i]);
    }
    atomic_store(&rig_write_error, 0);
    assert_int_equal(rig_stats(j).failures, 2 * ARRAY_LEN(errors));
    assert_int_equal(rig_put(j, 3, "c"), 0);
    assert_int_equal(rig_stats(j).trouble, 0);
    rig_close(j);
    assert_string_equal(rig_says(file()), "1=a 3=c ");
}

/* Room for n bytes more, for every n up to two records: what fits whole counts, and says so. */
static void fill_up(void)
{
    for (long long room = 0; room < 2 * JOURNAL_RECORD_HEADER + 100; room++) {
        struct rig_op ops[2] = {{.w.done = rig_done}, {.w.done = rig_done}};
        char expected[64] = "1=a ";
        (void)unlink(file());
        struct journal *j = rig_open(file());
        assert_int_equal(rig_put(j, 1, "a"), 0);
        atomic_store(&rig_room, room);
        assert_int_equal(journal_put(j, 2, STR("bb"), &ops[0].w), 0);
        assert_int_equal(journal_put(j, 3, STR("ccc"), &ops[1].w), 0);
        for (int i = 0; i < 2; i++) {
            int rc = rig_wait(&ops[i]);
            assert_true(rc == 0 || rc == -ENOSPC);
            if (rc == 0)
                (void)snprintf(expected + strlen(expected), 16, i == 0 ? "2=bb " : "3=ccc ");
        }
        assert_int_equal(ops[1].rc == 0 && ops[0].rc < 0, 0);
        atomic_store(&rig_room, -1);
        struct rig_bytes *b = mem_alloc(sizeof(*b));
        assert_non_null(b);
        rig_read(file(), b); /* cut off, for we are alone */
        assert_int_equal(b->n, rig_stats(j).bytes);
        free(b);
        assert_int_equal(rig_put(j, 4, "d"), 0);
        rig_close(j);
        (void)snprintf(expected + strlen(expected), 16, "4=d ");
        j = rig_open(file());
        assert_string_equal(rig_replay(j), expected);
        assert_int_equal(rig_stats(j).cut_bytes, 0);
        rig_close(j);
    }
}

static void test_fill_up(void **state)
{
    (void)state;
    fill_up();
    rig_key = rig_make_key("key", 'k');
    fill_up();
}

/* Full, but most of the file is dead: a compaction makes room, and nobody hears of it. */
static void test_full_of_the_dead(void **state)
{
    (void)state;
    struct journal *j = rig_open(file());
    for (int i = 0; i < 100; i++)
        assert_int_equal(rig_put(j, 1, "again and again"), 0);
    atomic_store(&rig_room, 40);
    struct rig_op op = {.w.done = rig_done};
    assert_int_equal(journal_put(j, 2, STR("b"), &op.w), 0);
    assert_int_equal(rig_wait(&op), -ENOSPC); /* room for no new file either */
    atomic_store(&rig_room, 400);
    for (int i = 0; i < 2; i++)
        assert_int_equal(rig_put(j, 3, "c"), 0);
    atomic_store(&rig_room, -1);
    rig_close(j);
    assert_string_equal(rig_says(file()), "1=again and again 3=c ");
}

/* The records were written, and whether they are on disk nobody knows: they are cut off. */
static void test_sync_fails(void **state)
{
    (void)state;
    struct journal *j = rig_open(file());
    assert_int_equal(rig_put(j, 1, "a"), 0);
    atomic_store(&rig_sync_error, EIO);
    assert_int_equal(rig_put(j, 1, "worse"), -EIO);
    assert_int_equal(rig_put(j, 2, "b"), -EIO);
    assert_int_equal(rig_drop(j, 1), -EIO);
    assert_string_equal(rig_poll(j), "");
    atomic_store(&rig_sync_error, 0);
    assert_int_equal(rig_stats(j).records, 1);
    rig_close(j);
    assert_string_equal(rig_says(file()), "1=a ");
}

/* Nothing can be cut off: when the disk works again, what was true is said again. */
static void sync_and_cut_fail(void)
{
    (void)unlink(file());
    struct journal *j = rig_open(file());
    assert_int_equal(rig_put(j, 1, "a"), 0);
    assert_int_equal(rig_put(j, 2, "b"), 0);
    atomic_store(&rig_sync_error, EIO);
    atomic_store(&rig_cut_error, EIO);
    assert_int_equal(rig_put(j, 1, "worse"), -EIO);
    assert_int_equal(rig_drop(j, 2), -EIO);
    assert_int_equal(rig_put(j, 3, "never"), -EIO);
    assert_string_equal(rig_poll(j), "");
    assert_int_equal(rig_stats(j).records, 2);
    atomic_store(&rig_sync_error, 0);
    assert_int_equal(rig_put(j, 4, "d"), 0);
    atomic_store(&rig_cut_error, 0);
    assert_string_equal(rig_poll(j), "");
    rig_close(j);
    assert_string_equal(rig_says(file()), "1=a 2=b 4=d ");
}

static void test_sync_and_cut_fail(void **state)
{
    (void)state;
    sync_and_cut_fail();
    rig_key = rig_make_key("key", 'k');
    sync_and_cut_fail();
}

/* The same for who is not alone, and for the other who has read it meanwhile. */
static void test_sync_fails_before_another(void **state)
{
    (void)state;
    struct journal *a = rig_open(file());
    assert_int_equal(rig_put(a, 1, "a"), 0);
    struct journal *b = rig_open(file());
    assert_string_equal(rig_replay(b), "1=a ");
    atomic_store(&rig_sync_error, EIO);
    assert_int_equal(rig_put(a, 1, "worse"), -EIO);
    assert_int_equal(rig_put(a, 2, "never"), -EIO);
    assert_int_equal(rig_drop(a, 1), -EIO);
    atomic_store(&rig_sync_error, 0);
    /* Each attempt takes back first what those before it have left. */
    assert_string_equal(rig_poll(b), "1=worse 1=a 2=never 1=a 2=- 1=- ");
    assert_int_equal(rig_put(b, 3, "of b"), 0);
    assert_int_equal(rig_put(a, 4, "of a"), 0);
    assert_string_equal(rig_poll(b), "1=a 2=- 4=of a ");
    assert_string_equal(rig_poll(a), "3=of b ");
    rig_close(a);
    rig_close(b);
    assert_string_equal(rig_says(file()), "3=of b 1=a 4=of a ");
}

/* Half a record of one, whole ones of the other behind it: nobody may cut there. */
static void test_torn_before_another(void **state)
{
    (void)state;
    struct journal *a = rig_open(file());
    assert_int_equal(rig_put(a, 1, "a"), 0);
    struct journal *b = rig_open(file());
    assert_string_equal(rig_replay(b), "1=a ");
    atomic_store(&rig_room, JOURNAL_RECORD_HEADER + 3);
    assert_int_equal(rig_put(a, 2, "torn, and never to be seen"), -ENOSPC);
    atomic_store(&rig_room, -1);
    assert_string_equal(rig_poll(b), "");
    assert_int_equal(rig_put(b, 3, "c"), 0);
    assert_int_equal(rig_put(a, 4, "d"), 0);
    assert_string_equal(rig_poll(a), "3=c ");
    assert_string_equal(rig_poll(b), "4=d ");
    rig_close(a);
    rig_close(b);
    assert_string_equal(rig_says(file()), "1=a 3=c 4=d ");
}

/* ---- real ones ---- */

/* SIGXFSZ would end the process; on the journal's thread it is an error. */
static void test_file_size_limit(void **state)
{
    struct rlimit old, few = {.rlim_cur = 200, .rlim_max = RLIM_INFINITY};
    int error = 0;
    (void)state;
    struct journal *j = rig_try(file(), NULL, &error);
    assert_non_null(j);
    assert_int_equal(rig_put(j, 1, "a"), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    few.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
    assert_int_equal(rig_put(j, 2, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"), 0);
    int rc = rig_put(j, 3, "c");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, -EFBIG);
    assert_int_equal(rig_put(j, 4, "d"), 0);
    rig_close(j);
    assert_true(strstr(rig_says(file()), "4=d ") != NULL);
}

static void test_full_tmpfs(void **state)
{
    static char big[20000];
    const char *dir = rig_path("mnt");
    int error = 0, rc = 0;
    uint64_t id = 0;
    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    assert_int_equal(mkdir(dir, 0700), 0);
    if (mount("tmpfs", dir, "tmpfs", 0, "size=128k") < 0)
        skip();
    const char *path = rig_path("mnt/journal");
    struct journal *j = rig_try(path, NULL, &error);
    assert_non_null(j);
    while (rc == 0 && id < 100)
        rc = rig_put(j, ++id, big);
    assert_int_equal(rc, -ENOSPC);
    assert_int_equal(rig_stats(j).records, id - 1);
    /* What is released makes room: 4 are dropped, into the end of a page. */
    for (uint64_t d = 1; d <= 4; d++)
        (void)rig_drop(j, d);
    rig_close(j);
    assert_int_equal(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=1m"), 0);
    j = rig_try(path, NULL, &error);
    assert_non_null(j);
    assert_int_equal(rig_put(j, id, big), 0);
    /* Read-only from now on, and while it is open. */
    rig_close(j);
    assert_int_equal(mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, ""), 0);
    j = rig_try(path, NULL, &error);
    assert_non_null(j);
    assert_int_equal(rig_stats(j).trouble, -EROFS);
    struct rig_told told = {0};
    assert_int_equal(journal_replay(j, rig_tell, &told), 0);
    assert_true(told.count > 0);
    assert_int_equal(rig_put(j, 1000, "x"), -EROFS);
    assert_int_equal(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, ""), 0);
    assert_int_equal(rig_put(j, 1001, "y"), 0);
    rig_close(j);
    j = rig_try(path, NULL, &error);
    assert_non_null(j);
    size_t before = told.count;
    told = (struct rig_told){0};
    assert_int_equal(journal_replay(j, rig_tell, &told), 0);
    assert_int_equal(told.count, before + 1);
    rig_close(j);
    assert_int_equal(umount(dir), 0);
}

/* Not even made, in a directory that may not be written to; as nobody in particular. */
static int in_read_only_directory(void)
{
    int error = 0;
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0))
        return 10;
    struct journal *j = rig_try(rig_path("dir/journal"), NULL, &error);
    if (!j || rig_stats(j).trouble != -EACCES || *rig_replay(j) != '\0')
        return 11;
    if (rig_put(j, 1, "a") != -EACCES || rig_drop(j, 1) != -EACCES)
        return 12;
    (void)kill(getppid(), SIGCONT);
    for (int i = 0; i < 1000 && access(rig_path("dir"), W_OK) < 0; i++)
        (void)usleep(10000);
    if (rig_put(j, 2, "b") != 0 || rig_stats(j).trouble != 0)
        return 13;
    (void)journal_close(j, USEC_PER_SEC);
    return 0;
}

static void test_read_only_directory(void **state)
{
    int status = 0;
    sigset_t told, before;
    (void)state;
    (void)sigemptyset(&told);
    (void)sigaddset(&told, SIGCONT);
    assert_int_equal(sigprocmask(SIG_BLOCK, &told, &before), 0);
    assert_int_equal(mkdir(rig_path("dir"), 0555), 0);
    assert_int_equal(chmod(rig_root, 0755), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (loop_init(&rig_loop) < 0) /* not the parent's epoll */
            _exit(9);
        mailbox_init(&rig_mail, &rig_loop, NULL);
        _exit(in_read_only_directory());
    }
    const struct timespec patience = {.tv_sec = 20};
    (void)sigtimedwait(&told, NULL, &patience);
    assert_int_equal(chmod(rig_path("dir"), 0777), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    assert_int_equal(status, 0);
    assert_string_equal(rig_says(rig_path("dir/journal")), "2=b ");
}

/* ---- a disk that hangs ---- */

static pthread_mutex_t hang = PTHREAD_MUTEX_INITIALIZER;
static atomic_int hanging;

static int hang_sync(int fd)
{
    (void)fd;
    atomic_store(&hanging, 1);
    (void)pthread_mutex_lock(&hang);
    (void)pthread_mutex_unlock(&hang);
    atomic_store(&hanging, 2);
    return 0;
}

static void test_hanging_disk(void **state)
{
    struct journal_disk d = rig_disk;
    struct rig_op ops[3] = {{.w.done = rig_done}, {.w.done = rig_done}, {.w.done = rig_done}};
    int error = 0;
    (void)state;
    static struct journal_disk hangs;
    hangs = d;
    struct journal *j = rig_try(file(), &hangs, &error);
    assert_non_null(j);
    assert_int_equal(rig_put(j, 1, "a"), 0);
    rig_close(j);
    hangs.sync = hang_sync;
    j = rig_try(file(), &hangs, &error);
    assert_non_null(j);
    (void)pthread_mutex_lock(&hang);
    assert_int_equal(journal_put(j, 2, STR("b"), &ops[0].w), 0);
    while (atomic_load(&hanging) == 0)
        (void)usleep(1000);
    /* All the same, nothing here waits for it. */
    assert_int_equal(journal_put(j, 3, STR("c"), &ops[1].w), 0);
    assert_int_equal(journal_put(j, 4, STR("d"), NULL), 0);
    assert_true(rig_stats(j).oldest_pending != 0);
    assert_string_equal(rig_poll(j), "");
    assert_int_equal(journal_drop(j, 3, &ops[2].w), 0);
    assert_null(journal_close(j, 50 * USEC_PER_MSEC));
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_wait(&ops[i]), -ETIMEDOUT);
    (void)pthread_mutex_unlock(&hang);
    while (atomic_load(&hanging) != 2)
        (void)usleep(1000);
    /* The thread frees what is left, and with it the lock. */
    int fd = -1;
    for (int i = 0; i < 2000; i++) {
        bool writable = false;
        if (fd < 0)
            fd = journal_disk_open(file(), USEC_PER_SEC, &writable);
        if (journal_disk_take(fd))
            break;
        (void)usleep(5000);
    }
    assert_true(journal_disk_take(fd));
    (void)close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        T(test_write_fails),         T(test_fill_up),           T(test_full_of_the_dead),
        T(test_sync_fails),          T(test_sync_and_cut_fail), T(test_sync_fails_before_another),
        T(test_torn_before_another), T(test_file_size_limit),   T(test_full_tmpfs),
        T(test_read_only_directory), T(test_hanging_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
