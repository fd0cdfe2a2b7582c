/* cmd_lease.c - `sluice lease`: what a running sidecar holds for the application. */
#include "cmd_lease.h"

#include "ask.h"
#include "config/scalar.h"
#include "show.h"

#include <string.h>

/* A release with its retries. */
#define RELEASE_TIME (60 * USEC_PER_SEC)

enum { OPTION_ADMIN = OPTION_LONG, OPTION_TOKEN_FILE, OPTION_TTL, OPTION_FORGET };

static const struct command_option options[] = {
    {'o', "output", "text|json", "json: the answer as it came", 0},
    {OPTION_TTL, "ttl", "TIME", "of renew: another TTL from now on (30s, 5m)", 0},
    {OPTION_FORGET, "forget", NULL, "of release: nothing is sent, it is only forgotten", 0},
    {OPTION_ADMIN, "admin", "PATH|URL", "its admin socket or address (" ADMIN_DEFAULT_SOCKET ")",
     0},
    {OPTION_TOKEN_FILE, "token-file", "FILE", "sent as Bearer token: changes over TCP need one", 0},
    {0},
};

struct options {
    struct admin_target target;
    const char *ttl;
    bool json, forget;
};

/* What else is to be known of it: when it is released, or why. */
static void show_next(struct table *t, const json_t *l)
{
    char time[SHOW_TEXT_MAX];
    const char *error = json_text(l, "error");
    if (json_object_get(l, "next_run_in_ms"))
        table_cell(t, "again in %s, %s", show_millis(json_number(l, "next_run_in_ms"), time),
                   *error ? error : "after an error status");
    else if (json_object_get(l, "why"))
        table_cell(t, "%s", json_text(l, "why"));
    else if (json_object_get(l, "grace_ends_in_ms"))
        table_cell(t, "disconnected, %s left",
                   show_millis(json_number(l, "grace_ends_in_ms"), time));
    else if (json_object_get(l, "expires_in_ms"))
        table_cell(t, "expires in %s", show_millis(json_number(l, "expires_in_ms"), time));
    else
        table_cell(t, "%s",
                   strcmp(json_text(l, "kind"), "static") == 0 ? "at the drain's end" : "-");
}

static void show_list(const json_t *o)
{
    struct table t;
    json_t *l;
    size_t i;
    table_init(&t, "llllrll");
    table_head(&t, "ID|NAME|KIND|STATE|REFS|NEXT|RELEASE");
    json_array_foreach(json_object_get(o, "leases"), i, l)
    {
        table_cell(&t, "%s", json_text(l, "id"));
        table_cell(&t, "%s", json_text(l, "name"));
        table_cell(&t, "%s", json_text(l, "kind"));
        table_cell(&t, "%s", json_text(l, "state"));
        table_cell(&t, "%lld", json_object_get(l, "references") ? json_count(l, "references") : 1);
        show_next(&t, l);
        table_cell(&t, "%s", json_text(l, "release"));
    }
    table_print(&t, stdout);
}

/* The pages behind the first, into its list. */
static int add_pages(const struct options *o, json_t *all)
{
    json_t *list = json_object_get(all, "leases"), *page;
    struct admin_answer a;
    char path[64];
    int rc = EXIT_DONE;
    while (json_count(all, "next") > 0) {
        (void)snprintf(path, sizeof(path), "/v1/leases?after=%lld", json_count(all, "next"));
        (void)json_object_del(all, "next");
        if ((rc = ask(&command_lease, &o->target, "GET", path, NULL, &a)) != EXIT_DONE)
            return rc;
        page = ask_object(&command_lease, &a);
        admin_answer_free(&a);
        if (!page)
            return EXIT_FAULT;
        (void)json_array_extend(list, json_object_get(page, "leases"));
        if (json_count(page, "next") > 0)
            (void)json_object_set(all, "next", json_object_get(page, "next"));
        json_decref(page);
    }
    return rc;
}

static int show_all(const struct options *o, const struct admin_answer *first)
{
    json_t *all = ask_object(&command_lease, first);
    bool paged = json_count(all, "next") > 0;
    int rc = all ? add_pages(o, all) : EXIT_FAULT;
    if (rc == EXIT_DONE && !o->json)
        show_list(all);
    else if (rc == EXIT_DONE && !paged)
        ask_print(first);
    else if (rc == EXIT_DONE && json_dumpf(all, stdout, JSON_INDENT(1)) == 0)
        (void)putchar('\n');
    json_decref(all);
    return rc;
}

