/* route_index.c - hosts and paths to the routes that may take them. */
#include "policies/route_index.h"

#include "base/check.h"

#include <errno.h>

enum { HOSTS_FOUND_MAX = 16 };

/* A host pattern in lower case, a wildcard without its '*'; or a path pattern of one host. */
struct pattern {
    struct str text;
    uint32_t space; /* which patterns it is among */
    uint32_t hash;
    struct route_candidate *first, *last; /* of a host: routes under any path */
    /* of a host */
    uint32_t id;
    size_t exact_below, prefix_below; /* its paths are shorter than this; 0: it has none */
};

struct slot {
    uint32_t hash;
    uint32_t pattern; /* from 1; 0: free */
};

/* Open addressing, never more than half full. */
struct map {
    struct slot *slots;
    struct pattern *patterns;
    uint32_t mask, n, cap;
};

enum { SPACE_HOST_EXACT, SPACE_HOST_WILDCARD };

struct route_index {
    struct arena *arena;
    struct map hosts, paths;
    struct pattern any_host;
    size_t host_longest;
};

/* FNV-1a, which can be taken byte by byte up to each boundary. Only the operator's patterns are
 * in the tables, so a peer cannot fill a chain. */
#define HASH_SEED  UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)

static inline uint64_t hash_byte(uint64_t h, char c)
{
    return (h ^ (unsigned char)c) * HASH_PRIME;
}

static inline uint32_t hash_end(uint64_t h, uint32_t space)
{
    h += space * UINT64_C(0x9e3779b97f4a7c15);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(h >> 32);
}

static uint32_t path_space(uint32_t host_id, bool exact)
{
    return host_id * 2 + exact;
}

static int map_init(struct map *m, struct arena *arena, uint64_t cap)
{
    uint64_t slots = 4;
    if (cap == 0)
        return 0;
    if (cap > UINT32_MAX / 4)
        return -ENOMEM;
    while (slots < cap * 2)
        slots *= 2;
    m->slots = arena_alloc(arena, slots * sizeof(*m->slots));
    m->patterns = arena_alloc(arena, cap * sizeof(*m->patterns));
    if (!m->slots || !m->patterns)
        return -ENOMEM;
    m->mask = (uint32_t)slots - 1;
    m->cap = (uint32_t)cap;
    return 0;
}

static struct pattern *map_find(const struct map *m, uint32_t space, uint32_t hash, struct str text)
{
    for (uint32_t i = hash & m->mask; m->slots[i].pattern != 0; i = (i + 1) & m->mask) {
        if (m->slots[i].hash != hash)
            continue;
        struct pattern *p = &m->patterns[m->slots[i].pattern - 1];
        if (p->space == space && str_eq(p->text, text))
            return p;
    }
    return NULL;
}

/* The pattern, new when it was not there. The text is not copied. */
static struct pattern *map_get(struct map *m, uint32_t space, uint32_t hash, struct str text)
{
    struct pattern *p = map_find(m, space, hash, text);
    if (p)
        return p;
    CHECK(m->n < m->cap);
    uint32_t i = hash & m->mask;
    while (m->slots[i].pattern != 0)
        i = (i + 1) & m->mask;
    p = &m->patterns[m->n++];
    *p = (struct pattern){.text = text, .space = space, .hash = hash, .id = m->n};
    m->slots[i] = (struct slot){.hash = hash, .pattern = m->n};
    return p;
}

struct route_index *route_index_new(struct arena *arena, uint64_t hosts, uint64_t paths)
{
    struct route_index *x = arena_alloc(arena, sizeof(*x));
    if (!x)
        return NULL;
    x->arena = arena;
    if (map_init(&x->hosts, arena, hosts) < 0 || map_init(&x->paths, arena, paths) < 0)
        return NULL;
    return x;
}

static int list_append(struct route_index *x, struct pattern *p, uint32_t route)
{
    if (p->last && p->last->route == route) /* the same host twice in one route */
        return 0;
    struct route_candidate *c = arena_alloc(x->arena, sizeof(*c));
    if (!c)
        return -ENOMEM;
    CHECK(!p->last || p->last->route < route);
    c->route = route;
    if (p->last)
        p->last->next = c;
    else
        p->first = c;
    p->last = c;
    return 0;
}

/* NULL when memory is short. */
static struct pattern *host_get(struct route_index *x, struct str host)
{
    if (host.n == 0 || str_eq(host, STR("*")))
        return &x->any_host;
    bool wildcard = host.p[0] == '*';
    if (wildcard)
        host = (struct str){host.p + 1, host.n - 1};
    char *lower = arena_alloc(x->arena, host.n);
    uint64_t h = HASH_SEED;
    if (!lower)
        return NULL;
    for (size_t i = host.n; i-- > 0;) {
        lower[i] = ascii_lower(host.p[i]);
        h = hash_byte(h, lower[i]);
    }
    uint32_t space = wildcard ? SPACE_HOST_WILDCARD : SPACE_HOST_EXACT;
    if (host.n > x->host_longest)
        x->host_longest = host.n;
    return map_get(&x->hosts, space, hash_end(h, space), (struct str){lower, host.n});
}

