/* names.h - the tables behind conf_find_upstream() and its like, filled while building. */
#ifndef SLUICE_CONFIG_NAMES_H
#define SLUICE_CONFIG_NAMES_H

#include "base/hash_index.h"
#include "config/config.h"

struct conf_names {
    struct hash_index upstreams, listeners; /* by their index */
    struct hash_index routes;               /* by listener and name: index in the whole */
    const struct conf_route **by_index;     /* conf.n_routes of them */
};

/* In the arena, where it also grows; NULL when memory is short. */
struct conf_names *conf_names_new(struct arena *arena);

/* Makes conf.upstreams[i] or conf.listeners[i] known by its name. 0, -EEXIST (which has the name
 * already, conf_find_*() tells), -ENOMEM. */
int conf_names_add_upstream(struct conf *c, uint32_t i);
int conf_names_add_listener(struct conf *c, uint32_t i);
/* All routes at once, when conf.n_routes and the names are final. 0 or -ENOMEM. */
int conf_names_add_routes(struct conf *c);

#endif
