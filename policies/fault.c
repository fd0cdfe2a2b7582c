/* fault.c - faults on purpose: a share of a route's requests waits, or is answered with an error.
 */
#include "policies/fault.h"

#include "base/check.h"

bool fault_hits(uint32_t ppm, uint64_t bits)
{
    /* Off by less than one in 10^13; the ends are exact. */
    return ppm >= FAULT_WHOLE_PPM || bits < (UINT64_MAX / FAULT_WHOLE_PPM) * ppm;
}

struct fault_verdict fault_decide(const struct fault_rules *r, uint64_t delay_bits,
                                  uint64_t abort_bits)
{
    return (struct fault_verdict){
        .delay = r->delays && fault_hits(r->delay_ppm, delay_bits),
        .abort = r->aborts && fault_hits(r->abort_ppm, abort_bits),
    };
}

bool fault_concerns(const struct fault_rules *r, const struct route_request *request,
                    struct route_scratch *scratch)
{
    return !r->headers || route_table_match(r->headers, request, scratch) == 0;
}

bool fault_enter(struct fault_state *s, uint32_t max_active)
{
    uint32_t n = atomic_load_explicit(&s->active, memory_order_relaxed);
    do {
        if (n >= max_active)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&s->active, &n, n + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void fault_leave(struct fault_state *s)
{
    uint32_t was = atomic_fetch_sub_explicit(&s->active, 1, memory_order_relaxed);
    CHECK(was > 0);
}
