/* config_state.h - which configuration is in force, where it came from, and what became of the last
 * try to change it. The control thread's; told by /v1/config, /v1/status, metrics and the log. */
#ifndef SLUICE_ADMIN_CONFIG_STATE_H
#define SLUICE_ADMIN_CONFIG_STATE_H

#include "admin/exposition.h"
#include "config/build.h"

#include <jansson.h>

enum config_trigger {
    CONFIG_AT_START,
    CONFIG_BY_SIGNAL, /* SIGHUP */
    CONFIG_BY_ADMIN,  /* POST /v1/reload */
    CONFIG_BY_WATCH,  /* the file's directory changed */
    CONFIG_BY_POLL,   /* its hash did */
};

enum config_source {
    CONFIG_FROM_FILE,
    CONFIG_FROM_LAST_GOOD, /* the copy in --last-good DIR: the file was bad at start */
    CONFIG_FROM_MEMORY,    /* the copy that the supervisor holds: bad at a restart after a crash */
};

enum config_result {
    CONFIG_APPLIED,
    CONFIG_UNCHANGED, /* the text is the one in force */
    CONFIG_REFUSED,   /* it has mistakes, or a listener cannot be bound: what runs goes on */
};

enum { CONFIG_DIGEST_MAX = 65 }; /* SHA-256 in hex, and NUL */

/* One try to change it. */
struct config_try {
    enum config_trigger trigger;
    enum config_result result;
    usec_t wall;                    /* when it ended */
    usec_t took;                    /* from the request until every worker had it, or the refusal */
    char sha256[CONFIG_DIGEST_MAX]; /* of the text; "": it could not be read */
};

struct config_state {
    const char *file;     /* as given by -c; lives as long as the process */
    uint64_t generation;  /* from 1; a refused or unchanged try takes none */
    uint32_t generations; /* that are alive: the one in force, and those that streams hold */
    uint64_t oldest;      /* generation that is alive */
    char sha256[CONFIG_DIGEST_MAX]; /* of the text in force */
    enum config_source source;
    usec_t applied_wall;
    struct config_try last; /* the latest try; at first that of the start */
    bool last_ok;           /* the file is as it is in force: config_last_reload_success */
    /* Why the latest refused try was refused, until a later one is not. */
    struct config_try error;
    struct config_problems problems;
    uint64_t tries[3];  /* by enum config_result, after the start */
    uint32_t n_pending; /* keys whose change waits for a restart: "workers", "admin.address" */
    char **pending;
    usec_t swap_max;  /* longest that a swap has held a worker's loop */
    usec_t swap_last; /* longest of the last one */
};

const char *config_trigger_word(enum config_trigger t);
const char *config_source_word(enum config_source s);
const char *config_result_word(enum config_result r);

/* /v1/config but for the certificates; a new reference, NULL when memory is short. */
json_t *config_state_json(const struct config_state *s);
/* [{line, column, path, message, severity}]; likewise. */
json_t *config_problems_json(const struct config_problems *p);
/* The families config_*. */
void config_state_metrics(const struct config_state *s, struct exposition *t);
/* Frees what it points at (problems, pending), not the struct. */
void config_state_free(struct config_state *s);

#endif
