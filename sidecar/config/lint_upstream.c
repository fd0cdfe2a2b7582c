/* lint_upstream.c - upstreams: what can never take effect. */
#include "config/lint.h"

#include "config/problems.h"

void lint_unused_upstream(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        if (!b->upstreams[i].used)
            warning_at(b->problems, yaml_get(b->upstreams[i].node, "name"),
                       "no route uses this upstream: nothing in it has an effect");
    }
}

/* ---- who uses it ---- */

struct users {
    usec_t longest;                 /* timeout of the routes; USEC_NEVER: one has none that holds */
    const struct conf_route *route; /* that has it */
    bool http;                      /* a route of an http listener is among them */
};

/* As in conf.upstreams; NULL: there are none, or memory is short. */
static struct users *find_users(struct builder *b)
{
    const struct conf *c = b->conf;
    struct users *users = NULL;
    if (c->n_upstreams > 0)
        users = arena_alloc(b->fill.scratch, c->n_upstreams * sizeof(*users));
    if (c->n_upstreams > 0 && !users)
        builder_no_memory(b);
    for (uint32_t i = 0; i < c->n_listeners && users; i++) {
        const struct conf_listener *l = &c->listeners[i];
        for (uint32_t k = 0; k < l->n_routes; k++) {
            const struct conf_route *r = &l->routes[k];
            usec_t timeout = conf_route_ends(r);
            for (uint32_t n = 0; n < r->n_backends; n++) {
                struct users *u = &users[r->backends[n].upstream->index];
                u->http = u->http || listener_speaks_http(l->protocol);
                if (u->route && u->longest >= timeout)
                    continue;
                u->longest = timeout;
                u->route = r;
            }
        }
    }
    return users;
}

static void check_timeout(struct builder *b, const struct users *u, const struct yaml_node *node,
                          usec_t value)
{
    char mine[PROBLEM_QUOTE_MAX];
    if (node && u->route && value >= u->longest)
        warning_at(
            b->problems, node,
            "%s is never waited for: of the routes to this upstream, the one on line %u waits "
            "longest, and its timeout ends before",
            builder_duration(node, value, mine), u->route->line);
}

void lint_upstream_timeout(struct builder *b)
{
    const struct users *users = find_users(b);
    for (uint32_t i = 0; i < b->conf->n_upstreams && users; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        const struct yaml_node *node = b->upstreams[i].node;
        check_timeout(b, &users[i], yaml_get(node, "connectTimeout"), u->connect_timeout);
        check_timeout(b, &users[i], yaml_get(node, "unreachableAfter"), u->unreachable_after);
        if (yaml_get(node, "unreachableDryRun") && u->unreachable_after == 0)
            warning_at(b->problems, yaml_get(node, "unreachableDryRun"),
                       "has no effect: unreachableAfter is 0");
        check_timeout(b, &users[i], yaml_get(yaml_get(node, "circuitBreaker"), "queueTimeout"),
                      u->queue_timeout);
        check_timeout(b, &users[i], yaml_get(yaml_get(node, "circuitBreaker"), "slowCallDuration"),
                      u->breaker.slow_call_duration);
        check_timeout(b, &users[i], yaml_get(yaml_get(node, "circuitBreaker"), "halfOpenTimeout"),
                      u->breaker.half_open_timeout);
    }
}

/* ---- limits ---- */

static void check_limit(struct builder *b, const struct yaml_node *node, uint32_t mine,
                        const char *whole, uint32_t most)
{
    char text[PROBLEM_QUOTE_MAX];
    if (node && mine > most)
        warning_at(b->problems, node, "%s is never reached: %s is %u",
                   builder_number(node, mine, text), whole, most);
}

void lint_endpoint_limits(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        const struct yaml_node *limits = yaml_get(b->upstreams[i].node, "circuitBreaker");
        check_limit(b, yaml_get(limits, "maxConnectionsPerEndpoint"),
                    u->limits.connections_per_endpoint, "maxConnections", u->limits.connections);
        check_limit(b, yaml_get(limits, "maxRequestsPerEndpoint"), u->limits.requests_per_endpoint,
                    "maxRequests", u->limits.requests);
    }
}

void lint_queue_timeout(struct builder *b)
{
    static const char *const keys[] = {"queueTimeout", "maxPendingRequests"};
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        const struct yaml_node *limits = yaml_get(b->upstreams[i].node, "circuitBreaker");
        const struct yaml_node *it = yaml_get(limits, keys[0]);
        for (size_t k = 0; k < ARRAY_LEN(keys) && u->limits_dry_run; k++) {
            if (yaml_get(limits, keys[k]))
                warning_at(b->problems, yaml_get(limits, keys[k]),
                           "has no effect: with limitsDryRun nobody waits");
        }
        if (it && u->limits.pending == 0 && !u->limits_dry_run)
            warning_at(b->problems, it, "has no effect: maxPendingRequests is 0, nobody waits");
    }
}

