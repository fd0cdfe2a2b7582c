/* str.h - slices: bytes that somebody else owns. Not terminated by NUL. */
#ifndef SLUICE_BASE_STR_H
#define SLUICE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_FMT(s)   (int)(s).n, (s).p /* for "%.*s" */
#define STR_NONE     ((struct str){NULL, 0})

static inline struct str str_of(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline char ascii_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c;
}

/* n bytes of each. */
bool str_ieq_bytes(const char *a, const char *b, size_t n);

static inline bool str_ieq(struct str a, struct str b)
{
    return a.n == b.n && str_ieq_bytes(a.p, b.p, a.n);
}

/* A byte below 0x20, or DEL: what no header field may carry (RFC 9110 §5.5; a tab too). */
bool str_has_control(struct str s);

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* Without leading and trailing SP and HTAB (OWS, RFC 9110 §5.6.3). */
static inline struct str str_trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = (struct str){s.p + 1, s.n - 1};
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Takes the next element of a comma-separated list off the front of *rest, trimmed; empty
 * elements are skipped (RFC 9110 §5.6.1). False when there is none left. */
bool str_list_next(struct str *rest, struct str *ret_item);

/* Digits only, no sign, no space. False on anything else and on overflow; *ret untouched then. */
bool str_to_u64(struct str s, uint64_t *ret);

/* How many single-byte edits make a into b, for "did you mean"; stops counting at max. */
unsigned str_distance(struct str a, struct str b, unsigned max);

#endif
