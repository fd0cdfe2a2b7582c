/* cmd_validate.c - `sluice validate FILE...`: is this configuration good? */
#include "cmd_validate.h"

#include "config/problems_json.h"
#include "config/tls_files.h"

#include <stdio.h>
#include <unistd.h>

enum { OPTION_STRICT = OPTION_LONG, OPTION_NO_FILES };

static const struct command_option options[] = {
    {OPTION_STRICT, "strict", NULL, "warnings are errors", 0},
    {OPTION_NO_FILES, "no-files", NULL,
     "does not read the certificates and keys that are named: for where they are not", 0},
    {'o', "output", "text|json",
     "json: an array of {file, line, column, path, message, severity} on stdout", 0},
    {0},
};

struct options {
    bool strict, json, no_files;
};

static bool has_warnings(const struct config_problems *p)
{
    return p->n + p->dropped > p->errors;
}

/* `array` NULL: as text. */
static int validate(const char *file, const struct options *o, json_t *array)
{
    struct config_problems problems = {0};
    struct conf *conf =
        o->no_files ? config_load(file, &problems) : config_load_with_files(file, &problems);
    bool valid = conf && !(o->strict && has_warnings(&problems));
    int exit_code = valid ? EXIT_DONE : EXIT_NO;

    if (array) {
        if (config_problems_append_json(array, file, &problems, o->strict) < 0)
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

static int cmd_validate(int argc, char **argv)
{
    struct options o = {0};
    struct command_line l;
    json_t *array = NULL;
    int key, exit_code = EXIT_DONE;

    command_line_init(&l, &command_validate, argc, argv);
    while ((key = command_next(&l)) > 0) {
        if (key == OPTION_STRICT)
            o.strict = true;
        else if (key == OPTION_NO_FILES)
            o.no_files = true;
        else if (!command_output(optarg, &o.json))
            return command_misuse(&command_validate, "--output is text or json");
    }
    if (key < 0)
        return l.exit_code;
    if (optind == argc)
        return command_misuse(&command_validate, "which FILE?");
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

const struct command command_validate = {
    .name = "validate",
    .fn = cmd_validate,
    .does = "Checks configuration files",
    .operands = "FILE...",
    .description = "Checks configuration files, and says everything that is wrong with them.",
    .options = options,
    .exits = {"all are valid", "one is not"},
};
