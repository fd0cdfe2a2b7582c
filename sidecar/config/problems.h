/* problems.h - adding to the list of mistakes, which stays in order of line. */
#ifndef SLUICE_CONFIG_PROBLEMS_H
#define SLUICE_CONFIG_PROBLEMS_H

#include "base/check.h"
#include "config/build.h"

enum { PROBLEMS_KEPT = 100, PROBLEM_QUOTE_MAX = 96 };

/* Line 0: the whole file. Where memory is short for it, it is counted and not kept. */
void problem_add(struct config_problems *p, uint32_t line, uint32_t column, const char *path,
                 bool warning, const char *fmt, ...) PRINTF_LIKE(6, 7);
void problem_out_of_memory(struct config_problems *p);

/* What the operator wrote, for a message: without control characters, cut at a character's end;
 * out has PROBLEM_QUOTE_MAX bytes. Returns out. */
char *problem_quote(struct str s, char *out);

#endif
