/* build_cleanup.c - cleanups, leases and hooks: names that are there, an order without a circle. */
#include "config/builder.h"

#include "config/problems.h"

#include <stdio.h>

static void place(struct conf_file *f, const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = yaml_get(map, key);
    if (!f->path.p || !node)
        return;
    f->line = node->line;
    f->column = node->column;
}

static bool is_https(struct str url)
{
    return url.n >= 6 && str_ieq((struct str){url.p, 6}, STR("https:"));
}

/* What frames the message is libcurl's to say. */
static bool is_framing(struct str name)
{
    static const char *const names[] = {"connection",      "content-length",    "expect",
                                        "idempotency-key", "keep-alive",        "te",
                                        "trailer",         "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_ieq(name, str_of(names[i])))
            return true;
    }
    return false;
}

static void build_request(struct builder *b, struct conf_request *r, const struct yaml_node *node)
{
    static const char *const tls_keys[] = {"caFile", "certFile", "keyFile"};
    const struct yaml_node *headers = yaml_get(node, "headers");
    if (!node || node->kind != NODE_MAP)
        return;
    place(&r->ca, node, "caFile");
    place(&r->pair.cert, node, "certFile");
    place(&r->pair.key, node, "keyFile");
    for (size_t i = 0; i < ARRAY_LEN(tls_keys) && r->url.p && !is_https(r->url); i++) {
        const struct yaml_node *it = yaml_get(node, tls_keys[i]);
        if (it)
            warning_at(b->problems, it, "has no effect: the url is not https");
    }
    for (uint32_t i = 0; i < r->n_headers && headers; i++) {
        const struct yaml_node *it = yaml_at(headers, i);
        if (r->headers[i].name.p && is_framing(r->headers[i].name))
            problem_at(b->problems, yaml_get(it, "name"), "this header is set by sluice itself");
    }
}

/* ---- after ---- */

static uint32_t find_cleanup(const struct conf *c, struct str name)
{
    for (uint32_t i = 0; i < c->n_cleanups; i++) {
        if (c->cleanups[i].name.p && str_eq(c->cleanups[i].name, name))
            return i;
    }
    return HASH_NONE;
}

/* Whether a rule of learned sessions has that name. */
static bool is_learned(const struct conf *c, struct str name)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        for (uint32_t k = 0; k < c->listeners[i].n_routes; k++) {
            const struct learn_rules *rules = c->listeners[i].routes[k].learn;
            for (uint32_t n = 0; rules && n < rules->n; n++) {
                if (str_eq(rules->rules[n].name, name))
                    return true;
            }
        }
    }
    return false;
}

static const struct yaml_node *name_node(const struct builder *b, uint32_t i)
{
    return yaml_get(yaml_at(yaml_get(b->root, "cleanups"), i), "name");
}

/* What is in a variable is not offered. */
static const char *next_name(const void *ctx, uint32_t i)
{
    const struct builder *b = ctx;
    const struct yaml_node *node = name_node(b, i);
    return node && !node->raw.p && b->conf->cleanups[i].name.p ? b->conf->cleanups[i].name.p : "";
}

static void check_after(struct builder *b, uint32_t at, const struct yaml_node *node)
{
    const struct conf_cleanup *k = &b->conf->cleanups[at];
    const struct yaml_node *list = yaml_get(node, "after");
    for (uint32_t i = 0; i < k->n_after && list; i++) {
        const struct yaml_node *it = yaml_at(list, i);
        char got[PROBLEM_QUOTE_MAX];
        uint32_t other = k->after[i].p ? find_cleanup(b->conf, k->after[i]) : at;
        if (!k->after[i].p || !it)
            continue;
        if (other == at)
            problem_at(b->problems, it, "a cleanup cannot come after itself");
        if (other != HASH_NONE || is_learned(b->conf, k->after[i]))
            continue;
        const char *near =
            it->raw.p ? NULL : schema_nearest(k->after[i], next_name, b, b->conf->n_cleanups);
        problem_at(b->problems, it, "there is no cleanup \"%s\"%s%s%s",
                   problem_quote(yaml_shown(it), got), near ? " (did you mean \"" : "",
                   near ? near : "", near ? "\"?)" : "");
    }
}

enum { UNSEEN, ON_PATH, SEEN };

struct walk {
    const struct conf *conf;
    uint8_t *state;
    uint32_t *path; /* from the first to the one that is looked at */
    uint32_t n;
    bool circle; /* the path leads back into itself */
};

