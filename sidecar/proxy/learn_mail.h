/* learn_mail.h - what workers have to say to the registry of leases, which lives on the control
 * thread, and its answers. Everything goes by mail, so a worker never waits. */
#ifndef SLUICE_PROXY_LEARN_MAIL_H
#define SLUICE_PROXY_LEARN_MAIL_H

#include "io/mailbox.h"
#include "policies/learn.h"
#include "proxy/worker.h"

struct endpoint;
struct learning;
struct stream;

/* Something that was acquired, on its way to the journal and back. One allocation with all of its
 * texts; the control thread's from learn_send() until it is posted back, then the worker's. */
struct acquisition {
    struct mail mail;
    struct list link; /* the control thread's: on process.acquisitions while it is there */
    struct worker *worker;
    struct learning *learning; /* the worker's: who waits for it; NULL: nobody (any more) */
    bool give_back;            /* the worker's: the application did not get it, so it goes back */
    bool asking, answered;     /* the control thread's */
    uint64_t id;               /* the answer: of the lease, and 0 or a negative errno */
    int rc;
    struct lease_text *text;
};

/* What is to be held, from a rule, its values and the exchange that had them. NULL with *ret_rc:
 * -ENOENT a value is missing, -EINVAL one cannot stand where the release needs it, -EMSGSIZE,
 * -ENOMEM. */
struct acquisition *learn_acquisition(const struct stream *s, const struct learn_rule *r,
                                      const struct learn_values *v, uint64_t holder, int *ret_rc);
/* To the control thread; learn_on_journaled() comes on the worker. */
void learn_send(struct acquisition *a);
/* On the worker, when the answer is no longer waited for and has come: it is given back, or not. */
void learn_settle(struct acquisition *a);

/* The others are told, and nothing comes back. Lost where memory is short: it is released later
 * then, which its server takes for one that is already gone. */
void learn_tell_forget(struct worker *w, struct str name, struct str key);
void learn_tell_disconnected(struct worker *w, uint64_t holder);
void learn_tell_reconnected(struct worker *w, struct str name, struct str key, uint64_t holder);

/* On the control thread, when the registry has gone: what it has not answered is freed. */
void learn_mail_end(struct process *p);

#endif
