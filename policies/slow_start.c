/* slow_start.c - an endpoint that is new, or well again, gets its share step by step. */
#include "policies/slow_start.h"

bool slow_start_is_over(const struct slow_start_rules *r, usec_t since, usec_t now)
{
    return since == 0 || (now >= since && now - since >= r->window);
}

uint32_t slow_start_percent(const struct slow_start_rules *r, usec_t since, usec_t now)
{
    if (slow_start_is_over(r, since, now))
        return 100;
    usec_t passed = now > since ? now - since : 0; /* threads' clocks differ by a loop turn */
    return r->initial_percent + (uint32_t)((100 - r->initial_percent) * passed / r->window);
}
