/* build_tls.c - TLS: where the names of its files stand, and names in the form of tls.h. */
#include "config/builder.h"

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

void build_upstream_tls(struct conf_upstream_tls *t, const struct yaml_node *tls)
{
    place(&t->ca, tls, "caFile");
    place(&t->pair.cert, tls, "certFile");
    place(&t->pair.key, tls, "keyFile");
    unwrap(&t->server_name);
    for (uint32_t i = 0; i < t->n_sans; i++)
        unwrap(&t->sans[i]);
}
