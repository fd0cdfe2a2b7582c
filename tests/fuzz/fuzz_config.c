/* fuzz_config.c - any bytes as a configuration, all that `sluice validate` and a reload do with it.
 *
 * Valid, or refused with a place inside the file; no mistake speaks of what is in a variable; both
 * forms of the list of mistakes can be printed; what has a name is found by it; and nothing differs
 * from itself. Inputs are changed by bytes (libFuzzer) and by lines (below). */
#include "base/check.h"
#include "base/rng.h"
#include "config/build.h"
#include "config/conf_authz.h"
#include "config/diff.h"
#include "config/problems_json.h"
#include "config/substitute.h"
#include "config/text_place.h"

#include <fcntl.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);

/* ---- the environment ---- */

static const char secret[] = "Zq7-secret";

static const char *variable(const void *ctx, const char *name)
{
    (void)ctx;
    if (strcmp(name, "SET") == 0)
        return "5s";
    if (strcmp(name, "EMPTY") == 0)
        return "";
    return strcmp(name, "SECRET") == 0 ? secret : NULL;
}

static const struct config_env env = {.get = variable};

static bool holds(const uint8_t *data, size_t n, const char *word)
{
    return n > 0 && memmem(data, n, word, strlen(word)) != NULL;
}

/* ---- what is built ---- */

static void check_header_rules(const struct header_rules *r, bool request)
{
    if (!r)
        return;
    CHECK(r->request == request && r->n_writes <= HEADER_WRITES_MAX);
    CHECK(r->n_removes <= HEADER_REMOVES_MAX && r->n_writes + r->n_removes > 0);
    for (uint32_t i = 0; i < r->n_writes; i++)
        CHECK(r->writes[i].name.n > 0 && !header_rules_refuses(r->writes[i].name, request));
    for (uint32_t i = 0; i < r->n_removes; i++)
        CHECK(r->removes[i].name.n > 0 &&
              (r->removes[i].prefix || !header_rules_refuses(r->removes[i].name, request)));
}

static void check_fault(const struct fault_rules *r)
{
    if (!r)
        return;
    CHECK(r->delays || r->aborts);
    CHECK(r->delay_ppm <= FAULT_WHOLE_PPM && r->abort_ppm <= FAULT_WHOLE_PPM);
    CHECK(!r->delays || (r->delay > 0 && r->max_active > 0));
    CHECK(r->abort_status >= 400 && r->abort_status <= 599 && r->abort_grpc != 0);
}

static void check_retry(const struct retry_rules *r)
{
    CHECK(r->attempts >= 1 && r->attempts <= RETRY_ATTEMPTS_MAX && r->base <= r->max);
    CHECK(r->on != 0 && r->on < RETRY_BIT(RETRY_CONDITIONS) && r->methods != 0);
}

static void check_jwts(const struct conf *c)
{
    for (uint32_t i = 0; i < c->n_jwts; i++) {
        const struct conf_jwt *j = &c->jwts[i];
        CHECK(j->index == i && conf_find_jwt(c, j->name) == j && j->rules.issuer.n > 0);
        CHECK(j->rules.algorithms != 0 && j->rules.algorithms < JWT_BIT(JWT_ALGORITHMS));
        CHECK(j->n_from > 0 && j->n_from <= CONF_JWT_FROM_MAX &&
              (j->jwks.path.n > 0) != (j->jwks_url.n > 0) && j->jwks_timeout > 0 &&
              j->jwks_interval > 0 && j->jwks_unknown_after > 0);
        for (uint32_t k = 0; k < j->n_headers; k++)
            CHECK(j->headers[k].header.n > 0 && j->headers[k].path.n > 0);
    }
}

static void check_authz_rules(const struct conf_authz *a)
{
    if (!a)
        return;
    CHECK(a->n_jwts == a->n_names && a->n_jwts + a->rules.n > 0);
    for (uint32_t i = 0; i < a->rules.n; i++) {
        const struct authz_rule *r = &a->rules.rules[i];
        for (uint32_t k = 0; k < r->n_paths; k++)
            CHECK(authz_is_path(r->paths[k]));
        for (uint32_t k = 0; k < r->n_claims; k++)
            CHECK(r->claims[k].path.n > 0 && r->claims[k].n_values > 0 && a->n_jwts > 0);
        CHECK(r->n_spiffe_ids == 0 || a->asks_spiffe);
        CHECK(r->n_cidrs == 0 || a->asks_source);
    }
}

