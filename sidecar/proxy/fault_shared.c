/* fault_shared.c - what all workers know of a route's faults. */
#include "proxy/fault_shared.h"

#include "base/check.h"
#include "base/mem.h"

struct fault_shared *fault_shared_new(void)
{
    struct fault_shared *f = mem_zalloc(sizeof(*f));
    if (f)
        f->refs = 1;
    return f;
}

struct fault_shared *fault_shared_ref(struct fault_shared *f)
{
    f->refs++;
    return f;
}

void fault_shared_unref(struct fault_shared *f)
{
    if (!f || --f->refs > 0)
        return;
    CHECK(atomic_load(&f->state.active) == 0);
    free(f);
}
