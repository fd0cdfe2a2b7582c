/* dns_name.h - what is known of one name among the endpoints, and what an answer makes of it.
 *
 * No loop, no clock: answers, time and random bits are arguments. A failure never takes an address
 * away; what an answer says is kept beside the last good addresses, and each upstream's policy
 * decides whether they still count (dns_list.h). */
#ifndef SLUICE_PROXY_DNS_NAME_H
#define SLUICE_PROXY_DNS_NAME_H

#include "config/config.h"
#include "io/resolver.h"

/* What the last answer that was not a failure said. */
enum dns_state {
    DNS_UNKNOWN,   /* there was none */
    DNS_GOOD,      /* addresses */
    DNS_NOT_FOUND, /* the name does not exist */
    DNS_EMPTY,     /* it exists, without an address */
};
const char *dns_state_word(enum dns_state s); /* "unknown", "good", "not_found", "empty" */

struct dns_ips {
    uint32_t n;
    struct resolver_ip at[RESOLVER_RECORDS_MAX];
};

/* A host with its addresses: the name itself, or what an SRV record points at. */
struct dns_target {
    char host[RESOLVER_NAME_MAX]; /* of SRV */
    uint16_t port;                /* of SRV; 0: the endpoint's */
    uint16_t priority;            /* of SRV */
    struct dns_ips family[RESOLVER_FAMILIES];
};

struct dns_targets {
    uint32_t n;
    struct dns_target at[];
};

struct dns_name {
    enum endpoint_kind kind; /* ENDPOINT_NAME or ENDPOINT_SRV */
    enum dns_family family;
    char host[RESOLVER_NAME_MAX]; /* in small letters */
    enum dns_state state;
    struct dns_targets *targets; /* the last good; NULL: never any */
    uint32_t failures;           /* look-ups in a row that did not give an address */
    usec_t last_good;            /* monotonic; 0: never */
    usec_t next;                 /* when it is asked for again */
    enum resolver_status last;   /* of the last look-up; RESOLVED_NOT_ASKED before the first */
    uint64_t results[RESOLVED_STATUSES];
};

/* One look-up while its answers come in: for SRV, one for each target. */
struct dns_lookup {
    struct dns_targets *targets;  /* what it has found, with the last good of what failed */
    uint32_t ttl;                 /* seconds, the smallest; UINT32_MAX: none was told */
    bool good;                    /* something has an address now, by this look-up */
    bool nxdomain;                /* something does not exist */
    enum resolver_status failure; /* RESOLVED_OK: nothing has failed */
};

/* How long answers count, from what the upstreams that use a name ask for. */
struct dns_bounds {
    usec_t min_ttl, max_ttl, srv_ttl;
};
/* The smaller of each: a name that several use is asked for as often as the strictest wants. */
void dns_bounds_tighten(struct dns_bounds *b, const struct conf_upstream_dns *u);

/* Until the next look-up: the TTL within the bounds, ±10 %; after `failures` in a row (from 1)
 * 1 s, doubled up to 30 s, ±10 %. */
usec_t dns_wait_ttl(uint32_t seconds, const struct dns_bounds *b, struct rng *rng);
usec_t dns_wait_failure(uint32_t failures, struct rng *rng);

void dns_name_init(struct dns_name *n, enum endpoint_kind kind, enum dns_family family,
                   struct str host);
void dns_name_free(struct dns_name *n);
/* What resolver_ask() is to be asked for addresses. */
unsigned dns_name_kinds(const struct dns_name *n);

/* Begins a look-up with one target for each (SRV), or with one that is the name itself (srv NULL).
 * Targets come in a stable order. 0 or -ENOMEM. */
int dns_lookup_begin(struct dns_lookup *l, const struct resolver_srv *srv, uint32_t n_srv);
/* The addresses of target i. Where a family failed or is still asked for, those that it had stay.
 */
void dns_lookup_add(struct dns_lookup *l, uint32_t i, const struct dns_name *n,
                    const struct resolver_answer *answer);
void dns_lookup_free(struct dns_lookup *l);

/* The look-up has ended, or a part of it is known (`final` false: nothing is counted). Takes its
 * targets over when it has an address. *ret_wait: until the next look-up. True: the addresses, or
 * whether they count, are not the same as before. */
bool dns_name_settle(struct dns_name *n, struct dns_lookup *l, bool final,
                     const struct dns_bounds *b, struct rng *rng, usec_t now, usec_t *ret_wait);
/* The look-up ended without a target: SRV itself was not answered with one. */
bool dns_name_settle_without(struct dns_name *n, enum resolver_status status, struct rng *rng,
                             usec_t now, usec_t *ret_wait);

#endif
