/* test_journal_two.c - two processes with one journal, and processes that are killed while they
 * write: what was said to be there is there. */
#include "journal_rig.h"

static const char *file(void)
{
    return rig_path("journal");
}

static void test_two(void **state)
{
    (void)state;
    struct journal *a = rig_open(file());
    assert_int_equal(rig_put(a, 1, "a1"), 0);
    struct journal *b = rig_open(file());
    assert_string_equal(rig_replay(b), "1=a1 ");
    assert_int_equal(rig_put(b, 2, "b2"), 0);
    assert_int_equal(rig_put(a, 3, "a3"), 0);
    assert_int_equal(rig_drop(b, 1), 0);
    assert_string_equal(rig_poll(a), "2=b2 1=- ");
    assert_string_equal(rig_poll(a), "");
    assert_string_equal(rig_poll(b), "3=a3 ");
    assert_int_equal(rig_stats(a).records, 2);
    assert_int_equal(rig_stats(b).records, 2);
    /* The one that goes on polls what the other has left behind. */
    assert_int_equal(rig_put(a, 4, "a4"), 0);
    rig_close(a);
    assert_string_equal(rig_poll(b), "4=a4 ");
    rig_close(b);
    assert_string_equal(rig_says(file()), "2=b2 3=a3 4=a4 ");
}

/* Neither compacts while the other is there; then the one that is left does, and misses nothing. */
static void test_compacts_alone(void **state)
{
    struct journal_options o = {
        .path = file(), .mailbox = &rig_mail, .max_bytes = 1024, .disk = &rig_disk};
    int error = 0;
    (void)state;
    struct journal *a = journal_open(&o, &error);
    struct journal *b = journal_open(&o, &error);
    assert_true(a && b);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rig_put(a, 1, "of a"), 0);
        assert_int_equal(rig_put(b, 2, "of b"), 0);
    }
    assert_int_equal(rig_stats(a).compactions + rig_stats(b).compactions, 0);
    assert_int_equal(rig_put(a, 3, "last of a"), 0);
    rig_close(a);
    for (int i = 0; i < 200; i++)
        assert_int_equal(rig_put(b, 4, "b again"), 0);
    assert_true(rig_stats(b).compactions > 0);
    /* What compaction had to read before it is still told. */
    const char *polled = rig_poll(b);
    assert_non_null(strstr(polled, "3=last of a "));
    assert_null(strstr(polled, "of b"));
    rig_close(b);
    assert_string_equal(rig_says(file()), "1=of a 2=of b 3=last of a 4=b again ");
}

/* One that has another key, or none: it is told nothing, nobody believes it, and it destroys
 * nothing. */
static void test_other_key(void **state)
{
    char first[128];
    int error = 0;
    (void)state;
    struct journal *plain = rig_open(file());
    rig_key = rig_make_key("key", 'k');
    (void)snprintf(first, sizeof(first), "%s", rig_key);
    struct journal *sealed = rig_open(file());
    assert_int_equal(rig_put(sealed, 1, "secret"), 0);
    assert_int_equal(rig_put(plain, 2, "plain"), 0);
    assert_string_equal(rig_poll(plain), "");
    assert_string_equal(rig_poll(sealed), "");
    rig_key = rig_make_key("other", 'o');
    assert_null(rig_try(file(), &rig_disk, &error));
    assert_int_equal(error, -EKEYREJECTED);
    rig_close(sealed);
    for (int i = 0; i < 50; i++)
        assert_int_equal(rig_put(plain, 3, "x"), 0);
    rig_close(plain);
    rig_key = first;
    assert_string_equal(rig_says(file()), "1=secret ");
    assert_false(rig_file_has(file(), "plain"));
}

/* Who may not wait is told so. */
static void test_at_once(void **state)
{
    const struct journal_options o = {.path = file(), .mailbox = &rig_mail, .at_once = true};
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int error = 0;
    (void)state;
    rig_close(rig_open(file()));
    int fd = open(file(), O_RDWR | O_CLOEXEC);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &all), 0);
    usec_t began = clock_mono();
    assert_null(journal_open(&o, &error));
    assert_int_equal(error, -EBUSY);
    assert_true(clock_mono() - began < 4 * USEC_PER_SEC); /* of the 5 that are waited else */
    (void)close(fd);
    struct journal *j = journal_open(&o, &error);
    assert_non_null(j);
    rig_close(j);
}

