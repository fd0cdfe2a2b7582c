/* build_listener.c - where connections come in, and the routes behind each place. */
#include "config/builder.h"

#include "config/problems.h"

#include <errno.h>
#include <stdio.h>

static const struct yaml_node *list_node(const struct builder *b)
{
    return yaml_get(b->root, "listeners");
}

/* ---- one beside another ---- */

static void check_name(struct builder *b, uint32_t at, const struct yaml_node *node)
{
    struct str name = b->conf->listeners[at].name;
    int rc = name.p ? conf_names_add_listener(b->conf, at) : 0;
    if (rc == -EEXIST)
        problem_at(b->problems, yaml_get(node, "name"), "the listener on line %u has the same name",
                   b->listeners[conf_find_listener(b->conf, name)->index]->line);
    else if (rc < 0)
        builder_no_memory(b);
}

static void check_address(struct builder *b, struct hash_index *seen, uint32_t at,
                          const struct yaml_node *node)
{
    const struct conf_listener *all = b->conf->listeners;
    const struct address *a = &all[at].address;
    uint32_t hash = builder_hash_address(a), step = 0, i;

    if (a->len == 0)
        return;
    while ((i = hash_index_next(seen, hash, &step)) != HASH_NONE) {
        if (!address_equal(&all[i].address, a))
            continue;
        problem_at(b->problems, yaml_get(node, "address"),
                   "the listener on line %u has the same address", b->listeners[i]->line);
        return;
    }
    (void)builder_index(b, seen, hash, at);
}

static void check_own_servers(struct builder *b, const struct conf_listener *l,
                              const struct yaml_node *node)
{
    const struct conf *c = b->conf;
    const char *other = NULL;
    if (l->address.len == 0)
        return;
    if (c->admin.tcp_enabled && address_equal(&c->admin.tcp, &l->address))
        other = "admin.address";
    else if (c->health_enabled && address_equal(&c->health, &l->address))
        other = "health.address";
    else if (l->address.u.sa.sa_family == AF_UNIX &&
             str_eq(c->admin.socket_path, str_of(l->address.u.un.sun_path)))
        other = "admin.socket";
    if (other)
        problem_at(b->problems, yaml_get(node, "address"), "%s is the same address", other);
}

/* ---- routes ---- */

/* In front of its own backends, others may come: theirs has a name that stays. */
static void name_route(struct builder *b, const struct conf_listener *l, uint32_t i,
                       struct conf_route *route)
{
    char name[80];
    if (route->name.p)
        return;
    if (l->protocol == PROTOCOL_AUTO && i == l->raw_route)
        (void)snprintf(name, sizeof(name), "%.*s/bytes", STR_FMT(l->name));
    else
        (void)snprintf(name, sizeof(name), "%.*s/%u", STR_FMT(l->name), i);
    route->name = arena_str(b->fill.keep, str_of(name));
    if (!route->name.p)
        builder_no_memory(b);
}

