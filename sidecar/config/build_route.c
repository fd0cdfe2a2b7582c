/* build_route.c - what a route does with its requests. */
#include "config/builder.h"

#include "config/problems.h"

static const char *next_upstream(const void *ctx, uint32_t i)
{
    const struct builder *b = ctx;
    const struct yaml_node *name = yaml_get(b->upstreams[i].node, "name");
    struct str known = b->conf->upstreams[i].name;
    return known.p && name && !name->raw.p ? known.p : ""; /* a variable's value is not told */
}

/* NULL is reported at the node. */
static const struct conf_upstream *find_upstream(struct builder *b, struct str name,
                                                 const struct yaml_node *node)
{
    const struct conf *c = b->conf;
    const struct conf_upstream *u = conf_find_upstream(c, name);
    const char *near = NULL;
    char got[PROBLEM_QUOTE_MAX];

    if (u) {
        b->upstreams[u->index].used = b->conf->upstreams[u->index].used = true;
        return u;
    }
    if (!node->raw.p && b->guesses++ < PROBLEMS_KEPT) /* each looks at all upstreams */
        near = schema_nearest(name, next_upstream, b, c->n_upstreams);
    (void)problem_quote(yaml_shown(node), got);
    if (near && near[0])
        problem_at(b->problems, node, "there is no upstream \"%s\" (did you mean \"%s\"?)", got,
                   near);
    else
        problem_at(b->problems, node, "there is no upstream \"%s\"", got);
    return NULL;
}

/* Fills one backend; false where its weight is not known. */
static bool build_backend(struct builder *b, const struct draft_backend *draft, bool alone,
                          const struct yaml_node *node, struct conf_backend *backend)
{
    if (draft->upstream.p)
        backend->upstream = find_upstream(b, draft->upstream, yaml_get(node, "upstream"));
    backend->weight = draft->has_weight ? draft->weight : 1;
    if (draft->has_weight || alone)
        return true;
    if (node->kind == NODE_MAP && !yaml_get(node, "weight"))
        problem_at(b->problems, node, "each of several backends has a \"weight\"");
    return false;
}

void build_backends(struct builder *b, const struct draft_backend *drafts, uint32_t n,
                    const struct yaml_node *list, struct conf_route *route)
{
    uint32_t weights[SPLIT_MAX];
    bool known = true;

    route->backends = n ? builder_alloc(b, n * sizeof(*route->backends)) : NULL;
    if (!route->backends)
        return;
    CHECK(n <= SPLIT_MAX);
    route->n_backends = n;
    const struct yaml_node *it = list->first;
    for (uint32_t i = 0; i < n; i++, it = it->next) {
        struct conf_backend *backend = &route->backends[i];
        known = build_backend(b, &drafts[i], n == 1, it, backend) && known;
        weights[i] = backend->weight;
        for (uint32_t k = 0; k < i; k++) {
            if (backend->upstream && backend->upstream == route->backends[k].upstream)
                problem_at(b->problems, yaml_get(it, "upstream"),
                           "the upstream is in this list twice; the first is on line %u",
                           yaml_at(list, k)->line);
        }
    }
    if (!known)
        return;
    if (split_normalise(weights, n, route->ppm) < 0) {
        problem_at(b->problems, list, "all weights are 0: nothing would take the requests");
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        route->backends[i].ppm = route->ppm[i];
}

static void build_one_upstream(struct builder *b, struct str name, const struct yaml_node *node,
                               struct conf_route *route)
{
    route->backends = builder_alloc(b, sizeof(*route->backends));
    if (!route->backends)
        return;
    route->n_backends = 1;
    route->ppm[0] = SPLIT_WHOLE_PPM;
    route->backends[0] = (struct conf_backend){
        .upstream = find_upstream(b, name, node), .weight = 1, .ppm = SPLIT_WHOLE_PPM};
}

static void check_direct(struct builder *b, const struct yaml_node *node,
                         const struct conf_route *route)
{
    const struct yaml_node *body = yaml_get(yaml_get(node, "directResponse"), "body");
    uint16_t status = route->direct_status;
    char status_text[PROBLEM_QUOTE_MAX];
    if (body && route->direct_body.n > 0 && (status == 204 || status == 205 || status == 304))
        problem_at_key(b->problems, body, "an answer of status %s has no body",
                       builder_number(yaml_get(yaml_get(node, "directResponse"), "status"), status,
                                      status_text));
}

void build_route(struct builder *b, const struct draft_route *draft, const struct yaml_node *node,
                 struct conf_route *route)
{
    build_match(b, &draft->match, yaml_get(node, "match"), &route->match);
    build_limits(b, yaml_get(node, "rateLimits"), route);
    build_learn(b, draft, yaml_get(node, "learn"), route);
    build_fault(b, &draft->fault, yaml_get(node, "fault"), route);
    build_retry(b, draft, yaml_get(node, "retry"), route);
    build_authz(b, draft, yaml_get(node, "authz"), route);
    route->upgrade_websocket = !draft->has_upgrades || draft->n_upgrades > 0;
    if (!draft->has_websocket_idle)
        route->websocket.idle_timeout = route->idle_timeout;
    if (draft->has_redirect) {
        route->action = ACTION_REDIRECT;
        return;
    }
    if (draft->has_direct) {
        route->action = ACTION_DIRECT;
        check_direct(b, node, route);
        return;
    }
    route->action = ACTION_FORWARD;
    if (draft->upstream.p)
        build_one_upstream(b, draft->upstream, yaml_get(node, "upstream"), route);
    else
        build_backends(b, draft->backends, draft->n_backends, yaml_get(node, "backends"), route);
}
