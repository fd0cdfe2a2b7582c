/* json_path.c - a path expression as steps. */
#include "policies/json_path.h"

#include "base/utf8.h"

struct reader {
    struct str text;
    size_t at;
    struct arena *arena;
};

static bool is_first(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

/* RFC 9535 §2.5.1.1, and '-', which no operator of ours needs. */
static bool is_name_char(unsigned char c)
{
    return is_first(c) || (c >= '0' && c <= '9') || c == '-';
}

static int peek(const struct reader *r)
{
    return r->at < r->text.n ? (unsigned char)r->text.p[r->at] : -1;
}

static const char *take_name(struct reader *r, const char *p, size_t n, struct json_step *step)
{
    if (n > JSON_NAME_MAX)
        return "a name is longer than 256 bytes";
    step->name = arena_str(r->arena, (struct str){p, n});
    return step->name.p ? NULL : "out of memory";
}

static const char *read_dotted(struct reader *r, struct json_step *step)
{
    size_t from = r->at;
    if (peek(r) == '.')
        return "\"..\" is not supported: a path names one value";
    if (peek(r) == '*')
        return "\"*\" is not supported: a path names one value";
    if (peek(r) < 0 || !is_first((unsigned char)peek(r)))
        return "a name is expected behind \".\" (other names as ['name'])";
    while (peek(r) >= 0 && is_name_char((unsigned char)peek(r)))
        r->at++;
    return take_name(r, r->text.p + from, r->at - from, step);
}

static const char *read_quoted(struct reader *r, struct json_step *step)
{
    char name[JSON_NAME_MAX];
    size_t n = 0;
    int quote = peek(r);
    for (r->at++; peek(r) != quote; r->at++) {
        if (peek(r) < 0)
            return "the quote is not closed";
        if (peek(r) < 0x20)
            return "a control character";
        if (peek(r) == '\\') { /* \' \" \\ and nothing else: a path is read by people */
            r->at++;
            if (peek(r) != '\\' && peek(r) != '\'' && peek(r) != '"')
                return "only \\\\, \\' and \\\" are escapes here";
        }
        if (n == sizeof(name))
            return "a name is longer than 256 bytes";
        name[n++] = (char)peek(r);
    }
    r->at++;
    return take_name(r, name, n, step);
}

static const char *read_index(struct reader *r, struct json_step *step)
{
    uint64_t v = 0;
    size_t from = r->at;
    if (peek(r) == '-')
        return "a negative index is not supported";
    while (peek(r) >= '0' && peek(r) <= '9') {
        v = v * 10 + (uint64_t)(peek(r) - '0');
        if (v > 1000000)
            return "an index is above 1000000";
        r->at++;
    }
    if (r->at == from)
        return "an index or a quoted name is expected in [..]";
    if (r->text.p[from] == '0' && r->at - from > 1)
        return "an index has no leading zero";
    step->index = (uint32_t)v;
    return NULL;
}

static const char *read_step(struct reader *r, struct json_step *step)
{
    int c = peek(r);
    if (c != '.' && c != '[')
        return "\".name\" or \"[index]\" is expected";
    r->at++;
    if (c == '.')
        return read_dotted(r, step);
    bool quoted = peek(r) == '\'' || peek(r) == '"';
    const char *wrong = quoted ? read_quoted(r, step) : read_index(r, step);
    if (wrong)
        return wrong;
    if (peek(r) != ']')
        return "\"]\" is expected";
    r->at++;
    return NULL;
}

static const char *read_path(struct reader *r, struct json_path *path)
{
    struct json_step steps[JSON_PATH_STEPS_MAX];
    if (peek(r) != '$')
        return "a path begins with \"$\"";
    for (size_t i = 0; i < r->text.n;) { /* also what stands between quotes */
        size_t n = utf8_char((struct str){r->text.p + i, r->text.n - i});
        if (n == 0) {
            r->at = i;
            return "it is not UTF-8";
        }
        i += n;
    }
    for (r->at = 1; peek(r) >= 0; path->n++) {
        if (path->n == JSON_PATH_STEPS_MAX)
            return "a path has at most 16 steps";
        steps[path->n] = (struct json_step){0};
        const char *wrong = read_step(r, &steps[path->n]);
        if (wrong)
            return wrong;
    }
    path->steps = arena_alloc(r->arena, sizeof(steps[0]) * path->n + 1);
    if (!path->steps)
        return "out of memory";
    if (path->n > 0)
        memcpy(path->steps, steps, sizeof(steps[0]) * path->n);
    return NULL;
}

const char *json_path_compile(struct arena *a, struct str text, struct json_path *ret,
                              size_t *ret_at)
{
    struct reader r = {.text = text, .arena = a};
    struct json_path path = {0};
    const char *wrong = read_path(&r, &path);
    if (wrong) {
        *ret_at = r.at;
        return wrong;
    }
    *ret = path;
    return NULL;
}
