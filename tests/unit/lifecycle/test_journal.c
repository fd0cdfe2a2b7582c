/* test_journal.c - put, drop, replay; cut and changed at every byte; keys; compaction. */
#include "journal_rig.h"

#include <pthread.h>

static const char *file(void)
{
    return rig_path("journal");
}

static void test_put_drop_replay(void **state)
{
    struct stat st;
    (void)state;
    struct journal *j = rig_open(file());
    assert_string_equal(rig_replay(j), "");
    assert_int_equal(rig_put(j, 3, "c"), 0);
    assert_int_equal(rig_put(j, 1, "a"), 0);
    assert_int_equal(rig_put(j, 2, ""), 0);
    assert_int_equal(rig_put(j, 3, "cc"), 0); /* replaced: it keeps its turn */
    assert_int_equal(rig_drop(j, 1), 0);
    assert_int_equal(rig_drop(j, 99), 0); /* never there */
    struct journal_stats s = rig_stats(j);
    assert_int_equal(s.records, 2);
    assert_int_equal(s.appended, 6);
    assert_int_equal(s.failures, 0);
    assert_int_equal(s.oldest_pending, 0);
    assert_int_equal(s.pending_bytes, 0);
    assert_int_equal(s.trouble, 0);
    assert_int_equal(stat(file(), &st), 0);
    assert_int_equal(st.st_size, s.bytes);
    assert_int_equal(st.st_mode & 0777, 0600);
    rig_close(j);
    assert_string_equal(rig_says(file()), "3=cc 2= ");
    assert_string_equal(rig_says(file()), "3=cc 2= ");
    /* A fresh id after a drop goes to the end. */
    j = rig_open(file());
    assert_int_equal(rig_drop(j, 3), 0);
    assert_int_equal(rig_put(j, 3, "again"), 0);
    rig_close(j);
    assert_string_equal(rig_says(file()), "2= 3=again ");
}

/* Nobody waits for some, and the close writes them all the same. */
static void test_close_writes_all(void **state)
{
    char expected[2048];
    size_t n = 0;
    (void)state;
    struct journal *j = rig_open(file());
    for (uint64_t id = 1; id <= 50; id++) {
        assert_int_equal(journal_put(j, id, STR("x"), NULL), 0);
        n += (size_t)snprintf(expected + n, sizeof(expected) - n, "%d=x ", (int)id);
    }
    rig_close(j);
    assert_string_equal(rig_says(file()), expected);
    assert_null(journal_close(NULL, 0));
}

static void test_limits(void **state)
{
    static char big[JOURNAL_BYTES_MAX + 1];
    struct journal_options o = {
        .path = file(), .mailbox = &rig_mail, .max_pending = 300 * 1024, .disk = &rig_disk};
    struct rig_op op = {.w.done = rig_done};
    int error = 0, full = 0;
    (void)state;
    struct journal *j = journal_open(&o, &error);
    assert_non_null(j);
    memset(big, 'x', sizeof(big));
    assert_int_equal(journal_put(j, 1, (struct str){big, sizeof(big)}, NULL), -EMSGSIZE);
    assert_int_equal(journal_put(j, 1, (struct str){big, JOURNAL_BYTES_MAX}, &op.w), 0);
    assert_int_equal(rig_wait(&op), 0);
    for (uint64_t id = 2; id < 2000 && full == 0; id++)
        full = journal_put(j, id, (struct str){big, JOURNAL_BYTES_MAX}, NULL);
    assert_int_equal(full, -ENOBUFS);
    rig_close(j);
}

