/* build.c - a YAML text to a configuration, or to all of its mistakes at once. */
#include "config/build.h"

#include "base/mem.h"
#include "config/builder.h"
#include "config/file_text.h"
#include "config/flatten.h"
#include "config/lint.h"
#include "config/problems.h"
#include "config/scalar.h"
#include "config/substitute.h"

#include <errno.h>
#include <stdio.h>

#define POLL_INTERVAL_MIN (100 * USEC_PER_MSEC) /* each look takes system calls */

static const char grace_variable[] = "SLUICE_TERMINATION_GRACE_PERIOD";

void builder_no_memory(struct builder *b)
{
    if (!b->fill.no_memory)
        problem_out_of_memory(b->problems);
    b->fill.no_memory = true;
}

void *builder_alloc(struct builder *b, size_t bytes)
{
    void *p = arena_alloc(b->fill.keep, bytes);
    if (!p)
        builder_no_memory(b);
    return p;
}

bool builder_index(struct builder *b, struct hash_index *x, uint32_t hash, uint32_t item)
{
    if (hash_index_add(x, hash, item) == 0)
        return true;
    builder_no_memory(b);
    return false;
}

uint32_t builder_hash_address(const struct address *a)
{
    return hash_end(hash_bytes(HASH_BEGIN, (struct str){(const char *)&a->u, a->len}));
}

char *builder_duration(const struct yaml_node *node, usec_t v, char *out)
{
    if (node && node->raw.p)
        return problem_quote(node->raw, out);
    return scalar_duration_text(v, out);
}

char *builder_number(const struct yaml_node *node, uint64_t v, char *out)
{
    if (node && node->raw.p)
        return problem_quote(node->raw, out);
    (void)snprintf(out, PROBLEM_QUOTE_MAX, "%llu", (unsigned long long)v);
    return out;
}

bool builder_given(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = yaml_get(map, key);
    return node && node->kind != NODE_BROKEN;
}

bool builder_sound(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = yaml_get(map, key);
    return !node || node->kind != NODE_BROKEN;
}

/* ---- lifecycle and our own servers ---- */

static void grace_from_environment(struct builder *b, struct conf_lifecycle *l)
{
    const char *text = b->env->get(b->env->ctx, grace_variable);
    char got[PROBLEM_QUOTE_MAX];
    uint64_t seconds;

    if (!text || !text[0])
        return;
    /* Kubernetes itself writes whole seconds. */
    if (scalar_int(str_of(text), &seconds) && seconds <= 604800)
        l->termination_grace = seconds * USEC_PER_SEC;
    else if (!scalar_duration(str_of(text), &l->termination_grace))
        problem_add(b->problems, 0, 0, grace_variable, false,
                    "expected a duration such as 30s, got \"%s\"",
                    problem_quote(str_of(text), got));
}

/* " = 35s"; nothing where a variable is in it. */
static char *sum_text(const struct conf_lifecycle *l, const struct yaml_node *const parts[3],
                      char *out)
{
    char sum[SCALAR_TEXT_MAX];
    out[0] = '\0';
    for (int i = 0; i < 3; i++) {
        if (parts[i] && parts[i]->raw.p)
            return out;
    }
    (void)snprintf(out, PROBLEM_QUOTE_MAX, " = %s",
                   scalar_duration_text(l->notice_period + l->drain_timeout + l->app_cleanup, sum));
    return out;
}

static void check_grace(struct builder *b, const struct conf_lifecycle *l,
                        const struct yaml_node *node, const struct yaml_node *grace)
{
    char notice[PROBLEM_QUOTE_MAX], drain[PROBLEM_QUOTE_MAX], cleanup[PROBLEM_QUOTE_MAX];
    char sum[PROBLEM_QUOTE_MAX], grace_text[PROBLEM_QUOTE_MAX];
    const struct yaml_node *const parts[] = {yaml_get(node, "noticePeriod"),
                                             yaml_get(node, "drainTimeout"),
                                             yaml_get(node, "appCleanup")};

    if (l->termination_grace == 0 ||
        l->notice_period + l->drain_timeout + l->app_cleanup <= l->termination_grace ||
        !builder_sound(node, "noticePeriod") || !builder_sound(node, "drainTimeout") ||
        !builder_sound(node, "appCleanup"))
        return;
    problem_at(b->problems,
               grace  ? grace
               : node ? node
                      : b->root,
               "noticePeriod %s + drainTimeout %s + appCleanup %s%s is more than %s %s",
               builder_duration(parts[0], l->notice_period, notice),
               builder_duration(parts[1], l->drain_timeout, drain),
               builder_duration(parts[2], l->app_cleanup, cleanup), sum_text(l, parts, sum),
               grace ? "terminationGracePeriod" : grace_variable,
               builder_duration(grace, l->termination_grace, grace_text));
}

static void check_lifecycle(struct builder *b)
{
    struct conf_lifecycle *l = &b->conf->lifecycle;
    const struct yaml_node *node = yaml_get(b->root, "lifecycle");
    const struct yaml_node *last = yaml_get(node, "lastCall");
    const struct yaml_node *drain = yaml_get(node, "drainTimeout");
    const struct yaml_node *grace = yaml_get(node, "terminationGracePeriod");
    char last_text[PROBLEM_QUOTE_MAX], drain_text[PROBLEM_QUOTE_MAX];

    if (!grace)
        grace_from_environment(b, l);
    check_grace(b, l, node, grace);
    if (l->last_call >= l->drain_timeout && l->last_call > 0 && (last || drain) &&
        builder_sound(node, "lastCall") && builder_sound(node, "drainTimeout"))
        problem_at(b->problems, last ? last : drain,
                   "lastCall %s is the end of drainTimeout %s, and must be shorter",
                   builder_duration(last, l->last_call, last_text),
                   builder_duration(drain, l->drain_timeout, drain_text));
}

