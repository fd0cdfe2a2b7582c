/* authz.c - a request against a route's rules. */
#include "policies/authz.h"

#include <stdio.h>

/* --- paths --- */

/* A path as it is read byte by byte. */
struct reader {
    struct str rest;
    bool wide; /* the second reading */
    char last;
};

enum { END = -1 };

static int hex(char c)
{
    char l = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

/* One byte of that reading off the front, before empty segments are taken out. */
static int take(struct reader *r)
{
    struct str *s = &r->rest;
    size_t n = 1;
    if (r->wide && s->n > 0 && s->p[0] == ';') {
        while (s->n > 0 && s->p[0] != '/')
            *s = (struct str){s->p + 1, s->n - 1};
    }
    if (s->n == 0)
        return END;
    int c = (unsigned char)s->p[0];
    if (r->wide && c == '%' && s->n >= 3 && hex(s->p[1]) >= 0 && hex(s->p[2]) >= 0) {
        c = hex(s->p[1]) * 16 + hex(s->p[2]);
        n = 3;
    }
    *s = (struct str){s->p + n, s->n - n};
    return r->wide && c == '\\' ? '/' : c;
}

static int next(struct reader *r)
{
    int c = take(r);
    while (c == '/' && r->last == '/')
        c = take(r);
    r->last = (char)c;
    return c;
}

static bool ends_in_slash(struct str s)
{
    return s.n >= 2 && s.p[s.n - 1] == '/';
}

static bool fits_path(struct str pattern, struct str path, bool wide)
{
    struct reader r = {.rest = path, .wide = wide};
    bool below = pattern.n >= 2 && pattern.p[pattern.n - 1] == '*';
    size_t n = below ? pattern.n - 2 : pattern.n; /* without "/" and "*" */
    n -= wide && ends_in_slash(pattern);
    for (size_t i = 0; i < n; i++) {
        if (next(&r) != (unsigned char)pattern.p[i])
            return false;
    }
    int c = next(&r);
    return c == END || (below && c == '/') || (wide && c == '/' && next(&r) == END);
}

/* In its second reading a segment is "." or "..": nobody knows where it leads. */
static bool is_ambiguous(struct str path)
{
    struct reader r = {.rest = path, .wide = true};
    uint32_t dots = 0;
    bool only_dots = true;
    for (;;) {
        int c = next(&r);
        if (c == END || c == '/') {
            if (only_dots && (dots == 1 || dots == 2))
                return true;
            if (c == END)
                return false;
            dots = 0;
            only_dots = true;
        } else if (c == '.') {
            dots++;
        } else {
            only_dots = false;
        }
    }
}

/* Nothing in it can be read in two ways. */
static bool is_plain(struct str path)
{
    char before = 0;
    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];
        if (c == '%' || c == '\\' || c == ';' || ((c == '/' || c == '.') && before == '/'))
            return false;
        before = c;
    }
    return !ends_in_slash(path);
}

/* The second reading of a rule differs all the same. */
static bool plain_fits(const struct authz_rule *rule, struct str pattern, struct str path)
{
    bool below = pattern.n >= 2 && pattern.p[pattern.n - 1] == '*';
    if (!below) {
        pattern.n -= !rule->allow && ends_in_slash(pattern);
        return str_eq(pattern, path);
    }
    struct str top = {pattern.p, pattern.n - 2};
    return str_starts(path, top) && (path.n == top.n || path.p[top.n] == '/');
}

static bool plain_fits_one(const struct authz_rule *rule, struct str path)
{
    for (uint32_t i = 0; i < rule->n_paths; i++) {
        if (plain_fits(rule, rule->paths[i], path))
            return true;
    }
    return false;
}

static bool paths_fit(const struct authz_rule *rule, struct str path)
{
    if (is_plain(path))
        return plain_fits_one(rule, path);
    bool ambiguous = is_ambiguous(path);
    for (uint32_t i = 0; i < rule->n_paths && !ambiguous; i++) {
        bool plain = fits_path(rule->paths[i], path, false);
        bool wide = fits_path(rule->paths[i], path, true);
        if (rule->allow ? plain && wide : plain || wide)
            return true;
    }
    return ambiguous && !rule->allow;
}

