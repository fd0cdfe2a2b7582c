/* template.h - text with `{name}` in it, where a learned value goes, escaped for where it stands.
 *
 *   {name}   the value; name is a letter or _, then letters, digits, _ and -
 *   {{       a brace
 *
 * Outside of bodies a name may have dots in it, which no learned value's has: {client.address}.
 * Any other `{` is an error, but in a body, where it is itself: JSON has many. A value is never
 * structure: what cannot be escaped in its place is refused. */
#ifndef SLUICE_POLICIES_TEMPLATE_H
#define SLUICE_POLICIES_TEMPLATE_H

#include "base/arena.h"

#include <stdint.h>

enum template_place {
    TEMPLATE_TARGET, /* path and query: all but RFC 3986's unreserved is percent-encoded */
    TEMPLATE_HEADER, /* a header's value: control characters are refused (RFC 9110 §5.5) */
    TEMPLATE_JSON,   /* a JSON text: in quotes escaped (RFC 8259 §7), else numbers and true, false
                        only; what is not UTF-8 is refused */
    TEMPLATE_FORM,   /* application/x-www-form-urlencoded: as in a target */
    TEMPLATE_XML, /* & < > " ' as entities; control characters and what is not UTF-8 are refused */
    TEMPLATE_PLAIN, /* as it is: of keys, which nobody parses */
};

enum { TEMPLATE_PIECES_MAX = 64, TEMPLATE_NAME_MAX = 64 };

struct template_piece {
    struct str literal; /* in front of the value; may be empty */
    int32_t value;      /* which one; -1: none, at the end */
    bool bare;          /* JSON: not in quotes */
};

struct template
{
    enum template_place place;
    uint32_t n;
    struct template_piece *pieces;
    uint32_t uses; /* bits: the values in it */
};

/* What is wrong with one. */
struct template_problem {
    const char *what; /* a literal; NULL: `name` is not one of the names */
    struct str name;  /* in the text */
    size_t at;        /* offset of the byte */
};

/* A name, as in `{name}`. */
bool template_is_name(struct str s);
/* names[0..n), at most 32, are what it may use. Everything of *ret is in the arena. 0; -EINVAL with
 * *problem filled; -ENOMEM. */
int template_compile(struct arena *a, struct str text, enum template_place place,
                     const struct str *names, uint32_t n, struct template *ret,
                     struct template_problem *problem);
/* All of the text, where uses is 0. */
static inline struct str template_literal(const struct template *t)
{
    return t->pieces[0].literal;
}
/* values[i] for names[i], of those that it uses; .p NULL: there is none. 0 with *ret_len bytes at
 * out; -ENOENT: a value that it uses is missing or empty; -EINVAL: one cannot stand there;
 * -EMSGSIZE: longer than cap. */
int template_render(const struct template *t, const struct str *values, char *out, size_t cap,
                    size_t *ret_len);

#endif