static void check_routes(const struct conf *c, const struct conf_listener *l, uint32_t *routes)
{
    for (uint32_t r = 0; r < l->n_routes; r++) {
        const struct conf_route *route = &l->routes[r];
        check_authz_rules(route->authz);
        uint64_t ppm = 0;
        CHECK(route->index == (*routes)++ && route->name.n > 0);
        CHECK((route->action == ACTION_FORWARD) == (route->n_backends > 0));
        if (route->retry)
            check_retry(route->retry);
        CHECK(conf_find_route(c, l->name, route->name) == route);
        for (uint32_t b = 0; b < route->n_backends; b++) {
            const struct conf_upstream *u = route->backends[b].upstream;
            CHECK(u && u->n_endpoints > 0 && conf_find_upstream(c, u->name) == u);
            CHECK(u->retry_budget.percent <= 100 && u->retry_budget.window > 0 &&
                  u->retry_budget.window % USEC_PER_SEC == 0);
            ppm += route->ppm[b];
        }
        CHECK(route->n_backends == 0 || ppm == SPLIT_WHOLE_PPM);
        check_fault(route->fault);
        for (int k = 0; k < 2 && route->headers; k++) {
            check_header_rules(route->headers->request[k], true);
            check_header_rules(route->headers->response[k], false);
        }
        CHECK(route->n_rate_limits <= RATE_LIMITS_MAX);
        for (uint32_t i = 0; i < route->n_rate_limits; i++)
            CHECK(route->rate_limits[i].rule.requests > 0 && route->rate_limits[i].rule.burst > 0 &&
                  route->rate_limits[i].rule.per >= RATE_PER_MIN);
    }
}

/* Those that are not 0 do not fall; the shares are of one. */
static void check_overload(const struct overload_rules *r)
{
    CHECK(r->margin <= 50);
    for (int i = 0; i < OVERLOAD_SIGNALS; i++) {
        uint64_t least = 0;
        CHECK(r->signal[i].at[OVERLOAD_NONE] == 0);
        for (int s = 0; s < OVERLOAD_STAGES; s++) {
            uint64_t at = r->signal[i].at[s];
            CHECK(at == 0 || at >= least);
            CHECK(i == OVERLOAD_LOOP_LAG || at <= OVERLOAD_PPM);
            least = at > 0 ? at : least;
        }
    }
}

/* What the breaker divides by, and compares with. */
static void check_breaker(const struct breaker_rules *r)
{
    CHECK(r->window >= CALL_WINDOW_BUCKETS && r->min_requests > 0 && r->half_open_timeout > 0);
    CHECK(r->open_duration > 0 && r->open_duration <= r->max_open_duration);
    CHECK(r->error_rate <= 100 && r->slow_call_rate <= 100 && r->half_open_successes > 0);
    CHECK(r->consecutive_errors <= BREAKER_CONSECUTIVE_MAX);
}

static void check_health_check(const struct conf_upstream *u)
{
    const struct probe_rules *r = &u->health_check.probe;
    const struct health_rules *h = &u->health_check.rules;
    if (!u->health_check.enabled)
        return;
    CHECK(r->kind != PROBE_NONE && h->rise > 0 && h->fall > 0 && h->interval > 0 && h->timeout > 0);
    CHECK(h->jitter <= 50 && h->unhealthy_interval > 0 && probe_rules_equal(r, r));
    CHECK(r->kind != PROBE_GRPC || (r->service.n <= 255 && u->protocol != UPSTREAM_HTTP1));
    CHECK(r->kind != PROBE_EXEC || (r->command[0] && !r->command[u->health_check.n_command]));
    if (r->kind != PROBE_HTTP)
        return;
    CHECK(r->target.p[0] == '/' && r->n_ranges > 0 && r->n_ranges <= PROBE_RANGES_MAX);
    for (uint32_t i = 0; i < r->n_ranges; i++)
        CHECK(r->ranges[i].from >= 200 && r->ranges[i].from <= r->ranges[i].to);
}

