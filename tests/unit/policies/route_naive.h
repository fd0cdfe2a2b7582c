/* route_naive.h - random route tables and requests, and what the right answer is: every condition
 * of every route, in file order, each written down again in the plainest way. Shared by the unit
 * test and the fuzz target; the bytes that decide come from either. */
#ifndef SLUICE_TESTS_ROUTE_NAIVE_H
#define SLUICE_TESTS_ROUTE_NAIVE_H

#include "base/check.h"
#include "policies/route.h"

#include <stdio.h>

struct source {
    const uint8_t *p;
    size_t n;
};

/* 0 when there are no more bytes. */
static inline uint32_t take(struct source *s, uint32_t below)
{
    if (s->n == 0)
        return 0;
    s->n--;
    return *s->p++ % below;
}

/* --- regular expressions, and the same by hand ------------------------------------------------ */

static inline bool naive_digits(struct str s)
{
    bool all = s.n > 1 && s.p[0] == '/';
    for (size_t i = 1; i < s.n; i++)
        all = all && s.p[i] >= '0' && s.p[i] <= '9';
    return all;
}

static inline bool naive_begins_a(struct str s)
{
    return s.n >= 2 && s.p[0] == '/' && s.p[1] == 'a';
}

static inline bool naive_either(struct str s)
{
    return str_eq(s, STR("/a/b")) || str_eq(s, STR("/b/b"));
}

static inline bool naive_ends_b(struct str s)
{
    return s.n >= 1 && s.p[s.n - 1] == 'b';
}

static inline bool naive_as(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != 'a')
            return false;
    }
    return s.n > 0;
}

static const struct naive_regex {
    struct str pattern;
    bool (*holds)(struct str s);
} naive_regexes[] = {
    {{"/[0-9]+", 7}, naive_digits}, {{"/a.*", 4}, naive_begins_a}, {{"/(a|b)/b", 8}, naive_either},
    {{".*b", 3}, naive_ends_b},     {{"a+|zzz", 6}, naive_as},
};

static inline bool naive_regex(struct str pattern, struct str subject)
{
    for (size_t i = 0; i < ARRAY_LEN(naive_regexes); i++) {
        if (str_eq(naive_regexes[i].pattern, pattern))
            return naive_regexes[i].holds(subject);
    }
    return false;
}

/* --- the answer ------------------------------------------------------------------------------- */

struct naive_header {
    struct str name, value;
};

struct naive_request {
    struct route_request r;
    struct naive_header headers[3];
    uint32_t n_headers;
};

static inline struct str naive_header(const void *ctx, struct str name)
{
    const struct naive_request *q = ctx;
    for (uint32_t i = 0; i < q->n_headers; i++) {
        if (str_ieq(q->headers[i].name, name))
            return q->headers[i].value;
    }
    return STR_NONE;
}

static inline bool naive_host(struct str pattern, struct str host)
{
    while (host.n > 0 && host.p[host.n - 1] >= '0' && host.p[host.n - 1] <= '9' &&
           memchr(host.p, ':', host.n))
        host.n--;
    if (host.n > 0 && host.p[host.n - 1] == ':')
        host.n--;
    if (str_eq(pattern, STR("*")))
        return true;
    if (pattern.p[0] != '*')
        return str_ieq(pattern, host);
    for (size_t i = 1; i < host.n; i++) {
        if (str_ieq((struct str){pattern.p + 1, pattern.n - 1},
                    (struct str){host.p + i, host.n - i}))
            return true;
    }
    return false;
}

static inline bool naive_path(const struct route_match *m, struct str path)
{
    struct str p = m->path;
    switch (m->path_how) {
    case ROUTE_PATH_ANY:
        return true;
    case ROUTE_PATH_EXACT:
        return str_eq(p, path);
    case ROUTE_PATH_PREFIX:
        while (p.n > 0 && p.p[p.n - 1] == '/')
            p.n--;
        return p.n == 0 || (str_starts(path, p) && (path.n == p.n || path.p[p.n] == '/'));
    case ROUTE_PATH_REGEX:
        return naive_regex(p, path);
    }
    return false;
}

static inline bool naive_text(const struct route_condition *c, bool there, struct str value)
{
    bool holds = false;
    if (there && c->how == ROUTE_TEXT_PRESENT)
        holds = true;
    if (there && c->how == ROUTE_TEXT_EXACT)
        holds = str_eq(value, c->value);
    if (there && c->how == ROUTE_TEXT_PREFIX)
        holds = str_starts(value, c->value);
    if (there && c->how == ROUTE_TEXT_REGEX)
        holds = naive_regex(c->value, value);
    return holds != c->invert;
}

