/* control_reload.h - a reload from its request to its end: one at a time.
 *
 *   idle ─▸ reading ─▸ resolving ─▸ entering ─▸ settling ─▸ idle
 *
 * reading:   a thread reads, hashes and builds (config_job.h); mistakes end it here.
 * resolving: names that are not known yet are asked for, for a bounded time.
 * entering:  listeners are bound, the generation is built; then, with nothing left that can fail,
 *            every worker is given its view, and takes it between two events.
 * settling:  removed listeners close without a reset, the last good copy is written.
 *
 * A round that was asked for because a certificate's file has changed ends with reading: what is
 * new goes into the slots of the generation in force (certificates.h).
 *
 * A request that comes meanwhile is served by another round: the file may have changed since it was
 * read. The first start goes the same way. */
#ifndef SLUICE_ADMIN_CONTROL_RELOAD_H
#define SLUICE_ADMIN_CONTROL_RELOAD_H

#include "admin/config_job.h"
#include "config/diff.h"
#include "config/watch.h"

struct http_request;

enum reload_step {
    RELOAD_IDLE,
    RELOAD_READING,
    RELOAD_RESOLVING,
    RELOAD_ENTERING,
    RELOAD_SETTLING,
};

/* Somebody who asked over HTTP. */
struct reload_waiter {
    struct reload_waiter *next;
    struct http_request *request; /* NULL: its client has gone */
};

struct reload {
    enum reload_step step;
    bool first;             /* the start */
    bool again;             /* asked for while one was under way */
    bool again_files;       /* likewise, and only of the certificates' files */
    bool refused_for_files; /* the last configuration: another look when its certificates change */
    enum config_trigger trigger, again_trigger;
    enum config_source source;
    usec_t began;
    struct reload_waiter *waiters, *again_waiters;
    struct config_job job;
    bool saving; /* the job writes the last good copy */
    struct config_watch *watch;
    struct conf at_start; /* only what waits for a restart */
    struct arena *at_start_arena;
};

/* Between control_reload.c, control_reload_tell.c and control_start.c. */

struct control;
/* Where workers' mails about views go. */
void reload_connect(struct control *c);
/* What runs goes on; `why` is the whole file's problem. */
void reload_refuse_because(struct control *c, const char *why);
/* `file`: the configuration's. */
void reload_log_problems(const char *file, const struct config_problems *p);
/* Into c->config. Takes the problems over where they are to be shown. */
void reload_note_try(struct control *c, enum config_result result, struct config_problems *p);
/* False: memory is short, which is answered. */
bool reload_add_waiter(struct reload_waiter **list, struct http_request *req);
void reload_tell_waiters(struct control *c, enum config_result result);
/* The supervisor gets a copy of the text in force. */
void reload_hold_in_memory(struct control *c);

#endif
