/* pattern.h - the same as format.h and the scalars say, as regular expressions (ECMA-262), for
 * whoever checks a configuration without sluice. Where an expression cannot say all, it takes more
 * than sluice does, never less. */
#ifndef SLUICE_CONFIG_PATTERN_H
#define SLUICE_CONFIG_PATTERN_H

#include "config/schema.h"

/* NULL: any text. */
const char *pattern_of_format(enum format format);
/* Of the types that are written as one word; NULL for the others. */
const char *pattern_of_type(enum schema_type type, uint32_t flags);

/* What YAML takes for a number (or for true and false) may be a text of the format too: 8080. */
enum pattern_numbers {
    NUMBERS_NONE,
    NUMBERS_WHOLE,
    NUMBERS_NOT_NEGATIVE,
    NUMBERS_PERCENT,
    NUMBERS_ANY
};
enum pattern_numbers pattern_numbers(enum format format);

#endif