/* ---- pool ---- */

void lint_pool_lifetime(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        const struct yaml_node *pool = yaml_get(b->upstreams[i].node, "pool");
        const struct yaml_node *idle = yaml_get(pool, "idleTimeout");
        const struct yaml_node *life = yaml_get(pool, "maxLifetime");
        char mine[PROBLEM_QUOTE_MAX], most[PROBLEM_QUOTE_MAX];
        if (idle && life && u->max_lifetime > 0 && u->idle_timeout > u->max_lifetime)
            warning_at(
                b->problems, idle,
                "%s is longer than maxLifetime %s, after which a connection is not used again",
                builder_duration(idle, u->idle_timeout, mine),
                builder_duration(life, u->max_lifetime, most));
    }
}

/* One worker alone may not have more is a mistake, and told as one. */
void lint_min_idle(struct builder *b)
{
    uint64_t workers = b->conf->workers;
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        const struct yaml_node *node = b->upstreams[i].node;
        const struct yaml_node *idle = yaml_get(yaml_get(node, "pool"), "minIdle");
        const struct yaml_node *most = yaml_get(yaml_get(node, "circuitBreaker"), "maxConnections");
        char mine[PROBLEM_QUOTE_MAX], all[PROBLEM_QUOTE_MAX], n[PROBLEM_QUOTE_MAX];
        if (idle && u->min_idle * workers > u->limits.connections)
            warning_at(b->problems, idle,
                       "%s in each of %s workers is more than circuitBreaker.maxConnections %s",
                       builder_number(idle, u->min_idle, mine),
                       builder_number(yaml_get(b->root, "workers"), workers, n),
                       builder_number(most, u->limits.connections, all));
    }
}

/* A connection of a tcp listener is used once, whatever is configured; and what carries bytes has
 * no response whose time could be taken. */
void lint_tcp_requests(struct builder *b)
{
    static const char *const keys[][2] = {{"pool", "maxRequestsPerConnection"},
                                          {"circuitBreaker", "slowCallDuration"},
                                          {"outlierDetection", "latency"}};
    const struct users *users = find_users(b);
    for (uint32_t i = 0; i < b->conf->n_upstreams && users; i++) {
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            const struct yaml_node *it =
                yaml_get(yaml_get(b->upstreams[i].node, keys[k][0]), keys[k][1]);
            if (it && users[i].route && !users[i].http)
                warning_at(b->problems, it, "has no effect: only tcp listeners use this upstream");
        }
    }
}

/* ---- protocol ---- */

static void http2_keys(struct builder *b, const struct conf_upstream *u, const struct users *users,
                       const struct yaml_node *node)
{
    const struct yaml_node *http2 = yaml_get(node, "http2"), *it = yaml_get(node, "protocol");
    if (users->route && !users->http) {
        if (it && u->protocol != UPSTREAM_HTTP1)
            warning_at(b->problems, it, "has no effect: only tcp listeners use this upstream");
        if (http2)
            warning_at(b->problems, http2, "has no effect: only tcp listeners use this upstream");
    } else if (http2 && u->protocol == UPSTREAM_HTTP1) {
        warning_at(b->problems, http2, "has no effect: protocol is http1");
    }
}

void lint_upstream_http2(struct builder *b)
{
    const struct users *users = find_users(b);
    for (uint32_t i = 0; i < b->conf->n_upstreams && users; i++)
        http2_keys(b, &b->conf->upstreams[i], &users[i], b->upstreams[i].node);
}

/* ---- endpoints ---- */

void lint_lone_endpoint(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        static const char *const keys[] = {"balance", "slowStart", "panicThreshold",
                                           "unreachableDryRun"};
        const struct conf_upstream *u = &b->conf->upstreams[i];
        if (u->n_endpoints != 1 || u->endpoints[0].kind != ENDPOINT_ADDRESS)
            continue;
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            const struct yaml_node *it = yaml_get(b->upstreams[i].node, keys[k]);
            if (it)
                warning_at(b->problems, it,
                           "has no effect: there is one endpoint, which takes all");
        }
    }
}

/* A name may lead anywhere. */
void lint_link_local(struct builder *b)
{
    const struct yaml_node *it = yaml_get(b->root, "allowLinkLocal");
    bool needed = false;
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        for (uint32_t k = 0; k < u->n_endpoints && !needed; k++)
            needed = u->endpoints[k].kind != ENDPOINT_ADDRESS ||
                     address_is_link_local(&u->endpoints[k].address);
    }
    if (it && b->conf->allow_link_local && !needed)
        warning_at(b->problems, it, "has no effect: no endpoint is link-local, or a name");
}
