/* cmd_reload.c - `sluice reload`: has a running sidecar read its configuration again. */
#include "cmd_reload.h"

#include "admin/client.h"
#include "show.h"
#include "show_config.h"

#include <string.h>

/* A reload of any size takes less: it waits for names at most some seconds. */
#define ANSWER_WITHIN (60 * USEC_PER_SEC)

enum { OPTION_ADMIN = OPTION_LONG, OPTION_TOKEN_FILE, LINE_MAX_BYTES = 2048 };

static const struct command_option options[] = {
    {'o', "output", "text|json", "json: the answer as it came", 0},
    {OPTION_ADMIN, "admin", "PATH|URL", "its admin socket or address (" ADMIN_DEFAULT_SOCKET ")",
     0},
    {OPTION_TOKEN_FILE, "token-file", "FILE", "sent as Bearer token: a reload over TCP needs one",
     0},
    {0},
};

static void show_taken(const json_t *config)
{
    char took[SHOW_TEXT_MAX], pending[LINE_MAX_BYTES];
    const json_t *last = json_object_get(config, "last_reload");
    long long generation = json_count(config, "generation");

    if (strcmp(json_text(config, "result"), "unchanged") == 0)
        (void)printf("unchanged: generation %lld\n", generation);
    else
        (void)printf("generation %lld in force (sha256 %.8s…, %s)\n", generation,
                     json_text(config, "sha256"), show_millis(json_number(last, "took_ms"), took));
    if (*show_pending(config, pending, sizeof(pending)))
        (void)printf("note: these wait for a restart: %s\n", pending);
}

/* As `sluice validate` would have said it. */
static void show_refused(const struct admin_answer *a)
{
    json_t *o = json_loadb(a->body, a->n, 0, NULL);
    const json_t *problems = json_object_get(o, "problems"), *problem;
    const char *file = json_text(o, "file");
    long long dropped = json_count(json_object_get(o, "last_error"), "dropped");
    char line[LINE_MAX_BYTES];
    size_t i;

    if (json_array_size(problems) == 0)
        (void)fprintf(stderr, "sluice reload: %s\n", admin_answer_problem(a, line, sizeof(line)));
    if (!*file)
        file = "configuration";
    json_array_foreach(problems, i, problem)
    {
        (void)fprintf(stderr, "%s\n", show_problem(file, problem, line, sizeof(line)));
    }
    if (dropped > 0)
        (void)fprintf(stderr, "%s: %lld more %s\n", file, dropped,
                      dropped == 1 ? "problem" : "problems");
    json_decref(o);
}

static int show_answer(const struct admin_answer *a)
{
    if (a->status / 100 != 2) {
        show_refused(a);
        return EXIT_NO;
    }
    json_t *o = json_loadb(a->body, a->n, 0, NULL);
    bool understood = json_is_object(o) && *json_text(o, "result");
    if (understood)
        show_taken(o);
    else
        (void)fputs("sluice reload: the answer is not understood\n", stderr);
    json_decref(o);
    return understood ? EXIT_DONE : EXIT_FAULT;
}

static int reload(const struct admin_target *target, bool json)
{
    struct admin_answer a;
    int rc = EXIT_NO;

    if (admin_call(target, "POST", "/v1/reload", NULL, &a) < 0) {
        (void)fprintf(stderr, "sluice reload: %s\n", a.error);
    } else if (json) {
        (void)fwrite(a.body, 1, a.n, stdout);
        if (a.n > 0 && a.body[a.n - 1] != '\n')
            (void)putchar('\n');
        rc = a.status / 100 == 2 ? EXIT_DONE : EXIT_NO;
    } else {
        rc = show_answer(&a);
    }
    admin_answer_free(&a);
    return rc;
}

static int cmd_reload(int argc, char **argv)
{
    struct admin_target target = {.timeout = ANSWER_WITHIN};
    struct command_line l;
    bool json = false;
    int key;

    command_line_init(&l, &command_reload, argc, argv);
    while ((key = command_next_only(&l)) > 0) {
        if (key == OPTION_ADMIN)
            target.where = optarg;
        else if (key == OPTION_TOKEN_FILE)
            target.token_file = optarg;
        else if (!command_output(optarg, &json))
            return command_misuse(&command_reload, "--output is text or json");
    }
    return key < 0 ? l.exit_code : reload(&target, json);
}

const struct command command_reload = {
    .name = "reload",
    .fn = cmd_reload,
    .does = "Has a running sidecar read its configuration again",
    .description =
        "Has a running sidecar read its configuration file again, and waits for the result. What "
        "is wrong with the file is printed as by `sluice validate`; then what was in force goes "
        "on, whole. A reload ends no connection whose listener and route remain.",
    .options = options,
    .exits = {"it is in force, or was already", "it was refused, or nobody is there"},
};
