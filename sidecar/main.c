/* main.c - finds the subcommand and runs it. */
#include "cmd_help.h"

#include <string.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        command_print_list(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return command_help.fn(1, argv);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return command_version.fn(1, argv);
    const struct command *c = command_find(argv[1]);
    if (c)
        return c->fn(argc - 1, argv + 1);
    if (argv[1][0] == '-') {
        (void)fprintf(stderr,
                      "sluice: there is no option \"%s\"; `sluice help` says what there "
                      "is\n",
                      argv[1]);
        return EXIT_USAGE;
    }
    return help_unknown_command(argv[1]);
}
