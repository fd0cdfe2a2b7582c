/* cmd_status.c - `sluice status`: an overview of a running sidecar. */
#include "cmd_status.h"

#include "ask.h"
#include "show.h"
#include "show_config.h"

#include <string.h>

enum { OPTION_ADMIN = OPTION_LONG, OPTION_TOKEN_FILE };

static const struct command_option options[] = {
    {'o', "output", "text|json", "json: the answer of GET /v1/status as it came", 0},
    {OPTION_ADMIN, "admin", "PATH|URL", "its admin socket or address (" ADMIN_DEFAULT_SOCKET ")",
     0},
    {OPTION_TOKEN_FILE, "token-file", "FILE", "sent as Bearer token", 0},
    {0},
};

/* The next table, after an empty line; false when there is nothing to show. */
static bool section(struct table *t, const json_t *rows, const char *align, const char *head)
{
    if (json_array_size(rows) == 0)
        return false;
    (void)putchar('\n');
    table_init(t, align);
    table_head(t, head);
    return true;
}

static void show_workers(const json_t *rows)
{
    struct table t;
    char lag[SHOW_TEXT_MAX];
    size_t i;
    json_t *w;

    if (!section(&t, rows, "rrrrr", "WORKER|LOOP LAG|CONNECTIONS|STREAMS|REQUESTS"))
        return;
    json_array_foreach(rows, i, w)
    {
        table_cell(&t, "%lld", json_count(w, "id"));
        table_cell(&t, "%s", show_millis(json_number(w, "loop_lag_us") / 1000, lag));
        table_cell(&t, "%lld", json_count(w, "connections"));
        table_cell(&t, "%lld", json_count(w, "streams"));
        table_cell(&t, "%lld", json_count(w, "requests"));
    }
    table_print(&t, stdout);
}

static void show_listeners(const json_t *rows)
{
    struct table t;
    size_t i;
    json_t *l;

    if (!section(&t, rows, "llllrr", "LISTENER|DIRECTION|ADDRESS|PROTOCOL|CONNECTIONS|ACCEPTED"))
        return;
    json_array_foreach(rows, i, l)
    {
        table_cell(&t, "%s", json_text(l, "name"));
        table_cell(&t, "%s", json_text(l, "direction"));
        table_cell(&t, "%s", json_text(l, "address"));
        table_cell(&t, "%s", json_text(l, "protocol"));
        table_cell(&t, "%lld", json_count(l, "connections"));
        table_cell(&t, "%lld", json_count(l, "accepted"));
    }
    table_print(&t, stdout);
}

static double sum_of(const json_t *rows, const char *key)
{
    double sum = 0;
    size_t i;
    json_t *o;
    json_array_foreach(rows, i, o) sum += json_number(o, key);
    return sum;
}

/* Parts of a million as a percentage, without zeros that say nothing: 5%, 0.25%. */
static char *show_share(double ppm, char *out)
{
    (void)snprintf(out, SHOW_TEXT_MAX, "%.4g%%", ppm / 10000);
    return out;
}

static void show_backend(struct table *t, const json_t *backend, double all)
{
    char share[SHOW_TEXT_MAX];
    double picked = json_number(backend, "picked");
    const char *intended = json_object_get(backend, "intended_ppm") ? "intended_ppm" : "weight_ppm";

    table_cell(t, "%s", json_text(backend, "upstream"));
    table_cell(t, "%s", show_share(json_number(backend, intended), share));
    table_cell(t, "%s", all > 0 ? show_share(picked * 1e6 / all, share) : "-");
    table_cell(t, "%.0f", picked);
}

static void empty_cells(struct table *t, int n)
{
    while (n-- > 0)
        table_cell(t, "%s", "");
}

static void show_routes(const json_t *rows)
{
    struct table t;
    size_t i, j;
    json_t *r, *b;

    if (!section(&t, rows, "llrrlrrr",
                 "ROUTE|LISTENER|REQUESTS|ERRORS|BACKEND|INTENDED|ACTUAL|PICKED"))
        return;
    json_array_foreach(rows, i, r)
    {
        const json_t *backends = json_object_get(r, "backends");
        double all = sum_of(backends, "picked");
        table_cell(&t, "%s", json_text(r, "name"));
        table_cell(&t, "%s", json_text(r, "listener"));
        table_cell(&t, "%lld", json_count(r, "requests"));
        table_cell(&t, "%lld", json_count(r, "errors"));
        if (json_array_size(backends) == 0)
            empty_cells(&t, 4);
        json_array_foreach(backends, j, b)
        {
            if (j > 0)
                empty_cells(&t, 4);
            show_backend(&t, b, all);
        }
    }
    table_print(&t, stdout);
}

