/* lint_listener.c - listeners and routes: what can never take effect. */
#include "config/lint.h"

#include "config/cover.h"
#include "config/problems.h"

/* ---- all routes one by one ---- */

typedef void route_check(struct builder *b, const struct conf_route *r,
                         const struct yaml_node *node);

static void each_route(struct builder *b, route_check *check)
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct conf_listener *l = &b->conf->listeners[i];
        const struct yaml_node *list = yaml_get(b->listeners[i], "routes");
        const struct yaml_node *it = list ? list->first : NULL;
        for (uint32_t k = 0; it; k++, it = it->next)
            check(b, &l->routes[k], it);
    }
}

/* ---- which requests ---- */

static void unreachable(struct builder *b, const struct conf_listener *l,
                        const struct yaml_node *list)
{
    const struct yaml_node *it = list->first;
    struct cover cover;

    cover_init(&cover, b->fill.scratch);
    for (uint32_t i = 0; it; i++, it = it->next) {
        uint32_t by;
        bool several;
        if (cover_add(&cover, &l->routes[i].match, i, &by, &several) < 0) {
            builder_no_memory(b);
            return;
        }
        if (by != HASH_NONE)
            warning_at(b->problems, it, "never matches: the route on line %u %s of its requests",
                       l->routes[by].line, several ? "and others before it take all" : "takes all");
    }
}

void lint_unreachable_route(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_listeners && !b->fill.no_memory; i++) {
        const struct yaml_node *list = yaml_get(b->listeners[i], "routes");
        if (list)
            unreachable(b, &b->conf->listeners[i], list);
    }
}

/* ---- what is done with them ---- */

static void answering(struct builder *b, const struct conf_route *r, const struct yaml_node *node)
{
    static const char *const idle[] = {
        "timeout",      "firstByteTimeout",      "idleTimeout", "upgrades", "websocket",
        "learn",        "requestHeaderModifier", "fault",       "retry",    "passDeadline",
        "abortOnClose", "timeoutDryRun"};
    for (size_t i = 0; i < ARRAY_LEN(idle) && r->action != ACTION_FORWARD; i++) {
        const struct yaml_node *it = yaml_get(node, idle[i]);
        if (it)
            warning_at(b->problems, it, "has no effect with \"%s\"",
                       r->action == ACTION_REDIRECT ? "redirect" : "directResponse");
    }
}

void lint_answering_route(struct builder *b)
{
    each_route(b, answering);
}

static void first_byte(struct builder *b, const struct conf_route *r, const struct yaml_node *node)
{
    const struct yaml_node *it = yaml_get(node, "firstByteTimeout");
    char mine[PROBLEM_QUOTE_MAX], whole[PROBLEM_QUOTE_MAX];
    if (it && r->action == ACTION_FORWARD && r->timeout > 0 && r->first_byte_timeout >= r->timeout)
        warning_at(b->problems, it, "%s has no effect: the route's timeout is %s",
                   builder_duration(it, r->first_byte_timeout, mine),
                   builder_duration(yaml_get(node, "timeout"), r->timeout, whole));
    it = yaml_get(node, "timeoutDryRun");
    if (it && r->timeout_dry_run && r->timeout == 0 && r->first_byte_timeout == 0)
        warning_at(b->problems, it, "has no effect: the route has no timeout");
}

void lint_first_byte_timeout(struct builder *b)
{
    each_route(b, first_byte);
}

static void lone_weight(struct builder *b, const struct yaml_node *backends)
{
    const struct yaml_node *weight = NULL;
    if (backends && backends->n == 1)
        weight = yaml_get(backends->first, "weight");
    if (weight)
        warning_at(b->problems, weight, "has no effect: there is one backend, which takes all");
}

static void route_weight(struct builder *b, const struct conf_route *r,
                         const struct yaml_node *node)
{
    (void)r;
    lone_weight(b, yaml_get(node, "backends"));
}

