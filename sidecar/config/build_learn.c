/* build_learn.c - the rules of learned sessions: their texts become patterns and templates. */
#include "config/builder.h"

#include "config/problems.h"

#include <errno.h>
#include <stdio.h>

struct learn_builder {
    struct builder *b;
    struct arena *keep;
    const struct draft_learn *draft;
    const struct yaml_node *node; /* the rule's */
    struct learn_rule *rule;
    uint32_t used; /* bits: values that something is made of */
    bool broken;   /* a value has no place to come from, which is reported */
};

/* --- names --- */

static const char *next_name(const void *ctx, uint32_t i)
{
    const struct learn_rule *r = ctx;
    return r->names[i].p;
}

static bool add_name(struct learn_builder *l, struct str name, const struct yaml_node *node)
{
    struct learn_rule *r = l->rule;
    for (uint32_t i = 0; i < r->n_values; i++) {
        if (str_eq(r->names[i], name))
            return true;
    }
    if (r->n_values == LEARN_VALUES_MAX) {
        problem_at(l->b->problems, node, "a rule has at most %d values", LEARN_VALUES_MAX);
        return false;
    }
    r->names[r->n_values] = arena_str(l->keep, name);
    if (!r->names[r->n_values].p) {
        builder_no_memory(l->b);
        return false;
    }
    r->n_values++;
    return true;
}

/* Those that a text of acquire takes out of the request. */
static void collect_names(struct learn_builder *l, struct str text, const struct yaml_node *node)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '{')
            continue;
        if (i + 1 < text.n && text.p[i + 1] == '{') {
            i++;
            continue;
        }
        const char *end = memchr(text.p + i, '}', text.n - i);
        struct str name = {text.p + i + 1, end ? (size_t)(end - text.p) - i - 1 : 0};
        if (end && template_is_name(name) && !add_name(l, name, node))
            return;
    }
}

static uint32_t name_index(const struct learn_rule *r, struct str name)
{
    uint32_t i = 0;
    while (i < r->n_values && !str_eq(r->names[i], name))
        i++;
    return i;
}

static void unknown_name(struct learn_builder *l, struct str name, const struct yaml_node *node)
{
    const char *near = schema_nearest(name, next_name, l->rule, l->rule->n_values);
    char got[PROBLEM_QUOTE_MAX];
    (void)problem_quote(name, got);
    if (near)
        problem_at(l->b->problems, node, "there is no value {%s} (did you mean {%s}?)", got, near);
    else
        problem_at(l->b->problems, node,
                   "there is no value {%s}: neither \"take\" nor \"acquire\" has that name", got);
}

/* What compiling said. Where variables stand in the text, its places are not those of the file. */
static void report(struct learn_builder *l, int rc, const struct template_problem *problem,
                   const struct yaml_node *node)
{
    if (rc == -ENOMEM)
        builder_no_memory(l->b);
    else if (rc < 0 && !problem->what)
        unknown_name(l, problem->name, node);
    else if (rc < 0)
        problem_at(l->b->problems, node, "at character %zu: %s", problem->at + 1, problem->what);
}

/* --- texts --- */

static bool compile(struct learn_builder *l, struct str text, enum template_place place,
                    const struct yaml_node *node, struct template *ret)
{
    struct template_problem problem = {0};
    const struct learn_rule *r = l->rule;
    int rc = template_compile(l->keep, text, place, r->names, r->n_values, ret, &problem);
    report(l, rc, &problem, node);
    l->used |= rc == 0 ? ret->uses : 0;
    return rc == 0;
}

/* Only what a request line can have; and `.` segments are others' to resolve. */
static bool check_target(struct learn_builder *l, struct str text, const struct yaml_node *node,
                         bool query_alone)
{
    if (!(text.n > 0 && (text.p[0] == '/' || (query_alone && text.p[0] == '?')))) {
        problem_at(l->b->problems, node, "expected a path, which begins with \"/\"");
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c > 0x20 && c < 0x7f && c != '#' && c != '"' && c != '<' && c != '>')
            continue;
        problem_at(l->b->problems, node,
                   "at character %zu: what cannot be in a URL is written %%%02X", i + 1, c);
        return false;
    }
    return true;
}

