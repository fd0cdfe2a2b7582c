/* route.c - the first route in the file whose every condition holds. */
#include "policies/route.h"

#include "base/check.h"
#include "base/mem.h"
#include "policies/route_index.h"
#include "policies/route_text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

enum { LISTS_MAX = 48 };

struct route {
    enum route_path_match path_how; /* a prefix of everything is ANY */
    struct str path;                /* a prefix without trailing '/' */
    struct route_regex *path_regex;
    const struct str *hosts; /* none: any */
    const struct str *methods;
    struct route_text *headers, *query;
    uint32_t n_hosts, n_methods, n_headers, n_query;
    bool plain; /* host and path decide */
};

struct route_table {
    struct arena *arena;
    struct route *routes;
    uint32_t n;
    struct route_index *index;
};

/* --- building ------------------------------------------------------------------------------ */

struct builder {
    struct arena *arena;
    char *why;
    size_t why_cap;
};

static int refuse(const struct builder *b, const char *why)
{
    (void)snprintf(b->why, b->why_cap, "%s", why);
    return -EINVAL;
}

static int build_strs(const struct builder *b, const struct str *from, uint32_t n,
                      const struct str **ret)
{
    if (n == 0)
        return 0;
    struct str *copy = arena_alloc(b->arena, n * sizeof(*copy));
    if (!copy)
        return -ENOMEM;
    memcpy(copy, from, n * sizeof(*copy));
    *ret = copy;
    return 0;
}

static int build_texts(const struct builder *b, const struct route_condition *from, uint32_t n,
                       struct route_text **ret, uint32_t *ret_n)
{
    if (n == 0)
        return 0;
    struct route_text *texts = arena_alloc(b->arena, n * sizeof(*texts));
    if (!texts)
        return -ENOMEM;
    *ret = texts;
    for (uint32_t i = 0; i < n; i++) {
        int rc = route_text_init(&texts[i], &from[i], b->why, b->why_cap);
        if (rc < 0)
            return rc;
        *ret_n = i + 1; /* what is to be freed */
    }
    return 0;
}

static int check_host(const struct builder *b, struct str host)
{
    if (str_eq(host, STR("*")))
        return 0;
    if (host.n == 0)
        return refuse(b, "a host is empty");
    if (host.n > ROUTE_HOST_MAX)
        return refuse(b, "a host has at most 253 bytes");
    bool wildcard = host.p[0] == '*';
    if (wildcard && (host.n < 3 || host.p[1] != '.'))
        return refuse(b, "a wildcard stands for whole labels in front: *.example.com");
    if (memchr(host.p + wildcard, '*', host.n - wildcard))
        return refuse(b, "a host has one wildcard, in front: *.example.com");
    if (host.p[0] != '[' && memchr(host.p, ':', host.n))
        return refuse(b, "a host is written without a port");
    return 0;
}

static int build_route(const struct builder *b, const struct route_match *m, struct route *r)
{
    int rc = 0;

    r->path_how = m->path_how;
    r->path = m->path;
    if (m->path_how == ROUTE_PATH_PREFIX) {
        while (r->path.n > 0 && r->path.p[r->path.n - 1] == '/')
            r->path.n--;
        if (r->path.n == 0)
            r->path_how = ROUTE_PATH_ANY;
    }
    for (uint32_t i = 0; i < m->n_hosts && rc == 0; i++)
        rc = check_host(b, m->hosts[i]);
    r->n_hosts = m->n_hosts;
    r->n_methods = m->n_methods;
    if (rc == 0)
        rc = build_strs(b, m->hosts, m->n_hosts, &r->hosts);
    if (rc == 0)
        rc = build_strs(b, m->methods, m->n_methods, &r->methods);
    if (rc == 0)
        rc = build_texts(b, m->headers, m->n_headers, &r->headers, &r->n_headers);
    if (rc == 0)
        rc = build_texts(b, m->query, m->n_query, &r->query, &r->n_query);
    if (rc == 0 && m->path_how == ROUTE_PATH_REGEX)
        rc = route_regex_new(m->path, &r->path_regex, b->why, b->why_cap);
    r->plain = !r->path_regex && r->n_methods == 0 && r->n_headers == 0 && r->n_query == 0;
    return rc;
}

static int build_index(struct route_table *t)
{
    uint64_t hosts = 0, paths = 0;

    for (uint32_t i = 0; i < t->n; i++) {
        const struct route *r = &t->routes[i];
        hosts += r->n_hosts;
        if (r->path_how == ROUTE_PATH_EXACT || r->path_how == ROUTE_PATH_PREFIX)
            paths += r->n_hosts > 0 ? r->n_hosts : 1;
    }
    t->index = route_index_new(t->arena, hosts, paths);
    if (!t->index)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct route *r = &t->routes[i];
        int rc = 0;
        if (r->n_hosts == 0)
            rc = route_index_add(t->index, STR_NONE, r->path_how, r->path, i);
        for (uint32_t k = 0; k < r->n_hosts && rc == 0; k++)
            rc = route_index_add(t->index, r->hosts[k], r->path_how, r->path, i);
        if (rc < 0)
            return rc;
    }
    return 0;
}

