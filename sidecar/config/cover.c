/* cover.c - whether earlier routes leave any request for a later one.
 *
 * A route stands in the index once for each of its hosts with each of its methods, under its path.
 * A later route is covered where each of its own such pairs finds an entry: of its host or a
 * wildcard above it, its method or any, its path or a prefix of it, its conditions or none. */
#include "config/cover.h"

#include "base/check.h"

#include <errno.h>

struct key {
    struct str host;   /* empty: any */
    struct str method; /* empty: any */
    enum route_path_match how;
    struct str path; /* ANY: empty */
    const struct route_match *conditions;
    uint64_t digest; /* of the conditions */
    size_t digested; /* bytes of them */
    bool bare;       /* without conditions, whatever they are */
};

void cover_init(struct cover *x, struct arena *arena)
{
    *x = (struct cover){.arena = arena};
    hash_index_init(&x->index, arena);
}

/* ---- what a key is ---- */

static struct str host_of(const struct route_match *m, uint32_t i)
{
    return m->n_hosts > 0 ? m->hosts[i] : STR("");
}

static struct str method_of(const struct route_match *m, uint32_t i)
{
    return m->n_methods > 0 ? m->methods[i] : STR("");
}

/* Hosts or methods: none stands for one, which is any. */
static uint32_t count_of(uint32_t n)
{
    return n > 0 ? n : 1;
}

/* The path as routing takes it: a prefix without its last '/'. */
static struct str path_of(const struct route_match *m, enum route_path_match *ret_how)
{
    struct str path = m->path;
    *ret_how = m->path_how;
    if (m->path_how == ROUTE_PATH_PREFIX) {
        while (path.n > 0 && path.p[path.n - 1] == '/')
            path.n--;
        if (path.n == 0)
            *ret_how = ROUTE_PATH_ANY;
    }
    return *ret_how == ROUTE_PATH_ANY ? STR("") : path;
}

static uint64_t hash_lower(uint64_t h, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        h = hash_bytes(h, (struct str){&c, 1});
    }
    return hash_number(h, s.n);
}

static uint64_t hash_list(uint64_t h, const struct route_condition *list, uint32_t n, size_t *bytes)
{
    for (uint32_t i = 0; i < n; i++) {
        h = hash_lower(h, list[i].name);
        h = hash_number(hash_bytes(h, list[i].value), list[i].how * 2u + list[i].invert);
        *bytes += list[i].name.n + list[i].value.n;
    }
    return hash_number(h, n);
}

/* Of all conditions; how long they are goes to *bytes. */
static uint64_t digest_of(const struct route_match *m, size_t *bytes)
{
    uint64_t h = hash_list(HASH_BEGIN, m->headers, m->n_headers, bytes);
    return hash_list(h, m->query, m->n_query, bytes);
}

static bool list_equal(const struct route_condition *a, uint32_t n_a,
                       const struct route_condition *b, uint32_t n_b, bool header)
{
    if (n_a != n_b)
        return false;
    for (uint32_t i = 0; i < n_a; i++) {
        bool name = header ? str_ieq(a[i].name, b[i].name) : str_eq(a[i].name, b[i].name);
        if (!name || a[i].how != b[i].how || a[i].invert != b[i].invert ||
            !str_eq(a[i].value, b[i].value))
            return false;
    }
    return true;
}

static bool bare(const struct route_match *m)
{
    return m->n_headers == 0 && m->n_query == 0;
}

static bool conditions_equal(const struct route_match *a, const struct key *k)
{
    if (k->bare)
        return bare(a);
    const struct route_match *b = k->conditions;
    return list_equal(a->headers, a->n_headers, b->headers, b->n_headers, true) &&
           list_equal(a->query, a->n_query, b->query, b->n_query, false);
}

static bool key_is(const struct cover_entry *e, const struct key *k)
{
    enum route_path_match how;
    struct str path = path_of(e->match, &how);
    return how == k->how && str_eq(path, k->path) && str_ieq(host_of(e->match, e->host), k->host) &&
           str_eq(method_of(e->match, e->method), k->method) && conditions_equal(e->match, k);
}

/* What stands before the path in a hash, so that prefixes of it cost one step each. */
static uint64_t hash_front(const struct key *k)
{
    uint64_t h = hash_lower(HASH_BEGIN, k->host);
    h = hash_number(hash_bytes(h, k->method), k->method.n);
    return k->bare ? h : hash_number(h, k->digest);
}

static uint32_t hash_key(uint64_t front_and_path, enum route_path_match how)
{
    return hash_end(hash_number(front_and_path, how));
}

/* ---- looking ---- */

/* The route, or HASH_NONE. */
static uint32_t find(struct cover *x, const struct key *k, uint64_t front_and_path)
{
    uint32_t hash = hash_key(front_and_path, k->how), at = 0, i;
    x->lookups++;
    while ((i = hash_index_next(&x->index, hash, &at)) != HASH_NONE) {
        if (key_is(&x->entries[i], k))
            return x->entries[i].route;
    }
    return HASH_NONE;
}

static uint32_t lower_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t find_any_path(struct cover *x, struct key k)
{
    k.how = ROUTE_PATH_ANY;
    k.path = STR("");
    return find(x, &k, hash_front(&k));
}

