/* range.h - between which values a key may be, in words. */
#ifndef SLUICE_CONFIG_RANGE_H
#define SLUICE_CONFIG_RANGE_H

#include "config/scalar.h"
#include "config/schema.h"

enum { RANGE_TEXT_MAX = 128 };

/* The largest value that the key takes. */
uint64_t range_most(const struct schema_key *key);
/* A value in the key's own unit; out has SCALAR_TEXT_MAX bytes. Returns out. */
char *range_text(const struct schema_key *key, uint64_t v, char *out);
/* "1ms to 168h", "at least 1 item"; "": no bounds worth a word. out has RANGE_TEXT_MAX bytes.
 * Returns out. */
char *range_words(const struct schema_key *key, char *out);

#endif
