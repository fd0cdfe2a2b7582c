/* journal.h - what must outlive a crash: small records by id, on disk before they count.
 *
 * An append-only file of checksummed records, each PUT (id, bytes) or DROP (id). Writes are
 * gathered and made durable together (one fdatasync for all that wait) on the journal's own
 * thread; the caller, on the control thread, never waits for the disk and is told when its record
 * is on it. Bytes are encrypted (AES-256-GCM, journal_seal.h) when there is a key. Every record
 * that is intact counts, whatever is damaged before or behind it; what is damaged is counted and
 * left behind at the next compaction.
 *
 * Two processes may have it open at an upgrade: each appends whole records, reads what the other
 * has appended (journal_poll), and only one that has it alone compacts or cuts. Ids are the
 * callers': two processes must not make the same one (random 64 bits do). */
#ifndef SLUICE_LIFECYCLE_JOURNAL_H
#define SLUICE_LIFECYCLE_JOURNAL_H

#include "base/clock.h"
#include "base/str.h"
#include "io/mailbox.h"

#include <stdbool.h>

struct journal;
struct journal_disk;

enum {
    JOURNAL_BYTES_MAX = 64 * 1024, /* of one record */
};

struct journal_options {
    const char *path;
    const char *key_file;    /* 32 bytes, raw, or as 64 hex digits; NULL: not encrypted */
    struct mailbox *mailbox; /* of the control thread: where `done` is called. It outlives the
                                journal */
    bool at_once;            /* do not wait for another process: -EBUSY */
    uint64_t max_bytes;      /* of the file, before it is compacted; 0: 4 MiB */
    uint64_t max_pending;    /* bytes that wait for the disk; more: -ENOBUFS. 0: 4 MiB */
    const struct journal_disk *disk; /* for tests (journal_disk.h); NULL: the system's */
};

/* Opens or makes it (0600). NULL with *ret_error:
 *   -EKEYREJECTED      what is there is encrypted under another key, or there is no key; nothing
 *                      has been touched
 *   -EPROTONOSUPPORT   written by a later version
 *   -EINVAL            not a file; or the key file holds no key
 *   -EBUSY             another process holds it for itself, for longer than 5 s unless at_once
 *   and what open(2) and read(2) say of the file or of its key.
 * A disk that is full or read-only is no error here: what is there is replayed, each write says
 * what hinders it (and stats.trouble does), and later ones work when it has passed. With a key, a
 * record that is not encrypted counts as damaged, wherever it comes from: who can write the file
 * but has no key forges nothing. It may block for as long as reading the file takes. */
struct journal *journal_open(const struct journal_options *o, int *ret_error);
/* All that was asked for is written first, waiting at most `patience`; what is not written then is
 * told -ETIMEDOUT. Each `done` comes by the mailbox, which is still there. NULL is allowed. */
struct journal *journal_close(struct journal *j, usec_t patience);

/* A record that lives: put and not dropped. bytes are valid during the call, which may put, drop
 * and ask for stats. */
typedef void journal_each(uint64_t id, struct str bytes, void *ctx);
/* What was there when it was opened, in the order in which the ids were first put; before anything
 * is put. 0; or -EIO, -ENOMEM of the first that could not be read: the others are told. */
int journal_replay(struct journal *j, journal_each *each, void *ctx);
/* What another process has appended since: `put` and `drop` (bytes empty) are called. 0; or -EIO,
 * -ENOMEM: it was not read to its end, and a later poll goes on there. */
int journal_poll(struct journal *j, journal_each *put, journal_each *drop, void *ctx);

/* The caller's, alive until done was called: on the control thread, 0 or a negative errno
 * (-ENOSPC, -EROFS, -EIO, ...). A record whose done said an error does not count after a replay,
 * as far as that can be had: it is cut off; or, where somebody else may have appended behind it,
 * what was true before is written again as soon as the disk takes it. */
struct journal_write {
    struct mail mail;
    void (*done)(struct journal_write *w, int rc);
    int rc;
};

/* Copies the bytes. 0: done will be called; or -EMSGSIZE, -ENOBUFS, -ENOMEM: it will not. A PUT of
 * an id that is there replaces it. w may be NULL: nobody waits. */
int journal_put(struct journal *j, uint64_t id, struct str bytes, struct journal_write *w);
/* Of one that is not there, too. */
int journal_drop(struct journal *j, uint64_t id, struct journal_write *w);

struct journal_stats {
    uint64_t records, bytes; /* that live; of the file */
    uint64_t appended, synced, compactions;
    uint64_t failures;  /* records whose done said an error */
    uint64_t cut_bytes; /* damaged, so not read */
    uint64_t unread;    /* records that journal_replay() could not tell */
    uint64_t pending_bytes;
    usec_t oldest_pending; /* since when the oldest write waits; 0: none. The lag. */
    int trouble;           /* of the last write or the opening: 0 or a negative errno */
};
void journal_stats(struct journal *j, struct journal_stats *ret);

#endif
