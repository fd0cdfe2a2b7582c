/* lint.c - the rules of what can never take effect; those of the process as a whole are here. */
#include "config/lint.h"

#include "config/problems.h"

/* Not without effect, but with one that few mean. */
static void exposed_admin(struct builder *b)
{
    const struct yaml_node *address = yaml_get(yaml_get(b->root, "admin"), "address");
    if (address && b->conf->admin.tcp_enabled && !address_is_loopback(&b->conf->admin.tcp))
        warning_at(b->problems, address,
                   "not a loopback address: whoever reaches it can read the state");
}

/* The token and the list of hosts guard the address; the socket is guarded by its file's mode. */
static void admin_off(struct builder *b)
{
    static const char *const keys[] = {"tokenFile", "allowedHosts"};
    const struct yaml_node *admin = yaml_get(b->root, "admin");
    for (size_t i = 0; i < ARRAY_LEN(keys) && !b->conf->admin.tcp_enabled; i++) {
        const struct yaml_node *it = yaml_get(admin, keys[i]);
        if (it)
            warning_at(b->problems, it, "has no effect: admin.address is off");
    }
}

const struct lint_rule lint_rules[] = {
    {"exposed-admin", exposed_admin},
    {"admin-off", admin_off},
    {"leak-watch", lint_leak_watch},
    {"unreachable-route", lint_unreachable_route},
    {"answering-route", lint_answering_route},
    {"first-byte-timeout", lint_first_byte_timeout},
    {"lone-weight", lint_lone_weight},
    {"upgrade-method", lint_upgrade_method},
    {"websocket", lint_websocket},
    {"learn", lint_learn},
    {"header-rules", lint_header_rules},
    {"fault", lint_fault},
    {"redact", lint_redact},
    {"rate-limits", lint_rate_limits},
    {"overload", lint_overload},
    {"retry", lint_retry},
    {"retry-budget", lint_retry_budget},
    {"deadline", lint_deadline},
    {"jwt", lint_jwt},
    {"authz-rules", lint_authz_rules},
    {"same-prefix", lint_same_prefix},
    {"socket-mode", lint_socket_mode},
    {"listener-connections", lint_listener_connections},
    {"trusted-proxies", lint_trusted_proxies},
    {"client-ca", lint_client_ca},
    {"insecure-upstream", lint_insecure_upstream},
    {"upstream-alpn", lint_upstream_alpn},
    {"tls-in-tls", lint_tls_in_tls},
    {"unused-upstream", lint_unused_upstream},
    {"upstream-timeout", lint_upstream_timeout},
    {"endpoint-limits", lint_endpoint_limits},
    {"queue-timeout", lint_queue_timeout},
    {"health-check", lint_health_check},
    {"pool-lifetime", lint_pool_lifetime},
    {"min-idle", lint_min_idle},
    {"breaker", lint_breaker},
    {"concurrency", lint_concurrency},
    {"tcp-requests", lint_tcp_requests},
    {"upstream-http2", lint_upstream_http2},
    {"lone-endpoint", lint_lone_endpoint},
    {"outlier", lint_outlier},
    {"failover", lint_failover},
    {"link-local", lint_link_local},
};
const uint32_t lint_rules_n = ARRAY_LEN(lint_rules);

void lint(struct builder *b)
{
    for (uint32_t i = 0; i < lint_rules_n && !b->fill.no_memory; i++)
        lint_rules[i].check(b);
}
