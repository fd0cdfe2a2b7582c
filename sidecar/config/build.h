/* build.h - a YAML text to a configuration, or to all of its mistakes at once. */
#ifndef SLUICE_CONFIG_BUILD_H
#define SLUICE_CONFIG_BUILD_H

#include "config/config.h"

/* `file:line:column: path: problem (did you mean "x"?)`; line and column from 1, the column in
 * characters (text_place.h). Values are quoted as the file has them, never with the environment's
 * variables put in. */
struct config_problem {
    uint32_t line, column;
    char *path; /* listeners[0].routes[1].timeout; empty: the whole file */
    char *message;
    bool warning; /* --strict makes it an error */
};

struct config_problems {
    struct config_problem *items;
    uint32_t n, cap;
    uint32_t errors;
    uint32_t dropped; /* more than 100 are counted, not kept */
};

void config_problems_free(struct config_problems *p);
/* Prints one line a problem; `file` names it. */
void config_problems_print(const struct config_problems *p, const char *file, int fd);

/* Where variables come from: get() gives the value, or NULL where there is none; it stays until the
 * configuration is built. */
struct config_env {
    const char *(*get)(const void *ctx, const char *name);
    const void *ctx;
};
extern const struct config_env config_env_process; /* getenv() */

/* NULL when there is an error in `problems` (warnings alone do not stop it). The text is not kept;
 * `file` is for messages only. Nothing outside is touched: no socket, no file. */
struct conf *config_build(const char *file, const char *text, size_t n,
                          struct config_problems *problems);
/* The same with other variables than the process's. */
struct conf *config_build_env(const char *file, const char *text, size_t n,
                              const struct config_env *env, struct config_problems *problems);
/* The whole text, with a NUL behind it, to be freed; NULL is in `problems`. At most 16 MiB of a
 * regular file: nothing that could hold the caller up, and not half of what is being written. */
char *config_read(const char *file, size_t *ret_n, struct config_problems *problems);
/* config_read() and config_build(). */
struct conf *config_load(const char *file, struct config_problems *problems);
struct conf *config_free(struct conf *c);

#endif
