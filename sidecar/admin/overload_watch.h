/* overload_watch.h - how near the process is to its limits, looked at four times a second, and the
 * stage of overload (policies/overload.h) that the workers act on. The control thread's. */
#ifndef SLUICE_ADMIN_OVERLOAD_WATCH_H
#define SLUICE_ADMIN_OVERLOAD_WATCH_H

#include "io/cgroup_memory.h"
#include "policies/overload.h"

#include <ev.h>
#include <jansson.h>

struct control;
struct exposition;

/* What a share is a share of. */
struct overload_amount {
    uint64_t used, limit; /* limit 0: not known */
};

struct overload_watch {
    struct overload state;
    struct cgroup_memory *memory;                     /* NULL: memory was short */
    uint32_t other_fds;                               /* open at the start: all but connections */
    struct overload_amount amounts[OVERLOAD_SIGNALS]; /* of OVERLOAD_MEMORY and OVERLOAD_FDS */
    uint64_t begun[OVERLOAD_STAGES];                  /* how often each stage began */
    struct ev_timer tick;
};

/* Once the workers run and a configuration is in force; all of that is read again at each look. */
void overload_watch_start(struct control *c);
void overload_watch_free(struct control *c);

/* overload_show.c: the families overload_*, and what /v1/status has of it (a new reference). */
void metrics_overload(struct exposition *t, const struct control *c);
json_t *overload_json(const struct control *c);

#endif
