/* names.c - what has a name in a configuration, found by it. */
#include "config/names.h"

#include "config/conf_authz.h"

#include <errno.h>

struct conf_names *conf_names_new(struct arena *arena)
{
    struct conf_names *n = arena_alloc(arena, sizeof(*n));
    if (!n)
        return NULL;
    hash_index_init(&n->upstreams, arena);
    hash_index_init(&n->listeners, arena);
    hash_index_init(&n->routes, arena);
    return n;
}

static uint32_t hash_name(struct str name)
{
    return hash_end(hash_bytes(HASH_BEGIN, name));
}

/* Neither name has a NUL in it. */
static uint32_t hash_route(struct str listener, struct str route)
{
    uint64_t h = hash_bytes(HASH_BEGIN, listener);
    return hash_end(hash_bytes(hash_number(h, 0), route));
}

const struct conf_upstream *conf_find_upstream(const struct conf *c, struct str name)
{
    uint32_t hash = hash_name(name), at = 0, i;
    while ((i = hash_index_next(&c->names->upstreams, hash, &at)) != HASH_NONE) {
        if (str_eq(c->upstreams[i].name, name))
            return &c->upstreams[i];
    }
    return NULL;
}

const struct conf_listener *conf_find_listener(const struct conf *c, struct str name)
{
    uint32_t hash = hash_name(name), at = 0, i;
    while ((i = hash_index_next(&c->names->listeners, hash, &at)) != HASH_NONE) {
        if (str_eq(c->listeners[i].name, name))
            return &c->listeners[i];
    }
    return NULL;
}

const struct conf_jwt *conf_find_jwt(const struct conf *c, struct str name)
{
    for (uint32_t i = 0; i < c->n_jwts; i++) {
        if (str_eq(c->jwts[i].name, name))
            return &c->jwts[i];
    }
    return NULL;
}

const struct conf_route *conf_find_route(const struct conf *c, struct str listener,
                                         struct str route)
{
    const struct conf_listener *l = conf_find_listener(c, listener);
    uint32_t hash = hash_route(listener, route), at = 0, i;
    if (!l || l->n_routes == 0)
        return NULL;
    while ((i = hash_index_next(&c->names->routes, hash, &at)) != HASH_NONE) {
        const struct conf_route *r = c->names->by_index[i];
        if (i - l->routes[0].index < l->n_routes && str_eq(r->name, route))
            return r;
    }
    return NULL;
}

int conf_names_add_upstream(struct conf *c, uint32_t i)
{
    struct str name = c->upstreams[i].name;
    if (conf_find_upstream(c, name))
        return -EEXIST;
    return hash_index_add(&c->names->upstreams, hash_name(name), i);
}

int conf_names_add_listener(struct conf *c, uint32_t i)
{
    struct str name = c->listeners[i].name;
    if (conf_find_listener(c, name))
        return -EEXIST;
    return hash_index_add(&c->names->listeners, hash_name(name), i);
}

int conf_names_add_routes(struct conf *c)
{
    struct conf_names *n = c->names;
    n->by_index = arena_alloc(c->names->routes.arena, c->n_routes * sizeof(struct conf_route *));
    if (!n->by_index)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        const struct conf_listener *l = &c->listeners[i];
        for (uint32_t k = 0; k < l->n_routes; k++) {
            const struct conf_route *r = &l->routes[k];
            n->by_index[r->index] = r;
            if (hash_index_add(&n->routes, hash_route(l->name, r->name), r->index) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}
