/* lint_tls.c - TLS: what can never take effect, and what few mean. */
#include "config/lint.h"

#include "config/problems.h"

void lint_client_ca(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        const struct yaml_node *it = yaml_get(yaml_get(b->listeners[i], "tls"), "caFile");
        if (it && b->conf->listeners[i].tls.client_auth == TLS_CLIENT_NONE)
            warning_at(b->problems, it,
                       "has no effect: clientAuth is none, so that no client is asked for a "
                       "certificate");
    }
}

void lint_insecure_upstream(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct yaml_node *it =
            yaml_get(yaml_get(b->upstreams[i].node, "tls"), "insecureSkipVerify");
        if (it && b->conf->upstreams[i].tls.insecure)
            warning_at(b->problems, it,
                       "nothing is verified: whoever is in between can read and change everything");
    }
}

/* What is asked by ALPN needs TLS. */
void lint_upstream_alpn(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        const struct yaml_node *it = yaml_get(b->upstreams[i].node, "protocol");
        if (it && u->protocol == UPSTREAM_AUTO && !u->tls.enabled)
            warning_at(b->problems, it,
                       "has no effect: without \"tls\" there is no ALPN, and auto is http1");
    }
}