static int show_one(const struct options *o, const struct admin_answer *a)
{
    if (o->json || a->n == 0) {
        ask_print(a);
        return EXIT_DONE;
    }
    json_t *j = ask_object(&command_lease, a);
    if (!j)
        return EXIT_FAULT;
    if (json_object_get(j, "result"))
        (void)printf("%s after %lld tries\n", json_text(j, "result"), json_count(j, "tries"));
    else
        (void)printf("renewed, expires in %lld s\n", json_count(j, "expires_in_ms") / 1000);
    json_decref(j);
    return EXIT_DONE;
}

static int ask_lease(const struct options *o, const char *method, const char *path,
                     const char *body,
                     int (*show)(const struct options *, const struct admin_answer *))
{
    struct admin_answer a;
    int rc = ask(&command_lease, &o->target, method, path, body, &a);
    if (rc != EXIT_DONE)
        return rc;
    rc = show(o, &a);
    admin_answer_free(&a);
    return rc;
}

static int run(struct options *o, int n, char **words)
{
    char path[64], body[64];
    const char *verb = n > 0 ? words[0] : "list", *id = n > 1 ? words[1] : NULL;
    usec_t ttl;
    bool list = strcmp(verb, "list") == 0, renew = strcmp(verb, "renew") == 0,
         release = strcmp(verb, "release") == 0;

    if (!list && !renew && !release)
        return command_misuse(&command_lease, "\"%s\" is none of list, release ID, renew ID", verb);
    if (n > (list ? 1 : 2) || (!list && !id))
        return command_misuse(&command_lease, "%s takes %s", verb, list ? "no ID" : "one ID");
    if ((o->ttl && !renew) || (o->forget && !release))
        return command_misuse(&command_lease, "--ttl is for renew, --forget for release");
    if (o->ttl && (!scalar_duration(str_of(o->ttl), &ttl) || strlen(o->ttl) > 32))
        return command_misuse(&command_lease, "--ttl: \"%s\" is no time (30s, 5m)", o->ttl);
    if (id && (strlen(id) != 16 || strspn(id, "0123456789abcdefABCDEF") != 16))
        return command_misuse(&command_lease, "\"%.40s\" is no ID: 16 hex digits", id);
    if (list)
        return ask_lease(o, "GET", "/v1/leases", NULL, show_all);
    (void)snprintf(path, sizeof(path), "/v1/leases/%s%s", id, o->forget ? "?run=0" : "");
    (void)snprintf(body, sizeof(body), "{\"ttl\":\"%s\"}", o->ttl ? o->ttl : "");
    if (release)
        o->target.timeout = RELEASE_TIME;
    return ask_lease(o, renew ? "PUT" : "DELETE", path, o->ttl ? body : NULL, show_one);
}

static int cmd_lease(int argc, char **argv)
{
    struct options o = {0};
    struct command_line l;
    int key;

    command_line_init(&l, &command_lease, argc, argv);
    while ((key = command_next(&l)) > 0) {
        if (key == OPTION_ADMIN)
            o.target.where = optarg;
        else if (key == OPTION_TOKEN_FILE)
            o.target.token_file = optarg;
        else if (key == OPTION_TTL)
            o.ttl = optarg;
        else if (key == OPTION_FORGET)
            o.forget = true;
        else if (!command_output(optarg, &o.json))
            return command_misuse(&command_lease, "--output is text or json");
    }
    return key < 0 ? l.exit_code : run(&o, argc - optind, argv + optind);
}

const struct command command_lease = {
    .name = "lease",
    .fn = cmd_lease,
    .does = "Lists, renews and releases what is held for the application",
    .operands = "[list | release ID | renew ID]",
    .description = "What a running sidecar holds for the application: cleanups of the "
                   "configuration, leases and learned sessions, each with when it is released.\n\n"
                   "release sends its release now and waits for the result; renew is a heartbeat.",
    .options = options,
    .exits = {"it is done; of release: released, or already gone",
              "it is not there, refused, or the release failed"},
};