static void check_endpoints(const struct conf_upstream *u)
{
    const struct outlier_rules *r = u->outlier;
    CHECK(u->panic_threshold <= 100 && u->overprovisioning >= 100);
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        CHECK(u->endpoints[i].text.n > 0 && u->endpoints[i].priority < FAILOVER_LEVELS_MAX &&
              u->endpoints[i].zone.n <= 63);
    CHECK(!u->slow_start || (u->slow_start->window > 0 && u->slow_start->initial_percent > 0));
    CHECK(!r || (r->base_ejection > 0 && r->base_ejection <= r->max_ejection));
    CHECK(!r || (r->max_percent > 0 && r->max_percent <= 100 && r->interval > 0));
}

/* What its window has room for. */
static void check_app(const struct conf_app *a)
{
    const struct leak_rules *r = &a->leak;
    CHECK(r->interval > 0 && r->window >= LEAK_SAMPLES_MIN * r->interval);
    CHECK(r->window <= LEAK_SAMPLES_MAX * r->interval && r->threshold > 0);
}

static void check_conf(const struct conf *c)
{
    uint32_t routes = 0;
    check_app(&c->app);
    CHECK(c->n_listeners > 0);
    check_overload(&c->overload);
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        const struct conf_listener *l = &c->listeners[i];
        CHECK(l->index == i && l->name.n > 0 && l->address.len > 0 && l->n_routes > 0);
        CHECK((l->protocol != PROTOCOL_TCP) == (l->route_table != NULL));
        CHECK(conf_find_listener(c, l->name) == l);
        check_routes(c, l, &routes);
    }
    CHECK(routes == c->n_routes && c->max_probes > 0 && c->max_metric_series >= 1000);
    for (uint32_t i = 0; i < c->n_app_probes; i++)
        CHECK(c->app_probes[i].port > 0 && c->app_probes[i].port <= UINT16_MAX &&
              c->app_probes[i].path.p[0] == '/');
    for (uint32_t i = 0; i < c->n_upstreams; i++) {
        check_health_check(&c->upstreams[i]);
        check_endpoints(&c->upstreams[i]);
        check_breaker(&c->upstreams[i].breaker);
    }
    for (uint32_t i = 0; i < c->access_log.n_redacted; i++)
        CHECK(c->access_log.redacted[i] > REDACT_NOTHING &&
              c->access_log.redacted[i] < REDACT_FIELDS);
    check_jwts(c);
}

/* ---- what is told ---- */

static void check_place(const uint8_t *data, size_t n, const struct config_problem *it)
{
    struct text_place at = text_place_begin((struct str){(const char *)data, n});
    if (it->line == 0)
        return;
    text_place_seek(&at, it->line, it->column);
    CHECK(at.line == it->line && at.column == it->column);
}

static void check_problems(const uint8_t *data, size_t n, const struct config_problems *p)
{
    static int null = -1;
    json_t *array = json_array();
    bool told = holds(data, n, secret); /* the file has it by itself */

    if (null < 0)
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (uint32_t i = 0; i < p->n; i++) {
        const struct config_problem *it = &p->items[i];
        CHECK(it->path && it->message && it->message[0]);
        CHECK(i == 0 || p->items[i - 1].line <= it->line);
        CHECK(told || (!strstr(it->message, secret) && !strstr(it->path, secret)));
        check_place(data, n, it);
    }
    config_problems_print(p, "fuzz", null);
    CHECK(config_problems_append_json(array, "fuzz", p, true) == 0);
    char *text = json_dumps(array, 0);
    CHECK(text != NULL);
    free(text);
    json_decref(array);
}

/* ---- the comparison with itself ---- */

