/* build_upstream.c - where requests go. */
#include "config/builder.h"

#include "config/endpoint.h"
#include "config/problems.h"

#include <errno.h>

#define UNREACHABLE_MIN (100 * USEC_PER_MSEC)

/* Endpoints of one upstream, by what they lead to. */
struct seen_endpoints {
    struct hash_index index;
    const struct yaml_node **nodes; /* of the endpoint with the same number */
};

static uint32_t hash_endpoint(const struct conf_endpoint *e)
{
    uint64_t h = hash_number(HASH_BEGIN, e->port);
    if (e->kind == ENDPOINT_ADDRESS)
        return builder_hash_address(&e->address);
    for (size_t i = 0; i < e->host.n; i++) {
        char c = ascii_lower(e->host.p[i]);
        h = hash_bytes(h, (struct str){&c, 1});
    }
    return hash_end(h);
}

/* The endpoint before this one that leads to the same place; HASH_NONE: then it is added. */
static uint32_t same_endpoint(struct builder *b, struct seen_endpoints *seen,
                              const struct conf_endpoint *all, uint32_t at)
{
    uint32_t hash = hash_endpoint(&all[at]), step = 0, i;
    while ((i = hash_index_next(&seen->index, hash, &step)) != HASH_NONE) {
        if (endpoint_equal(&all[i], &all[at]))
            return i;
    }
    (void)builder_index(b, &seen->index, hash, at);
    return HASH_NONE;
}

static void check_endpoint(struct builder *b, struct seen_endpoints *seen,
                           const struct conf_endpoint *all, uint32_t at)
{
    const struct yaml_node *node = seen->nodes[at];
    const struct conf_endpoint *e = &all[at];
    uint32_t same = e->text.p ? same_endpoint(b, seen, all, at) : HASH_NONE;

    if (same != HASH_NONE)
        problem_at(b->problems, node, "the endpoint is there twice; the first is on line %u",
                   seen->nodes[same]->line);
    if (e->text.p && e->kind == ENDPOINT_ADDRESS && !b->conf->allow_link_local &&
        address_is_link_local(&e->address))
        problem_at(b->problems, node,
                   "a link-local address, where clouds keep instance metadata "
                   "(allowLinkLocal: true takes it)");
}

static void check_endpoints(struct builder *b, const struct conf_upstream *u,
                            const struct yaml_node *node)
{
    const struct yaml_node *list = yaml_get(node, "endpoints");
    const struct yaml_node *it = u->n_endpoints ? list->first : NULL;
    struct seen_endpoints seen;

    seen.nodes = arena_alloc(b->fill.scratch, u->n_endpoints * sizeof(struct yaml_node *));
    if (!seen.nodes) {
        builder_no_memory(b);
        return;
    }
    hash_index_init(&seen.index, b->fill.scratch);
    for (uint32_t i = 0; it && !b->fill.no_memory; i++, it = it->next) {
        const struct yaml_node *address = yaml_get(it, "address");
        seen.nodes[i] = address ? address : it;
        check_endpoint(b, &seen, u->endpoints, i);
    }
}

static void check_dns(struct builder *b, struct conf_upstream *u, const struct yaml_node *node)
{
    const struct yaml_node *dns = yaml_get(node, "dns");
    const struct yaml_node *min = yaml_get(dns, "minTtl"), *max = yaml_get(dns, "maxTtl");
    char min_text[PROBLEM_QUOTE_MAX], max_text[PROBLEM_QUOTE_MAX];
    bool names = false;

    u->dns.allow_link_local = b->conf->allow_link_local;
    if (!dns || dns->kind == NODE_BROKEN)
        return;
    if (u->dns.min_ttl > u->dns.max_ttl && builder_sound(dns, "minTtl") &&
        builder_sound(dns, "maxTtl"))
        problem_at(b->problems, min ? min : max, "minTtl %s is more than maxTtl %s",
                   builder_duration(min, u->dns.min_ttl, min_text),
                   builder_duration(max, u->dns.max_ttl, max_text));
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        names = names || u->endpoints[i].kind != ENDPOINT_ADDRESS;
    if (!names && b->problems->errors == b->errors_before) /* else a mistake may hide a name */
        warning_at(b->problems, dns, "has no effect: no endpoint is a name");
}

static void check_unreachable(struct builder *b, const struct conf_upstream *u,
                              const struct yaml_node *node)
{
    if (u->unreachable_after > 0 && u->unreachable_after < UNREACHABLE_MIN)
        problem_at(b->problems, yaml_get(node, "unreachableAfter"),
                   "expected 100ms or more, or 0 for never");
}

/* 0 is none too for those of an endpoint. */
static const struct conf_limits no_limits = {.connections = UINT32_MAX,
                                             .requests = UINT32_MAX,
                                             .pending = UINT32_MAX,
                                             .retries = UINT32_MAX};

static void check_upstream(struct builder *b, uint32_t at)
{
    struct conf_upstream *u = &b->conf->upstreams[at];
    const struct yaml_node *node = b->upstreams[at].node;
    const struct yaml_node *idle = yaml_get(yaml_get(node, "pool"), "minIdle");
    const struct yaml_node *most = yaml_get(yaml_get(node, "circuitBreaker"), "maxConnections");
    char idle_text[PROBLEM_QUOTE_MAX], most_text[PROBLEM_QUOTE_MAX];
    int rc = u->name.p ? conf_names_add_upstream(b->conf, at) : 0;

    u->index = at;
    if (rc == -EEXIST)
        problem_at(b->problems, yaml_get(node, "name"), "the upstream on line %u has the same name",
                   b->upstreams[conf_find_upstream(b->conf, u->name)->index].node->line);
    else if (rc < 0)
        builder_no_memory(b);
    check_endpoints(b, u, node);
    check_unreachable(b, u, node);
    check_dns(b, u, node);
    build_upstream_tls(b, u, yaml_get(node, "tls"));
    build_health_check(b, u, yaml_get(node, "healthCheck"));
    build_breaker(b, u, yaml_get(node, "circuitBreaker"));
    build_outlier(b, u, node);
    build_failover(b, u, node);
    build_concurrency(b, u, yaml_get(node, "concurrency"));
    build_retry_budget(b, u, yaml_get(node, "retryBudget"));
    u->bounds = u->limits_dry_run ? no_limits : u->limits;
    if (idle && u->min_idle > u->limits.connections)
        problem_at(b->problems, idle, "%s is more than circuitBreaker.maxConnections %s",
                   builder_number(idle, u->min_idle, idle_text),
                   builder_number(most, u->limits.connections, most_text));
}

void build_upstreams(struct builder *b)
{
    struct conf *c = b->conf;
    const struct yaml_node *list = yaml_get(b->root, "upstreams");

    if (c->n_upstreams == 0)
        return;
    b->upstreams = arena_alloc(b->fill.scratch, c->n_upstreams * sizeof(*b->upstreams));
    if (!b->upstreams) {
        builder_no_memory(b);
        return;
    }
    const struct yaml_node *it = list->first;
    for (uint32_t i = 0; i < c->n_upstreams && !b->fill.no_memory; i++, it = it->next) {
        b->upstreams[i].node = it;
        check_upstream(b, i);
    }
}
