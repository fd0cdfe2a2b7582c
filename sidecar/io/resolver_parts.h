/* resolver_parts.h - what the files of the resolver share: resolver.c (look-ups),
 * resolver_channel.c (c-ares on the loop), resolver_reply.c (replies to records). */
#ifndef SLUICE_IO_RESOLVER_PARTS_H
#define SLUICE_IO_RESOLVER_PARTS_H

#include "io/resolver.h"

#include <ares.h>

enum { RESOLVER_MAGIC = 0x44525352, RESOLVER_ASK_MAGIC = 0x4453414b };

/* One query of a look-up, and what came of it. */
struct resolver_query {
    struct resolver_ask *ask;
    enum resolver_status status;
    uint32_t n, ttl;
    union {
        struct resolver_ip ips[RESOLVER_RECORDS_MAX];
        struct resolver_srv *srv; /* allocated; NULL: none */
    } u;
};

struct resolver_ask {
    uint32_t magic;
    struct resolver *r;
    struct list link;  /* waiting or active */
    struct list ready; /* something is to be told */
    struct reap reap;
    resolver_fn *fn; /* NULL: canceled */
    void *ctx;
    unsigned kinds;
    char name[RESOLVER_NAME_MAX]; /* as asked, without a trailing dot */
    bool absolute;
    bool active;  /* on that list; its queries may be under way */
    bool done;    /* the final answer is there */
    bool existed; /* some candidate exists, without a record */
    bool failed;  /* some candidate could not be looked up: the last failure */
    enum resolver_status failure;
    int candidate; /* of the search list */
    unsigned pending;
    struct resolver_query query[RESOLVER_FAMILIES]; /* SRV: the first */
};

struct resolver {
    uint32_t magic;
    struct loop *loop;
    ares_channel dns, files;    /* files: the hosts file only */
    struct ares_options search; /* domains and ndots, as c-ares read them */
    struct list sockets;
    struct timer timer;   /* c-ares' own timeouts */
    struct timer deliver; /* ready look-ups are told on the loop, outside of c-ares */
    struct list waiting, active, ready;
    uint32_t n_active;
    bool delivering, freeing;
};

/* resolver_channel.c: 0 or -errno. */
int resolver_open(struct resolver *r, const struct resolver_options *o);
void resolver_close(struct resolver *r);
/* After each call into c-ares. */
void resolver_arm(struct resolver *r);

/* resolver_reply.c */
enum resolver_status resolver_status_of(int ares_status);
/* Fills the query from a reply to a question of this kind. */
void resolver_read_reply(struct resolver_query *q, unsigned kind, const unsigned char *reply,
                         int len);
/* Looks the name up in the hosts file, for all families asked for. True: it is there. */
bool resolver_read_hosts(struct resolver_ask *a);

#endif