/* By a prefix that is shorter, or for an exact path the same: the prefix /a takes /a and /a/. */
static uint32_t find_prefix(struct cover *x, struct key k)
{
    struct str whole = k.path;
    bool exact = k.how == ROUTE_PATH_EXACT;
    uint64_t h = hash_front(&k);
    uint32_t by = HASH_NONE;

    while (whole.n > 0 && whole.p[whole.n - 1] == '/')
        whole.n--;
    k.how = ROUTE_PATH_PREFIX;
    for (size_t i = 0; i <= whole.n; i++) {
        if (i > 0 && (i == whole.n ? exact : whole.p[i] == '/')) {
            k.path = (struct str){whole.p, i};
            by = lower_of(by, find(x, &k, h));
        }
        if (i < whole.n)
            h = hash_bytes(h, (struct str){whole.p + i, 1});
    }
    return by;
}

/* The first route that takes the path of the key under its host, method and conditions. */
static uint32_t find_path(struct cover *x, const struct key *k)
{
    size_t bytes = k->host.n + k->method.n + k->path.n + (k->bare ? 0 : k->digested);
    uint32_t by = find_any_path(x, *k);
    x->lookups += bytes / COVER_BYTES_PER_LOOKUP;
    if (k->how == ROUTE_PATH_EXACT || k->how == ROUTE_PATH_PREFIX)
        by = lower_of(by, find_prefix(x, *k));
    if (k->how != ROUTE_PATH_ANY)
        by = lower_of(by, find(x, k, hash_bytes(hash_front(k), k->path)));
    return by;
}

/* With the method or any, the conditions or none. */
static uint32_t find_host(struct cover *x, struct key k, struct str host)
{
    struct str method = k.method;
    bool is_bare = k.bare;
    uint32_t by = HASH_NONE;

    k.host = host;
    for (unsigned i = 0; i < 4; i++) {
        if ((!(i & 1) && is_bare) || (!(i & 2) && method.n == 0))
            continue;
        k.bare = i & 1;
        k.method = i & 2 ? STR("") : method;
        by = lower_of(by, find_path(x, &k));
    }
    return by;
}

/* With the host, any host, and the wildcards above it. */
static uint32_t find_pair(struct cover *x, const struct key *k)
{
    char above[256] = "*";
    struct str host = k->host;
    uint32_t by = find_host(x, *k, STR(""));
    if (host.n > 0)
        by = lower_of(by, find_host(x, *k, host));
    for (size_t i = 1; i < host.n; i++) {
        if (host.p[i] != '.' || (i == 1 && host.p[0] == '*') || host.n - i >= sizeof(above))
            continue;
        memcpy(above + 1, host.p + i, host.n - i);
        by = lower_of(by, find_host(x, *k, (struct str){above, host.n - i + 1}));
    }
    return by;
}

/* ---- adding ---- */

static int add_entry(struct cover *x, const struct cover_entry *e, const struct key *k)
{
    uint64_t h = hash_bytes(hash_front(k), k->path);
    if (find(x, k, h) != HASH_NONE) /* the first of them says it all */
        return 0;
    if (x->n == x->cap) {
        uint32_t cap = x->cap ? x->cap * 2 : 64;
        struct cover_entry *more = arena_alloc(x->arena, cap * sizeof(*more));
        if (!more)
            return -ENOMEM;
        if (x->n > 0)
            memcpy(more, x->entries, x->n * sizeof(*more));
        x->entries = more;
        x->cap = cap;
    }
    if (hash_index_add(&x->index, hash_key(h, k->how), x->n) < 0)
        return -ENOMEM;
    x->entries[x->n++] = *e;
    x->lookups += COVER_ADD_COST;
    return 0;
}

static int add(struct cover *x, const struct route_match *m, uint32_t route, struct key k)
{
    for (uint32_t i = 0; i < count_of(m->n_hosts); i++) {
        for (uint32_t j = 0; j < count_of(m->n_methods); j++) {
            struct cover_entry e = {.match = m, .route = route, .host = i, .method = j};
            if (x->lookups >= COVER_LOOKUPS_MAX)
                return 0;
            k.host = host_of(m, i);
            k.method = method_of(m, j);
            int rc = add_entry(x, &e, &k);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

/* Whether all of its pairs are covered. */
static bool ask(struct cover *x, const struct route_match *m, struct key k, uint32_t *ret_by,
                bool *ret_several)
{
    uint32_t by = HASH_NONE;
    bool several = false;
    for (uint32_t i = 0; i < count_of(m->n_hosts); i++) {
        for (uint32_t j = 0; j < count_of(m->n_methods); j++) {
            k.host = host_of(m, i);
            k.method = method_of(m, j);
            uint32_t one = x->lookups < COVER_LOOKUPS_MAX ? find_pair(x, &k) : HASH_NONE;
            if (one == HASH_NONE)
                return false;
            several = several || (by != HASH_NONE && one != by);
            by = by == HASH_NONE || one > by ? one : by;
        }
    }
    *ret_by = by;
    *ret_several = several;
    return true;
}

int cover_add(struct cover *x, const struct route_match *m, uint32_t route, uint32_t *ret_by,
              bool *ret_several)
{
    struct key k = {.conditions = m, .bare = bare(m)};

    *ret_by = HASH_NONE;
    *ret_several = false;
    k.path = path_of(m, &k.how);
    k.digest = k.bare ? 0 : digest_of(m, &k.digested);
    /* What a covered route takes, those that cover it take too: it is not added. */
    return ask(x, m, k, ret_by, ret_several) ? 0 : add(x, m, route, k);
}
