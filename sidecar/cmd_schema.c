/* cmd_schema.c - `sluice schema`: the configuration described, for editors and for people. */
#include "cmd_schema.h"

#include "config/json_schema.h"
#include "reference.h"

enum { OPTION_REFERENCE = OPTION_LONG, OPTION_MAN };

static const struct command_option options[] = {
    {OPTION_REFERENCE, "reference", NULL, "a page in Markdown instead", 0},
    {OPTION_MAN, "man", NULL, "the manual page sluice.yaml(5) instead", 0},
    {0},
};

static int print_json(void)
{
    json_t *o = json_schema();
    if (!o)
        return EXIT_FAULT;
    int rc = json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(o);
    return rc < 0 || fputc('\n', stdout) == EOF ? EXIT_FAULT : EXIT_DONE;
}

static int cmd_schema(int argc, char **argv)
{
    struct command_line l;
    int key, what = 0;

    command_line_init(&l, &command_schema, argc, argv);
    while ((key = command_next_only(&l)) > 0)
        what = key;
    if (key < 0)
        return l.exit_code;
    if (what == 0)
        return print_json();
    if (what == OPTION_REFERENCE)
        reference_print_markdown(stdout);
    else
        reference_print_man(stdout);
    return EXIT_DONE;
}

const struct command command_schema = {
    .name = "schema",
    .fn = cmd_schema,
    .does = "Describes the configuration, for editors and pipelines",
    .description = "Prints the JSON Schema (draft 2020-12) of the configuration. What it cannot "
                   "say, sluice validate does: whether names are there, how durations compare.",
    .options = options,
    .exits = {"done"},
};
