/* journal_rig.h - a journal in a directory of its own, the loop that it answers to, and what a
 * replay of it says. */
#ifndef SLUICE_TESTS_JOURNAL_RIG_H
#define SLUICE_TESTS_JOURNAL_RIG_H

#include "lifecycle/journal.h"
#include "lifecycle/journal_disk.h"
#include "lifecycle/journal_format.h"
#include "lifecycle/journal_seal.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char rig_root[64];
static struct loop rig_loop;
static struct mailbox rig_mail;
static const char *rig_key; /* file; NULL: not encrypted */

static const char *rig_path(const char *name)
{
    static char path[4][128];
    static unsigned turn;
    char *p = path[turn++ % 4];
    (void)snprintf(p, sizeof(path[0]), "%s/%s", rig_root, name);
    return p;
}

static int UNUSED rig_setup(void **state)
{
    (void)state;
    /* In memory where that is there: renaming on ext4 waits for the disk. */
    (void)snprintf(rig_root, sizeof(rig_root), "%s/sluice-journal-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(rig_root) || loop_init(&rig_loop) < 0)
        return -1;
    mailbox_init(&rig_mail, &rig_loop, NULL);
    rig_key = NULL;
    return 0;
}

static int UNUSED rig_teardown(void **state)
{
    char command[192];
    (void)state;
    mailbox_free(&rig_mail);
    loop_free(&rig_loop);
    (void)snprintf(command, sizeof(command), "chmod -R u+rwx '%s'; rm -rf '%s'", rig_root,
                   rig_root);
    return system(command) == 0 ? 0 : -1;
}

/* ---- files ---- */

struct rig_bytes {
    char p[256 * 1024];
    size_t n;
};

static UNUSED void rig_read(const char *path, struct rig_bytes *b)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, b->p, sizeof(b->p));
    assert_true(n >= 0 && n < (ssize_t)sizeof(b->p));
    b->n = (size_t)n;
    (void)close(fd);
}

static UNUSED void rig_write(const char *path, const char *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), n);
    (void)close(fd);
}

static UNUSED bool rig_file_has(const char *path, const char *text)
{
    static struct rig_bytes b;
    rig_read(path, &b);
    return memmem(b.p, b.n, text, strlen(text)) != NULL;
}

/* ---- a disk that need not be waited for, and one that fails when told ---- */

static atomic_int rig_sync_error, rig_write_error, rig_cut_error, rig_rename_error, rig_syncs;
static atomic_llong rig_room = -1; /* bytes that still fit; -1: any */

static ssize_t rig_disk_write(int fd, const void *p, size_t n)
{
    long long room = atomic_load(&rig_room);
    errno = atomic_load(&rig_write_error);
    if (errno)
        return -1;
    if (room >= 0 && (size_t)room < n) {
        n = (size_t)room;
        errno = ENOSPC;
        if (n == 0)
            return -1;
    }
    ssize_t done = write(fd, p, n);
    if (room >= 0 && done > 0)
        atomic_fetch_sub(&rig_room, done);
    return done;
}

static int rig_disk_sync(int fd)
{
    (void)fd;
    atomic_fetch_add(&rig_syncs, 1);
    errno = atomic_load(&rig_sync_error);
    return errno ? -1 : 0;
}

static int rig_disk_truncate(int fd, off_t n)
{
    errno = atomic_load(&rig_cut_error);
    return errno ? -1 : ftruncate(fd, n);
}

static int rig_disk_rename(const char *from, const char *to)
{
    errno = atomic_load(&rig_rename_error);
    return errno ? -1 : rename(from, to);
}

static const struct journal_disk rig_disk = {
    .write = rig_disk_write,
    .sync = rig_disk_sync,
    .truncate = rig_disk_truncate,
    .rename = rig_disk_rename,
};

/* ---- the journal ---- */

static UNUSED struct journal *rig_try(const char *path, const struct journal_disk *disk, int *error)
{
    const struct journal_options o = {
        .path = path, .key_file = rig_key, .mailbox = &rig_mail, .disk = disk};
    return journal_open(&o, error);
}

static UNUSED struct journal *rig_open(const char *path)
{
    int error = 0;
    struct journal *j = rig_try(path, &rig_disk, &error);
    if (!j)
        print_error("%s: %s\n", path, strerror(-error));
    assert_non_null(j);
    return j;
}

static UNUSED void rig_close(struct journal *j)
{
    assert_null(journal_close(j, 30 * USEC_PER_SEC));
}

struct rig_op {
    struct journal_write w;
    bool done;
    int rc;
};

static void rig_done(struct journal_write *w, int rc)
{
    struct rig_op *op = CONTAINER_OF(w, struct rig_op, w);
    assert_false(op->done);
    op->done = true;
    op->rc = rc;
}

static UNUSED int rig_wait(struct rig_op *op)
{
    while (!op->done)
        (void)ev_run(rig_loop.ev, EVRUN_ONCE);
    return op->rc;
}

static UNUSED int rig_put(struct journal *j, uint64_t id, const char *text)
{
    struct rig_op op = {.w.done = rig_done};
    int rc = journal_put(j, id, str_of(text), &op.w);
    return rc < 0 ? rc : rig_wait(&op);
}

static UNUSED int rig_drop(struct journal *j, uint64_t id)
{
    struct rig_op op = {.w.done = rig_done};
    int rc = journal_drop(j, id, &op.w);
    return rc < 0 ? rc : rig_wait(&op);
}

/* "1=a 3=c ": what was told. */
struct rig_told {
    char text[4096];
    size_t n, count;
};

static UNUSED void rig_tell(uint64_t id, struct str bytes, void *ctx)
{
    struct rig_told *t = ctx;
    int n = snprintf(t->text + t->n, sizeof(t->text) - t->n, "%llu=%.*s ", (unsigned long long)id,
                     STR_FMT(bytes));
    if (n > 0 && t->n + (size_t)n < sizeof(t->text))
        t->n += (size_t)n;
    t->count++;
}

static UNUSED void rig_tell_drop(uint64_t id, struct str bytes, void *ctx)
{
    assert_int_equal(bytes.n, 0);
    rig_tell(id, STR("-"), ctx);
}

static UNUSED const char *rig_replay(struct journal *j)
{
    static struct rig_told told;
    told = (struct rig_told){0};
    assert_int_equal(journal_replay(j, rig_tell, &told), 0);
    return told.text;
}

static UNUSED const char *rig_poll(struct journal *j)
{
    static struct rig_told told;
    told = (struct rig_told){0};
    assert_int_equal(journal_poll(j, rig_tell, rig_tell_drop, &told), 0);
    return told.text;
}

/* Opened again: what it says. */
static UNUSED const char *rig_says(const char *path)
{
    struct journal *j = rig_open(path);
    const char *text = rig_replay(j);
    rig_close(j);
    return text;
}

static UNUSED struct journal_stats rig_stats(struct journal *j)
{
    struct journal_stats s;
    journal_stats(j, &s);
    return s;
}

/* A path that stays. */
static UNUSED const char *rig_make_key(const char *name, char fill)
{
    static char path[128];
    char key[SEAL_KEY_BYTES];
    (void)snprintf(path, sizeof(path), "%s", rig_path(name));
    memset(key, fill, sizeof(key));
    rig_write(path, key, sizeof(key));
    return path;
}

#endif