static void compile_routes(struct builder *b, struct conf_listener *l, uint32_t n,
                           const struct yaml_node *list)
{
    char why[160] = "";
    uint32_t bad = 0;
    struct route_match *matches = arena_alloc(b->fill.scratch, n * sizeof(*matches));
    if (!matches) {
        builder_no_memory(b);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        matches[i] = l->routes[i].match;
    l->route_table = route_table_new(matches, n, &bad, why, sizeof(why));
    if (l->route_table)
        return;
    if (bad == UINT32_MAX)
        builder_no_memory(b);
    else
        problem_at(b->problems, yaml_at(list, bad), "%s", why);
}

/* A connection that is passed through has a name, and nothing else that could be matched or
 * changed. */
static void check_keys(struct builder *b, const struct yaml_node *map, const char *const *known,
                       uint32_t n)
{
    for (const struct yaml_node *it = map && map->kind == NODE_MAP ? map->first : NULL; it;
         it = it->next) {
        bool good = false;
        for (uint32_t i = 0; i < n; i++)
            good = good || str_eq(it->key, str_of(known[i]));
        if (!good)
            problem_at_key(b->problems, it, "has no meaning with protocol: tls");
    }
}

static void check_match_keys(struct builder *b, const struct conf_listener *l,
                             const struct yaml_node *node)
{
    static const char *const route_keys[] = {"name", "match", "backends", "upstream"};
    static const char *const match_keys[] = {"sni"};
    const struct yaml_node *list = yaml_get(node, "routes");
    const struct yaml_node *it = list && list->kind == NODE_LIST ? list->first : NULL;
    for (; it; it = it->next) {
        const struct yaml_node *match = yaml_get(it, "match"), *sni = yaml_get(match, "sni");
        if (l->protocol == PROTOCOL_TLS) {
            check_keys(b, it, route_keys, ARRAY_LEN(route_keys));
            check_keys(b, match, match_keys, ARRAY_LEN(match_keys));
        } else if (sni) {
            problem_at_key(b->problems, sni, "has a meaning with protocol: tls only");
        }
    }
}

/* The listener's own backends, as a route behind those that it has. */
static void build_raw_route(struct builder *b, const struct draft_listener *draft,
                            const struct yaml_node *node, struct conf_listener *l)
{
    struct conf_route *route = &l->routes[l->raw_route];
    route->index = b->n_routes++;
    route->line = node->line;
    route->idle_timeout = l->tcp_idle_timeout;
    route->priority = PRIORITY_NORMAL;
    name_route(b, l, l->raw_route, route);
    build_backends(b, draft->backends, draft->n_backends, yaml_get(node, "backends"), route);
}

static void build_routes(struct builder *b, const struct draft_listener *draft,
                         const struct yaml_node *node, struct conf_listener *l)
{
    const struct yaml_node *list = yaml_get(node, "routes");
    uint32_t n = draft->n_routes;
    uint32_t raw = l->protocol == PROTOCOL_TCP || l->protocol == PROTOCOL_AUTO ? 1 : 0;

    l->routes = n + raw > 0 ? builder_alloc(b, (n + raw) * sizeof(*l->routes)) : NULL;
    if (!l->routes)
        return;
    l->n_routes = n + raw;
    l->raw_route = n;
    const struct header_rules *const headers[2] = {
        build_header_rules(b, &draft->request_headers, true,
                           yaml_get(node, "requestHeaderModifier")),
        build_header_rules(b, &draft->response_headers, false,
                           yaml_get(node, "responseHeaderModifier"))};
    const struct yaml_node *it = n > 0 ? list->first : NULL;
    for (uint32_t i = 0; i < n && !b->fill.no_memory; i++, it = it->next) {
        struct conf_route *route = &l->routes[i];
        *route = draft->routes[i].conf;
        route->index = b->n_routes++;
        route->line = it->line;
        name_route(b, l, i, route);
        build_route(b, &draft->routes[i], it, route);
        build_route_headers(b, headers, &draft->routes[i], it, route);
        check_authz(b, l, route, it);
        if (l->direction != DIRECTION_OUTBOUND || !listener_speaks_http(l->protocol))
            route->learn = NULL; /* lint says so */
    }
    if (raw > 0 && !b->fill.no_memory)
        build_raw_route(b, draft, node, l);
    if (!b->fill.no_memory && n > 0 && b->problems->errors == b->errors_before)
        compile_routes(b, l, n, list);
}

/* Run-time state and metrics go by the name of a route. */
static void check_route_name(struct builder *b, struct hash_index *seen,
                             const struct yaml_node **names, const struct yaml_node *route)
{
    const struct yaml_node *name = yaml_get(route, "name");
    uint32_t at = 0, i;

    if (!builder_given(route, "name"))
        return;
    uint32_t hash = hash_end(hash_bytes(HASH_BEGIN, name->text));
    while ((i = hash_index_next(seen, hash, &at)) != HASH_NONE) {
        if (!str_eq(names[i]->text, name->text))
            continue;
        problem_at(b->problems, name, "the route on line %u has the same name",
                   names[i]->parent->line);
        return;
    }
    CHECK(seen->n < b->n_routes);
    names[seen->n] = name;
    (void)builder_index(b, seen, hash, seen->n);
}

static void check_route_names(struct builder *b)
{
    const struct yaml_node **names =
        arena_alloc(b->fill.scratch, b->n_routes * sizeof(const struct yaml_node *));
    struct hash_index seen;

    if (!names) {
        builder_no_memory(b);
        return;
    }
    hash_index_init(&seen, b->fill.scratch);
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct yaml_node *routes = yaml_get(b->listeners[i], "routes");
        const struct yaml_node *it =
            b->conf->listeners[i].protocol != PROTOCOL_TCP && routes && routes->kind == NODE_LIST
                ? routes->first
                : NULL;
        for (; it && !b->fill.no_memory; it = it->next)
            check_route_name(b, &seen, names, it);
    }
}

static void note_place(struct conf_listener *l, const struct yaml_node *node)
{
    const struct yaml_node *address = yaml_get(node, "address");
    l->line = (address ? address : node)->line;
    l->column = (address ? address : node)->column;
}

void build_listeners(struct builder *b)
{
    const struct draft *d = b->draft;
    struct conf *c = b->conf;

    if (d->n_listeners == 0)
        return;
    c->listeners = builder_alloc(b, d->n_listeners * sizeof(*c->listeners));
    b->listeners = arena_alloc(b->fill.scratch, d->n_listeners * sizeof(struct yaml_node *));
    if (!b->listeners)
        builder_no_memory(b);
    if (b->fill.no_memory)
        return;
    struct hash_index addresses;
    hash_index_init(&addresses, b->fill.scratch);
    c->n_listeners = d->n_listeners;
    const struct yaml_node *it = list_node(b)->first;
    for (uint32_t i = 0; i < d->n_listeners && !b->fill.no_memory; i++, it = it->next) {
        struct conf_listener *l = &c->listeners[i];
        *l = d->listeners[i].conf;
        l->index = i;
        b->listeners[i] = it;
        l->scheme = l->tls.enabled ? STR("https") : STR("http");
        build_listener_tls(&l->tls, yaml_get(it, "tls"));
        note_place(l, it);
        check_name(b, i, it);
        check_address(b, &addresses, i, it);
        check_own_servers(b, l, it);
        check_match_keys(b, l, it);
        build_routes(b, &d->listeners[i], it, l);
    }
    c->n_routes = b->n_routes;
    if (!b->fill.no_memory)
        check_route_names(b);
    if (b->problems->errors == b->errors_before && conf_names_add_routes(c) < 0)
        builder_no_memory(b);
}
