/* utf8.h - bytes of any origin as UTF-8, for JSON. */
#ifndef SLUICE_BASE_UTF8_H
#define SLUICE_BASE_UTF8_H

#include "base/str.h"

/* Bytes of the character that s begins with, from 1 to 4; 0: what it begins with is none (RFC 3629
 * §4: overlong forms, surrogates and what is above U+10FFFF are none). */
size_t utf8_char(struct str s);
/* A copy, terminated by NUL, in which U+FFFD stands for each byte that is in no character. NULL
 * when memory is short. */
char *utf8_clean(struct str s);

#endif