static struct setting *settings(struct arena *a, const uint8_t *data, size_t n)
{
    struct config_problems p = {0};
    struct setting *list = NULL;
    struct yaml_node *root = yaml_tree_parse(a, (const char *)data, n, &p);
    CHECK(root && p.n == 0);
    substitute_tree(a, root, (struct str){(const char *)data, n}, &env, &p);
    CHECK(p.n == 0 && settings_flatten(a, root, false, &list));
    return list;
}

static void check_settings(const uint8_t *data, size_t n)
{
    struct arena *a = arena_new();
    struct config_diff d = {0};
    struct setting *was = settings(a, data, n), *is = settings(a, data, n);
    bool told = holds(data, n, secret);

    for (const struct setting *it = is; it; it = it->next)
        CHECK(told || !holds((const uint8_t *)it->value.p, it->value.n, secret));
    CHECK(config_diff(was, is, &d) == 0 && d.n == 0);
    config_diff_free(&d);
    (void)arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct config_problems p = {0};
    struct conf *c = config_build_env("fuzz", (const char *)data, n, &env, &p);

    CHECK((c != NULL) == (p.errors == 0));
    if (c) {
        check_conf(c);
        check_settings(data, n);
    }
    check_problems(data, n, &p);
    (void)config_free(c);
    config_problems_free(&p);
    return 0;
}

/* ---- changes by lines, which keep most of a file good ---- */

struct span {
    size_t at, n;
};

/* The line that a random byte is in, with its end. */
static struct span any_line(struct rng *rng, const uint8_t *data, size_t n)
{
    size_t at = rng_below(rng, (uint32_t)n), end = at;
    while (at > 0 && data[at - 1] != '\n')
        at--;
    while (end < n && data[end] != '\n')
        end++;
    return (struct span){at, end - at + (end < n)};
}

/* Opens or closes room at `at`. */
static size_t resize(uint8_t *data, size_t n, size_t at, size_t old, size_t new)
{
    memmove(data + at + new, data + at + old, n - at - old);
    return n - old + new;
}

static size_t replace_value(struct rng *rng, uint8_t *data, size_t n, size_t max, struct span line)
{
    static const char *const values[] = {
        "0",
        "1",
        "5s",
        "64KiB",
        "true",
        "off",
        "\"x\"",
        "/",
        "[]",
        "{}",
        "~",
        "'${SECRET}'",
        "\"${SET}\"",
        "${ABSENT:-1}",
        "${",
        "127.0.0.1:80",
        "a",
        "app",
        "[a, b]",
        "websocket",
        "\"/x/{a}?b={c}\"",
        "$.a[0]",
        "'{\"a\":{b}}'",
    };
    const uint8_t *colon = memchr(data + line.at, ':', line.n);
    const char *value = values[rng_below(rng, (uint32_t)ARRAY_LEN(values))];
    size_t from = colon ? (size_t)(colon - data) + 1 : line.at, len = strlen(value) + 1;
    size_t end = line.at + line.n - (data[line.at + line.n - 1] == '\n');
    if (from > end || n - (end - from) + len > max)
        return n;
    n = resize(data, n, from, end - from, len);
    data[from] = ' ';
    memcpy(data + from + 1, value, len - 1);
    return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    struct rng rng;
    uint8_t copy[256];
    rng_init(&rng, seed);
    uint32_t how = rng_below(&rng, 8);
    if (n == 0 || n >= UINT32_MAX || how < 3)
        return LLVMFuzzerMutate(data, n, max);
    struct span line = any_line(&rng, data, n);
    if (how == 3) /* gone */
        return line.n < n ? resize(data, n, line.at, line.n, 0) : n;
    if (how <= 5) /* another value */
        return replace_value(&rng, data, n, max, line);
    if (how == 6) { /* deeper */
        if (n + 2 > max)
            return n;
        n = resize(data, n, line.at, 0, 2);
        memset(data + line.at, ' ', 2);
        return n;
    }
    if (line.n > sizeof(copy) || n + line.n > max) /* elsewhere, once more */
        return n;
    memcpy(copy, data + line.at, line.n);
    size_t to = any_line(&rng, data, n).at;
    n = resize(data, n, to, 0, line.n);
    memcpy(data + to, copy, line.n);
    return n;
}