/* One write, one fdatasync for all that came while the disk was busy. */
static void test_group_commit(void **state)
{
    static struct rig_op ops[500];
    (void)state;
    struct journal *j = rig_open(file());
    memset(ops, 0, sizeof(ops));
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        ops[i].w.done = rig_done;
        assert_int_equal(journal_put(j, i, STR("session"), &ops[i].w), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        assert_int_equal(rig_wait(&ops[i]), 0);
    struct journal_stats s = rig_stats(j);
    assert_int_equal(s.appended, 500);
    print_message("500 puts at once: %d fdatasync\n", (int)s.synced);
    assert_true(s.synced < 250); /* the disk of this test takes no time at all */
    rig_close(j);
}

/* ---- damage ---- */

/* A small journal: what a replay says of its first `records` records. */
static const char *const after[] = {
    "", "1=one ", "1=one 2=two ", "2=two ", "2=two 3=three ", "2=2 3=three ", "2=2 3=three 4= "};
enum { RECORDS = ARRAY_LEN(after) - 1 };

static void write_small(struct rig_bytes *b, size_t *ends)
{
    struct stat st;
    (void)unlink(file());
    struct journal *j = rig_open(file());
    for (int i = 0; i < RECORDS; i++) {
        switch (i) {
        case 0:
            assert_int_equal(rig_put(j, 1, "one"), 0);
            break;
        case 1:
            assert_int_equal(rig_put(j, 2, "two"), 0);
            break;
        case 2:
            assert_int_equal(rig_drop(j, 1), 0);
            break;
        case 3:
            assert_int_equal(rig_put(j, 3, "three"), 0);
            break;
        case 4:
            assert_int_equal(rig_put(j, 2, "2"), 0);
            break;
        default:
            assert_int_equal(rig_put(j, 4, ""), 0);
        }
        assert_int_equal(stat(file(), &st), 0);
        ends[i] = (size_t)st.st_size;
    }
    rig_close(j);
    rig_read(file(), b);
    assert_int_equal(b->n, ends[RECORDS - 1]);
}

static void cut_everywhere(void)
{
    static struct rig_bytes b;
    size_t ends[RECORDS];
    write_small(&b, ends);
    for (size_t cut = 0; cut <= b.n; cut++) {
        size_t whole = 0;
        while (whole < RECORDS && ends[whole] <= cut)
            whole++;
        rig_write(file(), b.p, cut);
        struct journal *j = rig_open(file());
        assert_string_equal(rig_replay(j), after[whole]);
        size_t before = whole > 0                    ? ends[whole - 1]
                        : cut >= JOURNAL_FILE_HEADER ? JOURNAL_FILE_HEADER
                                                     : 0;
        assert_int_equal(rig_stats(j).cut_bytes, cut - before);
        /* It goes on, and what was torn is gone. */
        assert_int_equal(rig_put(j, 9, "nine"), 0);
        rig_close(j);
        j = rig_open(file());
        char expected[128];
        (void)snprintf(expected, sizeof(expected), "%s9=nine ", after[whole]);
        assert_string_equal(rig_replay(j), expected);
        assert_int_equal(rig_stats(j).cut_bytes, 0);
        rig_close(j);
    }
}

static void test_cut_everywhere(void **state)
{
    (void)state;
    cut_everywhere();
    rig_key = rig_make_key("key", 'k');
    cut_everywhere();
    rig_key = NULL;
}

/* Without record i, that is what is said. */
static const char *const without[] = {
    "2=2 3=three 4= ", "3=three 2=2 4= ",   "1=one 2=2 3=three 4= ",
    "2=2 4= ",         "2=two 3=three 4= ", "2=2 3=three ",
};

static void flip_everywhere(int bit)
{
    static struct rig_bytes b;
    size_t ends[RECORDS];
    write_small(&b, ends);
    for (size_t i = 0; i < b.n; i++) {
        const char *expected = after[RECORDS];
        for (size_t r = RECORDS; r-- > 0;) {
            if (i < ends[r] && i >= JOURNAL_FILE_HEADER)
                expected = without[r];
        }
        b.p[i] = (char)(b.p[i] ^ 1 << bit);
        rig_write(file(), b.p, b.n);
        b.p[i] = (char)(b.p[i] ^ 1 << bit);
        struct journal *j = rig_open(file());
        assert_string_equal(rig_replay(j), expected);
        assert_true(rig_stats(j).cut_bytes > 0);
        assert_true(rig_stats(j).compactions == 1);
        rig_close(j);
        assert_string_equal(rig_says(file()), expected);
    }
}

static void test_flip_everywhere(void **state)
{
    (void)state;
    for (int bit = 0; bit < 8; bit += 7)
        flip_everywhere(bit);
    rig_key = rig_make_key("key", 'k');
    for (int bit = 0; bit < 8; bit += 3)
        flip_everywhere(bit);
    rig_key = NULL;
}

/* What is not a journal at all is taken for one in which everything is damaged. */
static void test_garbage(void **state)
{
    static struct rig_bytes b;
    (void)state;
    for (b.n = 0; b.n < 100 * 1024; b.n++)
        b.p[b.n] = (char)(b.n * 7 + b.n / 251);
    rig_write(file(), b.p, b.n);
    struct journal *j = rig_open(file());
    assert_string_equal(rig_replay(j), "");
    assert_int_equal(rig_stats(j).cut_bytes, b.n);
    assert_int_equal(rig_put(j, 1, "a"), 0);
    rig_close(j);
    assert_string_equal(rig_says(file()), "1=a ");
}

static int refusal(const char *path)
{
    int error = 0;
    assert_null(rig_try(path, &rig_disk, &error));
    return error;
}

static void test_not_a_file(void **state)
{
    (void)state;
    assert_int_equal(refusal(rig_root), -EISDIR);
    assert_int_equal(refusal(rig_path("no/where")), -ENOENT);
    assert_int_equal(mkfifo(rig_path("fifo"), 0600), 0);
    assert_int_equal(refusal(rig_path("fifo")), -EINVAL);
    assert_int_equal(symlink("x", rig_path("link")), 0);
    assert_int_equal(refusal(rig_path("link")), -ELOOP);
}

static void test_later_version(void **state)
{
    static struct rig_bytes b, now;
    (void)state;
    struct journal *j = rig_open(file());
    assert_int_equal(rig_put(j, 1, "a"), 0);
    rig_close(j);
    rig_read(file(), &b);
    b.p[8] = JOURNAL_VERSION + 1;
    memset(b.p + 12, 0, 4);
    uint32_t crc = journal_crc(0, b.p, JOURNAL_FILE_HEADER);
    memcpy(b.p + 12, &crc, 4);
    rig_write(file(), b.p, b.n);
    assert_int_equal(refusal(file()), -EPROTONOSUPPORT);
    rig_read(file(), &now);
    assert_int_equal(now.n, b.n);
    assert_memory_equal(now.p, b.p, b.n);
}

/* ---- keys ---- */

static void test_keys(void **state)
{
    static struct rig_bytes before, now;
    (void)state;
    rig_key = rig_make_key("key", 'k');
    struct journal *j = rig_open(file());
    assert_int_equal(rig_put(j, 1, "a secret session"), 0);
    assert_int_equal(rig_drop(j, 2), 0);
    rig_close(j);
    assert_false(rig_file_has(file(), "secret"));
    assert_string_equal(rig_says(file()), "1=a secret session ");
    rig_read(file(), &before);
    rig_key = rig_make_key("other", 'o');
    assert_int_equal(refusal(file()), -EKEYREJECTED);
    rig_key = NULL;
    assert_int_equal(refusal(file()), -EKEYREJECTED);
    rig_key = rig_path("no-key");
    assert_int_equal(refusal(file()), -ENOENT);
    rig_write(rig_path("short"), "short", 5);
    rig_key = rig_path("short");
    assert_int_equal(refusal(file()), -EINVAL);
    rig_read(file(), &now);
    assert_int_equal(now.n, before.n);
    assert_memory_equal(now.p, before.p, before.n);
    rig_key = rig_path("key");
    assert_string_equal(rig_says(file()), "1=a secret session ");
    rig_key = NULL;
}

/* With a key, what is not encrypted is not believed, whether it was there before or somebody
 * without the key has put it among what is: no entry, no removal, and not as one of our own. */
static void test_plain_is_not_believed(void **state)
{
    static struct rig_bytes b;
    (void)state;
    struct journal *j = rig_open(file());
    assert_int_equal(rig_put(j, 1, "a session"), 0);
    rig_close(j);
    rig_key = rig_make_key("key", 'k');
    j = rig_open(file());
    assert_string_equal(rig_replay(j), "");
    assert_true(rig_stats(j).cut_bytes > 0);
    assert_int_equal(rig_put(j, 2, "a secret"), 0);
    assert_int_equal(rig_put(j, 3, "another"), 0);
    rig_close(j);
    assert_false(rig_file_has(file(), "session"));
    /* By who knows all that stands there. */
    rig_read(file(), &b);
    struct journal_record known;
    char mark[JOURNAL_MARK_BYTES];
    size_t at = JOURNAL_FILE_HEADER;
    assert_int_equal(journal_read_file(b.p, b.n, mark), 0);
    assert_true(journal_find(b.p, b.n, mark, &at, &known));
    const struct journal_record forged[] = {
        {.id = 2, .writer = known.writer, .seq = known.seq, .kind = JOURNAL_DROP},
        {.id = 3, .writer = 77, .seq = 1, .kind = JOURNAL_PUT, .body = STR("forged")},
        {.id = 9, .writer = 77, .seq = 2, .kind = JOURNAL_PUT, .body = STR("forged")},
    };
    size_t n = b.n, forged_bytes = 0;
    for (size_t i = 0; i < ARRAY_LEN(forged); i++) {
        journal_format_record(b.p + n, mark, &forged[i]);
        if (forged[i].body.n > 0)
            memcpy(b.p + n + JOURNAL_RECORD_HEADER, forged[i].body.p, forged[i].body.n);
        n += JOURNAL_RECORD_HEADER + forged[i].body.n;
    }
    forged_bytes = n - b.n;
    rig_write(file(), b.p, n);
    j = rig_open(file());
    assert_string_equal(rig_replay(j), "2=a secret 3=another ");
    assert_int_equal(rig_stats(j).cut_bytes, forged_bytes);
    /* And while it is open. */
    int fd = open(file(), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, b.p + b.n, forged_bytes), forged_bytes);
    (void)close(fd);
    assert_string_equal(rig_poll(j), "");
    assert_int_equal(rig_put(j, 4, "behind it"), 0);
    rig_close(j);
    assert_string_equal(rig_says(file()), "2=a secret 3=another 4=behind it ");
    rig_key = NULL;
}