void lint_lone_weight(struct builder *b)
{
    each_route(b, route_weight);
    for (uint32_t i = 0; i < b->conf->n_listeners; i++)
        lone_weight(b, yaml_get(b->listeners[i], "backends"));
}

/* An upgrade of HTTP/1.1 is a GET (RFC 6455 §4.1). */
static void upgrade_method(struct builder *b, const struct conf_route *r,
                           const struct yaml_node *node)
{
    const struct yaml_node *it = yaml_get(node, "upgrades");
    bool get = r->match.n_methods == 0;
    for (uint32_t i = 0; i < r->match.n_methods; i++)
        get = get || str_eq(r->match.methods[i], STR("GET"));
    if (it && it->n > 0 && !get && r->action == ACTION_FORWARD)
        warning_at(b->problems, it, "has no effect: an upgrade is a GET, which is not matched");
}

void lint_upgrade_method(struct builder *b)
{
    each_route(b, upgrade_method);
}

static void websocket(struct builder *b, const struct conf_route *r, const struct yaml_node *node)
{
    const struct yaml_node *it = yaml_get(node, "websocket");
    if (it && !r->upgrade_websocket && r->action == ACTION_FORWARD)
        warning_at(b->problems, it, "has no effect: \"upgrades\" of the route has no websocket");
}

void lint_websocket(struct builder *b)
{
    each_route(b, websocket);
}

/* A client's sessions with the application are the application's to end. */
void lint_learn(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct yaml_node *list = yaml_get(b->listeners[i], "routes");
        bool inbound = b->conf->listeners[i].direction == DIRECTION_INBOUND;
        for (const struct yaml_node *it = list && inbound ? list->first : NULL; it; it = it->next) {
            const struct yaml_node *learn = yaml_get(it, "learn");
            if (learn)
                warning_at(b->problems, learn,
                           "has no effect: the listener is not outbound (direction: outbound)");
        }
    }
}

static void same_prefix(struct builder *b, const struct conf_route *r, const struct yaml_node *node)
{
    const struct yaml_node *it = yaml_get(yaml_get(node, "rewrite"), "prefix");
    if (it && r->match.path_how == ROUTE_PATH_PREFIX && str_eq(r->match.path, r->rewrite_prefix))
        warning_at(b->problems, it, "has no effect: it is what pathPrefix matched");
}

void lint_same_prefix(struct builder *b)
{
    each_route(b, same_prefix);
}

/* ---- listeners ---- */

void lint_socket_mode(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct yaml_node *it = yaml_get(b->listeners[i], "socketMode");
        if (it && b->conf->listeners[i].address.u.sa.sa_family != AF_UNIX)
            warning_at(b->problems, it, "has no effect: the address is not a Unix socket");
    }
}

void lint_listener_connections(struct builder *b)
{
    const struct yaml_node *limit = yaml_get(yaml_get(b->root, "limits"), "maxConnections");
    char mine[PROBLEM_QUOTE_MAX], all[PROBLEM_QUOTE_MAX];
    uint32_t most = b->conf->max_connections;

    for (uint32_t i = 0; i < b->conf->n_listeners && most > 0; i++) {
        const struct conf_listener *l = &b->conf->listeners[i];
        const struct yaml_node *it = yaml_get(b->listeners[i], "maxConnections");
        if (it && l->max_connections > most)
            warning_at(b->problems, it, "%s has no effect: limits.maxConnections is %s",
                       builder_number(it, l->max_connections, mine),
                       builder_number(limit, most, all));
    }
}

/* With hops, every peer is believed, and nobody asks which network it is in. */
void lint_trusted_proxies(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct yaml_node *http = yaml_get(b->listeners[i], "http");
        const struct yaml_node *it = yaml_get(http, "trustedProxies");
        if (it && it->n > 0 && b->conf->listeners[i].trusted_hops > 0)
            warning_at(b->problems, it, "has no effect: trustedHops on line %u believes every peer",
                       yaml_get(http, "trustedHops")->key_line);
    }
}
