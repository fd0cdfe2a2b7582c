/* lease_parts.h - the registry's inside, for the files of lease*.c. */
#ifndef SLUICE_LIFECYCLE_LEASE_PARTS_H
#define SLUICE_LIFECYCLE_LEASE_PARTS_H

#include "io/loop.h"
#include "lifecycle/cleanup_order.h"
#include "lifecycle/journal.h"
#include "lifecycle/lease.h"

enum {
    LEASE_BUCKETS = 1024,
    LEASE_DIGEST = 16, /* of name and key: HMAC-SHA256, cut */
    LEASE_SALT = 32,
    LEASE_ROUNDS = 5, /* runs that fail before it is given up */
    LEASE_RESULTS_KEPT = 32,
};
#define LEASE_RETRY_FIRST (30 * USEC_PER_SEC) /* doubled for each round */

enum lease_state {
    LEASE_PENDING, /* the journal has not said yet that it is on disk */
    LEASE_HELD,
    LEASE_WAITING,   /* for its turn */
    LEASE_RELEASING, /* its run is under way */
    LEASE_RETRYING,  /* the last run failed; due at retry_at */
};

enum lease_why {
    LEASE_BY_TTL,
    LEASE_BY_DISCONNECT,
    LEASE_BY_OPERATOR,
    LEASE_BY_HOLDER,
    LEASE_BY_DRAIN,
    LEASE_BY_REFUSAL, /* it could not be held */
    LEASE_WHYS,
};

struct lease {
    struct list by_age; /* leases.all, the oldest first */
    struct list by_id, by_digest;
    struct leases *owner;
    uint64_t id;
    uint64_t place; /* in leases.all: above those before it */
    enum lease_kind kind;
    enum lease_state state;
    enum lease_why why;
    enum lease_duplicate duplicate;
    uint32_t refs;
    uint32_t rounds; /* runs that have failed */
    char *name;
    struct str key; /* with a NUL behind it */
    unsigned char digest[LEASE_DIGEST];
    struct str *after;             /* with its texts in one block; NULL: none */
    struct cleanup_action *action; /* with the idempotency key */
    usec_t ttl, expires;           /* expires: monotonic; 0: never */
    usec_t acquired_wall;
    uint64_t holder;
    usec_t disconnect_grace, grace_at, retry_at; /* 0: no such time */
    struct cleanup_item item;
    struct cleanup_run run;
    struct lease_waiter *waiters;
};

/* A record on its way to the disk. */
struct lease_write {
    struct journal_write write;
    struct leases *owner; /* NULL: it has gone */
    struct list link;
    uint64_t id;
    uint64_t replaces; /* this one is forgotten when it is on disk; 0: none */
    bool acquired;     /* the first record of its lease */
    lease_done *done;  /* NULL: nobody waits */
    void *ctx;
};

struct lease_result {
    char name[LEASE_NAME_MAX + 1];
    enum lease_kind kind;
    enum lease_why why;
    enum cleanup_result result;
    uint32_t tries;
    unsigned status;
    usec_t took;
    char error[96];
};

struct leases {
    struct loop *loop;
    struct mailbox *mailbox;
    struct cleanup_engine *engine;
    /* the configuration */
    uint32_t max, concurrency;
    usec_t max_ttl;
    bool on_failure_allow;
    char *journal_path, *journal_key_file; /* NULL: none */
    bool configured, journal_given;
    /* what is held */
    struct list all;
    struct list *ids, *digests; /* LEASE_BUCKETS each; NULL: there never was one */
    uint64_t n, sequence;
    unsigned char salt[LEASE_SALT];
    struct timer timer;
    usec_t next_due; /* what the timer is set to; 0: nothing */
    usec_t gone_at;  /* when the holder was last proved gone */
    /* what runs */
    struct cleanup_order order;
    bool started, retiring, cleaning, pumping;
    usec_t deadline; /* of CLEANUP */
    void (*cleaned)(void *ctx);
    void *cleaned_ctx;
    struct journal *journal;       /* NULL: not open */
    struct lease_opening *opening; /* under way on its thread; NULL: none */
    int open_error;                /* of the last opening; 0: none has failed */
    usec_t open_again, open_pause; /* when it is tried again; how long was waited for that */
    struct list writes;            /* lease_write.link, at the journal */
    struct list unsent;            /* likewise, until the journal has been opened */
    struct lease_stats stats;
    /* for the report */
    uint64_t ended[CLEANUP_RESULTS];
    struct lease_result results[LEASE_RESULTS_KEPT];
    uint32_t n_results;
};

/* lease_table.c */
struct lease *lease_find(const struct leases *ls, uint64_t id);
/* The newest of that name and key that is held; NULL. */
struct lease *lease_find_key(const struct leases *ls, struct str name, struct str key);
/* A cleared one with id, digest and place. NULL when memory is short. id 0: a new one. */
struct lease *lease_add(struct leases *ls, uint64_t id, enum lease_kind kind, struct str name,
                        struct str key);
int lease_set_after(struct lease *l, const struct str *after, uint32_t n);
/* An action with its key. 0 or -ENOMEM. */
int lease_set_action(struct lease *l, const struct cleanup_action *a, const char *idempotency_key);
/* Out of all lists, without a word to the journal; freed. Its run is cancelled. */
void lease_free(struct lease *l);
void lease_key_shown(const struct lease *l, char out[LEASE_KEY_SHOWN]);

/* lease_run.c */
void lease_queue(struct lease *l, enum lease_why why);
/* Starts what may start; and tells that all is done, where it is. */
void leases_pump(struct leases *ls);
void lease_tell_waiters(struct lease *l);
/* Nothing is to be released any more: who waits for it is told so, and it is freed. */
void lease_settle(struct lease *l);
const char *lease_why_word(enum lease_why w);

/* lease_time.c */
/* When something is to be done about it: a point in time, USEC_NEVER. */
usec_t lease_due(const struct lease *l);
/* It may be due sooner than before. */
void leases_look_at(struct leases *ls, usec_t due);
void leases_on_timer(struct timer *t);

/* lease_open.c: the journal. */
/* At the start, where it is there: what is in it is held before anything else is. Reads it in
 * place, but waits for no other process. */
void leases_open_journal(struct leases *ls);
/* 0: it is being opened, and leases_send_unsent() will come; a negative errno: it could not be, and
 * is tried again later. */
int leases_await_journal(struct leases *ls);
/* It could not be opened, and its time has come again. */
void leases_open_again(struct leases *ls);
/* Nobody waits for it any more. */
void leases_abandon_opening(struct leases *ls);

/* lease_journal.c */
/* What an earlier process has left there is held again. */
void leases_replay_journal(struct leases *ls);
/* It has been opened, or could not be (open_error): those that waited for that. */
void leases_send_unsent(struct leases *ls);
/* Its record, as it is now. 0: done is called later, or (no journal) was called; else -errno. */
int lease_record(struct lease *l, bool acquired, uint64_t replaces, lease_done *done, void *ctx);
/* Nobody waits for these. */
void lease_record_again(struct lease *l);
void lease_record_drop(struct lease *l);
void leases_poll_journal(struct leases *ls);

/* lease_text.c: an entry as it stands in the journal. malloc'ed; NULL: memory. */
char *lease_text(const struct lease *l, usec_t now, usec_t wall, size_t *ret_n);
/* What a record says, into a new entry or the one of that id. -EBADMSG, -ENOMEM. */
int lease_from_text(struct leases *ls, uint64_t id, struct str text, usec_t now, usec_t wall);

#endif
