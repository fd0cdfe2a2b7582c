/* route_text.c - conditions on header fields and query parameters. */
#include "policies/route_text.h"

#include <errno.h>
#include <stdio.h>

int route_text_init(struct route_text *t, const struct route_condition *c, char *why_out,
                    size_t why_cap)
{
    *t = (struct route_text){.cond = *c};
    if (c->name.n == 0) {
        (void)snprintf(why_out, why_cap, "the name is empty");
        return -EINVAL;
    }
    if (c->how != ROUTE_TEXT_REGEX)
        return 0;
    return route_regex_new(c->value, &t->regex, why_out, why_cap);
}

void route_text_done(struct route_text *t)
{
    t->regex = route_regex_free(t->regex);
}

static unsigned hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* Takes one byte off the front; a '%' without two hex digits stands for itself. s is not empty. */
static char take_decoded(struct str *s)
{
    char c = s->p[0];
    size_t used = 1;
    if (c == '%' && s->n >= 3 && hex_value(s->p[1]) < 16 && hex_value(s->p[2]) < 16) {
        c = (char)(hex_value(s->p[1]) * 16 + hex_value(s->p[2]));
        used = 3;
    }
    *s = (struct str){s->p + used, s->n - used};
    return c;
}

/* Takes `prefix` off the front of what is encoded in *s; false: it does not begin so. */
static bool take_prefix(struct str *s, struct str prefix)
{
    for (size_t i = 0; i < prefix.n; i++) {
        if (s->n == 0 || take_decoded(s) != prefix.p[i])
            return false;
    }
    return true;
}

static enum route_answer decoded_matches(const struct route_regex *regex, struct str value,
                                         struct route_scratch *scratch)
{
    if (!scratch)
        return ROUTE_UNDECIDED;
    if (value.n > 0 && memchr(value.p, '%', value.n)) {
        char *out = route_scratch_bytes(scratch, value.n);
        size_t n = 0;
        if (!out)
            return ROUTE_UNDECIDED;
        while (value.n > 0)
            out[n++] = take_decoded(&value);
        value = (struct str){out, n};
    }
    return route_regex_match(regex, value, scratch);
}

static enum route_answer inverted(enum route_answer a)
{
    if (a == ROUTE_UNDECIDED)
        return a;
    return a == ROUTE_YES ? ROUTE_NO : ROUTE_YES;
}

static enum route_answer header_answer(const struct route_text *t, struct str value,
                                       struct route_scratch *scratch)
{
    switch (t->cond.how) {
    case ROUTE_TEXT_PRESENT:
        return ROUTE_YES;
    case ROUTE_TEXT_EXACT:
        return str_eq(value, t->cond.value) ? ROUTE_YES : ROUTE_NO;
    case ROUTE_TEXT_PREFIX:
        return str_starts(value, t->cond.value) ? ROUTE_YES : ROUTE_NO;
    case ROUTE_TEXT_REGEX:
        return route_regex_match(t->regex, value, scratch);
    }
    return ROUTE_NO;
}

enum route_answer route_text_header(const struct route_text *t, const struct route_request *r,
                                    struct route_scratch *scratch)
{
    struct str value = r->header ? r->header(r->ctx, t->cond.name) : STR_NONE;
    enum route_answer a = value.p ? header_answer(t, value, scratch) : ROUTE_NO;
    return t->cond.invert ? inverted(a) : a;
}

/* The value of the first parameter of that name, still encoded. */
static bool query_find(struct str query, struct str name, struct str *ret_value)
{
    while (query.n > 0) {
        const char *amp = memchr(query.p, '&', query.n);
        size_t len = amp ? (size_t)(amp - query.p) : query.n;
        const char *equals = memchr(query.p, '=', len);
        size_t name_len = equals ? (size_t)(equals - query.p) : len;
        struct str key = {query.p, name_len};
        if (take_prefix(&key, name) && key.n == 0) {
            size_t skip = equals ? name_len + 1 : len;
            *ret_value = (struct str){query.p + skip, len - skip};
            return true;
        }
        len += amp ? 1 : 0;
        query = (struct str){query.p + len, query.n - len};
    }
    return false;
}

static enum route_answer query_answer(const struct route_text *t, struct str value,
                                      struct route_scratch *scratch)
{
    switch (t->cond.how) {
    case ROUTE_TEXT_PRESENT:
        return ROUTE_YES;
    case ROUTE_TEXT_EXACT:
        return take_prefix(&value, t->cond.value) && value.n == 0 ? ROUTE_YES : ROUTE_NO;
    case ROUTE_TEXT_PREFIX:
        return take_prefix(&value, t->cond.value) ? ROUTE_YES : ROUTE_NO;
    case ROUTE_TEXT_REGEX:
        return decoded_matches(t->regex, value, scratch);
    }
    return ROUTE_NO;
}

enum route_answer route_text_query(const struct route_text *t, const struct route_request *r,
                                   struct route_scratch *scratch)
{
    struct str value;
    bool there = query_find(r->query, t->cond.name, &value);
    enum route_answer a = there ? query_answer(t, value, scratch) : ROUTE_NO;
    return t->cond.invert ? inverted(a) : a;
}
