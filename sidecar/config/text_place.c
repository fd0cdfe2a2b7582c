/* text_place.c - lines and columns in a text, counted as libyaml counts them. */
#include "config/text_place.h"

struct text_place text_place_begin(struct str text)
{
    bool mark = str_starts(text, STR("\xef\xbb\xbf"));
    return (struct text_place){.text = text, .at = mark ? 3 : 0, .line = 1, .column = 1};
}

/* The bytes of the line's end that begins here; 0: none does. */
static size_t line_end(struct str s)
{
    if (s.p[0] == '\r')
        return s.n > 1 && s.p[1] == '\n' ? 2 : 1;
    if (s.p[0] == '\n')
        return 1;
    if (str_starts(s, STR("\xc2\x85")))
        return 2;
    return str_starts(s, STR("\xe2\x80\xa8")) || str_starts(s, STR("\xe2\x80\xa9")) ? 3 : 0;
}

void text_place_step(struct text_place *p)
{
    struct str rest = {p->text.p + p->at, p->text.n - p->at};
    size_t n = line_end(rest);
    if (n > 0) {
        p->at += n;
        p->line++;
        p->column = 1;
        return;
    }
    p->at++;
    while (p->at < p->text.n && ((unsigned char)p->text.p[p->at] & 0xc0) == 0x80)
        p->at++;
    p->column++;
}

void text_place_seek(struct text_place *p, uint32_t line, uint32_t column)
{
    while (p->at < p->text.n && (p->line < line || (p->line == line && p->column < column)))
        text_place_step(p);
}
