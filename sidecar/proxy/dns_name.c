/* dns_name.c - what is known of one name among the endpoints, and what an answer makes of it. */
#include "proxy/dns_name.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

enum { BACKOFF_FIRST_S = 1, BACKOFF_MOST_S = 30 };

const char *dns_state_word(enum dns_state s)
{
    static const char *const words[] = {"unknown", "good", "not_found", "empty"};
    return words[s];
}

/* ---- when ---- */

void dns_bounds_tighten(struct dns_bounds *b, const struct conf_upstream_dns *u)
{
    b->min_ttl = b->min_ttl ? min_u64(b->min_ttl, u->min_ttl) : u->min_ttl;
    b->max_ttl = b->max_ttl ? min_u64(b->max_ttl, u->max_ttl) : u->max_ttl;
    b->srv_ttl = b->srv_ttl ? min_u64(b->srv_ttl, u->srv_ttl) : u->srv_ttl;
}

/* 90 to 110 %: so that instances that began together do not ask together for ever. */
static usec_t jitter(usec_t t, struct rng *rng)
{
    return t / 10 * 9 + t / 5 * rng_below(rng, 1001) / 1000;
}

usec_t dns_wait_ttl(uint32_t seconds, const struct dns_bounds *b, struct rng *rng)
{
    usec_t t = min_u64(seconds * USEC_PER_SEC, b->max_ttl);
    return jitter(max_u64(t, b->min_ttl), rng);
}

usec_t dns_wait_failure(uint32_t failures, struct rng *rng)
{
    usec_t t = BACKOFF_FIRST_S * USEC_PER_SEC;
    for (uint32_t i = 1; i < failures && t < BACKOFF_MOST_S * USEC_PER_SEC; i++)
        t *= 2;
    return jitter(min_u64(t, BACKOFF_MOST_S * USEC_PER_SEC), rng);
}

/* ---- a name ---- */

void dns_name_init(struct dns_name *n, enum endpoint_kind kind, enum dns_family family,
                   struct str host)
{
    *n = (struct dns_name){.kind = kind, .family = family, .last = RESOLVED_NOT_ASKED};
    CHECK(host.n < sizeof(n->host));
    for (size_t i = 0; i < host.n; i++)
        n->host[i] = ascii_lower(host.p[i]);
}

void dns_name_free(struct dns_name *n)
{
    free(n->targets);
    n->targets = NULL;
}

unsigned dns_name_kinds(const struct dns_name *n)
{
    return n->family == DNS_IPV4   ? RESOLVE_A
           : n->family == DNS_IPV6 ? RESOLVE_AAAA
                                   : RESOLVE_A | RESOLVE_AAAA;
}

/* ---- a look-up ---- */

static int compare_srv(const void *a, const void *b)
{
    const struct dns_target *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    int by_host = strcmp(x->host, y->host);
    return by_host ? by_host : (int)x->port - (int)y->port;
}

int dns_lookup_begin(struct dns_lookup *l, const struct resolver_srv *srv, uint32_t n_srv)
{
    uint32_t n = srv ? n_srv : 1;
    *l = (struct dns_lookup){.ttl = UINT32_MAX, .failure = RESOLVED_OK};
    l->targets = mem_zalloc(sizeof(*l->targets) + n * sizeof(l->targets->at[0]));
    if (!l->targets)
        return -ENOMEM;
    l->targets->n = n;
    for (uint32_t i = 0; srv && i < n; i++) {
        struct dns_target *t = &l->targets->at[i];
        for (size_t k = 0; srv[i].host[k]; k++)
            t->host[k] = ascii_lower(srv[i].host[k]);
        t->port = srv[i].port;
        t->priority = srv[i].priority;
    }
    qsort(l->targets->at, n, sizeof(l->targets->at[0]), compare_srv);
    return 0;
}

void dns_lookup_free(struct dns_lookup *l)
{
    free(l->targets);
    l->targets = NULL;
}

static bool has(const struct dns_ips *s, const struct resolver_ip *ip)
{
    for (uint32_t i = 0; i < s->n; i++) {
        if (memcmp(&s->at[i], ip, sizeof(*ip)) == 0)
            return true;
    }
    return false;
}

/* Those that were there keep their place: a server that rotates its records changes nothing. */
static void merge_ips(struct dns_ips *s, const struct dns_ips *old,
                      const struct resolver_family *answer)
{
    struct dns_ips fresh = {0};
    for (uint32_t i = 0; i < answer->n && fresh.n < RESOLVER_RECORDS_MAX; i++) {
        if (!has(&fresh, &answer->ips[i]))
            fresh.at[fresh.n++] = answer->ips[i];
    }
    s->n = 0;
    for (uint32_t i = 0; old && i < old->n; i++) {
        if (has(&fresh, &old->at[i]))
            s->at[s->n++] = old->at[i];
    }
    for (uint32_t i = 0; i < fresh.n; i++) {
        if (!has(s, &fresh.at[i]))
            s->at[s->n++] = fresh.at[i];
    }
}