static void show_limits(const json_t *rows)
{
    struct table t;
    size_t i, j;
    json_t *r, *l, *all = json_array();

    json_array_foreach(rows, i, r)
    {
        json_array_foreach(json_object_get(r, "rate_limits"), j, l)
        {
            (void)json_object_set(l, "route", json_object_get(r, "name"));
            (void)json_array_append(all, l);
        }
    }
    if (section(&t, all, "llrrr", "RATE LIMIT|ROUTE|ALLOWED|REFUSED|KEYS")) {
        json_array_foreach(all, i, l)
        {
            bool dry = json_is_true(json_object_get(l, "dry_run"));
            table_cell(&t, "%s%s", json_text(l, "name"), dry ? " (dryRun)" : "");
            table_cell(&t, "%s", json_text(l, "route"));
            table_cell(&t, "%lld", json_count(l, "allowed"));
            table_cell(&t, "%lld", json_count(l, dry ? "refused_dry_run" : "refused"));
            if (json_object_get(l, "keys"))
                table_cell(&t, "%lld", json_count(l, "keys"));
            else
                table_cell(&t, "-");
        }
        table_print(&t, stdout);
    }
    json_decref(all);
}

/* What keeps requests from it, or sends them where they should not go. */
static void show_upstream_state(struct table *t, const json_t *u)
{
    const json_t *breaker = json_object_get(u, "circuit_breaker");
    const char *state = json_text(breaker, "state");
    const char *dry = json_is_true(json_object_get(breaker, "dry_run")) ? " (dryRun)" : "";
    bool panic = json_is_true(json_object_get(json_object_get(u, "standing"), "panic"));

    if (*state == '\0' || strcmp(state, "off") == 0 || strcmp(state, "closed") == 0)
        table_cell(t, "%s", panic ? "panic" : "-");
    else
        table_cell(t, "breaker %s%s%s", state, dry, panic ? ", panic" : "");
}

static void show_upstreams(const json_t *rows)
{
    struct table t;
    size_t i, j;
    json_t *u, *e;

    if (!section(&t, rows, "lrrrrrrrl",
                 "UPSTREAM|CONNECTIONS|LIMIT|ACTIVE|IDLE|PENDING|REQUESTS|ERRORS|STATE"))
        return;
    json_array_foreach(rows, i, u)
    {
        const json_t *endpoints = json_object_get(u, "endpoints");
        table_cell(&t, "%s", json_text(u, "name"));
        table_cell(&t, "%lld", json_count(u, "connections"));
        table_cell(&t, "%lld%s", json_count(u, "max_connections"),
                   json_is_true(json_object_get(json_object_get(u, "limits"), "dry_run"))
                       ? " (dryRun)"
                       : "");
        table_cell(&t, "%lld", json_count(u, "active"));
        table_cell(&t, "%lld", json_count(u, "idle"));
        table_cell(&t, "%lld", json_count(u, "pending"));
        table_cell(&t, "%.0f", sum_of(endpoints, "requests"));
        table_cell(&t, "%.0f", sum_of(endpoints, "errors"));
        show_upstream_state(&t, u);
        json_array_foreach(endpoints, j, e)
        {
            table_cell(&t, "  %s", json_text(e, "address"));
            table_cell(&t, "%lld", json_count(e, "connections"));
            table_cell(&t, "%s", "");
            table_cell(&t, "%lld", json_count(e, "active"));
            table_cell(&t, "%s", "");
            table_cell(&t, "%s", "");
            table_cell(&t, "%lld", json_count(e, "requests"));
            table_cell(&t, "%lld", json_count(e, "errors"));
            table_cell(&t, "%s", json_text(e, "state"));
        }
    }
    table_print(&t, stdout);
}