/* ---- compaction ---- */

static struct journal *open_small(uint64_t max_bytes)
{
    struct journal_options o = {.path = file(),
                                .key_file = rig_key,
                                .mailbox = &rig_mail,
                                .max_bytes = max_bytes,
                                .disk = &rig_disk};
    int error = 0;
    struct journal *j = journal_open(&o, &error);
    assert_non_null(j);
    return j;
}

static void compact_while_writing(void)
{
    char expected[256];
    (void)unlink(file());
    struct journal *j = open_small(4096);
    assert_int_equal(rig_put(j, 1000000, "stays"), 0);
    for (uint64_t id = 0; id < 2000; id++) {
        assert_int_equal(journal_put(j, id, STR("a session of some length"), NULL), 0);
        if (id >= 3)
            assert_int_equal(journal_drop(j, id - 3, NULL), 0);
    }
    assert_int_equal(rig_put(j, 1000001, "not the last"), 0);
    assert_int_equal(rig_put(j, 1000001, "last"), 0); /* a compaction comes before the next group */
    struct journal_stats s = rig_stats(j);
    assert_true(s.compactions > 0);
    assert_int_equal(s.records, 5);
    assert_true(s.bytes < 600 * 1024);
    rig_close(j);
    (void)snprintf(
        expected, sizeof(expected), "1000000=stays 1997=%s 1998=%s 1999=%s 1000001=last ",
        "a session of some length", "a session of some length", "a session of some length");
    assert_string_equal(rig_says(file()), expected);
    assert_int_equal(access(rig_path("journal.new"), F_OK), -1);
}

