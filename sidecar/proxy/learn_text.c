/* learn_text.c - the request that gives back what was learned. */
#include "proxy/learn_text.h"

#include "base/mem.h"
#include "proxy/endpoint.h"
#include "proxy/stream.h"
#include "proxy/upstream_shared.h"

#include <errno.h>
#include <netinet/in.h>

enum {
    TEXT_BYTES = 48 * 1024, /* all texts of one, while it is being made */
};

/* Texts, each with a NUL behind it. */
struct writer {
    struct lease_text *t;
    const struct str *values;
    int rc;
};

static void put(struct writer *w, struct str s)
{
    struct lease_text *t = w->t;
    if (w->rc < 0)
        return;
    if (s.n >= TEXT_BYTES - t->used) {
        w->rc = -EMSGSIZE;
        return;
    }
    if (s.n > 0)
        memcpy(t->bytes + t->used, s.p, s.n);
    t->used += s.n;
}

static void put_template(struct writer *w, const struct template *tm)
{
    struct lease_text *t = w->t;
    size_t n = 0;
    if (w->rc == 0)
        w->rc = template_render(tm, w->values, t->bytes + t->used, TEXT_BYTES - t->used - 1, &n);
    if (w->rc == 0)
        t->used += n;
}

/* The text that began at `from` is whole. */
static struct str end(struct writer *w, size_t from)
{
    struct lease_text *t = w->t;
    if (w->rc == 0 && t->used + 1 >= TEXT_BYTES)
        w->rc = -EMSGSIZE;
    if (w->rc < 0)
        return (struct str){"", 0};
    t->bytes[t->used++] = '\0';
    return (struct str){t->bytes + from, t->used - 1 - from};
}

static const char *copy(struct writer *w, struct str s)
{
    size_t from = w->t->used;
    if (!s.p)
        return NULL;
    put(w, s);
    return end(w, from).p;
}

/* "[2001:db8::1]:443"; empty where the endpoint is a Unix socket. */
static struct str endpoint_text(const struct stream *s, char out[ADDRESS_TEXT_MAX])
{
    const struct address *a = &s->endpoint->shared->address;
    return a->u.sa.sa_family == AF_UNIX ? STR_NONE : str_of(address_format(a, out));
}

static struct str port_of(struct str endpoint)
{
    size_t n = endpoint.n;
    while (n > 0 && endpoint.p[n - 1] != ':')
        n--;
    return n > 0 ? (struct str){endpoint.p + n - 1, endpoint.n - n + 1} : STR_NONE;
}

static struct str authority_of(const struct stream *s)
{
    return message_str(&s->req, s->req.authority);
}

/* What stands for the server in the URL: over TLS the name that its certificate was verified for.
 */
static void write_host(struct writer *w, const struct stream *s, struct str endpoint)
{
    const struct conf_upstream_tls *tls = &s->upstream->tls;
    struct str authority = authority_of(s);
    if (tls->enabled && tls->server_name.n > 0) {
        bool six = memchr(tls->server_name.p, ':', tls->server_name.n);
        put(w, six ? STR("[") : STR(""));
        put(w, tls->server_name);
        put(w, six ? STR("]") : STR(""));
        put(w, port_of(endpoint));
    } else if (!tls->enabled && authority.n > 0) {
        put(w, authority);
    } else {
        put(w, endpoint.n > 0 ? endpoint : STR("localhost")); /* of a Unix socket */
    }
}

/* The same server, where it was. */
static void write_url(struct writer *w, const struct stream *s, const struct template *target)
{
    char text[ADDRESS_TEXT_MAX];
    struct cleanup_action *a = &w->t->action;
    struct str endpoint = endpoint_text(s, text);
    size_t from = w->t->used;
    put(w, s->upstream->tls.enabled ? STR("https://") : STR("http://"));
    write_host(w, s, endpoint);
    put_template(w, target);
    a->url = end(w, from).p;
    if (endpoint.n == 0) {
        a->unix_path = copy(w, str_of(s->endpoint->shared->address.u.un.sun_path));
        return;
    }
    from = w->t->used;
    put(w, STR("::"));
    put(w, endpoint);
    a->connect_to = end(w, from).p;
}

