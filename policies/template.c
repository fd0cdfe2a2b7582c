/* template.c - text with learned values in it, escaped for where they stand. */
#include "policies/template.h"

#include "base/check.h"
#include "base/utf8.h"

#include <errno.h>

/* --- compiling --- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* How many bytes of s are a name at its beginning. */
static size_t name_length(struct str s, bool dots)
{
    size_t n = 0;
    while (n < s.n && (is_letter(s.p[n]) ||
                       (n > 0 && (is_digit(s.p[n]) || s.p[n] == '-' || (dots && s.p[n] == '.')))))
        n++;
    return n;
}

bool template_is_name(struct str s)
{
    return s.n > 0 && s.n <= TEMPLATE_NAME_MAX && name_length(s, false) == s.n;
}

struct compiler {
    struct str text;
    size_t at;
    enum template_place place;
    bool quoted;   /* JSON: inside of a string */
    char *literal; /* where the next byte of a literal goes */
    uint32_t n;
    struct template_piece pieces[TEMPLATE_PIECES_MAX + 1];
};

static bool is_body(enum template_place place)
{
    return place == TEMPLATE_JSON || place == TEMPLATE_FORM || place == TEMPLATE_XML;
}

static int wrong(struct template_problem *problem, const char *what, size_t at)
{
    *problem = (struct template_problem){.what = what, .at = at};
    return -EINVAL;
}

static void take_literal(struct compiler *c)
{
    char byte = c->text.p[c->at];
    struct template_piece *piece = &c->pieces[c->n];
    if (c->place == TEMPLATE_JSON && byte == '\\' && c->quoted && c->at + 1 < c->text.n) {
        *c->literal++ = byte; /* and what it escapes, which is no quote */
        piece->literal.n++;
        byte = c->text.p[++c->at];
    } else if (byte == '"') {
        c->quoted = !c->quoted;
    }
    *c->literal++ = byte;
    piece->literal.n++;
    c->at++;
}

static int take_value(struct compiler *c, struct str name, const struct str *names, uint32_t n,
                      struct template_problem *problem)
{
    uint32_t i = 0;
    while (i < n && !str_eq(names[i], name))
        i++;
    if (i == n) {
        *problem = (struct template_problem){.name = name, .at = c->at};
        return -EINVAL;
    }
    if (c->n == TEMPLATE_PIECES_MAX)
        return wrong(problem, "more than 64 values", c->at);
    c->pieces[c->n].value = (int32_t)i;
    c->pieces[c->n].bare = !c->quoted;
    c->n++;
    c->pieces[c->n] = (struct template_piece){.literal = {c->literal, 0}, .value = -1};
    c->at += name.n + 2;
    return 0;
}

static int take_brace(struct compiler *c, const struct str *names, uint32_t n,
                      struct template_problem *problem)
{
    struct str rest = {c->text.p + c->at + 1, c->text.n - c->at - 1};
    size_t len = name_length(rest, !is_body(c->place));
    if (rest.n > 0 && rest.p[0] == '{') {
        c->at++;
        take_literal(c);
        return 0;
    }
    if (len > 0 && len < rest.n && rest.p[len] == '}')
        return take_value(c, (struct str){rest.p, len}, names, n, problem);
    if (!is_body(c->place))
        return wrong(problem, "\"{\" begins the name of a value, as in {name} (\"{{\" is a brace)",
                     c->at);
    take_literal(c);
    return 0;
}

int template_compile(struct arena *a, struct str text, enum template_place place,
                     const struct str *names, uint32_t n, struct template *ret,
                     struct template_problem *problem)
{
    char *literals = arena_alloc(a, text.n + 1);
    struct compiler c = {.text = text, .place = place, .literal = literals};
    CHECK(n <= 32);
    if (!literals)
        return -ENOMEM;
    c.pieces[0] = (struct template_piece){.literal = {literals, 0}, .value = -1};
    while (c.at < text.n) {
        if (text.p[c.at] != '{') {
            take_literal(&c);
            continue;
        }
        int rc = take_brace(&c, names, n, problem);
        if (rc < 0)
            return rc;
    }
    struct template t = {.place = place, .n = c.n + 1};
    t.pieces = arena_alloc(a, t.n * sizeof(*t.pieces));
    if (!t.pieces)
        return -ENOMEM;
    memcpy(t.pieces, c.pieces, t.n * sizeof(*t.pieces));
    for (uint32_t i = 0; i < c.n; i++)
        t.uses |= (uint32_t)1 << t.pieces[i].value;
    *ret = t;
    return 0;
}

/* --- rendering --- */

struct out {
    char *p;
    size_t n, cap;
    int rc;
};

