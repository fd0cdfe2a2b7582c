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

static void note_users(const struct conf_listener *l, bool *through, bool *other)
{
    for (uint32_t i = 0; i < l->n_routes; i++) {
        for (uint32_t k = 0; k < l->routes[i].n_backends; k++)
            (l->protocol == PROTOCOL_TLS ? through
                                         : other)[l->routes[i].backends[k].upstream->index] = true;
    }
}

/* What is passed through is the client's TLS already. */
void lint_tls_in_tls(struct builder *b)
{
    uint32_t n = b->conf->n_upstreams;
    bool *through = n > 0 ? arena_alloc(b->fill.scratch, n) : NULL;
    bool *other = n > 0 ? arena_alloc(b->fill.scratch, n) : NULL;
    if (n > 0 && (!through || !other)) {
        builder_no_memory(b);
        return;
    }
    for (uint32_t i = 0; n > 0 && i < b->conf->n_listeners; i++)
        note_users(&b->conf->listeners[i], through, other);
    for (uint32_t i = 0; i < n; i++) {
        const struct yaml_node *it = yaml_get(b->upstreams[i].node, "tls");
        if (it && through[i] && !other[i])
            warning_at(b->problems, it,
                       "only tls listeners use this upstream: the clients' own TLS would be inside "
                       "of this one");
    }
}