static inline struct str naive_decode(struct str s, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned v;
        char hex[3] = {0};
        if (s.p[i] == '%' && i + 2 < s.n)
            memcpy(hex, s.p + i + 1, 2);
        if (strspn(hex, "0123456789abcdefABCDEF") == 2 && sscanf(hex, "%2x", &v) == 1) {
            out[n++] = (char)v;
            i += 2;
        } else {
            out[n++] = s.p[i];
        }
    }
    return (struct str){out, n};
}

static inline bool naive_query(const struct route_condition *c, struct str query)
{
    size_t at = 0;
    while (at < query.n) {
        char name_out[512], value_out[512];
        size_t end = at, equals;
        while (end < query.n && query.p[end] != '&')
            end++;
        equals = at;
        while (equals < end && query.p[equals] != '=')
            equals++;
        struct str name = naive_decode((struct str){query.p + at, equals - at}, name_out);
        if (str_eq(name, c->name)) {
            size_t from = equals < end ? equals + 1 : end;
            struct str value = naive_decode((struct str){query.p + from, end - from}, value_out);
            return naive_text(c, true, value);
        }
        at = end + 1;
    }
    return naive_text(c, false, STR_NONE);
}

static inline bool naive_holds(const struct route_match *m, const struct naive_request *q)
{
    bool host = m->n_hosts == 0, method = m->n_methods == 0;
    for (uint32_t i = 0; i < m->n_hosts; i++)
        host = host || naive_host(m->hosts[i], q->r.host);
    for (uint32_t i = 0; i < m->n_methods; i++)
        method = method || str_eq(m->methods[i], q->r.method);
    bool all = host && method && naive_path(m, q->r.path);
    for (uint32_t i = 0; i < m->n_headers; i++) {
        struct str value = naive_header(q, m->headers[i].name);
        all = all && naive_text(&m->headers[i], value.p != NULL, value);
    }
    for (uint32_t i = 0; i < m->n_query; i++)
        all = all && naive_query(&m->query[i], q->r.query);
    return all;
}

static inline int naive_match(const struct route_match *m, uint32_t n,
                              const struct naive_request *q)
{
    for (uint32_t i = 0; i < n; i++) {
        if (naive_holds(&m[i], q))
            return (int)i;
    }
    return ROUTE_NONE;
}

/* --- random tables and requests --------------------------------------------------------------- */

enum { NAIVE_ROUTES = 64, NAIVE_POOL = 64 * 1024 };

/* Holds the strings of one table and one request. */
struct naive_world {
    struct route_match match[NAIVE_ROUTES];
    uint32_t n;
    struct str hosts[NAIVE_ROUTES][2], methods[NAIVE_ROUTES][2];
    struct route_condition conds[NAIVE_ROUTES][4];
    struct naive_request request;
    char pool[NAIVE_POOL];
    size_t used, used_by_table;
};

static inline struct str world_put(struct naive_world *w, const char *text, size_t n)
{
    CHECK(w->used + n <= NAIVE_POOL);
    char *at = w->pool + w->used;
    memcpy(at, text, n);
    w->used += n;
    return (struct str){at, n};
}

/* Few words, so that routes and requests meet. */
static inline struct str random_words(struct naive_world *w, struct source *s,
                                      const char *const *words, uint32_t n_words, char between,
                                      bool leading, uint32_t most)
{
    char text[256];
    size_t n = 0;
    uint32_t count = take(s, most + 1);
    for (uint32_t i = 0; i < count; i++) {
        const char *word = words[take(s, n_words)];
        size_t len = strlen(word);
        if (i > 0 || leading)
            text[n++] = between;
        memcpy(text + n, word, len);
        n += len;
    }
    return world_put(w, text, n);
}

static inline struct str random_path(struct naive_world *w, struct source *s)
{
    static const char *const words[] = {"a", "b", "ab", "1", ""};
    struct str p = random_words(w, s, words, ARRAY_LEN(words), '/', true, 5);
    return p.n > 0 ? p : STR("/");
}

static inline struct str random_host(struct naive_world *w, struct source *s)
{
    static const char *const words[] = {"a", "B", "b", "A"};
    return random_words(w, s, words, ARRAY_LEN(words), '.', false, 4);
}

