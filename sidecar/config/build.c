/* build.c - a YAML text to a configuration, or to all of its mistakes at once. */
#include "config/build.h"

#include "base/mem.h"
#include "config/builder.h"
#include "config/endpoint.h"
#include "config/file_text.h"
#include "config/flatten.h"
#include "config/problems.h"
#include "config/scalar.h"

#include <errno.h>
#include <stdio.h>

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
    const char *text = getenv(grace_variable);
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

static void check_grace(struct builder *b, const struct conf_lifecycle *l,
                        const struct yaml_node *node, const struct yaml_node *grace)
{
    char notice[SCALAR_TEXT_MAX], drain[SCALAR_TEXT_MAX], cleanup[SCALAR_TEXT_MAX];
    char sum_text[SCALAR_TEXT_MAX], grace_text[SCALAR_TEXT_MAX];
    usec_t sum = l->notice_period + l->drain_timeout + l->app_cleanup;

    if (l->termination_grace == 0 || sum <= l->termination_grace ||
        !builder_sound(node, "noticePeriod") || !builder_sound(node, "drainTimeout") ||
        !builder_sound(node, "appCleanup"))
        return;
    problem_at(b->problems,
               grace  ? grace
               : node ? node
                      : b->root,
               "noticePeriod %s + drainTimeout %s + appCleanup %s = %s is more than %s %s",
               scalar_duration_text(l->notice_period, notice),
               scalar_duration_text(l->drain_timeout, drain),
               scalar_duration_text(l->app_cleanup, cleanup), scalar_duration_text(sum, sum_text),
               grace ? "terminationGracePeriod" : grace_variable,
               scalar_duration_text(l->termination_grace, grace_text));
}

static void check_lifecycle(struct builder *b)
{
    struct conf_lifecycle *l = &b->conf->lifecycle;
    const struct yaml_node *node = yaml_get(b->root, "lifecycle");
    const struct yaml_node *last = yaml_get(node, "lastCall");
    const struct yaml_node *drain = yaml_get(node, "drainTimeout");
    const struct yaml_node *grace = yaml_get(node, "terminationGracePeriod");
    char last_text[SCALAR_TEXT_MAX], drain_text[SCALAR_TEXT_MAX];

    if (!grace)
        grace_from_environment(b, l);
    check_grace(b, l, node, grace);
    if (l->last_call >= l->drain_timeout && l->last_call > 0 && (last || drain) &&
        builder_sound(node, "lastCall") && builder_sound(node, "drainTimeout"))
        problem_at(b->problems, last ? last : drain,
                   "lastCall %s is the end of drainTimeout %s, and must be shorter",
                   scalar_duration_text(l->last_call, last_text),
                   scalar_duration_text(l->drain_timeout, drain_text));
}

static bool is_loopback(const struct address *a)
{
    struct cidr four, six;
    CHECK(cidr_parse(STR("127.0.0.0/8"), &four) == 0 && cidr_parse(STR("::1"), &six) == 0);
    return cidr_contains(&four, a) || cidr_contains(&six, a);
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
    if (admin && c->admin.tcp_enabled && !is_loopback(&c->admin.tcp))
        warning_at(b->problems, admin,
                   "not a loopback address: whoever reaches it can read the state");
}

/* ---- upstreams ---- */

static void check_endpoints(struct builder *b, const struct conf_upstream *u,
                            const struct yaml_node *node)
{
    const struct yaml_node *list = yaml_get(node, "endpoints");
    const struct yaml_node *it = u->n_endpoints ? list->first : NULL;

    for (uint32_t i = 0; it; i++, it = it->next) {
        const struct conf_endpoint *e = &u->endpoints[i];
        const struct yaml_node *other = list->first;
        uint32_t k = 0;
        if (!e->text.p)
            continue;
        for (; k < i && !endpoint_equal(e, &u->endpoints[k]); k++)
            other = other->next;
        if (k < i)
            problem_at(b->problems, it, "the endpoint is there twice; the first is on line %u",
                       other->line);
        if (e->kind == ENDPOINT_ADDRESS && !b->conf->allow_link_local &&
            address_is_link_local(&e->address))
            problem_at(b->problems, it,
                       "a link-local address, where clouds keep instance metadata "
                       "(allowLinkLocal: true takes it)");
    }
}