/* Parted by spaces; NULL: none. */
static const char *copy_words(struct writer *w, const struct str *words, uint32_t n)
{
    size_t from = w->t->used;
    for (uint32_t i = 0; i < n; i++) {
        put(w, i > 0 ? STR(" ") : STR(""));
        put(w, words[i]);
    }
    return n > 0 ? end(w, from).p : NULL;
}

/* As the upstream's own connections are made. */
static void write_tls(struct writer *w, const struct conf_upstream_tls *tls)
{
    struct cleanup_action *a = &w->t->action;
    a->ca_file = copy(w, tls->ca.path);
    a->cert_file = copy(w, tls->pair.cert.path);
    a->key_file = copy(w, tls->pair.key.path);
    a->sans = copy_words(w, tls->sans, tls->n_sans);
    a->spiffe_ids = copy_words(w, tls->spiffe_ids, tls->n_spiffe_ids);
    a->insecure = tls->insecure;
    a->tls_1_3 = tls->min_version == TLS_1_3;
}

static void add_field(struct writer *w, const char *name, const char *value)
{
    struct lease_text *t = w->t;
    if (w->rc == 0 && t->action.n_fields == LEASE_FIELDS_MAX)
        w->rc = -EMSGSIZE;
    if (w->rc == 0)
        t->fields[t->action.n_fields++] = (struct cleanup_field){name, value};
}

static void write_fields(struct writer *w, const struct stream *s, const struct learn_hold *h)
{
    struct str authority = authority_of(s);
    if (authority.n > 0 && s->upstream->tls.enabled)
        add_field(w, "Host", copy(w, authority));
    if (h->has_body)
        add_field(w, "Content-Type", copy(w, h->content_type));
    for (uint32_t i = 0; i < h->n_headers; i++) {
        const char *name = copy(w, h->headers[i].name);
        size_t from = w->t->used;
        put_template(w, &h->headers[i].value);
        add_field(w, name, end(w, from).p);
    }
}

static void write_action(struct writer *w, const struct stream *s, const struct learn_hold *h)
{
    struct cleanup_action *a = &w->t->action;
    const struct conf_upstream_tls *tls = &s->upstream->tls;
    a->method = copy(w, h->method);
    write_url(w, s, &h->target);
    write_fields(w, s, h);
    a->fields = w->t->fields;
    a->http2 = s->upstream->protocol == UPSTREAM_HTTP2 ||
               (s->upstream->protocol == UPSTREAM_AUTO && tls->enabled);
    if (tls->enabled)
        write_tls(w, tls);
    if (h->has_body) {
        size_t from = w->t->used;
        put_template(w, &h->body);
        a->body = end(w, from);
    }
    a->timeout = h->timeout;
    a->retries = h->retries;
}

static enum lease_duplicate duplicate_of(enum learn_duplicate d)
{
    return d == LEARN_ADD     ? LEASE_DUPLICATE_ADDS
           : d == LEARN_COUNT ? LEASE_DUPLICATE_COUNTS
                              : LEASE_DUPLICATE_REPLACES;
}

struct lease_text *lease_text_new(const struct stream *s, const struct learn_rule *r,
                                  const struct learn_values *v, uint64_t holder, int *ret_rc)
{
    struct lease_text *t = mem_alloc(sizeof(*t) + TEXT_BYTES);
    if (!t) {
        *ret_rc = -ENOMEM;
        return NULL;
    }
    t->used = 0;
    t->action = (struct cleanup_action){0};
    struct writer w = {.t = t, .values = v->v};
    write_action(&w, s, &r->hold);
    size_t from = t->used;
    put_template(&w, &r->key);
    t->lease = (struct lease_new){
        .kind = LEASE_LEARNED,
        .key = end(&w, from),
        .duplicate = duplicate_of(r->duplicate),
        .action = &t->action,
        .ttl = r->ttl,
        .holder = r->disconnect_grace > 0 ? holder : 0,
        .disconnect_grace = r->disconnect_grace,
        .began = s->began,
    };
    t->lease.name = str_of(copy(&w, r->name));
    if (w.rc < 0) {
        *ret_rc = w.rc;
        free(t);
        return NULL;
    }
    return t;
}
