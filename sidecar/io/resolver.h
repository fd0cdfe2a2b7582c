/* resolver.h - names to addresses and SRV records, on a loop (c-ares): nothing here waits.
 *
 * localhost is the loopback. The hosts file is looked at first, then DNS is asked, with the search
 * list and ndots of resolv.conf, as the C library does. An answer counts only when it comes from
 * the server that was asked, with the query's id and question; a truncated one is asked for again
 * over TCP. Ids and source ports are random: a port is taken anew whenever no query was under way.
 *
 * resolv.conf is read once, by resolver_new(); the hosts file at each look-up. */
#ifndef SLUICE_IO_RESOLVER_H
#define SLUICE_IO_RESOLVER_H

#include "io/address.h"
#include "io/loop.h"

enum {
    RESOLVER_RECORDS_MAX = 64, /* of one family, or of SRV; more are left out */
    RESOLVER_NAME_MAX = 256,   /* with NUL */
    RESOLVER_IN_FLIGHT = 64,   /* look-ups at once; more wait for their turn */
    RESOLVER_HOSTS_TTL = 30,   /* seconds; of what stands in the hosts file */
};

struct resolver_options {
    const struct address *servers; /* asked in this order; n_servers 0: resolv.conf's */
    uint32_t n_servers;
    usec_t timeout;          /* of the first try, doubled with each further one; whole ms */
    uint32_t tries;          /* of each server */
    const char *resolv_conf; /* NULL: /etc/resolv.conf */
};

/* What is asked for: both families together, or SRV records. */
enum { RESOLVE_A = 1, RESOLVE_AAAA = 2, RESOLVE_SRV = 4 };

enum resolver_status {
    RESOLVED_OK,        /* at least one record */
    RESOLVED_NXDOMAIN,  /* the name does not exist */
    RESOLVED_NODATA,    /* it exists, without such a record */
    RESOLVED_SERVFAIL,  /* no server would: SERVFAIL, NOTIMP, REFUSED, or nobody listens there.
                         * c-ares goes on to the next server and does not tell these apart */
    RESOLVED_TIMEOUT,   /* the last server asked was silent */
    RESOLVED_MALFORMED, /* the answer, or the name, cannot be read */
    RESOLVED_ERROR,     /* ours: memory is short */
    RESOLVED_CANCELED,  /* resolver_free() */
    RESOLVED_STATUSES,
    /* Only of one family in an answer: */
    RESOLVED_PENDING = RESOLVED_STATUSES, /* it is still being asked for: another answer follows */
    RESOLVED_NOT_ASKED,
};

/* "ok", "nxdomain", "nodata", "servfail", "timeout", "malformed", "error", "canceled". */
const char *resolver_status_word(enum resolver_status s);

struct resolver_ip {
    uint8_t six;       /* 1: IPv6 */
    uint8_t bytes[16]; /* IPv4: the first four */
};

struct resolver_srv {
    char host[RESOLVER_NAME_MAX]; /* absolute, without the last dot; "": the service is not there */
    uint16_t port, priority, weight;
};

struct resolver_family {
    enum resolver_status status;
    uint32_t n;                    /* 0 unless status is RESOLVED_OK */
    const struct resolver_ip *ips; /* in the answer's order */
    uint32_t ttl;                  /* seconds, the smallest; of CNAMEs too */
};

enum { RESOLVER_V4, RESOLVER_V6, RESOLVER_FAMILIES };

/* Valid until the callback returns. */
struct resolver_answer {
    bool final; /* false: one family is known, one is PENDING */
    struct resolver_family family[RESOLVER_FAMILIES]; /* by RESOLVER_V4, RESOLVER_V6 */
    enum resolver_status srv_status;                  /* NOT_ASKED unless RESOLVE_SRV */
    uint32_t n_srv;
    const struct resolver_srv *srv; /* their TTL is not known */
};

typedef void resolver_fn(void *ctx, const struct resolver_answer *);

struct resolver;
struct resolver_ask;

/* NULL when memory is short or resolv.conf cannot be read; a missing one is fine. */
struct resolver *resolver_new(struct loop *l, const struct resolver_options *o);
/* What is outstanding ends with RESOLVED_CANCELED, here. Not from within a resolver_fn. NULL. */
struct resolver *resolver_free(struct resolver *r);

/* kinds: RESOLVE_A | RESOLVE_AAAA, or RESOLVE_SRV. fn is called on the loop, never before this
 * returns: once with what one family has when the other is late, and once with final set; after
 * that the handle is gone. A trailing dot turns the search list off. NULL when memory is short. */
struct resolver_ask *resolver_ask(struct resolver *r, struct str name, unsigned kinds,
                                  resolver_fn *fn, void *ctx);
/* fn will not be called any more. */
void resolver_cancel(struct resolver_ask *a);

#endif
