/* main.c - the table of subcommands. */
#include "base/check.h"
#include "base/str.h"
#include "cmd_drain.h"
#include "cmd_proxy.h"
#include "cmd_status.h"
#include "cmd_validate.h"
#include "demo_app.h"

#include <stdio.h>

#ifndef SLUICE_VERSION
#define SLUICE_VERSION "unknown"
#endif

enum { EXIT_DONE = 0, EXIT_USAGE = 2 };

static int cmd_version(int argc, char **argv);
static int cmd_help(int argc, char **argv);

static const struct command {
    const char *name;
    int (*fn)(int argc, char **argv); /* argv[0] is the name */
    const char *does;
} commands[] = {
    {"proxy", cmd_proxy, "Runs the sidecar"},
    {"validate", cmd_validate, "Checks configuration files"},
    {"status", cmd_status, "Shows what a running sidecar does"},
    {"drain", cmd_drain, "Takes a running sidecar out of service, softly"},
    {"demo-app", cmd_demo_app, "A small HTTP application to try sluice with"},
    {"version", cmd_version, "Prints the version"},
    {"help", cmd_help, "Explains a subcommand"},
};

static void usage(FILE *to)
{
    (void)fputs("usage: sluice COMMAND [OPTION...]\n\n", to);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        (void)fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].does);
    (void)fputs("\n`sluice help COMMAND` explains one. Exit codes: 0 done, 1 the answer is no, "
                "2 usage,\n3 internal fault.\n",
                to);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    enum { FAR = 3 };
    const struct command *nearest = NULL;
    unsigned best = FAR;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        unsigned d = str_distance(str_of(name), str_of(commands[i].name), FAR);
        if (d < best) {
            best = d;
            nearest = &commands[i];
        }
    }
    (void)fprintf(stderr, "sluice: there is no command \"%s\"", name);
    if (nearest)
        (void)fprintf(stderr, " (did you mean \"%s\"?)", nearest->name);
    (void)fputs("; `sluice help` lists them\n", stderr);
    return EXIT_USAGE;
}

static int cmd_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)puts("sluice " SLUICE_VERSION);
    return EXIT_DONE;
}

static int cmd_help(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == '-') {
        usage(stdout);
        return EXIT_DONE;
    }
    const struct command *c = find_command(argv[1]);
    if (!c)
        return unknown_command(argv[1]);
    /* These two have nothing more to say, and help would ask itself. */
    if (c->fn == cmd_help || c->fn == cmd_version) {
        (void)printf("sluice %s: %s\n", c->name, c->does);
        return EXIT_DONE;
    }
    char option[] = "--help";
    char *args[] = {argv[1], option, NULL};
    return c->fn(2, args);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return cmd_help(1, argv);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return cmd_version(1, argv);
    const struct command *c = find_command(argv[1]);
    if (c)
        return c->fn(argc - 1, argv + 1);
    if (argv[1][0] == '-') {
        (void)fprintf(stderr,
                      "sluice: there is no option \"%s\"; `sluice help` says what there "
                      "is\n",
                      argv[1]);
        return EXIT_USAGE;
    }
    return unknown_command(argv[1]);
}