int route_index_add(struct route_index *x, struct str host, enum route_path_match how,
                    struct str path, uint32_t route)
{
    struct pattern *h = host_get(x, host);
    if (!h)
        return -ENOMEM;
    if (how != ROUTE_PATH_EXACT && how != ROUTE_PATH_PREFIX)
        return list_append(x, h, route);
    bool exact = how == ROUTE_PATH_EXACT;
    size_t *below = exact ? &h->exact_below : &h->prefix_below;
    uint32_t space = path_space(h->id, exact);
    uint64_t hash = HASH_SEED;
    for (size_t i = 0; i < path.n; i++)
        hash = hash_byte(hash, path.p[i]);
    if (path.n >= *below)
        *below = path.n + 1;
    return list_append(x, map_get(&x->paths, space, hash_end(hash, space), path), route);
}

struct str route_host_name(struct str host)
{
    size_t n = host.n;
    while (n > 0 && host.p[n - 1] >= '0' && host.p[n - 1] <= '9')
        n--;
    /* "[::1]" ends in ']', so its colons are never taken for a port's. */
    return n > 0 && host.p[n - 1] == ':' ? (struct str){host.p, n - 1} : host;
}

/* The host patterns that hold; UINT32_MAX: more than HOSTS_FOUND_MAX. */
static uint32_t hosts_find(const struct route_index *x, struct str host,
                           const struct pattern **found)
{
    char lower[ROUTE_HOST_MAX + 1]; /* filled from its end */
    uint64_t h = HASH_SEED;
    uint32_t n = 0;

    found[n++] = &x->any_host;
    if (x->hosts.n == 0)
        return n;
    host = route_host_name(host);
    for (size_t len = 1; len <= host.n && len <= x->host_longest; len++) {
        char c = ascii_lower(host.p[host.n - len]);
        struct str tail = {lower + sizeof(lower) - len, len};
        const struct pattern *p = NULL;
        lower[sizeof(lower) - len] = c;
        h = hash_byte(h, c);
        if (len == host.n)
            p = map_find(&x->hosts, SPACE_HOST_EXACT, hash_end(h, SPACE_HOST_EXACT), tail);
        else if (c == '.')
            p = map_find(&x->hosts, SPACE_HOST_WILDCARD, hash_end(h, SPACE_HOST_WILDCARD), tail);
        if (!p)
            continue;
        if (n == HOSTS_FOUND_MAX)
            return UINT32_MAX;
        found[n++] = p;
    }
    return n;
}

/* Adds the list of a path that holds; false when there is no room for it. */
static bool path_find(const struct route_index *x, const struct pattern *host, bool exact,
                      uint64_t hash, struct str path, const struct route_candidate **heads,
                      uint32_t cap, uint32_t *n)
{
    if (path.n >= (exact ? host->exact_below : host->prefix_below))
        return true;
    uint32_t space = path_space(host->id, exact);
    const struct pattern *p = map_find(&x->paths, space, hash_end(hash, space), path);
    if (!p)
        return true;
    if (*n == cap)
        return false;
    heads[(*n)++] = p->first;
    return true;
}

uint32_t route_index_find(const struct route_index *x, struct str host, struct str path,
                          const struct route_candidate **heads, uint32_t cap)
{
    const struct pattern *hosts[HOSTS_FOUND_MAX];
    uint32_t n_hosts = hosts_find(x, host, hosts);
    uint32_t n = 0;
    size_t below = 0;

    if (n_hosts == UINT32_MAX)
        return UINT32_MAX;
    for (uint32_t k = 0; k < n_hosts; k++) {
        if (hosts[k]->first) {
            if (n == cap)
                return UINT32_MAX;
            heads[n++] = hosts[k]->first;
        }
        below = below > hosts[k]->prefix_below ? below : hosts[k]->prefix_below;
        below = below > hosts[k]->exact_below ? below : hosts[k]->exact_below;
    }
    uint64_t hash = HASH_SEED;
    for (size_t i = 0; i < below; i++) {
        bool end = i == path.n;
        if (end || (i > 0 && path.p[i] == '/')) {
            struct str head = {path.p, i};
            for (uint32_t k = 0; k < n_hosts; k++) {
                if (!path_find(x, hosts[k], false, hash, head, heads, cap, &n) ||
                    (end && !path_find(x, hosts[k], true, hash, head, heads, cap, &n)))
                    return UINT32_MAX;
            }
        }
        if (end)
            break;
        hash = hash_byte(hash, path.p[i]);
    }
    return n;
}