/* ---- processes ---- */

/* Reports what was done: the id, or its complement when it was dropped. */
struct report {
    struct journal_write w;
    uint64_t says;
    int to;
};

static void reported(struct journal_write *w, int rc)
{
    struct report *r = CONTAINER_OF(w, struct report, w);
    if (rc != 0 || write(r->to, &r->says, sizeof(r->says)) != sizeof(r->says))
        _exit(3);
    free(r);
}

static void ask(struct journal *j, uint64_t id, bool drop, int to)
{
    struct report *r = mem_zalloc(sizeof(*r));
    char text[32];
    if (!r)
        _exit(4);
    *r = (struct report){.w.done = reported, .says = drop ? ~id : id, .to = to};
    (void)snprintf(text, sizeof(text), "session-%llu", (unsigned long long)id);
    int rc = drop ? journal_drop(j, id, &r->w) : journal_put(j, id, str_of(text), &r->w);
    if (rc != 0)
        _exit(5);
}

static struct journal *open_in_child(const struct journal_disk *disk)
{
    struct journal_options o = {
        .path = file(), .key_file = rig_key, .mailbox = &rig_mail, .max_bytes = 8192, .disk = disk};
    int error = 0;
    if (loop_init(&rig_loop) < 0) /* not the parent's epoll */
        _exit(6);
    mailbox_init(&rig_mail, &rig_loop, NULL);
    struct journal *j = journal_open(&o, &error);
    if (!j)
        _exit(7);
    return j;
}

/* ids from `first`, each `live` later dropped; `count` of them, or until it is killed. */
static void write_in_child(uint64_t first, uint64_t count, uint64_t live, int to)
{
    struct journal *j = open_in_child(&rig_disk);
    for (uint64_t i = 0; i < count; i++) {
        ask(j, first + i, false, to);
        if (live && i >= live)
            ask(j, first + i - live, true, to);
        if (i % 7 == 0)
            (void)ev_run(rig_loop.ev, EVRUN_NOWAIT);
        if (i % 50 == 49) { /* not more than the disk takes */
            while (rig_stats(j).oldest_pending != 0)
                (void)ev_run(rig_loop.ev, EVRUN_ONCE);
        }
    }
    (void)journal_close(j, 20 * USEC_PER_SEC);
    mailbox_free(&rig_mail);
    _exit(0);
}

static pid_t start(uint64_t first, uint64_t count, uint64_t live, int *ret_from)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        write_in_child(first, count, live, ends[1]);
    (void)close(ends[1]);
    *ret_from = ends[0];
    return child;
}

enum { IDS = 200000 };
static bool put_done[IDS], drop_done[IDS], drop_seen[IDS];

static void note(uint64_t says)
{
    if (says < IDS)
        put_done[says] = true;
    else
        drop_done[~says] = true;
}

static size_t wait_for_report(int from)
{
    uint64_t says = 0;
    assert_int_equal(read(from, &says, sizeof(says)), sizeof(says));
    note(says);
    return 1;
}

static size_t read_reports(int from)
{
    uint64_t says[512];
    size_t count = 0;
    ssize_t n = 0;
    while ((n = read(from, says, sizeof(says))) > 0) {
        for (size_t i = 0; i < (size_t)n / sizeof(says[0]); i++)
            note(says[i]);
        count += (size_t)n / sizeof(says[0]);
    }
    (void)close(from);
    return count;
}

static void replayed(uint64_t id, struct str bytes, void *ctx)
{
    bool *there = ctx;
    char text[32];
    int n = snprintf(text, sizeof(text), "session-%llu", (unsigned long long)id);
    assert_true(id < IDS);
    assert_true(str_eq(bytes, (struct str){text, (size_t)n}));
    assert_false(there[id]);
    there[id] = true;
}

static void must_hold(uint64_t first, uint64_t end)
{
    bool *there = mem_zalloc(IDS);
    assert_non_null(there);
    struct journal *j = rig_open(file());
    assert_int_equal(journal_replay(j, replayed, there), 0);
    rig_close(j);
    for (uint64_t id = first; id < end; id++) {
        if (put_done[id] && !there[id] && !drop_done[id])
            drop_seen[id] = true; /* was asked for; killed before it was told */
        if (drop_done[id])
            assert_false(there[id]);
    }
    free(there);
}