/* Warnings may stand before it. */
static const json_t *first_error(const json_t *problems)
{
    const json_t *p;
    size_t i;
    json_array_foreach(problems, i, p)
    {
        if (strcmp(json_text(p, "severity"), "error") == 0)
            return p;
    }
    return json_array_get(problems, 0);
}

/* The first of them, and how many more. A line of any length, in line with the table above it. */
static void show_problems(const json_t *config, const char *what, const json_t *problems)
{
    size_t more = json_array_size(problems);
    char line[2048];

    if (more == 0)
        return;
    (void)printf(
        "%s%s", what,
        show_problem(json_text(config, "file"), first_error(problems), line, sizeof(line)));
    if (more > 1)
        (void)printf(" (and %zu more)", more - 1);
    (void)putchar('\n');
}

static void show_reload(const json_t *config)
{
    char line[2048];

    show_problems(config, "reload  refused: ",
                  json_object_get(json_object_get(config, "last_error"), "problems"));
    show_problems(config, "tls     old files stay: ",
                  json_object_get(json_object_get(config, "certificates"), "problems"));
    if (*show_pending(config, line, sizeof(line)))
        (void)printf("note    these wait for a restart: %s\n", line);
}

static void show_head(const json_t *o)
{
    struct table t;
    char up[SHOW_TEXT_MAX], left[SHOW_TEXT_MAX];
    const json_t *config = json_object_get(o, "config"), *drain = json_object_get(o, "drain");
    const json_t *overload = json_object_get(o, "overload");

    table_init(&t, "ll");
    table_cell(&t, "sluice");
    table_cell(&t, "%s, pid %lld, up %s", json_text(o, "version"), json_count(o, "pid"),
               show_millis(json_number(o, "uptime_s") * 1000, up));
    table_cell(&t, "phase");
    table_cell(&t, "%s, %s", json_text(o, "phase"),
               json_is_true(json_object_get(o, "ready")) ? "ready" : "not ready");
    if (json_is_object(drain)) {
        table_cell(&t, "drain");
        table_cell(&t, "%s by %s, %lld open, %s left", json_text(drain, "phase"),
                   json_text(drain, "trigger"), json_count(drain, "open"),
                   show_millis(json_number(drain, "remaining_ms"), left));
    }
    if (*json_text(overload, "cause") != '\0') {
        table_cell(&t, "overload");
        table_cell(&t, "%s (%s)%s", json_text(overload, "stage"), json_text(overload, "cause"),
                   json_is_true(json_object_get(overload, "dry_run")) ? " (dryRun)" : "");
    }
    if (json_is_object(config)) {
        table_cell(&t, "config");
        const char *sha = json_text(config, "sha256");
        const char *source = json_text(config, "source");
        bool from_file = *source == '\0' || strcmp(source, "file") == 0;
        table_cell(&t, "generation %lld%s%.12s%s%s", json_count(config, "generation"),
                   *sha ? ", sha256 " : "", sha, from_file ? "" : ", from ",
                   from_file ? "" : source);
        table_cell(&t, "file");
        table_cell(&t, "%s", json_text(config, "file"));
    }
    table_print(&t, stdout);
    show_reload(config);
}

static void show(const json_t *o)
{
    show_head(o);
    show_workers(json_object_get(o, "workers"));
    show_listeners(json_object_get(o, "listeners"));
    show_routes(json_object_get(o, "routes"));
    show_limits(json_object_get(o, "routes"));
    show_upstreams(json_object_get(o, "upstreams"));
}

static int cmd_status(int argc, char **argv)
{
    struct admin_target target = {0};
    struct command_line l;
    bool json = false;
    int key;

    command_line_init(&l, &command_status, argc, argv);
    while ((key = command_next_only(&l)) > 0) {
        if (key == OPTION_ADMIN)
            target.where = optarg;
        else if (key == OPTION_TOKEN_FILE)
            target.token_file = optarg;
        else if (!command_output(optarg, &json))
            return command_misuse(&command_status, "--output is text or json");
    }
    if (key < 0)
        return l.exit_code;
    return ask_and_show(&command_status, &target, "/v1/status", json, show);
}

const struct command command_status = {
    .name = "status",
    .fn = cmd_status,
    .does = "Shows what a running sidecar does",
    .description =
        "Shows what a running sidecar does: its phase, workers, listeners, routes, upstreams.",
    .options = options,
    .exits = {"it answered", "it is not there or refused"},
};
