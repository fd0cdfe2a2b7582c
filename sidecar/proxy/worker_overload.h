/* worker_overload.h - what a worker does about a stage of overload (policies/overload.h).
 *
 * The control thread decides; workers read one word of the process, which is 0 as long as there is
 * nothing to do. */
#ifndef SLUICE_PROXY_WORKER_OVERLOAD_H
#define SLUICE_PROXY_WORKER_OVERLOAD_H

#include "proxy/worker.h"

void worker_overload_init(struct worker *w);
/* Before its loop ends. */
void worker_overload_stop(struct worker *w);
/* From the control thread: process.overload is another one. */
void worker_overload_changed(struct worker *w);

bool worker_overload_asks_to_leave(struct worker *w);
bool worker_overload_refuses_now(struct worker *w, enum priority p);

/* The connection that is answered now ends with its response. Counted: ask once for a response. */
static inline bool worker_sheds_keep_alive(struct worker *w)
{
    return worker_overload(w) != 0 && worker_overload_asks_to_leave(w);
}

/* A request of that priority is refused. Counted: ask once for a request. */
static inline bool worker_refuses(struct worker *w, enum priority p)
{
    return worker_overload(w) != 0 && worker_overload_refuses_now(w, p);
}

#endif