static const struct yaml_node *header_node(const struct yaml_node *list, uint32_t i)
{
    return list ? yaml_at(list, i) : NULL;
}

/* `alone`: only those with a value in them. */
static void pattern_headers(struct learn_builder *l, const struct draft_learn_header *headers,
                            uint32_t n, const struct yaml_node *list, bool alone,
                            struct learn_pattern *p)
{
    const struct learn_rule *r = l->rule;
    p->headers = n ? builder_alloc(l->b, n * sizeof(*p->headers)) : NULL;
    for (uint32_t i = 0; i < n && p->headers; i++) {
        struct template_problem problem = {0};
        bool has_value = headers[i].value.p && memchr(headers[i].value.p, '{', headers[i].value.n);
        if (!headers[i].name.p || !headers[i].value.p || (alone && !has_value))
            continue;
        int rc = learn_pattern_header(l->keep, headers[i].name, headers[i].value, r->names,
                                      r->n_values, p, &problem);
        report(l, rc, &problem, yaml_get(header_node(list, i), "value"));
    }
}

/* node: the map that has the path. */
static void pattern(struct learn_builder *l, struct str method, struct str path, bool query_alone,
                    const struct yaml_node *node, struct learn_pattern *p)
{
    struct template_problem problem = {0};
    const struct yaml_node *it = yaml_get(node, "path");
    const struct learn_rule *r = l->rule;
    p->method = method.p ? method : STR_NONE;
    if (!path.p || !check_target(l, path, it, query_alone))
        return;
    int rc = learn_pattern_compile(l->keep, path, r->names, r->n_values, p, &problem);
    report(l, rc, &problem, it);
}

/* --- acquire and take --- */

static void build_status(struct learn_builder *l)
{
    struct learn_rule *r = l->rule;
    struct str s = l->draft->status;
    uint64_t v = 0;
    if (s.n == 3 && s.p[0] >= '2' && s.p[0] <= '5' && s.p[1] == 'x' && s.p[2] == 'x') {
        r->status_min = (uint16_t)((s.p[0] - '0') * 100);
        r->status_max = (uint16_t)(r->status_min + 99);
    } else if (str_to_u64(s, &v) && v >= 200 && v <= 599) {
        r->status_min = r->status_max = (uint16_t)v;
    } else if (s.p) {
        problem_at(l->b->problems, yaml_get(yaml_get(l->node, "acquire"), "status"),
                   "expected a class such as 2xx, or a status from 200 to 599");
    }
}

static void take_from(struct learn_take *t, const struct draft_learn_take *d)
{
    t->from = d->json.p     ? LEARN_JSON
              : d->header.p ? LEARN_HEADER
              : d->cookie.p ? LEARN_COOKIE
                            : LEARN_REQUEST_JSON;
    t->field = d->header.p ? d->header : d->cookie;
}

static void build_take(struct learn_builder *l, const struct draft_learn_take *d,
                       const struct yaml_node *node, struct learn_take *t)
{
    struct str text = d->json.p ? d->json : d->request_json;
    int places = !!d->json.p + !!d->header.p + !!d->cookie.p + !!d->request_json.p;
    size_t at = 0;
    take_from(t, d);
    t->value = name_index(l->rule, d->name);
    if (places != 1 || !d->name.p) {
        l->broken = true;
        return;
    }
    if (t->value == l->rule->n_values)
        unknown_name(l, d->name, yaml_get(node, "name"));
    if (!text.p)
        return;
    const char *wrong = json_path_compile(l->keep, text, &t->path, &at);
    if (wrong)
        problem_at(l->b->problems, yaml_get(node, d->json.p ? "json" : "requestJson"),
                   "at character %zu: %s", at + 1, wrong);
}

