/* overload.c - from readings to a stage. */
#include "policies/overload.h"

#include "base/check.h"

static const char *const stage_words[OVERLOAD_STAGES] = {
    [OVERLOAD_NONE] = "none",
    [OVERLOAD_NO_KEEP_ALIVE] = "no_keep_alive",
    [OVERLOAD_REFUSE_LOW] = "refuse_low",
    [OVERLOAD_NO_CONNECTIONS] = "no_connections",
};

static const char *const signal_words[OVERLOAD_SIGNALS] = {
    [OVERLOAD_MEMORY] = "memory",
    [OVERLOAD_FDS] = "fds",
    [OVERLOAD_PRESSURE_SOME] = "pressure_some",
    [OVERLOAD_PRESSURE_FULL] = "pressure_full",
    [OVERLOAD_LOOP_LAG] = "loop_lag",
};

const char *overload_stage_word(enum overload_stage s)
{
    return stage_words[s];
}

const char *overload_signal_word(enum overload_signal s)
{
    return signal_words[s];
}

/* The highest stage whose threshold, less so many percent of it, the value has reached. */
static enum overload_stage reached(const struct overload_thresholds *t, uint64_t value,
                                   uint32_t margin)
{
    int s = OVERLOAD_STAGES - 1;
    while (s > OVERLOAD_NONE && (t->at[s] == 0 || value < t->at[s] - t->at[s] / 100 * margin))
        s--;
    return (enum overload_stage)s;
}

/* The next lower one that this signal can bring. */
static enum overload_stage below(const struct overload_thresholds *t, enum overload_stage stage)
{
    int s = (int)stage - 1;
    while (s > OVERLOAD_NONE && t->at[s] == 0)
        s--;
    return (enum overload_stage)s;
}

static void step_signal(struct overload_signal_state *s, const struct overload_rules *r,
                        const struct overload_thresholds *t, usec_t now)
{
    uint64_t value = s->last.known ? s->last.value : 0;
    enum overload_stage rises_to = reached(t, value, 0);
    /* A reload has taken the threshold away. */
    if (s->stage != OVERLOAD_NONE && t->at[s->stage] == 0)
        s->stage = below(t, s->stage);
    if (rises_to > s->stage)
        s->stage = rises_to;
    if (reached(t, value, r->margin) >= s->stage) {
        s->below_since = 0;
        return;
    }
    if (s->below_since == 0)
        s->below_since = now;
    if (now < s->below_since + r->hold)
        return;
    s->stage = below(t, s->stage);
    /* The next one has its own time. */
    s->below_since = reached(t, value, r->margin) >= s->stage ? 0 : now;
}

bool overload_step(struct overload *o, const struct overload_rules *r,
                   const struct overload_reading readings[OVERLOAD_SIGNALS], usec_t now)
{
    enum overload_stage stage = OVERLOAD_NONE;
    enum overload_signal cause = OVERLOAD_MEMORY;
    for (int i = 0; i < OVERLOAD_SIGNALS; i++) {
        o->signal[i].last = readings[i];
        step_signal(&o->signal[i], r, &r->signal[i], now);
        if (o->signal[i].stage > stage) {
            stage = o->signal[i].stage;
            cause = (enum overload_signal)i;
        }
    }
    bool changed = stage != o->stage || (stage != OVERLOAD_NONE && cause != o->cause);
    o->stage = stage;
    o->cause = cause;
    return changed;
}

static uint64_t highest(const struct overload_thresholds *t)
{
    uint64_t most = 0;
    for (int s = OVERLOAD_NONE + 1; s < OVERLOAD_STAGES; s++)
        most = max_u64(most, t->at[s]);
    return most;
}

bool overload_looks_at(const struct overload_rules *r, enum overload_signal signal)
{
    return highest(&r->signal[signal]) > 0;
}

uint32_t overload_pressure(const struct overload *o, const struct overload_rules *r,
                           enum overload_signal signal)
{
    const struct overload_reading *last = &o->signal[signal].last;
    uint64_t whole = signal == OVERLOAD_LOOP_LAG ? highest(&r->signal[signal]) : OVERLOAD_PPM;
    if (!last->known || whole == 0)
        return 0;
    if (last->value >= whole)
        return OVERLOAD_PPM;
    return (uint32_t)((double)last->value * OVERLOAD_PPM / (double)whole);
}