static void check_servers(struct builder *b)
{
    const struct conf *c = b->conf;
    const struct yaml_node *admin = yaml_get(yaml_get(b->root, "admin"), "address");
    const struct yaml_node *health = yaml_get(yaml_get(b->root, "health"), "address");
    const struct yaml_node *node = health ? health : admin;

    if (c->admin.tcp_enabled && c->health_enabled && node &&
        address_equal(&c->admin.tcp, &c->health))
        problem_at(b->problems, node, "%s is the same address",
                   node == health ? "admin.address" : "health.address");
}

static void check_reload(struct builder *b)
{
    const struct conf_reload *r = &b->conf->reload;
    const struct yaml_node *map = yaml_get(b->root, "reload");
    const struct yaml_node *node = yaml_get(map, "pollInterval");

    if (!builder_given(map, "pollInterval"))
        return;
    if (r->poll_interval > 0 && r->poll_interval < POLL_INTERVAL_MIN)
        problem_at(b->problems, node, "expected 100ms or more, or 0 for never");
    if (r->poll_interval == 0 && !r->watch && builder_sound(map, "watch"))
        warning_at(b->problems, node,
                   "with watch: false no change of the file is noticed: only SIGHUP and "
                   "`sluice reload` read it");
}

/* ---- the whole ---- */

static void build_conf(struct builder *b, const char *file)
{
    b->draft = arena_alloc(b->fill.scratch, sizeof(*b->draft));
    b->conf = builder_alloc(b, sizeof(*b->conf));
    if (!b->draft || !b->conf) {
        builder_no_memory(b);
        return;
    }
    fill_map(&b->fill, &schema_root, b->root, b->draft);
    if (b->fill.no_memory || b->root->kind == NODE_BROKEN)
        return;
    *b->conf = b->draft->conf;
    b->conf->file = arena_str(b->fill.keep, str_of(file));
    b->conf->names = conf_names_new(b->fill.keep);
    if (!b->conf->file.p || !b->conf->names) {
        builder_no_memory(b);
        return;
    }
    check_lifecycle(b);
    check_servers(b);
    check_reload(b);
    build_app_probes(b);
    build_upstreams(b);
    if (!b->fill.no_memory)
        build_jwts(b);
    if (!b->fill.no_memory)
        build_listeners(b);
    if (!b->fill.no_memory)
        build_app(b);
    build_overload(b);
    if (!b->fill.no_memory)
        build_cleanups(b);
    if (b->problems->errors != b->errors_before)
        return;
    lint(b); /* after a mistake it could not be certain */
    struct setting *restart = NULL;
    if (!settings_flatten(b->fill.keep, b->root, true, &restart))
        builder_no_memory(b);
    b->conf->restart = restart;
}

struct conf *config_free(struct conf *c)
{
    if (!c)
        return NULL;
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        struct conf_listener *l = &c->listeners[i];
        l->route_table = route_table_free(l->route_table);
        for (uint32_t k = 0; k < l->n_routes; k++) {
            struct fault_rules *fault = l->routes[k].fault;
            if (fault)
                fault->headers = route_table_free(fault->headers);
        }
    }
    arena_free(c->arena);
    return NULL;
}

static const char *process_variable(const void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

const struct config_env config_env_process = {.get = process_variable};

struct conf *config_build(const char *file, const char *text, size_t n,
                          struct config_problems *problems)
{
    return config_build_env(file, text, n, &config_env_process, problems);
}

struct conf *config_build_env(const char *file, const char *text, size_t n,
                              const struct config_env *env, struct config_problems *problems)
{
    struct builder b = {.problems = problems, .env = env, .fill = {.problems = problems}};
    struct conf *conf = NULL;

    b.errors_before = problems->errors;
    b.fill.keep = arena_new();
    b.fill.scratch = arena_new();
    if (b.fill.keep && b.fill.scratch)
        b.root = yaml_tree_parse(b.fill.scratch, text, n, problems);
    else
        problem_out_of_memory(problems);
    if (b.root) {
        substitute_tree(b.fill.scratch, b.root, (struct str){text, n}, env, problems);
        build_conf(&b, file);
    }
    conf = b.conf;
    if (conf)
        conf->arena = b.fill.keep;
    else
        (void)arena_free(b.fill.keep);
    if (problems->errors != b.errors_before)
        conf = config_free(conf);
    (void)arena_free(b.fill.scratch);
    return conf;
}

char *config_read(const char *file, size_t *ret_n, struct config_problems *problems)
{
    int error = 0;
    char *text = file_text_read(file, YAML_TREE_BYTES, ret_n, &error);

    if (text)
        return text;
    if (error == -ENOMEM)
        problem_out_of_memory(problems);
    else
        problem_add(problems, 0, 0, "", false, "%s",
                    error == -EFBIG    ? "the file is larger than 16 MiB"
                    : error == -EINVAL ? "not a regular file"
                    : error == -EBUSY  ? "the file changed again and again while it was read"
                                       : strerror(-error));
    return NULL;
}

struct conf *config_load(const char *file, struct config_problems *problems)
{
    size_t n;
    char *text = config_read(file, &n, problems);
    struct conf *conf = text ? config_build(file, text, n, problems) : NULL;
    free(text);
    return conf;
}