static struct learn_take *build_takes(struct learn_builder *l,
                                      const struct draft_learn_take *drafts, uint32_t n,
                                      const struct yaml_node *list)
{
    struct learn_take *takes = n ? builder_alloc(l->b, n * sizeof(*takes)) : NULL;
    for (uint32_t i = 0; i < n && takes; i++)
        build_take(l, &drafts[i], yaml_at(list, i), &takes[i]);
    return takes;
}

static void name_take(struct learn_builder *l, struct str name, uint32_t captured,
                      const struct yaml_node *node)
{
    uint32_t known = name_index(l->rule, name);
    if (!template_is_name(name))
        problem_at(l->b->problems, node, "expected a letter or _, then letters, digits, _ and -");
    else if (known < captured)
        problem_at(l->b->problems, node, "\"acquire\" has a value of that name already");
    else if (known < l->rule->n_values)
        problem_at(l->b->problems, node, "the name is in this list twice");
    else
        (void)add_name(l, name, node);
}

static void name_takes(struct learn_builder *l)
{
    const struct draft_learn *d = l->draft;
    const struct yaml_node *list = yaml_get(l->node, "take");
    uint32_t captured = l->rule->n_values;
    for (uint32_t i = 0; i < d->n_takes; i++) {
        if (d->takes[i].name.p)
            name_take(l, d->takes[i].name, captured, yaml_get(yaml_at(list, i), "name"));
    }
}

static void build_acquire(struct learn_builder *l)
{
    const struct draft_learn *d = l->draft;
    const struct yaml_node *node = yaml_get(l->node, "acquire");
    const struct yaml_node *headers = yaml_get(node, "headers");
    uint32_t before = l->b->problems->errors;
    if (d->acquire.path.p)
        collect_names(l, d->acquire.path, yaml_get(node, "path"));
    for (uint32_t i = 0; i < d->acquire.n_headers; i++)
        collect_names(l, d->acquire.headers[i].value, header_node(headers, i));
    name_takes(l);
    if (l->b->problems->errors > before)
        return;
    pattern(l, d->acquire.method, d->acquire.path, false, node, &l->rule->acquire);
    pattern_headers(l, d->acquire.headers, d->acquire.n_headers, headers, false, &l->rule->acquire);
    build_status(l);
    l->rule->takes = build_takes(l, d->takes, d->n_takes, yaml_get(l->node, "take"));
    l->rule->n_takes = l->rule->takes ? d->n_takes : 0;
}

/* --- hold --- */

static bool ends_with(struct str s, const char *end)
{
    struct str e = str_of(end);
    return s.n >= e.n && str_ieq((struct str){s.p + s.n - e.n, e.n}, e);
}

static enum template_place body_place(struct str media_type)
{
    const char *semicolon = media_type.n ? memchr(media_type.p, ';', media_type.n) : NULL;
    struct str t = str_trim(
        (struct str){media_type.p, semicolon ? (size_t)(semicolon - media_type.p) : media_type.n});
    if (ends_with(t, "/json") || ends_with(t, "+json"))
        return TEMPLATE_JSON;
    if (ends_with(t, "/xml") || ends_with(t, "+xml"))
        return TEMPLATE_XML;
    return str_ieq(t, STR("application/x-www-form-urlencoded")) ? TEMPLATE_FORM : TEMPLATE_PLAIN;
}

static void build_body(struct learn_builder *l, const struct yaml_node *node)
{
    struct learn_hold *h = &l->rule->hold;
    const struct yaml_node *body = yaml_get(node, "body"), *type = yaml_get(node, "contentType");
    enum template_place place = body_place(h->content_type);
    if (!l->draft->body.p) {
        if (type)
            warning_at(l->b->problems, type, "has no effect: there is no \"body\"");
        return;
    }
    h->has_body = true;
    if (compile(l, l->draft->body, place, body, &h->body) && h->body.uses != 0 &&
        place == TEMPLATE_PLAIN)
        problem_at_key(
            l->b->problems, body,
            "values can be put in JSON, a form or XML: another contentType has rules for "
            "them that are not known");
}