static void check_dns(struct builder *b, struct conf_upstream *u, const struct yaml_node *node)
{
    const struct yaml_node *dns = yaml_get(node, "dns");
    const struct yaml_node *min = yaml_get(dns, "minTtl"), *max = yaml_get(dns, "maxTtl");
    char min_text[SCALAR_TEXT_MAX], max_text[SCALAR_TEXT_MAX];
    bool names = false;

    u->dns.allow_link_local = b->conf->allow_link_local;
    if (!dns || dns->kind == NODE_BROKEN)
        return;
    if (u->dns.min_ttl > u->dns.max_ttl && builder_sound(dns, "minTtl") &&
        builder_sound(dns, "maxTtl"))
        problem_at(b->problems, min ? min : max, "minTtl %s is more than maxTtl %s",
                   scalar_duration_text(u->dns.min_ttl, min_text),
                   scalar_duration_text(u->dns.max_ttl, max_text));
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        names = names || u->endpoints[i].kind != ENDPOINT_ADDRESS;
    if (!names && b->problems->errors == b->errors_before) /* else a mistake may hide a name */
        warning_at(b->problems, dns, "has no effect: no endpoint is a name");
}

static void check_upstream(struct builder *b, struct conf_upstream *all, uint32_t at)
{
    struct conf_upstream *u = &all[at];
    const struct yaml_node *node = b->upstreams[at].node;
    const struct yaml_node *idle = yaml_get(yaml_get(node, "pool"), "minIdle");

    u->index = at;
    for (uint32_t i = 0; i < at && u->name.p; i++) {
        if (all[i].name.p && str_eq(all[i].name, u->name)) {
            problem_at(b->problems, yaml_get(node, "name"),
                       "the upstream on line %u has the same name", b->upstreams[i].node->line);
            break;
        }
    }
    check_endpoints(b, u, node);
    check_dns(b, u, node);
    if (idle && u->min_idle > u->max_connections)
        problem_at(b->problems, idle, "%u is more than circuitBreaker.maxConnections %u",
                   u->min_idle, u->max_connections);
}

static void build_upstreams(struct builder *b)
{
    struct conf *c = b->conf;
    const struct yaml_node *list = yaml_get(b->root, "upstreams");

    if (c->n_upstreams == 0)
        return;
    b->upstreams = arena_alloc(b->fill.scratch, c->n_upstreams * sizeof(*b->upstreams));
    if (!b->upstreams) {
        builder_no_memory(b);
        return;
    }
    const struct yaml_node *it = list->first;
    for (uint32_t i = 0; i < c->n_upstreams; i++, it = it->next) {
        b->upstreams[i].node = it;
        check_upstream(b, c->upstreams, i);
    }
}

static void warn_unused(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct yaml_node *name = yaml_get(b->upstreams[i].node, "name");
        if (!b->upstreams[i].used && name && name->kind == NODE_SCALAR)
            warning_at(b->problems, name, "no route uses this upstream");
    }
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
    if (!b->conf->file.p) {
        builder_no_memory(b);
        return;
    }
    check_lifecycle(b);
    check_servers(b);
    build_upstreams(b);
    if (!b->fill.no_memory)
        build_listeners(b);
    if (b->problems->errors != b->errors_before)
        return;
    warn_unused(b); /* a mistake may have hidden its use */
    struct setting *restart = NULL;
    if (!settings_flatten(b->fill.keep, b->root, true, &restart))
        builder_no_memory(b);
    b->conf->restart = restart;
}

struct conf *config_free(struct conf *c)
{
    if (!c)
        return NULL;
    for (uint32_t i = 0; i < c->n_listeners; i++)
        c->listeners[i].route_table = route_table_free(c->listeners[i].route_table);
    arena_free(c->arena);
    return NULL;
}

struct conf *config_build(const char *file, const char *text, size_t n,
                          struct config_problems *problems)
{
    struct builder b = {.problems = problems, .fill = {.problems = problems}};
    struct conf *conf = NULL;

    b.errors_before = problems->errors;
    b.fill.keep = arena_new();
    b.fill.scratch = arena_new();
    if (b.fill.keep && b.fill.scratch)
        b.root = yaml_tree_parse(b.fill.scratch, text, n, problems);
    else
        problem_out_of_memory(problems);
    if (b.root)
        build_conf(&b, file);
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
