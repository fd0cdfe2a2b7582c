/* learning_parts.h - what the files of learned sessions on a stream share. Not for others. */
#ifndef SLUICE_PROXY_LEARNING_PARTS_H
#define SLUICE_PROXY_LEARNING_PARTS_H

#include "proxy/learning.h"
#include "proxy/stream_steps.h"

struct learning {
    struct stream *stream;
    enum learn_state state;
    bool ended; /* the response's end has come, and is held back with it */
    struct learn_part *acquire, *release; /* NULL: it is none */
    struct acquisition *acquisition;      /* at the journal; NULL: not */
    usec_t deadline;                      /* of the journal's answer */
    /* Its client has gone (learn_orphan.c): in the client's place, and what was its connection's.
     */
    bool orphan;
    enum reason why;
    struct side sink;
    struct list orphan_link;
    struct timer timer;
    struct ip peer_ip;
    char peer[ADDRESS_IP_MAX];
};

/* Nobody is there any more for whom to go on: true, and it has finished. */
bool learn_orphaned(struct stream *s);
void learn_leave_orphans(struct learning *l);

/* learn_use.c. What cannot be kept goes to the application all the same (leases.onFailure). */
bool learn_allows(const struct stream *s);
/* The number of the client's connection, which it has from now on. */
uint64_t learn_holder(struct stream *s);
/* Its request may be one of a session that is held: then its connection carries it now. */
void learn_note_use(struct stream *s);

/* learning.c. The values of a request that r->use fits, until the next call; NULL: it does not. */
struct learn_values *learn_uses(struct stream *s, const struct learn_rule *r);

#endif
