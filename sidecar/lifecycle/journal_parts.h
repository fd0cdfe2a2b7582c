/* journal_parts.h - the journal inside: shared by journal*.c only.
 *
 * Two locks. `lock` is for what is asked for and what is told; it is never held while the disk
 * works, so the control thread may always take it. `file_lock` is for what is known of the file;
 * the journal's thread takes it to look at what was appended, and not while it writes or syncs.
 * Order: file_lock, then lock. */
#ifndef SLUICE_LIFECYCLE_JOURNAL_PARTS_H
#define SLUICE_LIFECYCLE_JOURNAL_PARTS_H

#include "lifecycle/journal.h"
#include "lifecycle/journal_disk.h"
#include "lifecycle/journal_format.h"
#include "lifecycle/journal_index.h"
#include "lifecycle/journal_seal.h"

#include <pthread.h>

enum { JOURNAL_WINDOW = 256 * 1024 }; /* what is read at a time; more than two records */

/* What was asked for. */
struct journal_entry {
    struct list link;
    struct journal_write *w; /* NULL: nobody waits, or no longer */
    uint64_t id;
    enum journal_kind kind;
    usec_t since;
    uint64_t seq;
    size_t ends; /* behind its record, in what is written */
    uint32_t n;
    char bytes[];
};

/* What somebody else has appended, until it is polled. */
struct journal_news {
    struct list link;
    uint64_t id;
    enum journal_kind kind;
    uint32_t n;
    char bytes[];
};

struct journal {
    const struct journal_disk *disk;
    struct mailbox *mailbox;
    char *path;
    bool at_once; /* the opening waits for nobody */
    uint64_t max_bytes, max_pending;
    uint64_t writer;
    struct seal *write_seal; /* the thread's; NULL: not encrypted */

    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct list waiting; /* entries */
    struct list busy;    /* those that the thread writes just now */
    uint64_t pending;    /* bytes of both */
    bool stopping, abandoned, ended;
    struct journal_stats stats;
    pthread_t thread;

    pthread_mutex_t file_lock;
    struct seal *read_seal;
    int fd;           /* -1: it could not be opened or made */
    bool writable;    /* not: it was opened read-only */
    bool needs_new;   /* its header is damaged, or it was unlinked: first a new one */
    bool dir_pending; /* the new one's name is not known to be on disk */
    char mark[JOURNAL_MARK_BYTES];
    uint64_t scanned;    /* up to here the index knows the file */
    uint64_t committed;  /* of our own records, up to this seq they count */
    uint64_t unreadable; /* intact, but not under our key: then it is never replaced */
    uint64_t plain;      /* not encrypted though we have a key, so not believed */
    struct journal_index index;
    struct list news;

    /* The thread's own. */
    uint64_t seq;
    uint64_t compact_at; /* when the file has more bytes */
    struct list debts;   /* entries that failed, and may be in the file all the same */
};

/* journal_scan.c. With file_lock. */
enum journal_scan {
    JOURNAL_OPENING,   /* all that is there counts, nothing is news */
    JOURNAL_POLLING,   /* up to what we ourselves are writing */
    JOURNAL_COMMITTED, /* what of ours is behind `committed` has failed */
};
/* Takes the index to the end of the file. 0; -EKEYREJECTED (opening only); -ENOMEM, -EIO. */
int journal_scan(struct journal *j, enum journal_scan how);
/* Opens the file and scans it; only at the opening does it wait for who replaces it. */
int journal_attach(struct journal *j, enum journal_scan how);
/* The record itself as it stands in the file, and what is in it (of RECORD_MAX and BYTES_MAX
 * bytes). 0; -EIO: it is not what was there before. */
int journal_read_raw(struct journal *j, const struct journal_live *l, char *out,
                     struct journal_record *ret);
int journal_open_body(struct seal *s, const struct journal_record *r, char *out, size_t *ret_n);
/* Appends a record to out (JOURNAL_RECORD_MAX bytes of room). Its length, or a negative errno. */
int64_t journal_encode(struct journal *j, uint64_t id, enum journal_kind kind, struct str bytes,
                       uint64_t *seq, char *out);

/* journal_compact.c: on the thread, or before there is one. -EAGAIN: we are not alone. */
int journal_compact(struct journal *j);

/* journal_commit.c */
void *journal_main(void *arg);
/* With lock: posts the result to who waits, once. */
void journal_answer(struct journal *j, struct journal_entry *e, int rc);

/* journal.c: nobody uses it any more. */
void journal_delete(struct journal *j);

#endif
