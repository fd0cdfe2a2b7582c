/* build_tls.c - TLS: where the names of its files stand, and names in the form of tls.h. */
#include "config/builder.h"

#include "config/problems.h"

static void place(struct conf_file *f, const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = yaml_get(map, key);
    if (!f->path.p || !node)
        return;
    f->line = node->line;
    f->column = node->column;
}

/* An IPv6 address stands in brackets in the file, as everywhere. */
static void unwrap(struct str *name)
{
    if (name->n > 2 && name->p[0] == '[')
        *name = (struct str){name->p + 1, name->n - 2};
}

void build_listener_tls(struct conf_listener_tls *t, const struct yaml_node *tls)
{
    const struct yaml_node *list = yaml_get(tls, "certificates");
    for (uint32_t i = 0; i < t->n_certificates; i++) {
        place(&t->certificates[i].cert, yaml_at(list, i), "certFile");
        place(&t->certificates[i].key, yaml_at(list, i), "keyFile");
    }
    place(&t->ca, tls, "caFile");
}

/* What is looked for in the certificate where no name is given. An address is looked for itself; a
 * name only if it is the one that all endpoints have. Resolved, each is an address among others. */
static void name_server(struct builder *b, struct conf_upstream *u, const struct yaml_node *tls)
{
    struct conf_upstream_tls *t = &u->tls;
    struct str host = u->n_endpoints > 0 ? u->endpoints[0].host : STR_NONE;
    bool one_name = true, addresses = true;
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        const struct conf_endpoint *e = &u->endpoints[i];
        one_name = one_name && e->kind == ENDPOINT_NAME && str_ieq(e->host, host);
        addresses =
            addresses && e->kind == ENDPOINT_ADDRESS && e->address.u.sa.sa_family != AF_UNIX;
    }
    if (!t->enabled || t->server_name.n > 0 || u->n_endpoints == 0)
        return;
    if (one_name)
        t->server_name = (struct str){host.p, host.n - (host.p[host.n - 1] == '.' ? 1 : 0)};
    else if (!addresses && t->n_sans == 0 && t->n_spiffe_ids == 0 && !t->insecure &&
             b->problems->errors == b->errors_before)
        problem_at(
            b->problems, tls,
            "needs \"serverName\", \"sans\" or \"spiffeIds\": the endpoints have not all one "
            "name, or one has none (a Unix socket, srv:)");
}

void build_upstream_tls(struct builder *b, struct conf_upstream *u, const struct yaml_node *tls)
{
    struct conf_upstream_tls *t = &u->tls;
    place(&t->ca, tls, "caFile");
    place(&t->pair.cert, tls, "certFile");
    place(&t->pair.key, tls, "keyFile");
    unwrap(&t->server_name);
    for (uint32_t i = 0; i < t->n_sans; i++)
        unwrap(&t->sans[i]);
    name_server(b, u, tls);
}
