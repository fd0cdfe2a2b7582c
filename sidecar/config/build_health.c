/* build_health.c - an upstream's healthCheck: what it asks, and what it takes for an answer. */
#include "config/builder.h"

#include "config/lint.h"
#include "config/problems.h"

#include <errno.h>

/* The connection's, and written by us. */
static bool is_framing(struct str name)
{
    static const char *const names[] = {"connection",        "content-length", "expect",
                                        "grpc-timeout",      "keep-alive",     "te",
                                        "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_ieq(name, str_of(names[i])))
            return true;
    }
    return false;
}

static void check_headers(struct builder *b, const struct probe_rules *r,
                          const struct yaml_node *http)
{
    const struct yaml_node *list = yaml_get(http, "headers");
    for (uint32_t i = 0; i < r->n_fields && list; i++) {
        const struct yaml_node *name = yaml_get(yaml_at(list, i), "name");
        if (!r->fields[i].name.p)
            continue;
        if (is_framing(r->fields[i].name))
            problem_at(b->problems, name, "this header is set by sluice itself");
        else if (str_ieq(r->fields[i].name, STR("host")))
            problem_at(b->problems, name, "Host is what \"host\" beside \"headers\" says");
    }
}

static void build_ranges(struct builder *b, struct conf_health_check *h,
                         const struct yaml_node *http)
{
    struct probe_range ranges[PROBE_RANGES_MAX];
    int n = h->status.p ? probe_ranges_parse(h->status, ranges) : 0;
    if (n < 0) {
        problem_at(b->problems, yaml_get(http, "status"),
                   "expected statuses from 200 to 599 and ranges of them, at most %d, such as "
                   "200-299,404",
                   PROBE_RANGES_MAX);
        return;
    }
    h->probe.ranges = builder_alloc(b, (size_t)n * sizeof(ranges[0]));
    if (!h->probe.ranges)
        return;
    memcpy(h->probe.ranges, ranges, (size_t)n * sizeof(ranges[0]));
    h->probe.n_ranges = (uint32_t)n;
}

static void check_regex(struct builder *b, const struct probe_rules *r,
                        const struct yaml_node *http)
{
    struct probe_regex *regex = NULL;
    char why[160];
    if (r->body_regex.n == 0)
        return;
    int rc = probe_regex_new(r->body_regex, &regex, why, sizeof(why));
    if (rc == -EINVAL)
        problem_at(b->problems, yaml_get(http, "bodyRegex"), "no regular expression: %s", why);
    else if (rc < 0)
        builder_no_memory(b);
    else
        (void)probe_regex_free(regex);
}

static void build_http(struct builder *b, struct conf_health_check *h, const struct yaml_node *http)
{
    const struct yaml_node *body = yaml_get(http, "body");
    if (!body)
        body = yaml_get(http, "bodyRegex");
    check_headers(b, &h->probe, http);
    build_ranges(b, h, http);
    check_regex(b, &h->probe, http);
    if (body && str_eq(h->probe.method, STR("HEAD")))
        problem_at(b->problems, body, "an answer to HEAD has no body");
}

static void check_grpc(struct builder *b, const struct conf_upstream *u,
                       const struct yaml_node *grpc)
{
    if (u->protocol == UPSTREAM_HTTP1 || (u->protocol == UPSTREAM_AUTO && !u->tls.enabled))
        problem_at(b->problems, grpc,
                   "gRPC goes over HTTP/2, which this upstream does not speak (protocol: http2)");
}

static void build_exec(struct builder *b, struct conf_health_check *h)
{
    char **command = builder_alloc(b, (h->n_command + 1) * sizeof(char *));
    if (!command)
        return;
    for (uint32_t i = 0; i < h->n_command; i++)
        memcpy(&command[i], &h->command[i].p, sizeof(char *)); /* nothing writes to them */
    command[h->n_command] = NULL;
    h->probe.command = command;
}

void build_health_check(struct builder *b, struct conf_upstream *u, const struct yaml_node *node)
{
    struct conf_health_check *h = &u->health_check;
    if (!h->enabled || !node || node->kind != NODE_MAP)
        return;
    h->probe.kind = h->http   ? PROBE_HTTP
                    : h->tcp  ? PROBE_TCP
                    : h->grpc ? PROBE_GRPC
                    : h->exec ? PROBE_EXEC
                              : PROBE_NONE;
    if (h->exec)
        build_exec(b, h);
    if (h->http)
        build_http(b, h, yaml_get(node, "http"));
    if (h->grpc)
        check_grpc(b, u, yaml_get(node, "grpc"));
}

void build_app_probes(struct builder *b)
{
    const struct conf *c = b->conf;
    const struct yaml_node *health = yaml_get(b->root, "health");
    const struct yaml_node *list = yaml_get(health, "appProbes");
    for (uint32_t i = 0; i < c->n_app_probes && list; i++) {
        const struct conf_app_probe *it = &c->app_probes[i];
        for (uint32_t k = 0; k < i && it->name.p; k++) {
            if (!c->app_probes[k].name.p || !str_eq(c->app_probes[k].name, it->name))
                continue;
            problem_at(b->problems, yaml_get(yaml_at(list, i), "name"),
                       "the probe on line %u has the same name", yaml_at(list, k)->line);
            break;
        }
    }
    if (c->n_app_probes > 0 && list && !c->health_enabled)
        warning_at(b->problems, list, "has no effect: health.address is off");
}

/* ---- what has no effect ---- */

void lint_health_check(struct builder *b)
{
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct health_rules *r = &b->conf->upstreams[i].health_check.rules;
        const struct yaml_node *check = yaml_get(b->upstreams[i].node, "healthCheck");
        const struct yaml_node *it = yaml_get(check, "unhealthyInterval");
        char mine[PROBLEM_QUOTE_MAX], most[PROBLEM_QUOTE_MAX];
        if (it && r->unhealthy_interval > r->interval)
            warning_at(b->problems, it, "%s has no effect: it is never more than interval, %s",
                       builder_duration(it, r->unhealthy_interval, mine),
                       builder_duration(yaml_get(check, "interval"), r->interval, most));
    }
}
