/* show_config.h - the state of a configuration (/v1/config) in words, for the subcommands. */
#ifndef SLUICE_SHOW_CONFIG_H
#define SLUICE_SHOW_CONFIG_H

#include <jansson.h>
#include <stddef.h>

/* `file:line:column: path: message`, as `sluice validate` prints it, without control characters;
 * into out, cut at cap. Returns out. */
char *show_problem(const char *file, const json_t *problem, char *out, size_t cap);
/* "workers, admin.address"; "" when nothing waits for a restart. Returns out. */
char *show_pending(const json_t *config, char *out, size_t cap);

#endif
