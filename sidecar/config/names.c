/* names.c - what has a name in a configuration, found by it. */
#include "config/config.h"

const struct conf_upstream *conf_find_upstream(const struct conf *c, struct str name)
{
    for (uint32_t i = 0; i < c->n_upstreams; i++) {
        if (str_eq(c->upstreams[i].name, name))
            return &c->upstreams[i];
    }
    return NULL;
}

const struct conf_listener *conf_find_listener(const struct conf *c, struct str name)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        if (str_eq(c->listeners[i].name, name))
            return &c->listeners[i];
    }
    return NULL;
}

const struct conf_route *conf_find_route(const struct conf *c, struct str listener,
                                         struct str route)
{
    const struct conf_listener *l = conf_find_listener(c, listener);
    for (uint32_t i = 0; l && i < l->n_routes; i++) {
        if (str_eq(l->routes[i].name, route))
            return &l->routes[i];
    }
    return NULL;
}
