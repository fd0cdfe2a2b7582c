/* learn_pattern.c - what a request looks like, from its text. */
#include "policies/learn.h"

#include <errno.h>

static int refuse(struct template_problem *problem, const char *what, size_t at)
{
    *problem = (struct template_problem){.what = what, .at = at};
    return -EINVAL;
}

/* A value ends where the next literal begins: two in a row have no border. */
static int compile(struct arena *a, struct str text, size_t offset, const struct str *names,
                   uint32_t n, struct template *ret, struct template_problem *problem)
{
    int rc = template_compile(a, text, TEMPLATE_PLAIN, names, n, ret, problem);
    if (rc == -EINVAL)
        problem->at += offset;
    for (uint32_t i = 1; rc == 0 && i + 1 < ret->n; i++) {
        if (ret->pieces[i].literal.n == 0)
            return refuse(problem, "two values need something between them", offset);
    }
    return rc;
}

static int add_pair(struct arena *a, struct str item, size_t offset, const struct str *names,
                    uint32_t n, struct learn_pair *pair, struct template_problem *problem)
{
    const char *eq = item.n > 0 ? memchr(item.p, '=', item.n) : NULL;
    if (!eq || eq == item.p)
        return refuse(problem, "name=value is expected", offset);
    struct str name = {item.p, (size_t)(eq - item.p)};
    struct str value = {eq + 1, item.n - name.n - 1};
    if (memchr(name.p, '{', name.n))
        return refuse(problem, "the name is no value", offset);
    pair->name = arena_str(a, name);
    if (!pair->name.p)
        return -ENOMEM;
    return compile(a, value, offset + name.n + 1, names, n, &pair->value, problem);
}

static int compile_query(struct arena *a, struct str query, size_t offset, const struct str *names,
                         uint32_t n, struct learn_pattern *p, struct template_problem *problem)
{
    uint32_t most = 1;
    for (size_t i = 0; i < query.n; i++)
        most += query.p[i] == '&';
    p->query = arena_alloc(a, most * sizeof(*p->query));
    if (!p->query)
        return -ENOMEM;
    while (query.n > 0) {
        const char *end = memchr(query.p, '&', query.n);
        struct str item = {query.p, end ? (size_t)(end - query.p) : query.n};
        int rc = add_pair(a, item, offset, names, n, &p->query[p->n_query], problem);
        if (rc < 0)
            return rc;
        p->n_query++;
        size_t used = item.n + (end ? 1 : 0);
        query = (struct str){query.p + used, query.n - used};
        offset += used;
    }
    return 0;
}

int learn_pattern_compile(struct arena *a, struct str text, const struct str *names, uint32_t n,
                          struct learn_pattern *ret, struct template_problem *problem)
{
    struct learn_pattern p = *ret;
    const char *mark = text.n > 0 ? memchr(text.p, '?', text.n) : NULL;
    struct str path = {text.p, mark ? (size_t)(mark - text.p) : text.n};
    p.any_path = path.n == 0;
    int rc = 0;
    if (path.n > 0 && path.p[0] != '/')
        return refuse(problem, "it begins with \"/\"", 0);
    if (path.n > 0)
        rc = compile(a, path, 0, names, n, &p.path, problem);
    if (rc == 0 && mark) {
        struct str query = {mark + 1, text.n - path.n - 1};
        rc = compile_query(a, query, path.n + 1, names, n, &p, problem);
    }
    if (rc == 0)
        *ret = p;
    return rc;
}

static int add_cookies(struct arena *a, struct str value, const struct str *names, uint32_t n,
                       struct learn_pattern *p, struct template_problem *problem)
{
    struct str rest = value;
    uint32_t most = 1;
    for (size_t i = 0; i < value.n; i++)
        most += value.p[i] == ';';
    p->cookies = arena_alloc(a, most * sizeof(*p->cookies));
    if (!p->cookies)
        return -ENOMEM;
    p->n_cookies = 0;
    while (rest.n > 0) {
        const char *end = memchr(rest.p, ';', rest.n);
        struct str item = {rest.p, end ? (size_t)(end - rest.p) : rest.n};
        size_t used = item.n + (end ? 1 : 0);
        struct str crumb = str_trim(item);
        rest = (struct str){rest.p + used, rest.n - used};
        if (crumb.n == 0)
            continue;
        int rc = add_pair(a, crumb, (size_t)(crumb.p - value.p), names, n,
                          &p->cookies[p->n_cookies], problem);
        if (rc < 0)
            return rc;
        p->n_cookies++;
    }
    return 0;
}

int learn_pattern_header(struct arena *a, struct str name, struct str value,
                         const struct str *names, uint32_t n, struct learn_pattern *p,
                         struct template_problem *problem)
{
    if (str_ieq(name, STR("cookie")))
        return add_cookies(a, value, names, n, p, problem);
    struct learn_pair *pair = &p->headers[p->n_headers];
    pair->name = arena_str(a, name);
    if (!pair->name.p)
        return -ENOMEM;
    int rc = compile(a, value, 0, names, n, &pair->value, problem);
    if (rc == 0)
        p->n_headers++;
    return rc;
}

uint32_t learn_pattern_gives(const struct learn_pattern *p)
{
    uint32_t bits = p->path.uses;
    for (uint32_t i = 0; i < p->n_query; i++)
        bits |= p->query[i].value.uses;
    for (uint32_t i = 0; i < p->n_headers; i++)
        bits |= p->headers[i].value.uses;
    for (uint32_t i = 0; i < p->n_cookies; i++)
        bits |= p->cookies[i].value.uses;
    return bits;
}
