/* generation.h - one configuration with what it means at run time, for all workers.
 *
 * The control thread's. Built beside the generation in force: what has the same name there is taken
 * over (listeners, route states, pools, limits), the rest is made. Nothing of what runs is touched
 * until generation_post(); a generation that is not posted leaves no trace, its addresses of an
 * upstream that stays included. */
#ifndef SLUICE_ADMIN_GENERATION_H
#define SLUICE_ADMIN_GENERATION_H

#include "proxy/upstream_shared.h"
#include "proxy/view.h"

struct generation {
    struct list link; /* control.generations, oldest first */
    struct snapshot *snapshot;
    uint32_t n_workers;
    uint32_t entering;                  /* workers that have not taken it in yet */
    uint32_t alive;                     /* workers that still have it */
    struct upstream_shared **upstreams; /* by conf_upstream.index; a reference each */
    struct route_limits **limits;       /* by conf_route.index; NULL where a route has none */
    struct jwt_slot **jwts;             /* by conf_jwt.index; a reference each */
    struct view *views[];               /* by worker */
};

/* The addresses of an upstream now (static and from DNS); valid until the next call. */
typedef void generation_addresses(void *ctx, const struct conf_upstream *u,
                                  const struct endpoint_address **ret, uint32_t *ret_n);

struct generation_source {
    struct worker *workers;
    uint32_t n_workers;
    const struct generation *in_force; /* NULL: the first */
    int (*listen_fd)(void *ctx, const struct conf_listener *l);
    generation_addresses *addresses;
    void *ctx;
};

/* NULL when memory is short, and nothing is left of the try; the snapshot is the generation's only
 * on success. */
struct generation *generation_new(struct snapshot *snapshot, const struct generation_source *from);
/* Hands the views to the workers; process.on_view_entered comes for each. */
void generation_post(struct generation *g);

/* For the process's mails, on the control thread. entered: true when it was the last worker. left:
 * the view is freed, at once or after its worker has closed the pools that nothing names any more
 * (then `freed` comes); with the last view the generation is freed. */
bool generation_entered(struct view *v);
void generation_left(struct view *v);
void generation_freed(struct view *v);

/* The addresses of an upstream of the generation in force are these from now on. 0 or -ENOMEM: some
 * workers keep the old ones until the next update, or generation_deliver_missed(). */
int generation_update(struct generation *g, const struct conf_upstream *u,
                      const struct endpoint_address *list, uint32_t n);

/* The same addresses once more: what the operator says of one of them has changed. */
void generation_deliver(struct generation *g, const struct conf_upstream *u);

/* About once a second: what a worker, or we, had no memory for. */
void generation_deliver_missed(struct generation *g);

/* After the workers have stopped. */
void generation_tear_down(struct generation *g, bool in_force);

#endif
