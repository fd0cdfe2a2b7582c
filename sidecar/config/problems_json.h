/* problems_json.h - the list of mistakes for machines. */
#ifndef SLUICE_CONFIG_PROBLEMS_JSON_H
#define SLUICE_CONFIG_PROBLEMS_JSON_H

#include "config/build.h"

#include <jansson.h>

/* Appends {file, line, column, path, message, severity} for each problem. strict: warnings are
 * errors. 0, or -ENOMEM with some of them appended. */
int config_problems_append_json(json_t *array, const char *file, const struct config_problems *p,
                                bool strict);

#endif
