/* text_place.h - lines and columns in a text, counted as libyaml counts them.
 *
 * Both from 1. A column is a character (a Unicode code point), not a byte and not what a terminal
 * shows: a tab is one. CR, LF, CRLF, NEL (U+0085), LS and PS (U+2028, U+2029) end a line.
 * A byte order mark at the beginning is no column. */
#ifndef SLUICE_CONFIG_TEXT_PLACE_H
#define SLUICE_CONFIG_TEXT_PLACE_H

#include "base/str.h"

struct text_place {
    struct str text;
    size_t at; /* the byte that stands there */
    uint32_t line, column;
};

struct text_place text_place_begin(struct str text);
/* Over one character; not at the end of the text. */
void text_place_step(struct text_place *p);
/* Forward to a line and column, or to the end of the text. */
void text_place_seek(struct text_place *p, uint32_t line, uint32_t column);

#endif