static const struct dns_target *find_target(const struct dns_name *n, const struct dns_target *like)
{
    for (uint32_t i = 0; n->targets && i < n->targets->n; i++) {
        const struct dns_target *t = &n->targets->at[i];
        if (strcmp(t->host, like->host) == 0)
            return t;
    }
    return NULL;
}

void dns_lookup_add(struct dns_lookup *l, uint32_t i, const struct dns_name *n,
                    const struct resolver_answer *answer)
{
    struct dns_target *t = &l->targets->at[i];
    const struct dns_target *old = find_target(n, t);

    for (int f = 0; f < RESOLVER_FAMILIES; f++) {
        const struct resolver_family *a = &answer->family[f];
        const struct dns_ips *had = old ? &old->family[f] : NULL;
        switch (a->status) {
        case RESOLVED_OK:
            merge_ips(&t->family[f], had, a);
            l->good = true;
            l->ttl = a->ttl < l->ttl ? a->ttl : l->ttl;
            break;
        case RESOLVED_NXDOMAIN:
            l->nxdomain = true;
            t->family[f].n = 0;
            break;
        case RESOLVED_NODATA:
        case RESOLVED_NOT_ASKED:
            t->family[f].n = 0;
            break;
        default:
            if (a->status != RESOLVED_PENDING)
                l->failure = a->status;
            if (had)
                t->family[f] = *had;
            break;
        }
    }
}

/* ---- what it makes of the name ---- */

static bool same_ips(const struct dns_ips *a, const struct dns_ips *b)
{
    return a->n == b->n && memcmp(a->at, b->at, a->n * sizeof(a->at[0])) == 0;
}

static bool same_targets(const struct dns_targets *a, const struct dns_targets *b)
{
    if (!a || !b || a->n != b->n)
        return a == b;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct dns_target *x = &a->at[i], *y = &b->at[i];
        if (compare_srv(x, y) != 0 || !same_ips(&x->family[0], &y->family[0]) ||
            !same_ips(&x->family[1], &y->family[1]))
            return false;
    }
    return true;
}

static bool set_state(struct dns_name *n, enum dns_state state)
{
    bool changed = n->state != state;
    n->state = state;
    return changed;
}

bool dns_name_settle_without(struct dns_name *n, enum resolver_status status, struct rng *rng,
                             usec_t now, usec_t *ret_wait)
{
    n->last = status;
    n->results[status]++;
    n->failures++;
    *ret_wait = dns_wait_failure(n->failures, rng);
    n->next = now + *ret_wait;
    if (status == RESOLVED_NXDOMAIN)
        return set_state(n, DNS_NOT_FOUND);
    if (status == RESOLVED_NODATA)
        return set_state(n, DNS_EMPTY);
    return false;
}

static bool take_targets(struct dns_name *n, struct dns_lookup *l, usec_t now)
{
    bool changed = !same_targets(n->targets, l->targets);
    free(n->targets);
    n->targets = l->targets;
    l->targets = NULL;
    n->last_good = now;
    return set_state(n, DNS_GOOD) || changed;
}

bool dns_name_settle(struct dns_name *n, struct dns_lookup *l, bool final,
                     const struct dns_bounds *b, struct rng *rng, usec_t now, usec_t *ret_wait)
{
    uint32_t ttl = l->ttl;
    bool failed = l->failure != RESOLVED_OK, good = l->good;
    bool changed = good && take_targets(n, l, now);

    dns_lookup_free(l);
    if (!final) {
        *ret_wait = 0;
        return changed;
    }
    if (!good)
        return dns_name_settle_without(n,
                                       failed        ? l->failure
                                       : l->nxdomain ? RESOLVED_NXDOMAIN
                                                     : RESOLVED_NODATA,
                                       rng, now, ret_wait) ||
               changed;
    n->last = failed ? l->failure : RESOLVED_OK;
    n->results[n->last]++;
    n->failures = failed ? n->failures + 1 : 0;
    *ret_wait = dns_wait_ttl(ttl, b, rng);
    if (n->kind == ENDPOINT_SRV)
        *ret_wait = min_u64(*ret_wait, jitter(max_u64(b->srv_ttl, b->min_ttl), rng));
    if (failed) /* one family, or one target: sooner than the rest needs it */
        *ret_wait = min_u64(*ret_wait, dns_wait_failure(n->failures, rng));
    n->next = now + *ret_wait;
    return changed;
}
