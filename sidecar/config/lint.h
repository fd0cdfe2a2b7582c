/* lint.h - what an operator wrote in a good file, and can never take effect.
 *
 * Each rule is one function over the built configuration and its tree, and says nothing unless it
 * is certain: a warning that is wrong once is not read again. Warnings never stop a file, unless
 * `sluice validate --strict` asks for it. docs/guide/configuration.md lists the rules. */
#ifndef SLUICE_CONFIG_LINT_H
#define SLUICE_CONFIG_LINT_H

#include "config/builder.h"

struct lint_rule {
    const char *name;
    void (*check)(struct builder *b);
};

extern const struct lint_rule lint_rules[];
extern const uint32_t lint_rules_n;

/* All rules; the configuration is complete and without mistakes. */
void lint(struct builder *b);

/* lint_authz.c */
void lint_jwt(struct builder *b);
void lint_authz_rules(struct builder *b);
/* lint_listener.c */
void lint_unreachable_route(struct builder *b);
void lint_answering_route(struct builder *b);
void lint_first_byte_timeout(struct builder *b);
void lint_lone_weight(struct builder *b);
void lint_upgrade_method(struct builder *b);
void lint_websocket(struct builder *b);
void lint_learn(struct builder *b);
void lint_same_prefix(struct builder *b);
void lint_socket_mode(struct builder *b);
void lint_listener_connections(struct builder *b);
void lint_trusted_proxies(struct builder *b);
/* lint_actions.c */
void lint_header_rules(struct builder *b);
void lint_fault(struct builder *b);
void lint_redact(struct builder *b);
/* lint_limits.c */
void lint_rate_limits(struct builder *b);
/* lint_tls.c */
void lint_client_ca(struct builder *b);
void lint_insecure_upstream(struct builder *b);
void lint_upstream_alpn(struct builder *b);
void lint_tls_in_tls(struct builder *b);
/* lint_retry.c */
void lint_retry(struct builder *b);
void lint_deadline(struct builder *b);
void lint_retry_budget(struct builder *b);
/* lint_upstream.c */
void lint_unused_upstream(struct builder *b);
void lint_upstream_timeout(struct builder *b);
void lint_endpoint_limits(struct builder *b);
void lint_queue_timeout(struct builder *b);
void lint_pool_lifetime(struct builder *b);
void lint_min_idle(struct builder *b);
void lint_tcp_requests(struct builder *b);
void lint_upstream_http2(struct builder *b);
void lint_lone_endpoint(struct builder *b);
void lint_link_local(struct builder *b);
/* build_app.c */
void lint_leak_watch(struct builder *b);
/* build_health.c */
void lint_health_check(struct builder *b);
/* build_breaker.c */
void lint_breaker(struct builder *b);
/* build_overload.c */
void lint_overload(struct builder *b);
/* build_concurrency.c */
void lint_concurrency(struct builder *b);
/* build_outlier.c */
void lint_outlier(struct builder *b);
/* build_failover.c */
void lint_failover(struct builder *b);

#endif
