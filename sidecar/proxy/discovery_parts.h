/* discovery_parts.h - what discovery.c (configurations) and discovery_ask.c (look-ups) share. */
#ifndef SLUICE_PROXY_DISCOVERY_PARTS_H
#define SLUICE_PROXY_DISCOVERY_PARTS_H

#include "proxy/discovery.h"
#include "proxy/dns_list.h"

enum { DISCOVERY_MAGIC = 0x44495343, DISCOVERED_MAGIC = 0x44534e4d, DISCOVERY_BUCKETS = 256 };

/* A name, and the look-up that is under way for it. */
struct discovered {
    uint32_t magic;
    struct discovery *d;
    struct list link; /* in its bucket */
    struct reap reap;
    uint32_t uses; /* by endpoints of configurations */
    struct dns_name name;
    struct dns_bounds bounds;
    bool allow_link_local; /* by some upstream that uses it */
    bool answered;         /* or failed, once */
    bool awaited;          /* by the configuration that is prepared */
    uint64_t changed_at;   /* by discovery.clock */
    struct timer timer;
    /* The look-up. */
    bool asking;
    struct resolver_ask *ask;
    struct dns_lookup lookup;
    uint32_t missing; /* targets that are still asked for */
    struct discovered_target *of;
};

/* One target of an SRV name, while its addresses are asked for. */
struct discovered_target {
    struct discovered *name;
    uint32_t i;
    struct resolver_ask *ask;
};

/* A configuration, with what each of its endpoints stands for. */
struct discovery_view {
    const struct conf *conf;
    uint32_t n;
    struct discovered **names; /* by endpoint, all upstreams in a row; NULL: an address */
    uint32_t *first;           /* by upstream: its first in names */
    uint64_t *told;            /* by upstream: discovery.clock when its addresses were told */
};

struct discovery {
    uint32_t magic;
    struct loop *loop;
    struct conf_dns dns;
    struct resolver *resolver; /* NULL: there was no name yet */
    discovery_changed_fn *changed;
    void *ctx;
    struct list buckets[DISCOVERY_BUCKETS];
    uint32_t n_names;
    struct discovery_view *committed, *prepared; /* NULL: none */
    uint32_t awaited;                            /* names that prepare waits for */
    discovery_done_fn *done;
    void *done_ctx;
    struct timer done_timer;  /* the end of prepare */
    struct timer flush_timer; /* what has changed in this turn is told at once */
    uint64_t clock;           /* counts changes */
    bool freeing;
    struct dns_list *list;
};

/* discovery_ask.c */
void discovered_ask(struct discovered *n);
void discovered_stop(struct discovered *n); /* ends what is under way; its timer too */
void discovered_on_timer(struct timer *t);

/* discovery.c: the look-up of a name has ended, or a part of it is known. */
void discovered_settled(struct discovered *n, bool changed, bool final);

#endif