struct route_table *route_table_new(const struct route_match *matches, uint32_t n,
                                    uint32_t *ret_bad, char *why_out, size_t why_cap)
{
    struct route_table *t = NULL;
    struct arena *arena = arena_new();
    uint32_t bad = UINT32_MAX;
    int rc = -ENOMEM;

    if (!arena || n > INT_MAX)
        goto fail;
    struct route *routes = arena_alloc(arena, n * sizeof(*routes));
    if (routes)
        t = arena_alloc(arena, sizeof(*t));
    if (!t)
        goto fail;
    t->arena = arena;
    t->routes = routes;
    struct builder b = {arena, why_out, why_cap};
    for (uint32_t i = 0; i < n; i++) {
        t->n = i + 1;
        rc = build_route(&b, &matches[i], &t->routes[i]);
        if (rc < 0) {
            bad = i;
            goto fail;
        }
    }
    if (build_index(t) < 0) {
        rc = -ENOMEM;
        goto fail;
    }
    return t;
fail:
    if (rc == -ENOMEM) {
        bad = UINT32_MAX;
        (void)snprintf(why_out, why_cap, "out of memory");
    }
    *ret_bad = bad;
    if (t)
        (void)route_table_free(t);
    else
        (void)arena_free(arena);
    return NULL;
}

struct route_table *route_table_free(struct route_table *t)
{
    if (!t)
        return NULL;
    for (uint32_t i = 0; i < t->n; i++) {
        struct route *r = &t->routes[i];
        for (uint32_t k = 0; k < r->n_headers; k++)
            route_text_done(&r->headers[k]);
        for (uint32_t k = 0; k < r->n_query; k++)
            route_text_done(&r->query[k]);
        r->path_regex = route_regex_free(r->path_regex);
    }
    (void)arena_free(t->arena);
    return NULL;
}

/* --- matching ------------------------------------------------------------------------------ */

/* The conditions beside host and path. What is undecided yields to a plain no: then it does not
 * matter. The dearest come last. */
static enum route_answer rest_holds(const struct route *r, const struct route_request *q,
                                    struct route_scratch *scratch)
{
    enum route_answer all = ROUTE_YES;
    bool method = r->n_methods == 0;

    for (uint32_t i = 0; i < r->n_methods && !method; i++)
        method = str_eq(r->methods[i], q->method);
    if (!method)
        return ROUTE_NO;
    for (uint32_t i = 0; i < r->n_headers + r->n_query; i++) {
        enum route_answer a = i < r->n_headers
                                  ? route_text_header(&r->headers[i], q, scratch)
                                  : route_text_query(&r->query[i - r->n_headers], q, scratch);
        if (a == ROUTE_NO)
            return ROUTE_NO;
        if (a == ROUTE_UNDECIDED)
            all = ROUTE_UNDECIDED;
    }
    if (r->path_regex) {
        enum route_answer a = route_regex_match(r->path_regex, q->path, scratch);
        if (a != ROUTE_YES)
            return a;
    }
    return all;
}

static bool host_holds(const struct route *r, struct str host)
{
    if (r->n_hosts == 0)
        return true;
    host = route_host_name(host);
    for (uint32_t i = 0; i < r->n_hosts; i++) {
        struct str h = r->hosts[i];
        if (str_eq(h, STR("*")) || str_ieq(h, host))
            return true;
        if (h.p[0] == '*' && host.n >= h.n &&
            str_ieq((struct str){h.p + 1, h.n - 1},
                    (struct str){host.p + host.n - h.n + 1, h.n - 1}))
            return true;
    }
    return false;
}

static bool path_holds(const struct route *r, struct str path)
{
    if (r->path_how == ROUTE_PATH_EXACT)
        return str_eq(r->path, path);
    if (r->path_how == ROUTE_PATH_PREFIX)
        return str_starts(path, r->path) && (path.n == r->path.n || path.p[r->path.n] == '/');
    return true;
}

/* For tables whose prefixes or wildcards lie so deep in one another that a request finds more
 * lists than there is room for. */
static int match_by_scan(const struct route_table *t, const struct route_request *q,
                         struct route_scratch *scratch)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const struct route *r = &t->routes[i];
        if (!host_holds(r, q->host) || !path_holds(r, q->path))
            continue;
        enum route_answer a = rest_holds(r, q, scratch);
        if (a != ROUTE_NO)
            return a == ROUTE_YES ? (int)i : ROUTE_LIMIT;
    }
    return ROUTE_NONE;
}

int route_table_match(const struct route_table *t, const struct route_request *q,
                      struct route_scratch *scratch)
{
    const struct route_candidate *heads[LISTS_MAX];
    uint32_t n = route_index_find(t->index, q->host, q->path, heads, LISTS_MAX);

    if (n == UINT32_MAX)
        return match_by_scan(t, q, scratch);
    while (n > 0) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < n; i++) {
            if (heads[i]->route < heads[best]->route)
                best = i;
        }
        uint32_t at = heads[best]->route;
        const struct route *r = &t->routes[at];
        enum route_answer a = r->plain ? ROUTE_YES : rest_holds(r, q, scratch);
        if (a != ROUTE_NO)
            return a == ROUTE_YES ? (int)at : ROUTE_LIMIT;
        heads[best] = heads[best]->next;
        if (!heads[best])
            heads[best] = heads[--n];
    }
    return ROUTE_NONE;
}
