/* report.h - what the drain did: told in the log, by the admin API and by `sluice drain --wait`.
 *
 * Each worker keeps a tally of what ended how; the control thread merges them. */
#ifndef SLUICE_LIFECYCLE_REPORT_H
#define SLUICE_LIFECYCLE_REPORT_H

#include "base/outcome.h"
#include "lifecycle/drain.h"

#include <jansson.h>

enum drain_class {
    DRAIN_H1_IDLE,
    DRAIN_H1_ACTIVE,
    DRAIN_H2_IDLE,   /* connections without a stream */
    DRAIN_H2_ACTIVE, /* streams */
    DRAIN_GRPC,      /* streams that carry gRPC */
    DRAIN_WEBSOCKET, /* and other upgraded connections */
    DRAIN_TCP,
    DRAIN_CLASSES,
};

enum drain_how {
    DRAIN_COMPLETED,   /* by itself, whole */
    DRAIN_CLOSED,      /* idle, by us */
    DRAIN_PEER,        /* the peer went away */
    DRAIN_LAST_CALLED, /* answered with 503 at LAST_CALL */
    DRAIN_FAILED,      /* an error that the drain did not cause */
    DRAIN_FORCED,
    DRAIN_HOWS,
};

enum { DRAIN_FORCED_KEPT = 32, DRAIN_NAME_MAX = 64 };

struct drain_entry {
    enum drain_class cls;
    enum reason reason;
    usec_t age;
    char peer[48];
    char route[DRAIN_NAME_MAX];
};

struct drain_tally {
    uint64_t counts[DRAIN_CLASSES][DRAIN_HOWS];
    uint64_t crossed;  /* closes of idle connections that crossed a request */
    uint32_t n_forced; /* all of them; the first DRAIN_FORCED_KEPT are kept */
    struct drain_entry forced[DRAIN_FORCED_KEPT];
    struct drain_entry longest; /* the oldest that was open when it ended; age 0: none */
};

const char *drain_class_word(enum drain_class c);
const char *drain_how_word(enum drain_how h);

void drain_tally_add(struct drain_tally *t, enum drain_class c, enum drain_how how,
                     enum reason reason, usec_t age, struct str peer, struct str route);
void drain_tally_merge(struct drain_tally *into, const struct drain_tally *from);

/* The report as JSON, one line, for malloc'ed text the caller frees; NULL when memory is short.
 * cleanups: as leases_results_json() gives them; app: as app_json() does; the references are
 * taken, NULL: none. */
char *drain_report_json(const struct drain *d, const struct drain_tally *t, json_t *cleanups,
                        json_t *app, uint64_t open, usec_t now);
/* That text in at most `most` bytes, for the caller to free: where it is longer, its lists keep
 * their first few, and "truncated" says so. NULL when memory is short, or nothing of it fits. */
char *drain_report_line(const char *text, size_t most);

#endif