static void test_compact_while_writing(void **state)
{
    (void)state;
    compact_while_writing();
    rig_key = rig_make_key("key", 'k');
    compact_while_writing();
    rig_key = NULL;
}

/* Much that lives: it is not compacted again and again. */
static void test_compact_when_it_pays(void **state)
{
    (void)state;
    struct journal *j = open_small(4096);
    for (uint64_t id = 0; id < 1000; id++)
        assert_int_equal(rig_put(j, id, "a session of some length"), 0);
    struct journal_stats s = rig_stats(j);
    assert_int_equal(s.records, 1000);
    assert_true(s.compactions >= 1 && s.compactions < 12);
    rig_close(j);
}

/* Leftover of a compaction that a crash ended; and one at which the rename fails. */
static void test_compaction_fails(void **state)
{
    (void)state;
    rig_write(rig_path("journal.new"), "half a file", 11);
    struct journal *j = open_small(2048);
    atomic_store(&rig_rename_error, EIO);
    for (uint64_t id = 0; id < 100; id++)
        assert_int_equal(rig_put(j, id % 3, "x"), id == 0 ? rig_stats(j).trouble : 0);
    atomic_store(&rig_rename_error, 0);
    assert_int_equal(rig_stats(j).records, 3);
    for (uint64_t id = 0; id < 300; id++)
        assert_int_equal(rig_put(j, id % 3, "y"), 0);
    assert_true(rig_stats(j).compactions > 0);
    rig_close(j);
    assert_string_equal(rig_says(file()), "0=y 1=y 2=y ");
}

