/* cmd_breaker.c - `sluice breaker`: circuit breakers of a running sidecar. */
#include "cmd_breaker.h"

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

/* What else is to be known of its state. */
static void show_now(struct table *t, const json_t *b)
{
    char time[SHOW_TEXT_MAX];
    const char *state = json_text(b, "state");
    if (strcmp(state, "open") == 0)
        table_cell(t, "half-open in %s", show_millis(json_number(b, "half_open_in_ms"), time));
    else if (strcmp(state, "half_open") == 0)
        table_cell(t, "%s", json_is_true(json_object_get(b, "probing")) ? "a probe is out" : "-");
    else if (strcmp(state, "forced_open") == 0)
        table_cell(t, "until it is reset");
    else if (json_object_get(b, "window_errors"))
        table_cell(t, "%lld in a row, %lld of %lld", json_count(b, "consecutive_errors"),
                   json_count(b, "window_errors"), json_count(b, "window_requests"));
    else if (strcmp(state, "closed") == 0)
        table_cell(t, "%lld in a row", json_count(b, "consecutive_errors"));
    else
        table_cell(t, "-");
}

static void show_one(struct table *t, const json_t *b)
{
    long long opened = 0;
    const char *key;
    json_t *v;
    json_object_foreach(json_object_get(b, "opened"), key, v) opened += json_integer_value(v);
    table_cell(t, "%s", json_text(b, "upstream"));
    table_cell(t, "%s%s", json_text(b, "state"),
               json_is_true(json_object_get(b, "dry_run")) ? " (dryRun)" : "");
    show_now(t, b);
    table_cell(t, "%lld", opened);
    table_cell(t, "%lld", json_count(b, "refused"));
    table_cell(t, "%s", json_object_get(b, "last_cause") ? json_text(b, "last_cause") : "-");
}

/* A list of them, or the one that was changed. */
static void show(const json_t *o)
{
    struct table t;
    json_t *list = json_object_get(o, "breakers"), *b;
    size_t i;
    table_init(&t, "lllrrl");
    table_head(&t, "UPSTREAM|STATE|NOW|OPENED|REFUSED|LAST CAUSE");
    if (!list)
        show_one(&t, o);
    json_array_foreach(list, i, b)
    {
        show_one(&t, b);
    }
    table_print(&t, stdout);
}

static int run(const struct admin_target *target, bool json, int n, char **words)
{
    char path[256];
    const char *verb = n > 0 ? words[0] : "list", *name = n > 1 ? words[1] : NULL;
    bool list = strcmp(verb, "list") == 0;
    struct admin_answer a;

    if (!list && strcmp(verb, "reset") != 0 && strcmp(verb, "open") != 0)
        return command_misuse(&command_breaker,
                              "\"%s\" is none of list, reset UPSTREAM, open UPSTREAM", verb);
    if (n > (list ? 1 : 2) || (!list && !name))
        return command_misuse(&command_breaker, "%s takes %s", verb,
                              list ? "no name" : "the name of one upstream");
    if (list)
        return ask_and_show(&command_breaker, target, "/v1/breakers", json, show);
    if (strlen(name) > 128 || strpbrk(name, " ?#%\r\n"))
        return command_misuse(&command_breaker, "\"%.40s\" is no upstream's name", name);
    (void)snprintf(path, sizeof(path), "/v1/breakers/%s/%s", name, verb);
    int rc = ask(&command_breaker, target, "POST", path, NULL, &a);
    if (rc != EXIT_DONE)
        return rc;
    json_t *o = json ? NULL : ask_object(&command_breaker, &a);
    if (json)
        ask_print(&a);
    else if (o)
        show(o);
    else
        rc = EXIT_FAULT;
    json_decref(o);
    admin_answer_free(&a);
    return rc;
}

static int cmd_breaker(int argc, char **argv)
{
    struct admin_target target = {0};
    struct command_line l;
    bool json = false;
    int key;

    command_line_init(&l, &command_breaker, argc, argv);
    while ((key = command_next(&l)) > 0) {
        if (key == OPTION_ADMIN)
            target.where = optarg;
        else if (key == OPTION_TOKEN_FILE)
            target.token_file = optarg;
        else if (!command_output(optarg, &json))
            return command_misuse(&command_breaker, "--output is text or json");
    }
    return key < 0 ? l.exit_code : run(&target, json, argc - optind, argv + optind);
}

const struct command command_breaker = {
    .name = "breaker",
    .fn = cmd_breaker,
    .does = "Lists, resets and opens the circuit breakers of upstreams",
    .operands = "[list | reset UPSTREAM | open UPSTREAM]",
    .description = "The circuit breakers of a running sidecar: one for each upstream, off where "
                   "nothing of it is configured.\n\n"
                   "open refuses all requests to the upstream, until reset; also where it has no "
                   "circuit breaker configured, and over reloads. reset closes it, and forgets "
                   "what was counted.",
    .options = options,
    .exits = {"it is done", "there is no such upstream, or it was refused"},
};