static bool is_ours(struct str name)
{
    static const char *const ours[] = {"host",   "content-length", "content-type",
                                       "expect", "connection",     "transfer-encoding",
                                       "te",     "upgrade",        "idempotency-key"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (str_ieq(name, str_of(ours[i])))
            return true;
    }
    return false;
}

static void build_hold(struct learn_builder *l)
{
    const struct draft_learn *d = l->draft;
    const struct yaml_node *node = yaml_get(l->node, "hold"), *list = yaml_get(node, "headers");
    struct learn_hold *h = &l->rule->hold;
    if (d->target.p && check_target(l, d->target, yaml_get(node, "path"), false))
        (void)compile(l, d->target, TEMPLATE_TARGET, yaml_get(node, "path"), &h->target);
    h->headers = d->n_headers ? builder_alloc(l->b, d->n_headers * sizeof(*h->headers)) : NULL;
    for (uint32_t i = 0; i < d->n_headers && h->headers; i++) {
        const struct yaml_node *it = header_node(list, i);
        if (!d->headers[i].name.p || !d->headers[i].value.p)
            continue;
        if (is_ours(d->headers[i].name))
            problem_at(l->b->problems, yaml_get(it, "name"), "is set by sluice");
        h->headers[h->n_headers].name = d->headers[i].name;
        if (compile(l, d->headers[i].value, TEMPLATE_HEADER, yaml_get(it, "value"),
                    &h->headers[h->n_headers].value))
            h->n_headers++;
    }
    build_body(l, node);
}

/* --- release, use and key --- */

/* What hold has in its URL and headers is what the application's own has there. */
static void derive_release(struct learn_builder *l)
{
    const struct draft_learn *d = l->draft;
    struct learn_rule *r = l->rule;
    const struct yaml_node *node = yaml_get(l->node, "hold");
    pattern(l, r->hold.method, d->target, false, node, &r->release);
    pattern_headers(l, d->headers, d->n_headers, yaml_get(node, "headers"), true, &r->release);
}

/* Any request that carries the session where hold carries it. */
static void derive_use(struct learn_builder *l)
{
    const struct draft_learn *d = l->draft;
    struct learn_rule *r = l->rule;
    const struct yaml_node *node = yaml_get(l->node, "hold");
    const char *mark = d->target.p ? memchr(d->target.p, '?', d->target.n) : NULL;
    if (r->disconnect_grace == 0)
        return;
    r->use.any_path = true;
    if (mark)
        pattern(l, STR_NONE, (struct str){mark, d->target.n - (size_t)(mark - d->target.p)}, true,
                node, &r->use);
    pattern_headers(l, d->headers, d->n_headers, yaml_get(node, "headers"), true, &r->use);
}

static void build_release(struct learn_builder *l)
{
    const struct draft_learn *d = l->draft;
    struct learn_rule *r = l->rule;
    const struct yaml_node *node = yaml_get(l->node, "release");
    derive_use(l);
    if (!d->has_release) {
        derive_release(l);
        return;
    }
    pattern(l, d->release.method, d->release.path, true, node, &r->release);
    pattern_headers(l, d->release.headers, d->release.n_headers, yaml_get(node, "headers"), false,
                    &r->release);
    r->release_takes = build_takes(l, d->release.takes, d->release.n_takes, yaml_get(node, "take"));
    r->n_release_takes = r->release_takes ? d->release.n_takes : 0;
}

static uint32_t release_gives(const struct learn_rule *r)
{
    uint32_t bits = learn_pattern_gives(&r->release);
    for (uint32_t i = 0; i < r->n_release_takes; i++)
        bits |= (uint32_t)1 << r->release_takes[i].value;
    return bits;
}

/* "{a} {b}" of the values that a release has; of all where it has none. */
static struct str default_key(struct learn_builder *l, char *out, size_t cap)
{
    const struct learn_rule *r = l->rule;
    uint32_t gives = release_gives(r);
    size_t n = 0;
    for (uint32_t i = 0; i < r->n_values; i++) {
        if (gives == 0 || (gives >> i & 1))
            n += (size_t)snprintf(out + n, cap - n, "%s{%s}", n ? " " : "", r->names[i].p);
    }
    return (struct str){out, n};
}

