/* quiet.c - does nobody come any more? */
#include "lifecycle/quiet.h"

#include "base/check.h"

#define SILENCE_MIN (2 * USEC_PER_SEC)
#define LOOK_EVERY  (50 * USEC_PER_MSEC)

enum { GAPS = 3, ARRIVALS_MIN = 2 };

void quiet_sample(struct quiet *q, uint64_t arrived, usec_t now)
{
    q->samples[q->next] = (struct quiet_sample){now, arrived};
    q->next = (q->next + 1) % QUIET_SAMPLES;
    if (q->n < QUIET_SAMPLES)
        q->n++;
}

void quiet_begin(struct quiet *q, uint64_t arrived, usec_t now)
{
    q->last = now;
    q->before = arrived;
    q->silence = USEC_NEVER;
    if (q->n == 0)
        return;
    const struct quiet_sample *oldest =
        &q->samples[(q->next + QUIET_SAMPLES - q->n) % QUIET_SAMPLES];
    uint64_t came = arrived - oldest->arrived;
    if (came >= ARRIVALS_MIN && now > oldest->at)
        q->silence = max_u64(SILENCE_MIN, GAPS * (now - oldest->at) / came);
}

bool quiet_enough(struct quiet *q, uint64_t arrived, usec_t now, usec_t *ret_at)
{
    if (arrived != q->before) {
        q->before = arrived;
        q->last = now;
    }
    *ret_at = USEC_NEVER;
    if (q->silence == USEC_NEVER)
        return false;
    if (now >= q->last + q->silence)
        return true;
    *ret_at = min_u64(q->last + q->silence, now + LOOK_EVERY);
    return false;
}

bool quiet_lull(struct quiet *q, uint64_t stirs, usec_t now, usec_t *ret_at)
{
    if (stirs != q->stirs) {
        q->stirs = stirs;
        q->stirred = now;
    }
    *ret_at = USEC_NEVER;
    if (q->stirred == 0 || now >= q->stirred + QUIET_LULL)
        return true;
    *ret_at = min_u64(q->stirred + QUIET_LULL, now + LOOK_EVERY);
    return false;
}