static inline struct str random_value(struct naive_world *w, struct source *s, bool encoded)
{
    static const char *const plain[] = {"a", "b", "%", "%4", "A"};
    static const char *const coded[] = {"a", "b", "%61", "%62", "%", "%4", "%2", "%00", "="};
    return encoded ? random_words(w, s, coded, ARRAY_LEN(coded), 'a', false, 3)
                   : random_words(w, s, plain, ARRAY_LEN(plain), 'a', false, 2);
}

static inline void random_conditions(struct naive_world *w, struct source *s,
                                     struct route_condition *c, uint32_t *ret_n)
{
    static const struct str names[] = {{"a", 1}, {"B", 1}, {"ab", 2}};
    *ret_n = take(s, 6) == 0 ? 1 + take(s, 2) : 0;
    for (uint32_t i = 0; i < *ret_n; i++) {
        c[i].name = names[take(s, ARRAY_LEN(names))];
        c[i].how = (enum route_text_match)take(s, 4);
        c[i].value = c[i].how == ROUTE_TEXT_REGEX
                         ? naive_regexes[take(s, ARRAY_LEN(naive_regexes))].pattern
                         : random_value(w, s, false);
        c[i].invert = take(s, 3) == 0;
    }
}

static inline struct str random_method(struct source *s)
{
    static const struct str methods[] = {{"GET", 3}, {"POST", 4}, {"get", 3}};
    return methods[take(s, ARRAY_LEN(methods))];
}

static inline void random_table(struct naive_world *w, struct source *s, uint32_t most)
{
    w->used = 0;
    w->n = take(s, most + 1);
    for (uint32_t i = 0; i < w->n; i++) {
        struct route_match *m = &w->match[i];
        *m = (struct route_match){.hosts = w->hosts[i],
                                  .methods = w->methods[i],
                                  .headers = w->conds[i],
                                  .query = w->conds[i] + 2};
        m->n_hosts = take(s, 3);
        for (uint32_t k = 0; k < m->n_hosts; k++) {
            static const struct str wild[] = {{"*.", 2}, {"", 0}};
            struct str star = wild[take(s, 2)];
            size_t from = w->used;
            (void)world_put(w, star.p, star.n);
            if (random_host(w, s).n == 0)
                (void)world_put(w, "b", 1);
            w->hosts[i][k] =
                take(s, 10) == 0 ? STR("*") : (struct str){w->pool + from, w->used - from};
        }
        m->path_how = (enum route_path_match)take(s, 4);
        m->path = m->path_how == ROUTE_PATH_REGEX
                      ? naive_regexes[take(s, ARRAY_LEN(naive_regexes))].pattern
                      : random_path(w, s);
        m->n_methods = take(s, 4) == 0 ? 1 + take(s, 2) : 0;
        for (uint32_t k = 0; k < m->n_methods; k++)
            w->methods[i][k] = random_method(s);
        random_conditions(w, s, w->conds[i], &m->n_headers);
        random_conditions(w, s, w->conds[i] + 2, &m->n_query);
    }
    w->used_by_table = w->used;
}

static inline void random_request(struct naive_world *w, struct source *s)
{
    static const struct str names[] = {{"A", 1}, {"b", 1}, {"Ab", 2}};
    struct naive_request *q = &w->request;
    w->used = w->used_by_table; /* the last request's strings go */
    *q = (struct naive_request){.r.header = naive_header, .r.ctx = q};
    q->r.method = random_method(s);
    size_t from = w->used;
    (void)random_host(w, s);
    if (take(s, 4) == 0)
        (void)world_put(w, ":8080", 5);
    q->r.host = (struct str){w->pool + from, w->used - from};
    q->r.path = random_path(w, s);
    q->n_headers = take(s, 4);
    for (uint32_t i = 0; i < q->n_headers; i++) {
        q->headers[i].name = names[take(s, ARRAY_LEN(names))];
        q->headers[i].value = random_value(w, s, false);
    }
    uint32_t params = take(s, 4);
    from = w->used;
    for (uint32_t i = 0; i < params; i++) {
        static const char *const keys[] = {"a", "B", "%61b", "", "ab", "%42", "%6"};
        const char *key = keys[take(s, ARRAY_LEN(keys))];
        if (i > 0)
            (void)world_put(w, "&", 1);
        (void)world_put(w, key, strlen(key));
        if (take(s, 4) > 0) {
            (void)world_put(w, "=", 1);
            (void)random_value(w, s, true);
        }
    }
    q->r.query = (struct str){w->pool + from, w->used - from};
}

#endif
