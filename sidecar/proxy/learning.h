/* learning.h - learned sessions on a stream: what its request and its response give, and the
 * response that waits until it is on disk.
 *
 * A stream has one where its request looks as a rule of its route says; all others pay the look at
 * a NULL. The response of an acquisition is held back, its head too, as long as its body is looked
 * at (at most maxBody, which its server may send meanwhile) and until the control thread says that
 * the journal has what was acquired. So what the application gets is either the answer, or an
 * error of ours and what was acquired goes back. A response in which the values are not found
 * passes.
 *
 *   asked -> reading -> journaling -> settled */
#ifndef SLUICE_PROXY_LEARNING_H
#define SLUICE_PROXY_LEARNING_H

#include "io/address.h"
#include "io/loop.h"
#include "policies/learn.h"
#include "proxy/side.h"

struct acquisition;
struct downstream;
struct learning;
struct stream;
struct worker;

enum learn_state {
    LEARN_ASKED,      /* the request is under way, its answer has not come */
    LEARN_READING,    /* the response's body; it is held back */
    LEARN_JOURNALING, /* all is known; it is held back */
    LEARN_SETTLED,    /* nothing is awaited any more */
};

/* One side of it: a request that acquires, or one that gives back. */
struct learn_part {
    const struct learn_rule *rule;
    bool looks; /* at a body: take is under way */
    uint32_t n_json;
    size_t seen; /* bytes of that body */
    struct json_value json[LEARN_VALUES_MAX];
    struct json_take take;
    struct learn_values values;
};

/* Of a worker. */
struct learn_worker {
    uint32_t pending;         /* streams that may acquire; limits.maxAcquisitions */
    uint64_t last_holder;     /* connections that carry a session are numbered */
    struct learn_part *spare; /* for the next request that is looked at */
    struct list orphans;      /* learning.orphan_link: their client has gone */
};
void learn_worker_init(struct learn_worker *lw);
void learn_worker_free(struct learn_worker *lw);
/* Those whose client has gone end. */
void learn_end_orphans(struct worker *w);

/* --- from the stream; s->learn is checked by the caller but for the first ---------------- */

/* Its route has rules: makes s->learn where one fits. False: it was answered, and finished. */
bool learn_begin(struct stream *s);
void learn_on_request_body(struct stream *s, const char *p, size_t n);
/* The head is in s->exchange->res, ready for the client. True: it is held back. */
bool learn_on_response(struct stream *s);
/* True: the bytes are taken. */
bool learn_on_response_body(struct stream *s, const char *p, size_t n);
/* True: what there is is held back, and its end comes with it. The upstream has been let go of. */
bool learn_on_response_end(struct stream *s);
/* USEC_NEVER: none. */
usec_t learn_deadline(const struct stream *s);
/* True: it was past, and dealt with. */
bool learn_check(struct stream *s, usec_t now);
/* The client has gone, and what it asked for may come yet: the stream goes on without it. */
bool learn_client_gone(struct stream *s, enum reason reason);
/* The stream ends. */
void learn_end(struct stream *s);
struct learning *learn_free(struct learning *l); /* NULL is harmless; returns NULL */

/* From learn_mail.c. */
void learn_on_journaled(struct learning *l);

/* The connection has ended on which sessions were used (its number). */
void learn_connection_ended(struct worker *w, uint64_t holder);

#endif
