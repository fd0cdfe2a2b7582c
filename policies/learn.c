/* learn.c - which values an exchange has. */
#include "policies/learn.h"

#include "base/check.h"

#include <errno.h>

void learn_values_clear(struct learn_values *v)
{
    memset(v->v, 0, sizeof(v->v));
}

/* Nothing where it is empty or too long. */
static void set(struct learn_values *v, int32_t i, struct str value)
{
    v->v[i] = STR_NONE;
    if (value.n == 0 || value.n > LEARN_VALUE_MAX)
        return;
    memcpy(v->bytes[i], value.p, value.n);
    v->v[i] = (struct str){v->bytes[i], value.n};
}

/* --- percent-encoding (RFC 3986 §2.1); '+' is itself --- */

static int hex(char c)
{
    char low = ascii_lower(c);
    if (c >= '0' && c <= '9')
        return c - '0';
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* Into out, which has LEARN_KEY_MAX bytes; .p NULL: it is longer. What is no encoding stays. */
static struct str decode(struct str s, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (n == LEARN_KEY_MAX)
            return STR_NONE;
        if (s.p[i] == '%' && i + 2 < s.n && hex(s.p[i + 1]) >= 0 && hex(s.p[i + 2]) >= 0) {
            out[n++] = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
            i += 2;
        } else {
            out[n++] = s.p[i];
        }
    }
    return (struct str){out, n};
}

/* --- a text against a template --- */

/* A value ends where the next literal begins, at `stop` (0: nowhere), or with the text. */
static bool match_text(const struct template *t, struct str text, char stop, bool encoded,
                       struct learn_values *v)
{
    char decoded[LEARN_KEY_MAX];
    size_t at = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct template_piece *piece = &t->pieces[i];
        struct str rest = {text.p + at, text.n - at};
        if (!str_starts(rest, piece->literal))
            return false;
        at += piece->literal.n;
        if (piece->value < 0)
            break;
        CHECK(i + 1 < t->n);
        struct str next = t->pieces[i + 1].literal;
        size_t from = at;
        while (at < text.n && !(stop && text.p[at] == stop) &&
               !(next.n > 0 && text.p[at] == next.p[0]))
            at++;
        struct str value = {text.p + from, at - from};
        if (value.n == 0)
            return false;
        set(v, piece->value, encoded ? decode(value, decoded) : value);
    }
    return at == text.n;
}

/* The next `name=value` of a list; false: there is none. */
static bool next_pair(struct str *rest, char separator, struct str *ret_name, struct str *ret_value)
{
    if (rest->n == 0)
        return false;
    const char *end = memchr(rest->p, separator, rest->n);
    struct str item = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
    *rest = end ? (struct str){end + 1, rest->n - item.n - 1} : STR_NONE;
    item = str_trim(item);
    const char *eq = item.n > 0 ? memchr(item.p, '=', item.n) : NULL;
    *ret_name = eq ? (struct str){item.p, (size_t)(eq - item.p)} : item;
    *ret_value = eq ? (struct str){eq + 1, item.n - ret_name->n - 1} : STR_NONE;
    return true;
}

/* The first parameter of that name. */
static bool match_query(const struct learn_pair *pair, struct str query, struct learn_values *v)
{
    char name_bytes[LEARN_KEY_MAX], value_bytes[LEARN_KEY_MAX];
    struct str name, value;
    while (next_pair(&query, '&', &name, &value)) {
        if (!str_eq(decode(name, name_bytes), pair->name))
            continue;
        struct str decoded = decode(value, value_bytes);
        return (decoded.p || value.n == 0) && match_text(&pair->value, decoded, '\0', false, v);
    }
    return false;
}

static struct str unquoted(struct str s)
{
    return s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"' ? (struct str){s.p + 1, s.n - 2} : s;
}

static bool match_cookie(const struct learn_pair *pair, const struct learn_head *h,
                         struct learn_values *v)
{
    struct str field, value, name, crumb;
    for (uint32_t i = 0; h->field(h->ctx, i, &field, &value); i++) {
        if (!str_ieq(field, STR("cookie")))
            continue;
        while (next_pair(&value, ';', &name, &crumb)) {
            if (str_eq(name, pair->name))
                return match_text(&pair->value, unquoted(crumb), '\0', false, v);
        }
    }
    return false;
}

static struct str find_field(const struct learn_head *h, struct str name)
{
    struct str got, value;
    for (uint32_t i = 0; h->field(h->ctx, i, &got, &value); i++) {
        if (str_ieq(got, name))
            return value;
    }
    return STR_NONE;
}

bool learn_matches(const struct learn_pattern *p, const struct learn_head *request,
                   struct learn_values *v)
{
    if (p->method.n > 0 && !str_eq(p->method, request->method))
        return false;
    if (!p->any_path && !match_text(&p->path, request->path, '/', true, v))
        return false;
    for (uint32_t i = 0; i < p->n_query; i++) {
        if (!match_query(&p->query[i], request->query, v))
            return false;
    }
    for (uint32_t i = 0; i < p->n_headers; i++) {
        struct str value = find_field(request, p->headers[i].name);
        if (!value.p || !match_text(&p->headers[i].value, value, '\0', false, v))
            return false;
    }
    for (uint32_t i = 0; i < p->n_cookies; i++) {
        if (!match_cookie(&p->cookies[i], request, v))
            return false;
    }
    return true;
}

/* --- a response's head --- */

/* RFC 6265 §5.2: up to the first ';' stands the pair. Of several the last is what a client keeps.
 */
static void take_cookie(const struct learn_take *take, const struct learn_head *h,
                        struct learn_values *v)
{
    struct str field, value, name, pair;
    for (uint32_t i = 0; h->field(h->ctx, i, &field, &value); i++) {
        if (str_ieq(field, STR("set-cookie")) && next_pair(&value, ';', &name, &pair) &&
            str_eq(str_trim(name), take->field))
            set(v, (int32_t)take->value, unquoted(str_trim(pair)));
    }
}

void learn_take_head(const struct learn_rule *r, const struct learn_head *response,
                     struct learn_values *v)
{
    for (uint32_t i = 0; i < r->n_takes; i++) {
        const struct learn_take *take = &r->takes[i];
        if (take->from == LEARN_HEADER)
            set(v, (int32_t)take->value, find_field(response, take->field));
        else if (take->from == LEARN_COOKIE)
            take_cookie(take, response, v);
    }
}

/* --- bodies --- */

uint32_t learn_body_values(const struct learn_take *takes, uint32_t n, enum learn_from from,
                           struct learn_values *v, struct json_value json[LEARN_VALUES_MAX])
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (takes[i].from != from)
            continue;
        CHECK(used < LEARN_VALUES_MAX);
        json[used++] = (struct json_value){
            .path = &takes[i].path, .bytes = v->bytes[takes[i].value], .cap = LEARN_VALUE_MAX};
    }
    return used;
}

void learn_take_body(const struct learn_take *takes, uint32_t n, enum learn_from from,
                     const struct json_value *json, struct learn_values *v)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (takes[i].from != from)
            continue;
        const struct json_value *value = &json[used++];
        v->v[takes[i].value] =
            value->found && value->len > 0 ? (struct str){value->bytes, value->len} : STR_NONE;
    }
}
