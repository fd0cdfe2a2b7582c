/* ask.h - a question of a subcommand's to a running sluice, and its answer told to people. */
#ifndef SLUICE_ASK_H
#define SLUICE_ASK_H

#include "admin/client.h"
#include "command.h"

#include <jansson.h>

/* EXIT_DONE: a 2xx; ret is to be freed. Else the exit code: why not has been told on stderr. */
int ask(const struct command *c, const struct admin_target *t, const char *method, const char *path,
        const char *body, struct admin_answer *ret);
/* The answer's JSON object; NULL: there is none, which has been told. */
json_t *ask_object(const struct command *c, const struct admin_answer *a);
/* As it came, for --output json. */
void ask_print(const struct admin_answer *a);

/* All of it for a GET: as it came, or by `show`. Returns the exit code. */
int ask_and_show(const struct command *c, const struct admin_target *t, const char *path, bool json,
                 void (*show)(const json_t *o));

#endif
