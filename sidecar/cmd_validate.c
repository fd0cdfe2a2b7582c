/* cmd_validate.c - `sluice validate FILE...`: is this configuration good? */
#include "cmd_validate.h"

#include "config/build.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

enum { EXIT_VALID = 0, EXIT_INVALID = 1, EXIT_USAGE = 2, EXIT_FAULT = 3 };

static const char usage[] =
    "usage: sluice validate [--strict] [-o text|json] FILE...\n"
    "\n"
    "Checks configuration files, and says everything that is wrong with them.\n"
    "\n"
    "  --strict       warnings are errors\n"
    "  -o json        an array of {file, line, column, path, message, severity} on stdout\n"
    "\n"
    "Exit: 0 all are valid, 1 one is not, 2 usage.\n";

struct options {
    bool strict, json, help;
};

/* JSON wants UTF-8; the name of a file can be anything. */
static json_t *file_name(const char *file)
{
    char quoted[512];
    json_t *name = json_string(file);
    return name ? name : json_string(log_quote(str_of(file), quoted, sizeof(quoted)));
}

/* 0, or -1: memory is short. */
static int append_json(json_t *array, const char *file, const struct config_problems *p,
                       bool strict)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const struct config_problem *it = &p->items[i];
        json_t *o =
            json_pack("{s:o, s:i, s:i, s:s, s:s, s:s}", "file", file_name(file), "line",
                      (int)it->line, "column", (int)it->column, "path", it->path, "message",
                      it->message, "severity", it->warning && !strict ? "warning" : "error");
        if (!o || json_array_append_new(array, o) < 0)
            return -1;
    }
    return 0;
}

static bool has_warnings(const struct config_problems *p)
{
    return p->n + p->dropped > p->errors;
}

/* `array` NULL: as text. */
static int validate(const char *file, const struct options *o, json_t *array)
{
    struct config_problems problems = {0};
    struct conf *conf = config_load(file, &problems);
    bool valid = conf && !(o->strict && has_warnings(&problems));
    int exit_code = valid ? EXIT_VALID : EXIT_INVALID;

    if (array) {
        if (append_json(array, file, &problems, o->strict) < 0)
            exit_code = EXIT_FAULT;
    } else {
        config_problems_print(&problems, file, STDERR_FILENO);
        if (valid)
            (void)printf("%s: ok\n", file);
    }
    (void)config_free(conf);
    config_problems_free(&problems);
    return exit_code;
}

static bool parse_options(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"strict", no_argument, NULL, 's'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    optind = 0; /* GNU: begins anew */
    while ((c = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
        if (c == 's')
            o->strict = true;
        else if (c == 'h')
            o->help = true;
        else if (c == 'o' && strcmp(optarg, "json") == 0)
            o->json = true;
        else if (c == 'o' && strcmp(optarg, "text") == 0)
            o->json = false;
        else
            return false;
    }
    return o->help || optind < argc;
}

int cmd_validate(int argc, char **argv)
{
    struct options o = {0};
    json_t *array = NULL;
    int exit_code = EXIT_VALID;

    if (!parse_options(argc, argv, &o)) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (o.help) {
        (void)fputs(usage, stdout);
        return EXIT_VALID;
    }
    if (o.json) {
        array = json_array();
        if (!array)
            return EXIT_FAULT;
    }
    for (int i = optind; i < argc; i++) {
        int one = validate(argv[i], &o, array);
        exit_code = one > exit_code ? one : exit_code;
    }
    if (array) {
        if (json_dumpf(array, stdout, JSON_INDENT(2)) < 0 || fputc('\n', stdout) == EOF)
            exit_code = EXIT_FAULT;
        json_decref(array);
    }
    return exit_code;
}
