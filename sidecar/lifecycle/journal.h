/* journal.h - what must outlive a crash: small records by id, on disk before they count.
 *
 * An append-only file of checksummed records, each PUT (id, bytes) or DROP (id). Writes are
 * gathered and made durable together (one fsync for all that wait) on the journal's own thread;
 * the caller, on the control thread, is told when its record is on disk. Bytes are encrypted
 * (AES-256-GCM) when there is a key. A torn or corrupt tail ends the replay there: what is intact
 * before it counts, the rest is counted and cut off at the next compaction.
 *
 * Two processes may have it open at an upgrade: each appends whole records, reads what the other
 * has appended (journal_poll), and only one that has it alone compacts. */
#ifndef SLUICE_LIFECYCLE_JOURNAL_H
#define SLUICE_LIFECYCLE_JOURNAL_H

#include "base/clock.h"
#include "base/str.h"
#include "io/mailbox.h"

#include <stdbool.h>

struct journal;

enum {
    JOURNAL_BYTES_MAX = 64 * 1024, /* of one record */
    JOURNAL_KEY_BYTES = 32,
};

struct journal_options {
    const char *path;
    const char *key_file;    /* 32 bytes, raw, or as 64 hex digits; NULL: not encrypted */
    struct mailbox *mailbox; /* of the control thread: where `done` is called */
    uint64_t max_bytes;      /* of the file, before it is compacted; 0: 4 MiB */
    uint64_t max_pending;    /* bytes that wait for the disk; more: -ENOBUFS. 0: 4 MiB */
};

/* Opens or makes it (0600). NULL with *ret_error: a negative errno; -EKEYREJECTED: the key does
 * not fit what is there. */
struct journal *journal_open(const struct journal_options *o, int *ret_error);
/* All that was asked for is written first, waiting at most `patience`. */
struct journal *journal_close(struct journal *j, usec_t patience);

/* A record that lives: put and not dropped. bytes are valid during the call. */
typedef void journal_each(uint64_t id, struct str bytes, void *ctx);
/* What was there when it was opened, in the order of the PUTs. */
void journal_replay(struct journal *j, journal_each *each, void *ctx);
/* What another process has appended since: `put` and `drop` (bytes empty) are called. */
void journal_poll(struct journal *j, journal_each *put, journal_each *drop, void *ctx);

/* The caller's, alive until done was called: on the control thread, 0 or a negative errno
 * (-ENOSPC, -EROFS, -EIO ...). A record whose done said an error does not count after a replay,
 * as far as that can be had. */
struct journal_write {
    struct mail mail;
    void (*done)(struct journal_write *w, int rc);
    int rc;
    struct journal_write *next;
};

/* Copies the bytes. 0: done will be called; or -EMSGSIZE, -ENOBUFS, -ENOMEM: it will not. A PUT of
 * an id that is there replaces it. */
int journal_put(struct journal *j, uint64_t id, struct str bytes, struct journal_write *w);
/* w may be NULL: nobody waits. */
int journal_drop(struct journal *j, uint64_t id, struct journal_write *w);

struct journal_stats {
    uint64_t records, bytes; /* that live; of the file */
    uint64_t appended, synced, compactions, failures;
    uint64_t cut_bytes;    /* torn or corrupt, found when it was opened */
    usec_t oldest_pending; /* since when the oldest write waits; 0: none. The lag. */
};
void journal_stats(const struct journal *j, struct journal_stats *ret);

#endif
