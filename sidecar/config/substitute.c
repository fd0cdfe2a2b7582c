/* substitute.c - ${NAME} and ${NAME:-default} in values, from the environment. */
#include "config/substitute.h"

#include "base/utf8.h"
#include "config/problems.h"
#include "config/text_place.h"

enum { VARIABLE_NAME_MAX = 255 };

struct substitution {
    struct arena *arena;
    const struct config_env *env;
    struct config_problems *problems;
    struct text_place place; /* nodes come in the order of the text: it only goes forward */
    char *out;               /* SUBSTITUTE_BYTES_MAX; NULL until something is substituted */
    bool no_memory;
};

/* ---- where a "${" stands ---- */

static bool opens(struct str s, size_t at)
{
    return s.n - at >= 2 && s.p[at] == '$' && s.p[at + 1] == '{';
}

/* Over one character of the text, and one more behind a '\' of a "..." scalar. False: the scalar,
 * or the text, ends here. */
static bool step(struct text_place *p, char quote)
{
    char c = p->text.p[p->at];
    text_place_step(p);
    bool doubled = quote == '\'' && c == quote && p->at < p->text.n && p->text.p[p->at] == quote;
    if (quote && c == quote && !doubled)
        return false;
    if (doubled || (quote == '"' && c == '\\' && p->at < p->text.n))
        text_place_step(p);
    return p->at < p->text.n;
}

/* The place of the n-th "${" of the node's scalar (from 0) as it is written; of the scalar where
 * it is not to be found, because it was written with escapes. */
static struct text_place find_place(struct substitution *s, const struct yaml_node *node,
                                    unsigned n)
{
    struct text_place begin, it;
    char quote = '\0';

    text_place_seek(&s->place, node->line, node->column);
    begin = it = s->place;
    if (it.at < it.text.n && node->quoted &&
        (it.text.p[it.at] == '"' || it.text.p[it.at] == '\'')) {
        quote = it.text.p[it.at];
        text_place_step(&it);
    }
    while (it.at < it.text.n && node->quoted && !quote && it.line == node->line)
        text_place_step(&it); /* | and > begin on the next line */
    for (bool more = it.at < it.text.n; more; more = step(&it, quote)) {
        if (opens(it.text, it.at) && n-- == 0)
            return it;
    }
    return begin;
}

/* ---- one scalar ---- */

struct scalar {
    struct substitution *s;
    struct yaml_node *node;
    struct str rest; /* what is still to be read */
    unsigned opened; /* "${" read so far, those of $${ too */
    size_t n;        /* bytes of s->out */
    bool too_long;
};

#define REFUSE(sc, ...)                                                                            \
    do {                                                                                           \
        char path_[YAML_PATH_MAX];                                                                 \
        struct text_place at_ = find_place((sc)->s, (sc)->node, (sc)->opened - 1);                 \
        problem_add((sc)->s->problems, at_.line, at_.column, yaml_path((sc)->node, path_), false,  \
                    __VA_ARGS__);                                                                  \
    } while (0)

static void put(struct scalar *sc, struct str s)
{
    sc->too_long = sc->too_long || s.n > SUBSTITUTE_BYTES_MAX - sc->n;
    if (sc->too_long || s.n == 0)
        return;
    memcpy(sc->s->out + sc->n, s.p, s.n);
    sc->n += s.n;
}

static bool name_char(char c, bool first)
{
    char l = ascii_lower(c);
    return (l >= 'a' && l <= 'z') || c == '_' || (!first && c >= '0' && c <= '9');
}

/* Takes the name off the front of s. */
static struct str take_name(struct str *s)
{
    size_t n = 0;
    while (n < s->n && name_char(s->p[n], n == 0))
        n++;
    struct str name = {s->p, n};
    *s = (struct str){s->p + n, s->n - n};
    return name;
}

static const char *look_up(struct scalar *sc, struct str name)
{
    char zero_ended[VARIABLE_NAME_MAX + 1];
    memcpy(zero_ended, name.p, name.n);
    zero_ended[name.n] = '\0';
    return sc->s->env->get(sc->s->env->ctx, zero_ended);
}

/* The same as a YAML text may hold: a value that is no text would come to light where it is used.
 */
static bool is_text(struct str s)
{
    while (s.n > 0) {
        unsigned char c = (unsigned char)s.p[0];
        size_t n = utf8_char(s);
        if (n == 0 || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)
            return false;
        s = (struct str){s.p + n, s.n - n};
    }
    return true;
}

