/* cmd_help.c - `sluice help` and `sluice version`: what the program tells of itself. */
#include "cmd_help.h"

#include <stdio.h>

#ifndef SLUICE_VERSION
#define SLUICE_VERSION "unknown"
#endif

enum { OPTION_MAN = OPTION_LONG, OPTION_COMPLETION };

static const struct command_option help_options[] = {
    {OPTION_MAN, "man", NULL, "prints the manual page sluice(1) instead", 0},
    {OPTION_COMPLETION, "bash-completion", NULL, "prints a completion for bash instead", 0},
    {0},
};

int help_unknown_command(const char *name)
{
    const struct command *nearest = command_nearest(name);
    (void)fprintf(stderr, "sluice: there is no command \"%s\"", name);
    if (nearest)
        (void)fprintf(stderr, " (did you mean \"%s\"?)", nearest->name);
    (void)fputs("; `sluice help` lists them\n", stderr);
    return EXIT_USAGE;
}

static int cmd_version(int argc, char **argv)
{
    struct command_line l;
    command_line_init(&l, &command_version, argc, argv);
    if (command_next_only(&l) < 0)
        return l.exit_code;
    (void)puts("sluice " SLUICE_VERSION);
    return EXIT_DONE;
}

static int cmd_help(int argc, char **argv)
{
    struct command_line l;
    int key;

    command_line_init(&l, &command_help, argc, argv);
    while ((key = command_next(&l)) > 0) {
        if (key == OPTION_MAN)
            command_print_man(stdout);
        else
            command_print_completion(stdout);
        return EXIT_DONE;
    }
    if (key < 0)
        return l.exit_code;
    if (optind == argc) {
        command_print_list(stdout);
        return EXIT_DONE;
    }
    if (optind + 1 < argc)
        return command_misuse(&command_help, "unexpected argument \"%s\"", argv[optind + 1]);
    const struct command *c = command_find(argv[optind]);
    if (!c)
        return help_unknown_command(argv[optind]);
    command_print_usage(c, stdout);
    return EXIT_DONE;
}

const struct command command_version = {
    .name = "version",
    .fn = cmd_version,
    .does = "Prints the version",
    .description = "Prints the version.",
    .exits = {"always"},
};

const struct command command_help = {
    .name = "help",
    .fn = cmd_help,
    .does = "Explains a subcommand",
    .operands = "[COMMAND]",
    .description = "Explains a subcommand, or lists them.",
    .options = help_options,
    .exits = {"done"},
};
