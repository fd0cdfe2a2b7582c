/* leak.h - does an application take more and more, and give nothing back (DESIGN §7)?
 *
 * Pure: the caller samples, and passes the time. Two questions, for each resource by itself:
 *
 * Jump: the score (now - mean) / (mean + 1) against the mean of the window before exceeds the
 * threshold, in two samples in a row. A step that stays becomes the mean, and is over.
 *
 * Trend: what grows evenly never scores more than 1 against a mean that follows it. So the lowest
 * sample of each window is kept (what traffic and garbage collectors leave behind is above it), and
 * rising without a break through LEAK_SLOTS of them is a trend. The lowest of five windows is a
 * slot of the next level, and so on: what leaks slowly shows there.
 *
 * Both want growth that is worth a word, beyond what the connections that the application holds
 * with us have grown by: those are traffic. Nothing is said before the first window is over. */
#ifndef SLUICE_POLICIES_LEAK_H
#define SLUICE_POLICIES_LEAK_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

enum leak_resource { LEAK_FDS, LEAK_THREADS, LEAK_RSS, LEAK_SOCKETS, LEAK_RESOURCES };

/* "fds", "threads", "rss_bytes", "sockets". */
const char *leak_word(enum leak_resource r);

enum {
    LEAK_SAMPLES_MAX = 120, /* in a window; interval * this >= window */
    LEAK_SAMPLES_MIN = 4,   /* likewise, at least */
    LEAK_SLOTS = 6,
    LEAK_UP = 5,              /* slots of a level that are one of the next */
    LEAK_LEVELS = 5,          /* the last looks back 625 * LEAK_SLOTS windows: 62 hours */
    LEAK_GROWTH_PERCENT = 25, /* of a trend, at least */
};

#define LEAK_UNKNOWN   UINT64_MAX
#define LEAK_VALUE_MAX (UINT64_C(1) << 50) /* more counts as this */

struct leak_rules {
    bool enabled;
    usec_t interval;    /* 3 s */
    usec_t window;      /* 60 s */
    uint32_t threshold; /* of the score, in percent: 250 */
};

struct leak_sample {
    uint64_t value[LEAK_RESOURCES]; /* rss in bytes; LEAK_UNKNOWN: could not be had */
    uint64_t connections;           /* that it holds with us */
};

/* How a resource has grown, while it is suspected. */
struct leak_growth {
    uint64_t from, to;
    usec_t since; /* it was `from` then, or at some time behind that */
    bool trend;
};

/* The lowest of each in some time. */
struct leak_slot {
    uint64_t value[LEAK_RESOURCES];
    uint64_t connections;
};

struct leak_level {
    struct leak_slot slot[LEAK_SLOTS]; /* oldest first */
    uint32_t n;
    uint32_t taken; /* of them, into `up` */
    struct leak_slot up;
};

struct leak_judgement {
    uint32_t score;  /* in percent, of the last sample */
    uint32_t high;   /* samples in a row whose score is above the threshold */
    bool jump;       /* suspected for it */
    uint32_t trends; /* bit i: of level i */
    uint64_t told;   /* what it was at the last report */
    struct leak_growth growth;
};

struct leak {
    usec_t began;
    uint32_t n, next; /* of the window */
    struct {
        usec_t at;
        struct leak_sample sample;
    } window[LEAK_SAMPLES_MAX];
    usec_t slot_ends; /* 0: no slot yet */
    uint32_t slot_samples;
    struct leak_slot slot;
    struct leak_level level[LEAK_LEVELS];
    struct leak_judgement judged[LEAK_RESOURCES];
};

/* What a sample has changed: bits by resource. */
struct leak_news {
    uint32_t suspected; /* reported now: suspected anew, or doubled since the last report */
    uint32_t over;      /* not suspected any more */
};

/* Another process, or other rules: a new first window. */
void leak_begin(struct leak *l, usec_t now);
void leak_take(struct leak *l, const struct leak_rules *r, const struct leak_sample *s, usec_t now,
               struct leak_news *ret);

bool leak_suspected(const struct leak *l, enum leak_resource r);
/* Among the resources of the mask the one that has grown most, as a multiple of what it was;
 * LEAK_RESOURCES: the mask is empty. */
enum leak_resource leak_most(const struct leak *l, uint32_t mask);

#endif