/* Two at once, each 3,000 records, and a third that follows by polling. */
static void test_two_processes(void **state)
{
    struct rig_told told = {0};
    int from[2];
    pid_t child[2];
    (void)state;
    child[0] = start(1, 3000, 0, &from[0]);
    child[1] = start(100000, 3000, 0, &from[1]);
    struct journal *j = rig_open(file());
    assert_int_equal(journal_replay(j, rig_tell, &told), 0);
    size_t reports = 0;
    for (int i = 0; i < 2; i++) {
        int status = 0;
        assert_int_equal(journal_poll(j, rig_tell, rig_tell_drop, &told), 0);
        reports += read_reports(from[i]);
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(reports, 6000);
    assert_int_equal(journal_poll(j, rig_tell, rig_tell_drop, &told), 0);
    assert_int_equal(told.count, 6000);
    assert_int_equal(rig_stats(j).records, 6000);
    assert_int_equal(rig_stats(j).cut_bytes, 0);
    rig_close(j);
    bool *there = mem_zalloc(IDS);
    assert_non_null(there);
    j = rig_open(file());
    assert_int_equal(journal_replay(j, replayed, there), 0);
    for (uint64_t id = 0; id < 3000; id++)
        assert_true(there[1 + id] && there[100000 + id]);
    free(there);
    rig_close(j);
}

/* Killed at any moment, in a compaction too; again and again with what the one before left. Each id
 * has a put and, 20 later, a drop: an id whose put was told is there unless its drop was asked for.
 * The last 20 that were told can not have been dropped. */
static void kill_loop(int rounds)
{
    size_t reports = 0;
    unsigned killed = 0;
    memset(put_done, 0, sizeof(put_done));
    memset(drop_done, 0, sizeof(drop_done));
    memset(drop_seen, 0, sizeof(drop_seen));
    (void)unlink(file());
    for (int i = 0; i < rounds; i++) {
        uint64_t first = (uint64_t)i * 2000, last = 0;
        int from = -1, status = 0;
        pid_t child = start(first, 2000, 20, &from);
        /* Every other round not before something was told. */
        reports += i % 2 ? wait_for_report(from) : 0;
        (void)usleep((useconds_t)(500 + (i * 7919) % 23000));
        assert_int_equal(kill(child, SIGKILL), 0);
        reports += read_reports(from);
        assert_int_equal(waitpid(child, &status, 0), child);
        killed += WIFSIGNALED(status);
        assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
        for (uint64_t id = first; id < first + 2000; id++)
            last = put_done[id] ? id : last;
        memset(drop_seen, 0, sizeof(drop_seen));
        must_hold(0, first + 2000);
        /* Puts are asked for in order, so the newest 20 of those told are not yet dropped, but for
         * those asked for behind them in the same breath. */
        for (uint64_t id = first; id <= last; id++)
            assert_true(put_done[id] || last == 0);
        for (uint64_t id = 0; id < first + 2000; id++) {
            /* Not there though no drop was told: only where its drop could be under way. */
            if (drop_seen[id])
                assert_true(id < first + 2000 && id + 20 + 51 >= last && id >= first);
        }
        /* What this round leaves alive is dropped, so that the next starts from nothing. */
        struct journal *j = rig_open(file());
        for (uint64_t id = first; id < first + 2000; id++) {
            assert_int_equal(journal_drop(j, id, NULL), 0);
            drop_done[id] = true;
        }
        rig_close(j);
    }
    print_message("%d rounds, %u killed, %zu records told\n", rounds, killed, reports);
    assert_true(killed > 0);
    assert_true(reports > 0);
}

static void test_killed(void **state)
{
    const char *rounds = getenv("SLUICE_JOURNAL_KILLS");
    (void)state;
    kill_loop(rounds ? (int)strtol(rounds, NULL, 10) : 40);
    rig_key = rig_make_key("key", 'k');
    kill_loop(10);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        T(test_two),     T(test_compacts_alone), T(test_other_key),
        T(test_at_once), T(test_two_processes),  T(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
