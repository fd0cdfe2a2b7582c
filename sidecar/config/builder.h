/* builder.h - what the parts of build share while a configuration is being built. */
#ifndef SLUICE_CONFIG_BUILDER_H
#define SLUICE_CONFIG_BUILDER_H

#include "config/draft.h"
#include "config/fill.h"
#include "config/names.h"

struct builder_upstream {
    const struct yaml_node *node;
    bool used; /* by a route */
};

struct builder {
    struct fill fill;
    struct config_problems *problems;
    const struct config_env *env;
    struct yaml_node *root;
    struct draft *draft;
    struct conf *conf;
    struct builder_upstream *upstreams; /* as in conf.upstreams */
    const struct yaml_node **listeners; /* as in conf.listeners */
    uint32_t n_routes;
    uint32_t guesses;       /* "did you mean" was asked for so often */
    uint32_t errors_before; /* what the list of problems held already */
};

/* Cleared, in the configuration's arena; NULL is reported. */
void *builder_alloc(struct builder *b, size_t bytes);
void builder_no_memory(struct builder *b);
/* For a hash_index: false, and reported, where memory is short. */
bool builder_index(struct builder *b, struct hash_index *x, uint32_t hash, uint32_t item);
uint32_t builder_hash_address(const struct address *a);
/* The key was given and its value is right. */
bool builder_given(const struct yaml_node *map, const char *key);
/* The key was not given, or its value is right. */
bool builder_sound(const struct yaml_node *map, const char *key);

/* A value for a message: as the file has it where there are variables in it, else (node NULL: a
 * default) the number in the usual form. out has PROBLEM_QUOTE_MAX bytes; returns it. */
char *builder_duration(const struct yaml_node *node, usec_t v, char *out);
char *builder_number(const struct yaml_node *node, uint64_t v, char *out);

/* build_upstream.c */
void build_upstreams(struct builder *b);

/* build_breaker.c: node: the value of "circuitBreaker"; NULL: there is none. */
void build_breaker(struct builder *b, struct conf_upstream *u, const struct yaml_node *node);

/* build_concurrency.c: node: the value of "concurrency"; NULL: there is none. */
void build_concurrency(struct builder *b, struct conf_upstream *u, const struct yaml_node *node);

/* build_listener.c: all of them, with their routes. */
void build_listeners(struct builder *b);

/* build_route.c: one route, whose index and default name are set. */
void build_route(struct builder *b, const struct draft_route *draft, const struct yaml_node *node,
                 struct conf_route *route);
/* The list of backends, of a route or of a tcp listener. */
void build_backends(struct builder *b, const struct draft_backend *drafts, uint32_t n,
                    const struct yaml_node *list, struct conf_route *route);

/* build_tls.c: node: the value of "tls"; NULL: there is none. */
void build_listener_tls(struct conf_listener_tls *t, const struct yaml_node *tls);
void build_upstream_tls(struct builder *b, struct conf_upstream *u, const struct yaml_node *tls);

/* build_health.c: node: the value of "healthCheck"; NULL: there is none. */
void build_health_check(struct builder *b, struct conf_upstream *u, const struct yaml_node *node);
void build_app_probes(struct builder *b);

/* build_outlier.c: node: the upstream. */
void build_outlier(struct builder *b, struct conf_upstream *u, const struct yaml_node *node);

/* build_failover.c: node: the upstream. */
void build_failover(struct builder *b, struct conf_upstream *u, const struct yaml_node *node);

/* build_learn.c: node: the value of "learn"; NULL: there is none. */
void build_learn(struct builder *b, const struct draft_route *draft, const struct yaml_node *node,
                 struct conf_route *route);
/* build_headers.c: header rules of a listener and of one of its routes. */
const struct header_rules *build_header_rules(struct builder *b,
                                              const struct draft_header_rules *draft, bool request,
                                              const struct yaml_node *node);
void build_route_headers(struct builder *b, const struct header_rules *const of_listener[2],
                         const struct draft_route *draft, const struct yaml_node *node,
                         struct conf_route *route);

/* build_fault.c */
void build_fault(struct builder *b, const struct draft_fault *draft, const struct yaml_node *node,
                 struct conf_route *route);
/* build_limits.c: list: the value of "rateLimits"; NULL: there is none. */
void build_limits(struct builder *b, const struct yaml_node *list, struct conf_route *route);
/* build_retry.c: node: the value of "retry", or of "retryBudget"; NULL: there is none. */
void build_retry(struct builder *b, const struct draft_route *draft, const struct yaml_node *node,
                 struct conf_route *route);
void build_retry_budget(struct builder *b, const struct conf_upstream *u,
                        const struct yaml_node *node);

/* build_authz.c: a claim's name, or a path to it; an empty one is left alone. */
void build_claim(struct builder *b, struct str claim, const struct yaml_node *node,
                 struct json_path *ret);
/* Tokens' issuers, before the routes. */
void build_jwts(struct builder *b);
/* node: the value of "authz"; NULL: there is none. */
void build_authz(struct builder *b, const struct draft_route *draft, const struct yaml_node *node,
                 struct conf_route *route);
/* Can it have an effect on that listener? node: the route. */
void check_authz(struct builder *b, const struct conf_listener *l, const struct conf_route *route,
                 const struct yaml_node *node);

/* build_overload.c: behind the listeners. */
void build_overload(struct builder *b);

/* build_app.c: behind the listeners. */
void build_app(struct builder *b);

/* build_cleanup.c: cleanups, leases and hooks. */
void build_cleanups(struct builder *b);

/* build_match.c. Conditions on headers: of a match, or another part of a route. */
const struct route_condition *build_header_conditions(struct builder *b,
                                                      const struct draft_condition *drafts,
                                                      uint32_t n, const struct yaml_node *list);
void build_match(struct builder *b, const struct draft_match *draft, const struct yaml_node *node,
                 struct route_match *match);

#endif
