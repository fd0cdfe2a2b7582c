/* diff.h - two configurations beside each other: what a reload would change at once, and what
 * waits for a restart (KEY_RESTART of schema.h). */
#ifndef SLUICE_CONFIG_DIFF_H
#define SLUICE_CONFIG_DIFF_H

#include "config/config.h"
#include "config/flatten.h"

enum change_kind { CHANGE_ADDED, CHANGE_REMOVED, CHANGE_CHANGED, CHANGE_REORDERED };

struct config_change {
    enum change_kind kind;
    bool restart;                   /* waits for one; else it is live */
    bool inside;                    /* of an item that is itself added: stands right after it */
    const struct setting *was, *is; /* NULL: CHANGE_ADDED, CHANGE_REMOVED */
};

struct config_diff {
    struct config_change *items; /* those removed first */
    uint32_t n, cap;
    uint32_t live, restart; /* without those inside */
    uint32_t unchanged;     /* values */
};

/* Compares two lists of settings; *ret points into them. 0, or -ENOMEM with *ret empty. */
int config_diff(const struct setting *was, const struct setting *is, struct config_diff *ret);
void config_diff_free(struct config_diff *d);

/* The paths, such as "workers" or "admin.address", that differ and wait for a restart, as an array
 * of strings: to be freed, each and the array (NULL when there is none). 0 or -ENOMEM. */
int config_pending_restart(const struct conf *at_start, const struct conf *now, char ***ret_paths,
                           uint32_t *ret_n);
void config_pending_free(char **paths, uint32_t n);

#endif