bool authz_is_path(struct str s)
{
    size_t begin = 1;
    if (s.n == 0 || s.p[0] != '/')
        return false;
    for (size_t i = 1; i <= s.n; i++) {
        if (i < s.n && s.p[i] != '/') {
            if (s.p[i] == '*' && (i + 1 != s.n || i != begin))
                return false;
            continue;
        }
        struct str segment = {s.p + begin, i - begin};
        if ((segment.n == 0 && i < s.n) || str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
            return false;
        begin = i + 1;
    }
    return true;
}

/* --- the rest --- */

static bool is_one_of(struct str s, const struct str *all, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (str_eq(s, all[i]))
            return true;
    }
    return false;
}

static bool spiffe_fits(const struct authz_rule *rule, struct str id)
{
    for (uint32_t i = 0; i < rule->n_spiffe_ids && id.n > 0; i++) {
        struct str want = rule->spiffe_ids[i];
        bool below = want.n >= 2 && want.p[want.n - 1] == '*';
        if (below && id.n >= want.n && str_starts(id, (struct str){want.p, want.n - 1}))
            return true;
        if (!below && str_eq(want, id))
            return true;
    }
    return false;
}

static bool source_fits(const struct authz_rule *rule, const struct ip *source)
{
    for (uint32_t i = 0; i < rule->n_cidrs; i++) {
        if (cidr_contains(&rule->cidrs[i], source))
            return true;
    }
    return !source->known && !rule->allow;
}

bool authz_has_words(struct str claim)
{
    return str_eq(claim, STR("scope")) || str_eq(claim, STR("scp"));
}

static bool has_word(struct str text, const struct authz_claim *c)
{
    while (text.n > 0) {
        const char *end = memchr(text.p, ' ', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        if (is_one_of((struct str){text.p, n}, c->values, c->n_values))
            return true;
        n += end ? 1 : 0;
        text = (struct str){text.p + n, text.n - n};
    }
    return false;
}

static bool value_fits(const struct authz_claim *c, const json_t *v)
{
    char number[24];
    if (json_is_boolean(v))
        return is_one_of(json_is_true(v) ? STR("true") : STR("false"), c->values, c->n_values);
    if (json_is_integer(v)) {
        int n = snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return is_one_of((struct str){number, (size_t)n}, c->values, c->n_values);
    }
    if (!json_is_string(v))
        return false;
    struct str text = {json_string_value(v), json_string_length(v)};
    return is_one_of(text, c->values, c->n_values) || (c->words && has_word(text, c));
}

static bool claim_fits(const struct authz_claim *c, const struct jwt_claims *claims)
{
    const json_t *v = claims ? jwt_claim(claims, &c->path) : NULL, *item;
    size_t i;
    if (!json_is_array(v))
        return value_fits(c, v);
    json_array_foreach(v, i, item)
    {
        if (value_fits(c, item))
            return true;
    }
    return false;
}

static bool fits(const struct authz_rule *rule, const struct authz_request *q)
{
    if (rule->n_methods > 0 && !is_one_of(q->method, rule->methods, rule->n_methods))
        return false;
    if (rule->n_paths > 0 && !paths_fit(rule, q->path))
        return false;
    if (rule->n_spiffe_ids > 0 && !spiffe_fits(rule, q->spiffe_id))
        return false;
    if (rule->n_cidrs > 0 && !source_fits(rule, &q->source))
        return false;
    for (uint32_t i = 0; i < rule->n_claims; i++) {
        if (!claim_fits(&rule->claims[i], q->claims))
            return false;
    }
    return true;
}

bool authz_allows(const struct authz_rules *r, const struct authz_request *q)
{
    bool any_allow = false;
    for (uint32_t i = 0; i < r->n; i++) {
        if (fits(&r->rules[i], q))
            return r->rules[i].allow;
        any_allow = any_allow || r->rules[i].allow;
    }
    return !any_allow;
}
