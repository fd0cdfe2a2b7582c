/* overload.h - when to shed load before the kernel does: stages, each of which does what those
 * below it do and one thing more.
 *
 * Pure: the caller passes readings and the time. Each signal has thresholds of its own. A stage
 * begins with the first reading that is at its threshold, and ends when readings have been below
 * the threshold by some margin for some time, one stage after another: what sheds load lowers the
 * reading too, and would end at once what it has only begun to do. */
#ifndef SLUICE_POLICIES_OVERLOAD_H
#define SLUICE_POLICIES_OVERLOAD_H

#include "base/clock.h"
#include "policies/priority.h"

#include <stdbool.h>
#include <stdint.h>

enum overload_stage {
    OVERLOAD_NONE,
    OVERLOAD_NO_KEEP_ALIVE,  /* clients are asked to leave, idle ones are closed */
    OVERLOAD_REFUSE_LOW,     /* requests of low priority are refused */
    OVERLOAD_NO_CONNECTIONS, /* none is accepted; only critical requests are served */
    OVERLOAD_STAGES,
};

const char *overload_stage_word(enum overload_stage s);

enum overload_signal {
    OVERLOAD_MEMORY,        /* of the cgroup, of its limit */
    OVERLOAD_FDS,           /* open, of the limit */
    OVERLOAD_PRESSURE_SOME, /* of the last 10 s, in which somebody waited for memory (PSI) */
    OVERLOAD_PRESSURE_FULL, /* in which everybody did */
    OVERLOAD_LOOP_LAG,      /* of the worker that is furthest behind */
    OVERLOAD_SIGNALS,
};

const char *overload_signal_word(enum overload_signal s);

#define OVERLOAD_PPM 1000000

/* In a signal's own unit: microseconds of OVERLOAD_LOOP_LAG, parts per million of all others. */
struct overload_thresholds {
    uint64_t at[OVERLOAD_STAGES]; /* 0: this signal never brings the stage; [OVERLOAD_NONE]: unused.
                                   * Those that are not 0 do not fall */
};

struct overload_rules {
    struct overload_thresholds signal[OVERLOAD_SIGNALS];
    usec_t hold;     /* so long below a stage's threshold until the stage ends */
    uint32_t margin; /* percent of a threshold that a reading has to be below it for that */
    bool dry_run;    /* decided and told, and nothing is done */
};

struct overload_reading {
    bool known; /* it could be read, and there is a limit to compare with */
    uint64_t value;
};

struct overload_signal_state {
    struct overload_reading last;
    enum overload_stage stage;
    usec_t below_since; /* its readings are below the stage's threshold; 0: they are not */
};

/* Zeros at first. */
struct overload {
    struct overload_signal_state signal[OVERLOAD_SIGNALS];
    enum overload_stage stage;  /* the highest of them */
    enum overload_signal cause; /* the first that has it; of no meaning at OVERLOAD_NONE */
};

/* Takes readings, one of each signal. One that is not known counts as 0: nothing that cannot be
 * measured is shed for long. True: the stage, or what caused it, is another one. */
bool overload_step(struct overload *o, const struct overload_rules *r,
                   const struct overload_reading readings[OVERLOAD_SIGNALS], usec_t now);

/* The signal's last reading from 0 to OVERLOAD_PPM; the lag in terms of its highest threshold. */
uint32_t overload_pressure(const struct overload *o, const struct overload_rules *r,
                           enum overload_signal signal);

/* This signal can bring a stage. */
bool overload_looks_at(const struct overload_rules *r, enum overload_signal signal);

/* A request of that priority is refused. */
static inline bool overload_refuses(enum overload_stage s, enum priority p)
{
    return s >= OVERLOAD_NO_CONNECTIONS ? p != PRIORITY_CRITICAL
                                        : s >= OVERLOAD_REFUSE_LOW && p == PRIORITY_LOW;
}

/* --- what workers read: one word, 0 while nothing is to be done --- */

enum { OVERLOAD_WORD_DRY_RUN = 1 << 8 };

static inline uint32_t overload_word(const struct overload *o, const struct overload_rules *r)
{
    return (uint32_t)o->stage |
           (o->stage != OVERLOAD_NONE && r->dry_run ? OVERLOAD_WORD_DRY_RUN : 0);
}

static inline enum overload_stage overload_word_stage(uint32_t word)
{
    return (enum overload_stage)(word & ~(uint32_t)OVERLOAD_WORD_DRY_RUN);
}

/* The stage that is acted on. */
static inline enum overload_stage overload_word_acts(uint32_t word)
{
    return word & OVERLOAD_WORD_DRY_RUN ? OVERLOAD_NONE : (enum overload_stage)word;
}

#endif