static void put(struct out *o, const char *p, size_t n)
{
    if (o->rc < 0)
        return;
    if (n > o->cap - o->n) {
        o->rc = -EMSGSIZE;
        return;
    }
    if (n > 0)
        memcpy(o->p + o->n, p, n);
    o->n += n;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static bool is_unreserved(char c)
{
    return is_digit(c) || (is_letter(c) && c != '_') || c == '-' || c == '.' || c == '_' ||
           c == '~';
}

static void put_percent(struct out *o, char c)
{
    static const char hex[] = "0123456789ABCDEF";
    unsigned char b = (unsigned char)c;
    char text[3] = {'%', hex[b >> 4], hex[b & 15]};
    if (is_unreserved(c))
        put(o, &c, 1);
    else
        put(o, text, 3);
}

static void put_json(struct out *o, char c)
{
    static const char hex[] = "0123456789abcdef";
    char unicode[6] = {'\\', 'u', '0', '0', hex[(unsigned char)c >> 4], hex[c & 15]};
    char simple[2] = {'\\', c};
    if (c == '"' || c == '\\')
        put(o, simple, 2);
    else if (is_control(c))
        put(o, unicode, 6);
    else
        put(o, &c, 1);
}

static void put_xml(struct out *o, char c)
{
    switch (c) {
    case '&':
        put(o, "&amp;", 5);
        return;
    case '<':
        put(o, "&lt;", 4);
        return;
    case '>':
        put(o, "&gt;", 4);
        return;
    case '"':
        put(o, "&quot;", 6);
        return;
    case '\'':
        put(o, "&#39;", 5);
        return;
    default:
        put(o, &c, 1);
    }
}

/* Outside of quotes it must be a JSON value by itself: a number, true or false. */
static bool is_json_word(struct str v)
{
    size_t i = 0;
    if (str_eq(v, STR("true")) || str_eq(v, STR("false")))
        return true;
    if (i < v.n && v.p[i] == '-')
        i++;
    size_t from = i;
    while (i < v.n && is_digit(v.p[i]))
        i++;
    if (i == from || (v.p[from] == '0' && i - from > 1))
        return false;
    if (i < v.n && v.p[i] == '.') {
        from = ++i;
        while (i < v.n && is_digit(v.p[i]))
            i++;
        if (i == from)
            return false;
    }
    if (i < v.n && (v.p[i] == 'e' || v.p[i] == 'E')) {
        i++;
        if (i < v.n && (v.p[i] == '+' || v.p[i] == '-'))
            i++;
        from = i;
        while (i < v.n && is_digit(v.p[i]))
            i++;
        if (i == from)
            return false;
    }
    return i == v.n;
}

static bool is_utf8(struct str v)
{
    while (v.n > 0) {
        size_t n = utf8_char(v);
        if (n == 0)
            return false;
        v = (struct str){v.p + n, v.n - n};
    }
    return true;
}

static void put_value(struct out *o, const struct template *t, const struct template_piece *piece,
                      struct str v)
{
    if (t->place == TEMPLATE_HEADER) {
        if (str_has_control(v))
            o->rc = -EINVAL;
        else
            put(o, v.p, v.n);
        return;
    }
    bool bare = t->place == TEMPLATE_JSON && piece->bare;
    bool xml = t->place == TEMPLATE_XML, text = xml || t->place == TEMPLATE_JSON;
    if ((bare && !is_json_word(v)) || (xml && str_has_control(v)) || (text && !is_utf8(v))) {
        o->rc = -EINVAL;
        return;
    }
    if (bare || t->place == TEMPLATE_PLAIN) {
        put(o, v.p, v.n);
        return;
    }
    for (size_t i = 0; i < v.n; i++) {
        if (t->place == TEMPLATE_JSON)
            put_json(o, v.p[i]);
        else if (t->place == TEMPLATE_XML)
            put_xml(o, v.p[i]);
        else
            put_percent(o, v.p[i]);
    }
}

/* `.` and `..` cannot be encoded, and would lead to another place (RFC 3986 §5.2.4). */
static bool has_dot_segment(struct str target)
{
    size_t from = 0;
    for (size_t i = 0; i <= target.n; i++) {
        bool last = i == target.n || target.p[i] == '?';
        if (!last && target.p[i] != '/')
            continue;
        struct str segment = {target.p + from, i - from};
        if (str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
            return true;
        if (last)
            return false;
        from = i + 1;
    }
    return false;
}

int template_render(const struct template *t, const struct str *values, char *out, size_t cap,
                    size_t *ret_len)
{
    struct out o = {.p = out, .cap = cap};
    for (uint32_t i = 0; i < t->n; i++) {
        const struct template_piece *piece = &t->pieces[i];
        put(&o, piece->literal.p, piece->literal.n);
        if (piece->value < 0)
            continue;
        if (values[piece->value].n == 0)
            return -ENOENT;
        put_value(&o, t, piece, values[piece->value]);
    }
    if (o.rc == 0 && t->place == TEMPLATE_TARGET && has_dot_segment((struct str){out, o.n}))
        return -EINVAL;
    if (o.rc == 0)
        *ret_len = o.n;
    return o.rc;
}