/* The file is removed under it: a new one has all that lives. */
static void test_unlinked(void **state)
{
    (void)state;
    struct journal *j = rig_open(file());
    assert_int_equal(rig_put(j, 1, "a"), 0);
    assert_int_equal(unlink(file()), 0);
    assert_int_equal(rig_put(j, 2, "b"), 0);
    assert_int_equal(rig_put(j, 3, "c"), 0);
    rig_close(j);
    assert_string_equal(rig_says(file()), "1=a 2=b 3=c ");
}

/* Every allocation fails once: nothing is lost that was said to be there. */
static void test_failing_allocations(void **state)
{
    (void)state;
    rig_key = rig_make_key("key", 'k');
    for (uint64_t nth = 1; nth < 120; nth++) {
        int error = 0, rc[3] = {0};
        (void)unlink(file());
        mem_fail_at(nth, false);
        struct journal *j = rig_try(file(), &rig_disk, &error);
        if (!j) {
            assert_int_equal(error, -ENOMEM);
            mem_fail_at(0, false);
            continue;
        }
        for (int i = 0; i < 3; i++)
            rc[i] = rig_put(j, (uint64_t)i, "x");
        int dropped = rig_drop(j, 1);
        mem_fail_at(0, false);
        rig_close(j);
        struct rig_told told = {0};
        j = rig_open(file());
        mem_fail_at(nth, false);
        int failed = journal_replay(j, rig_tell, &told);
        mem_fail_at(0, false);
        assert_true(failed == 0 || failed == -ENOMEM);
        char expected[64];
        size_t n = 0;
        expected[0] = '\0';
        for (int i = 0; i < 3; i++) {
            assert_true(rc[i] == 0 || rc[i] == -ENOMEM);
            if (rc[i] == 0 && (i != 1 || dropped < 0))
                n += (size_t)snprintf(expected + n, sizeof(expected) - n, "%d=x ", i);
        }
        if (failed == 0)
            assert_string_equal(told.text, expected);
        rig_close(j);
        assert_string_equal(rig_says(file()), expected);
    }
    rig_key = NULL;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        T(test_put_drop_replay),
        T(test_close_writes_all),
        T(test_limits),
        T(test_group_commit),
        T(test_cut_everywhere),
        T(test_flip_everywhere),
        T(test_garbage),
        T(test_not_a_file),
        T(test_later_version),
        T(test_keys),
        T(test_plain_is_not_believed),
        T(test_compact_while_writing),
        T(test_compact_when_it_pays),
        T(test_compaction_fails),
        T(test_unlinked),
        T(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
