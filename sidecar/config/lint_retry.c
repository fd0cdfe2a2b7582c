/* lint_retry.c - retries and deadlines: what can never take effect. */
#include "config/lint.h"

#include "config/problems.h"

typedef void route_check(struct builder *b, const struct conf_listener *l,
                         const struct conf_route *r, const struct yaml_node *node);

static void each_forwarding_route(struct builder *b, route_check *check)
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct conf_listener *l = &b->conf->listeners[i];
        const struct yaml_node *list = yaml_get(b->listeners[i], "routes");
        const struct yaml_node *it = list ? list->first : NULL;
        for (uint32_t k = 0; it; k++, it = it->next) {
            if (l->routes[k].action == ACTION_FORWARD)
                check(b, l, &l->routes[k], it);
        }
    }
}

/* A request with one of them may come there. */
static bool may_match(const struct conf_route *r, uint32_t methods)
{
    for (uint32_t i = 0; i < r->match.n_methods; i++) {
        if (methods >> http_method_of(r->match.methods[i]) & 1)
            return true;
    }
    return r->match.n_methods == 0;
}

/* No method of the route may be repeated: then a server may have acted on all but what it did not
 * get, or has refused to look at. */
static void check_methods(struct builder *b, const struct conf_route *r,
                          const struct yaml_node *retry)
{
    const uint32_t unsent =
        RETRY_BIT(RETRY_ON_CONNECT_FAILURE) | RETRY_BIT(RETRY_ON_REFUSED_STREAM);
    const struct yaml_node *methods = yaml_get(retry, "methods"), *on = yaml_get(retry, "on");
    if (may_match(r, r->retry->methods))
        return;
    if (methods)
        warning_at(b->problems, methods, "has no effect: the route matches none of these methods");
    else if (!(r->retry->on & (unsent | RETRY_BIT(RETRY_ON_5XX))))
        warning_at(
            b->problems, retry,
            "has no effect: no method of the route may be repeated (\"methods\" says which)");
    else if (r->retry->on & ~unsent)
        warning_at(b->problems, on ? on : retry,
                   "only what was not sent is retried: no method of the route may be repeated "
                   "(\"methods\" says which)");
}

/* Each of these lets no retry through. */
static void check_budget(struct builder *b, const struct conf_route *r,
                         const struct yaml_node *retry)
{
    for (uint32_t i = 0; i < r->n_backends; i++) {
        const struct conf_upstream *u = r->backends[i].upstream;
        if (u->bounds.retries > 0 &&
            (u->retry_budget.percent > 0 || u->retry_budget.min_per_second > 0))
            return;
    }
    warning_at(b->problems, retry, "has no effect: no upstream of the route lets a retry through");
}

static void route_retry(struct builder *b, const struct conf_listener *l,
                        const struct conf_route *r, const struct yaml_node *node)
{
    const struct yaml_node *retry = yaml_get(node, "retry");
    const struct yaml_node *timeout = yaml_get(retry, "perTryTimeout");
    char mine[PROBLEM_QUOTE_MAX], whole[PROBLEM_QUOTE_MAX];
    if (!retry || !r->retry)
        return;
    if (!listener_speaks_http(l->protocol)) {
        warning_at(b->problems, retry, "has no effect: the listener carries bytes");
        return;
    }
    check_methods(b, r, retry);
    check_budget(b, r, retry);
    if (timeout && r->retry->per_try_timeout >= conf_route_ends(r))
        warning_at(b->problems, timeout, "%s has no effect: the route's timeout is %s",
                   builder_duration(timeout, r->retry->per_try_timeout, mine),
                   builder_duration(yaml_get(node, "timeout"), r->timeout, whole));
}

void lint_retry(struct builder *b)
{
    each_forwarding_route(b, route_retry);
}

static void route_deadline(struct builder *b, const struct conf_listener *l,
                           const struct conf_route *r, const struct yaml_node *node)
{
    static const char *const keys[] = {"passDeadline", "abortOnClose"};
    const struct yaml_node *pass = yaml_get(node, "passDeadline");
    if (pass && r->pass_deadline && conf_route_ends(r) == USEC_NEVER &&
        !(r->retry && !r->retry->dry_run && r->retry->per_try_timeout > 0))
        warning_at(b->problems, pass,
                   "has no effect: the route has no timeout%s, and a request's own deadline is "
                   "passed on in any case",
                   r->timeout == 0 ? "" : " that holds");
    for (size_t i = 0; i < ARRAY_LEN(keys) && !listener_speaks_http(l->protocol); i++) {
        const struct yaml_node *it = yaml_get(node, keys[i]);
        if (it)
            warning_at(b->problems, it, "has no effect: the listener carries bytes");
    }
}

void lint_deadline(struct builder *b)
{
    each_forwarding_route(b, route_deadline);
}

/* ---- upstreams ---- */

/* As in conf.upstreams; NULL: there are none, or memory is short. */
static bool *find_retried(struct builder *b)
{
    const struct conf *c = b->conf;
    bool *retried = c->n_upstreams ? arena_alloc(b->fill.scratch, c->n_upstreams) : NULL;
    if (c->n_upstreams > 0 && !retried)
        builder_no_memory(b);
    for (uint32_t i = 0; i < c->n_listeners && retried; i++) {
        const struct conf_listener *l = &c->listeners[i];
        for (uint32_t k = 0; k < l->n_routes; k++) {
            const struct conf_route *r = &l->routes[k];
            for (uint32_t n = 0; n < r->n_backends && r->retry; n++)
                retried[r->backends[n].upstream->index] = true;
        }
    }
    return retried;
}

static bool is_lone(const struct conf_upstream *u)
{
    return u->n_endpoints == 1 && u->endpoints[0].kind == ENDPOINT_ADDRESS;
}

void lint_retry_budget(struct builder *b)
{
    const bool *retried = find_retried(b);
    for (uint32_t i = 0; i < b->conf->n_upstreams && retried; i++) {
        const struct yaml_node *node = b->upstreams[i].node;
        const struct yaml_node *budget = yaml_get(node, "retryBudget");
        const struct yaml_node *most = yaml_get(yaml_get(node, "circuitBreaker"), "maxRetries");
        if (retried[i] || !b->upstreams[i].used)
            continue;
        /* Of several, a request goes to another that has lost its connection to one. */
        if (budget && is_lone(&b->conf->upstreams[i]))
            warning_at(b->problems, budget,
                       "has no effect: there is one endpoint, and no route to this upstream has "
                       "\"retry\"");
        if (most)
            warning_at(b->problems, most, "has no effect: no route to this upstream has \"retry\"");
    }
}
