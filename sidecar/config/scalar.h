/* scalar.h - what operators write in one word: 5s, 64KiB, 0660, true. */
#ifndef SLUICE_CONFIG_SCALAR_H
#define SLUICE_CONFIG_SCALAR_H

#include "base/clock.h"
#include "base/str.h"

enum { SCALAR_TEXT_MAX = 32 };

/* All: false, with *ret untouched, for anything else. */

/* 250ms 1.5s 2h 100us, whole microseconds; "0" needs no unit. */
bool scalar_duration(struct str s, usec_t *ret);
/* 512B 64KiB 1.5MiB 1GiB, whole bytes; a plain integer is bytes. */
bool scalar_size(struct str s, uint64_t *ret);
/* Digits without leading zeros. */
bool scalar_int(struct str s, uint64_t *ret);
/* 0660: three or four octal digits, at most 0777. */
bool scalar_mode(struct str s, uint64_t *ret);
/* 0 to 100, with at most four decimals, in parts per million. */
bool scalar_percent(struct str s, uint32_t *ret_ppm);
/* true, false. */
bool scalar_bool(struct str s, bool *ret);

/* The shortest exact form back; out has SCALAR_TEXT_MAX bytes. Returns out. */
char *scalar_duration_text(usec_t usec, char *out);
char *scalar_size_text(uint64_t bytes, char *out);

#endif