/* `given`: there is a default. */
static bool put_value(struct scalar *sc, struct str name, bool given, struct str otherwise)
{
    if (name.n > VARIABLE_NAME_MAX) {
        REFUSE(sc, "the name of a variable has at most %d characters", VARIABLE_NAME_MAX);
        return false;
    }
    struct str value = str_of(look_up(sc, name));
    if (!value.p && !given) {
        REFUSE(sc,
               "the environment variable %.*s is not set (${%.*s:-x} would be x then; "
               "$${ is a plain ${)",
               STR_FMT(name), STR_FMT(name));
        return false;
    }
    if (given && value.n == 0)
        value = otherwise;
    if (!is_text(value)) {
        REFUSE(sc, "the environment variable %.*s holds control characters, or is not UTF-8",
               STR_FMT(name));
        return false;
    }
    put(sc, value);
    return true;
}

/* Behind a "${". */
static bool put_variable(struct scalar *sc)
{
    struct str inside = sc->rest, otherwise = STR("");
    const char *end = inside.n ? memchr(inside.p, '}', inside.n) : NULL;

    if (!end) {
        REFUSE(sc, "\"${\" has no \"}\" (a plain ${ is written $${)");
        return false;
    }
    inside.n = (size_t)(end - inside.p);
    sc->rest = (struct str){end + 1, sc->rest.n - inside.n - 1};
    struct str name = take_name(&inside);
    bool given = str_starts(inside, STR(":-"));
    if (given) {
        otherwise = (struct str){inside.p + 2, inside.n - 2};
        inside.n = 0;
    }
    if (name.n == 0 || inside.n > 0) {
        REFUSE(sc, "expected ${NAME} or ${NAME:-default}, NAME of letters, digits and _ "
                   "(a plain ${ is written $${)");
        return false;
    }
    for (size_t i = 0; i + 1 < otherwise.n; i++) {
        if (opens(otherwise, i)) {
            REFUSE(sc, "a default cannot hold another ${");
            return false;
        }
    }
    return put_value(sc, name, given, otherwise);
}

/* To its end; false: a mistake, which is reported. */
static bool put_all(struct scalar *sc)
{
    while (sc->rest.n > 0) {
        const char *dollar = memchr(sc->rest.p, '$', sc->rest.n);
        size_t plain = dollar ? (size_t)(dollar - sc->rest.p) : sc->rest.n;
        put(sc, (struct str){sc->rest.p, plain});
        sc->rest = (struct str){sc->rest.p + plain, sc->rest.n - plain};
        bool escaped = str_starts(sc->rest, STR("$${")), variable = opens(sc->rest, 0);
        size_t taken = escaped ? 3 : variable ? 2 : sc->rest.n > 0;
        sc->opened += escaped || variable;
        if (!variable)
            put(sc, (struct str){sc->rest.p + escaped, taken - escaped});
        sc->rest = (struct str){sc->rest.p + taken, sc->rest.n - taken};
        if (variable && !put_variable(sc))
            return false;
        if (sc->too_long) {
            sc->opened += sc->opened == 0;
            REFUSE(sc, "more than 64 KiB with its variables put in");
            return false;
        }
    }
    return true;
}

static bool holds_variable(struct str s)
{
    for (const char *p = s.p; s.n > 1 && (p = memchr(p, '$', (size_t)(s.p + s.n - 1 - p))); p++) {
        if (p[1] == '{')
            return true;
    }
    return false;
}

static void no_memory(struct substitution *s)
{
    s->no_memory = true;
    problem_out_of_memory(s->problems);
}

static void substitute(struct substitution *s, struct yaml_node *node)
{
    struct scalar sc = {.s = s, .node = node, .rest = node->text};

    if (!holds_variable(node->text))
        return;
    if (!s->out)
        s->out = arena_alloc(s->arena, SUBSTITUTE_BYTES_MAX);
    if (!s->out) {
        no_memory(s);
        return;
    }
    if (!put_all(&sc)) {
        node->kind = NODE_BROKEN;
        return;
    }
    struct str text = arena_str(s->arena, (struct str){s->out, sc.n});
    if (!text.p) {
        no_memory(s);
        return;
    }
    node->raw = node->text;
    node->text = text;
}

static void walk(struct substitution *s, struct yaml_node *node)
{
    if (node->kind == NODE_SCALAR)
        substitute(s, node);
    for (struct yaml_node *it = node->first; it && !s->no_memory; it = it->next)
        walk(s, it);
}

void substitute_tree(struct arena *a, struct yaml_node *root, struct str text,
                     const struct config_env *env, struct config_problems *problems)
{
    struct substitution s = {
        .arena = a, .env = env, .problems = problems, .place = text_place_begin(text)};
    walk(&s, root);
}
