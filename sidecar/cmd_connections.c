/* cmd_connections.c - `sluice connections`: what is open in a running sidecar. */
#include "cmd_connections.h"

#include "ask.h"
#include "show.h"

#include <string.h>

enum { OPTION_ADMIN = OPTION_LONG, OPTION_TOKEN_FILE, OPTION_CLASS, OPTION_LIMIT };

static const struct command_option options[] = {
    {'o', "output", "text|json", "json: the answer of GET /v1/connections as it came", 0},
    {OPTION_CLASS, "class", "CLASS", "only http1, http2, websocket or tcp", 0},
    {OPTION_LIMIT, "limit", "N", "at most N of them, 1 to 10000 (1000)", 0},
    {OPTION_ADMIN, "admin", "PATH|URL", "its admin socket or address (" ADMIN_DEFAULT_SOCKET ")",
     0},
    {OPTION_TOKEN_FILE, "token-file", "FILE", "sent as Bearer token", 0},
    {0},
};

static void show_state(struct table *t, const json_t *o)
{
    const json_t *w = json_object_get(o, "websocket");
    if (json_is_object(w))
        table_cell(t, "%s, %lld/%lld messages", json_text(w, "state"),
                   json_count(json_object_get(w, "client"), "messages"),
                   json_count(json_object_get(w, "server"), "messages"));
    else if (json_object_get(o, "streams"))
        table_cell(t, "%s, %lld streams", json_text(o, "state"), json_count(o, "streams"));
    else
        table_cell(t, "%s", json_text(o, "state"));
}

static void show(const json_t *o)
{
    char age[SHOW_TEXT_MAX], idle[SHOW_TEXT_MAX];
    struct table t;
    json_t *it;
    size_t i;

    table_init(&t, "lllllrrrrl");
    table_head(&t, "CLASS|LISTENER|PEER|ROUTE|ENDPOINT|AGE|IDLE|IN|OUT|STATE");
    json_array_foreach(json_object_get(o, "connections"), i, it)
    {
        table_cell(&t, "%s", json_text(it, "class"));
        table_cell(&t, "%s", json_text(it, "listener"));
        table_cell(&t, "%s", json_text(it, "peer"));
        table_cell(&t, "%s", json_text(it, "route"));
        table_cell(&t, "%s", json_text(it, "endpoint"));
        table_cell(&t, "%s", show_millis(json_number(it, "age_ms"), age));
        table_cell(&t, "%s", show_millis(json_number(it, "idle_ms"), idle));
        table_cell(&t, "%lld", json_count(it, "bytes_in"));
        table_cell(&t, "%lld", json_count(it, "bytes_out"));
        show_state(&t, it);
    }
    table_print(&t, stdout);
}

static int cmd_connections(int argc, char **argv)
{
    struct admin_target target = {0};
    struct command_line l;
    const char *class = NULL, *limit = NULL;
    bool json = false;
    int key;

    command_line_init(&l, &command_connections, argc, argv);
    while ((key = command_next_only(&l)) > 0) {
        if (key == OPTION_ADMIN)
            target.where = optarg;
        else if (key == OPTION_TOKEN_FILE)
            target.token_file = optarg;
        else if (key == OPTION_CLASS)
            class = optarg;
        else if (key == OPTION_LIMIT)
            limit = optarg;
        else if (!command_output(optarg, &json))
            return command_misuse(&command_connections, "--output is text or json");
    }
    if (key < 0)
        return l.exit_code;
    if ((class && strspn(class, "abcdefghijklmnopqrstuvwxyz0123456789") != strlen(class)) ||
        (limit && strspn(limit, "0123456789") != strlen(limit)))
        return command_misuse(&command_connections, "--class is a word and --limit a number");

    char path[128];
    (void)snprintf(path, sizeof(path), "/v1/connections?limit=%s%s%s", limit ? limit : "1000",
                   class ? "&class=" : "", class ? class : "");
    return ask_and_show(&command_connections, &target, path, json, show);
}

const struct command command_connections = {
    .name = "connections",
    .fn = cmd_connections,
    .does = "Lists what is open in a running sidecar",
    .description = "Lists what is open in a running sidecar: connections of clients, and each "
                   "WebSocket, with where they lead, how old and how long idle they are.",
    .options = options,
    .exits = {"it answered", "it is not there or refused"},
};