static void build_key(struct learn_builder *l)
{
    struct learn_rule *r = l->rule;
    char text[LEARN_VALUES_MAX * (TEMPLATE_NAME_MAX + 4)];
    const struct yaml_node *node = yaml_get(l->node, "key");
    bool given = l->draft->key.p;
    struct str key = given ? l->draft->key : default_key(l, text, sizeof(text));
    if (!compile(l, key, TEMPLATE_PLAIN, node ? node : l->node, &r->key))
        return;
    uint32_t missing = r->key.uses & ~release_gives(r);
    uint32_t first = 0;
    while (missing && !(missing >> first & 1))
        first++;
    if (missing && l->draft->has_release)
        problem_at(l->b->problems, yaml_get(l->node, "release"),
                   "the key needs {%s}, which is not in it", r->names[first].p);
    else if (missing)
        warning_at(
            l->b->problems, l->node,
            "that the application itself gives it back is not recognised: {%s} is neither in "
            "hold's path nor in its headers; say with \"release\" where it is",
            r->names[first].p);
    if (r->disconnect_grace > 0 &&
        (r->key.uses == 0 || (r->key.uses & ~learn_pattern_gives(&r->use))))
        problem_at(l->b->problems, yaml_get(l->node, "disconnectGrace"),
                   "needs the key's values in hold's query or headers: a later request of the "
                   "session is recognised by them");
}

static void check_uses(struct learn_builder *l)
{
    const struct yaml_node *list = yaml_get(l->node, "take");
    for (uint32_t i = 0; i < l->rule->n_takes; i++) {
        if (!(l->used >> l->rule->takes[i].value & 1))
            warning_at(l->b->problems, yaml_at(list, i), "has no effect: {%s} is not used",
                       l->rule->names[l->rule->takes[i].value].p);
    }
}

static void build_rule(struct builder *b, const struct draft_learn *draft,
                       const struct yaml_node *node, struct learn_rule *rule)
{
    struct learn_builder l = {
        .b = b, .keep = b->fill.keep, .draft = draft, .node = node, .rule = rule};
    uint32_t before = b->problems->errors;
    *rule = draft->rule;
    if (node->kind != NODE_MAP || b->fill.no_memory)
        return;
    build_acquire(&l);
    if (b->problems->errors > before || l.broken)
        return; /* names are missing: the rest would only repeat it */
    build_hold(&l);
    if (b->problems->errors > before)
        return;
    build_release(&l);
    if (b->problems->errors > before || l.broken)
        return;
    build_key(&l);
    check_uses(&l);
}

static void check_name(struct builder *b, const struct learn_rules *all, uint32_t i,
                       const struct yaml_node *list)
{
    for (uint32_t k = 0; k < i; k++) {
        if (all->rules[k].name.p && str_eq(all->rules[k].name, all->rules[i].name))
            problem_at(b->problems, yaml_get(yaml_at(list, i), "name"),
                       "the rule on line %u has the same name", yaml_at(list, k)->line);
    }
}

void build_learn(struct builder *b, const struct draft_route *draft, const struct yaml_node *node,
                 struct conf_route *route)
{
    if (draft->n_learn == 0 || !node)
        return;
    struct learn_rules *all = builder_alloc(b, sizeof(*all));
    if (!all)
        return;
    all->rules = builder_alloc(b, draft->n_learn * sizeof(*all->rules));
    if (!all->rules)
        return;
    all->n = draft->n_learn;
    const struct yaml_node *it = node->first;
    for (uint32_t i = 0; i < all->n && it; i++, it = it->next) {
        build_rule(b, &draft->learn[i], it, &all->rules[i]);
        check_name(b, all, i, node);
        all->any_use = all->any_use || all->rules[i].disconnect_grace > 0;
    }
    route->learn = all;
}