static void walk(struct walk *w, uint32_t at)
{
    const struct conf_cleanup *k = &w->conf->cleanups[at];
    if (w->state[at] == SEEN)
        return;
    w->path[w->n++] = at;
    w->circle = w->state[at] == ON_PATH;
    w->state[at] = ON_PATH;
    for (uint32_t i = 0; i < k->n_after && !w->circle; i++) {
        uint32_t other = find_cleanup(w->conf, k->after[i]);
        if (other != HASH_NONE)
            walk(w, other);
    }
    if (w->circle)
        return;
    w->state[at] = SEEN;
    w->n--;
}

static void tell_circle(struct builder *b, const struct walk *w)
{
    uint32_t from = 0, back = w->path[w->n - 1];
    char text[512];
    size_t o = 0;
    while (w->path[from] != back)
        from++;
    for (uint32_t i = from; i < w->n && o < sizeof(text); i++) {
        char name[PROBLEM_QUOTE_MAX];
        o += (size_t)snprintf(text + o, sizeof(text) - o, "%s%s", i > from ? " after " : "",
                              problem_quote(yaml_shown(name_node(b, w->path[i])), name));
    }
    const struct yaml_node *node = yaml_at(yaml_get(b->root, "cleanups"), back);
    problem_at(b->problems, yaml_get(node, "after"), "wait for each other in a circle: %s", text);
}

static void check_circles(struct builder *b)
{
    uint32_t n = b->conf->n_cleanups;
    struct walk w = {.conf = b->conf};
    w.state = arena_alloc(b->fill.scratch, n);
    w.path = arena_alloc(b->fill.scratch, (n + 1) * sizeof(*w.path));
    if (!w.state || !w.path) {
        builder_no_memory(b);
        return;
    }
    for (uint32_t i = 0; i < n && !w.circle; i++)
        walk(&w, i);
    if (w.circle)
        tell_circle(b, &w);
}

/* ---- names ---- */

static void check_cleanups(struct builder *b)
{
    struct conf *c = b->conf;
    const struct yaml_node *list = yaml_get(b->root, "cleanups");
    uint32_t errors = b->problems->errors;
    for (uint32_t i = 0; i < c->n_cleanups && list; i++) {
        const struct yaml_node *node = yaml_at(list, i);
        struct conf_cleanup *k = &c->cleanups[i];
        uint32_t same = k->name.p ? find_cleanup(c, k->name) : i;
        if (same != i)
            problem_at(b->problems, yaml_get(node, "name"),
                       "the cleanup on line %u has the same name", yaml_at(list, same)->line);
        build_request(b, &k->request, yaml_get(node, "request"));
        check_after(b, i, node);
    }
    if (b->problems->errors == errors && c->n_cleanups > 0)
        check_circles(b);
}

static void check_hooks(struct builder *b)
{
    struct conf *c = b->conf;
    const struct yaml_node *list = yaml_get(b->root, "hooks");
    for (uint32_t i = 0; i < c->n_hooks && list; i++) {
        const struct yaml_node *node = yaml_at(list, i);
        struct conf_hook *h = &c->hooks[i];
        for (uint32_t k = 0; k < i && h->name.p; k++) {
            if (c->hooks[k].name.p && str_eq(c->hooks[k].name, h->name)) {
                problem_at(b->problems, yaml_get(node, "name"),
                           "the hook on line %u has the same name", yaml_at(list, k)->line);
                break;
            }
        }
        build_request(b, &h->on_ready, yaml_get(node, "onReady"));
        build_request(b, &h->heartbeat, yaml_get(yaml_get(node, "heartbeat"), "request"));
        build_request(b, &h->on_drain, yaml_get(node, "onDrain"));
    }
}

/* Beside the admin socket, whose directory is ours to write. */
static void place_journal(struct builder *b)
{
    struct conf_leases *l = &b->conf->leases;
    struct str socket = b->conf->admin.socket_path;
    const size_t tail = sizeof(".sock") - 1;
    char path[256];
    if (l->journal_path.n > 0 || socket.n == 0 ||
        yaml_get(yaml_get(yaml_get(b->root, "leases"), "journal"), "path"))
        return;
    if (socket.n > tail && str_eq((struct str){socket.p + socket.n - tail, tail}, STR(".sock")))
        socket.n -= tail;
    int n = snprintf(path, sizeof(path), "%.*s.leases", STR_FMT(socket));
    l->journal_path = arena_str(b->fill.keep, (struct str){path, (size_t)n});
    if (!l->journal_path.p)
        builder_no_memory(b);
}

void build_cleanups(struct builder *b)
{
    check_cleanups(b);
    check_hooks(b);
    place_journal(b);
}
