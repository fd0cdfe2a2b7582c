/* h2_guard.c - when a peer does what no honest one does. */
#include "http/h2_guard.h"

#include "base/check.h"

struct rate {
    uint32_t burst;
    uint32_t per_second;
    enum reason reason;
};

static const struct rate rates[H2_ABUSE_KINDS] = {
    [H2_ABUSE_RESET] = {500, 33, REASON_H2_RESET_FLOOD},
    [H2_ABUSE_PING] = {1000, 33, REASON_H2_PING_FLOOD},
    [H2_ABUSE_EMPTY_DATA] = {1000, 33, REASON_H2_EMPTY_DATA_FLOOD},
    [H2_ABUSE_PRIORITY] = {1000, 33, REASON_H2_PRIORITY_FLOOD},
    [H2_ABUSE_WINDOW_UPDATE] = {1000, 33, REASON_H2_WINDOW_UPDATE_FLOOD},
};

void h2_guard_init(struct h2_guard *g)
{
    *g = (struct h2_guard){0};
    for (int i = 0; i < H2_ABUSE_KINDS; i++)
        g->bucket[i].left_m = rates[i].burst * 1000;
}

bool h2_guard_count(struct h2_guard *g, enum h2_abuse what, uint32_t n, usec_t now)
{
    struct h2_bucket *b = &g->bucket[what];
    const struct rate *r = &rates[what];
    uint64_t full = (uint64_t)r->burst * 1000;
    /* Thousandths that came back since; a bucket is full again long before this overflows. */
    uint64_t back =
        now > b->at ? min_u64(now - b->at, 3600 * USEC_PER_SEC) * r->per_second / 1000 : 0;
    if (back > 0 || b->at == 0) {
        b->left_m = (uint32_t)min_u64(full, b->left_m + back);
        /* What is left of the time counts on, else a steady drizzle would bring less. */
        usec_t used = (back * 1000 + r->per_second - 1) / r->per_second;
        b->at = b->left_m == full || b->at == 0 ? now : b->at + used;
    }
    if (b->left_m < (uint64_t)n * 1000) {
        b->left_m = 0;
        return false;
    }
    b->left_m -= n * 1000;
    return true;
}

enum reason h2_abuse_reason(enum h2_abuse what)
{
    return rates[what].reason;
}
