/* circuit_breaker.h - when to stop sending to an upstream, and when to try it again.
 *
 *   closed -> open        too many failures in a row, too large a share of them, or of slow calls
 *   open -> half-open     its time is over and somebody asks: one probe at a time goes through
 *   half-open -> closed   as many probes as asked for went well
 *   half-open -> open     one did not, or had no answer by its deadline: twice as long as before
 *   any -> forced -> closed   an operator's word
 *
 * Each admission is a permit of an epoch. A change of state, and each probe, begins another epoch,
 * and what is reported for an earlier one is ignored: late answers of a sick upstream neither open
 * nor close anything. Pure: the caller passes time and random bits, and logs the changes. Shared by
 * all workers by atomics; while it is closed and all goes well nothing is written, but for the
 * window's counts where a rate is asked for. It outlives configurations: each call has the rules in
 * force. */
#ifndef SLUICE_POLICIES_CIRCUIT_BREAKER_H
#define SLUICE_POLICIES_CIRCUIT_BREAKER_H

#include "base/result.h"
#include "policies/call_window.h"

enum breaker_state {
    BREAKER_CLOSED,    /* requests pass, failures are counted */
    BREAKER_OPEN,      /* requests are refused until its time is over */
    BREAKER_HALF_OPEN, /* one probe at a time passes */
    BREAKER_FORCED,    /* requests are refused until an operator says otherwise */
    BREAKER_STATES,
};

/* X(id, word): why it opened. */
#define BREAKER_CAUSE_TABLE(X)                                                                     \
    X(CONSECUTIVE, "consecutive_errors")                                                           \
    X(ERROR_RATE, "error_rate")                                                                    \
    X(SLOW_CALLS, "slow_calls")                                                                    \
    X(PROBE_FAILED, "probe_failed")                                                                \
    X(PROBE_TIMEOUT, "probe_timeout")                                                              \
    X(OPERATOR, "operator")

enum breaker_cause {
#define X(id, word) BREAKER_##id,
    BREAKER_CAUSE_TABLE(X)
#undef X
        BREAKER_CAUSES,
};

const char *breaker_state_word(enum breaker_state s);
const char *breaker_cause_word(enum breaker_cause c);

enum { BREAKER_CONSECUTIVE_MAX = 1000000, BREAKER_SUCCESSES_MAX = 1000 };

struct breaker_rules {
    bool enabled; /* false: it never opens by itself */
    bool dry_run; /* the caller lets pass what is refused; all else goes on as it would */
    uint32_t consecutive_errors;  /* 0: not used; 5 */
    uint32_t error_rate;          /* percent of the window; 0: not used; 50 */
    usec_t slow_call_duration;    /* 0: not used */
    uint32_t slow_call_rate;      /* percent of the window; 50 */
    usec_t window;                /* 10 s */
    uint32_t min_requests;        /* rates say nothing below; 20 */
    usec_t open_duration;         /* the first; doubles with each probe that fails; 1 s */
    usec_t max_open_duration;     /* 60 s */
    usec_t half_open_timeout;     /* of a probe; 10 s */
    uint32_t half_open_successes; /* probes that close it; 1 */
};

/* Zeroed: closed. On cache lines of its own. */
struct breaker {
    _Alignas(64) _Atomic uint64_t word; /* state, epoch, counts: circuit_breaker.c */
    _Atomic uint64_t until;             /* when the present epoch's time is over */
    _Alignas(64) struct call_window window;
    /* For people only. */
    _Atomic usec_t changed;                          /* when the state did; 0: never */
    _Atomic uint32_t last_cause;                     /* of the last opening */
    _Atomic uint64_t opened[BREAKER_CAUSES], probes; /* ever */
};

/* What a call has changed, for the log; `happened` is set by the call, never cleared. */
struct breaker_change {
    bool happened;
    enum breaker_state from, to;
    enum breaker_cause cause; /* of opening */
    uint32_t successes;       /* of probes, closing */
    uint64_t bad, calls;      /* what tripped it: in a row, or of the window's calls */
    usec_t open_for;          /* OPEN: from now on */
};

enum breaker_verdict { BREAKER_ADMIT, BREAKER_PROBE, BREAKER_REFUSE };

/* May a request be sent now? ADMIT and PROBE: *ret_epoch is its permit, for which the caller owes
 * one breaker_report(). `deadline`: a probe's ends then at the latest; USEC_NEVER: as the rules
 * say. An expired probe is settled first. */
enum breaker_verdict breaker_admit(struct breaker *b, const struct breaker_rules *r, usec_t now,
                                   usec_t deadline, uint64_t random, uint32_t *ret_epoch,
                                   struct breaker_change *change);
/* How a permit's request went; RESULT_NOTHING gives it back. `took`: from the request sent to the
 * response's head or the failure; 0: not known. */
void breaker_report(struct breaker *b, const struct breaker_rules *r, uint32_t epoch,
                    enum result result, usec_t took, usec_t now, uint64_t random,
                    struct breaker_change *change);
/* The response to a probe has begun well: at its deadline it counts as a success. Of another permit
 * this says nothing. */
void breaker_answered(struct breaker *b, uint32_t epoch);

/* The permit is of the present epoch: what is reported for it counts. */
bool breaker_is_current(const struct breaker *b, uint32_t epoch);
/* Whoever asks now is refused, for certain; else breaker_admit() decides. Changes nothing. */
bool breaker_refuses(const struct breaker *b, usec_t now);
/* Until somebody may be let through; 0: now, or nobody can tell. */
usec_t breaker_opens_in(const struct breaker *b, usec_t now);

static inline bool breaker_is_closed(const struct breaker *b)
{
    return atomic_load_explicit(&b->word, memory_order_acquire) >> 62 == BREAKER_CLOSED;
}

static inline bool breaker_is_forced(const struct breaker *b)
{
    return atomic_load_explicit(&b->word, memory_order_acquire) >> 62 == BREAKER_FORCED;
}

/* An operator's: closed, with nothing counted; or open until then. False: it is so already. */
bool breaker_reset(struct breaker *b, usec_t now, struct breaker_change *change);
bool breaker_force(struct breaker *b, usec_t now, struct breaker_change *change);

/* As it stands, for people: each number is right, together they may be of different moments. */
struct breaker_view {
    enum breaker_state state;
    usec_t since;               /* when it changed to it; 0: it was never another */
    usec_t opens_in;            /* OPEN: until a probe may go; 0: with the next request */
    bool probing;               /* HALF_OPEN: a probe is out */
    uint32_t consecutive;       /* CLOSED: errors in a row */
    uint32_t successes;         /* HALF_OPEN: of probes */
    uint32_t reopened;          /* times since it was closed */
    uint64_t calls[CALL_KINDS]; /* CLOSED: of the window; only where a rate is asked for */
    bool has_cause;
    enum breaker_cause last_cause;
    uint64_t opened[BREAKER_CAUSES], probes;
};
void breaker_look(const struct breaker *b, const struct breaker_rules *r, usec_t now,
                  struct breaker_view *ret);

#endif
