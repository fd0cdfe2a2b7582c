/* cmd_endpoint.c - `sluice endpoint`: which endpoints are used, and which an operator wants used.
 */
#include "cmd_endpoint.h"

#include "ask.h"
#include "show.h"

#include <string.h>

enum { OPTION_ADMIN = OPTION_LONG, OPTION_TOKEN_FILE };

static const struct command_option options[] = {
    {'o', "output", "text|json", "json: the answer as it came", 0},
    {OPTION_ADMIN, "admin", "PATH|URL", "its admin socket or address (" ADMIN_DEFAULT_SOCKET ")",
     0},
    {OPTION_TOKEN_FILE, "token-file", "FILE", "sent as Bearer token: changes over TCP need one", 0},
    {0},
};

struct options {
    struct admin_target target;
    bool json;
};

static void show_why(struct table *t, const json_t *e)
{
    char time[SHOW_TEXT_MAX];
    if (json_object_get(e, "cause"))
        table_cell(t, "%s%s, %s left", json_text(e, "cause"),
                   json_is_true(json_object_get(e, "dry_run")) ? " (dryRun)" : "",
                   show_millis(json_number(e, "returns_in_ms"), time));
    else
        table_cell(t, "-");
}

/* "0: 40%" and the zone; "-" where there is none. */
static void show_place(struct table *t, const json_t *upstream, const json_t *e)
{
    const json_t *standing = json_object_get(upstream, "standing");
    const json_t *levels = json_object_get(standing, "levels");
    const char *dry = json_object_get(standing, "failover_dry_run") ? " (dryRun)" : "";
    json_t *level;
    size_t i;
    long long priority = json_count(e, "priority");
    if (!levels) {
        table_cell(t, "-");
        table_cell(t, "-");
        return;
    }
    json_array_foreach(levels, i, level)
    {
        if (json_count(level, "priority") == priority)
            table_cell(t, "%lld: %.0f%%%s", priority, json_number(level, "share_percent"), dry);
    }
    table_cell(t, "%s", json_object_get(e, "zone") ? json_text(e, "zone") : "-");
}

static void show_list(const json_t *o)
{
    struct table t;
    json_t *u, *e;
    size_t i, k;
    table_init(&t, "lllllrrrrl");
    table_head(&t,
               "UPSTREAM|ENDPOINT|PRIORITY|ZONE|STATE|PERCENT|ACTIVE|REQUESTS|ERRORS|EJECTED FOR");
    json_array_foreach(json_object_get(o, "upstreams"), i, u)
    {
        json_array_foreach(json_object_get(u, "endpoints"), k, e)
        {
            table_cell(&t, "%s", json_text(u, "name"));
            table_cell(&t, "%s", json_text(e, "address"));
            show_place(&t, u, e);
            table_cell(&t, "%s", json_text(e, "state"));
            table_cell(&t, "%lld", json_count(e, "percent"));
            table_cell(&t, "%lld", json_count(e, "active"));
            table_cell(&t, "%lld", json_count(e, "requests"));
            table_cell(&t, "%lld", json_count(e, "errors"));
            show_why(&t, e);
        }
    }
    table_print(&t, stdout);
    json_array_foreach(json_object_get(o, "upstreams"), i, u)
    {
        if (json_is_true(json_object_get(json_object_get(u, "standing"), "panic")))
            (void)printf("%s: too few endpoints are well, so all are used (panicThreshold)\n",
                         json_text(u, "name"));
    }
}

static bool is_percent(const char *text)
{
    uint64_t n = 0;
    return str_to_u64(str_of(text), &n) && n >= 1 && n <= 100;
}

static char *body_of(const char *verb, char **words, int n)
{
    json_t *o =
        json_pack("{s:s, s:s, s:s}", "upstream", words[1], "address", words[2], "action", verb);
    uint64_t percent = 0;
    if (o && n == 4 && str_to_u64(str_of(words[3]), &percent))
        (void)json_object_set_new(o, "percent", json_integer((json_int_t)percent));
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

static int change(const struct options *o, const char *verb, char **words, int n)
{
    struct admin_answer a;
    char *body = body_of(verb, words, n);
    if (!body)
        return command_misuse(&command_endpoint, "the name or the address is not UTF-8");
    int rc = ask(&command_endpoint, &o->target, "POST", "/v1/endpoints", body, &a);
    free(body);
    if (rc != EXIT_DONE)
        return rc;
    if (o->json)
        ask_print(&a);
    admin_answer_free(&a);
    return EXIT_DONE;
}

static int run(const struct options *o, int n, char **words)
{
    const char *verb = n > 0 ? words[0] : "list";
    bool list = strcmp(verb, "list") == 0, weight = strcmp(verb, "weight") == 0;

    if (list && n > 1)
        return command_misuse(&command_endpoint, "list takes no more words");
    if (list)
        return ask_and_show(&command_endpoint, &o->target, "/v1/endpoints", o->json, show_list);
    if (!weight && strcmp(verb, "drain") != 0 && strcmp(verb, "ready") != 0)
        return command_misuse(&command_endpoint, "\"%s\" is none of list, drain, weight, ready",
                              verb);
    if (n != (weight ? 4 : 3))
        return command_misuse(&command_endpoint, "%s takes UPSTREAM ADDRESS%s", verb,
                              weight ? " PERCENT" : "");
    if (weight && !is_percent(words[3]))
        return command_misuse(&command_endpoint, "\"%.20s\" is no PERCENT from 1 to 100%s",
                              words[3], strcmp(words[3], "0") == 0 ? " (drain is 0)" : "");
    return change(o, verb, words, n);
}

static int cmd_endpoint(int argc, char **argv)
{
    struct options o = {0};
    struct command_line l;
    int key;

    command_line_init(&l, &command_endpoint, argc, argv);
    while ((key = command_next(&l)) > 0) {
        if (key == OPTION_ADMIN)
            o.target.where = optarg;
        else if (key == OPTION_TOKEN_FILE)
            o.target.token_file = optarg;
        else if (!command_output(optarg, &o.json))
            return command_misuse(&command_endpoint, "--output is text or json");
    }
    return key < 0 ? l.exit_code : run(&o, argc - optind, argv + optind);
}

const struct command command_endpoint = {
    .name = "endpoint",
    .fn = cmd_endpoint,
    .does = "Lists endpoints, takes one out softly, or gives it a smaller share",
    .operands = "[list | drain UPSTREAM ADDRESS | weight UPSTREAM ADDRESS PERCENT | "
                "ready UPSTREAM ADDRESS]",
    .description =
        "Which endpoints of a running sidecar's upstreams are used, and why others are not.\n\n"
        "drain: no new request goes there, idle connections close, and what is under way ends. "
        "weight: it gets so much of its share. ready takes both back. What is said here stays over "
        "reloads until it is taken back, and is lost when sluice ends.",
    .options = options,
    .exits = {"it is done", "it is not there, or refused"},
};
