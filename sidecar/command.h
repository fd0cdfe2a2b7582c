/* command.h - a subcommand described: its help text, its manual page, the shell's completion and
 * the reading of its options come from one table, so that they cannot disagree. */
#ifndef SLUICE_COMMAND_H
#define SLUICE_COMMAND_H

#include "base/check.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

/* Exit codes, of all subcommands. */
enum { EXIT_DONE = 0, EXIT_NO = 1, EXIT_USAGE = 2, EXIT_FAULT = 3 };

enum {
    COMMAND_OPTIONS_MAX = 16,
    COMMAND_EXITS = 2,   /* the codes that differ between commands */
    OPTION_LONG = 0x100, /* options without a letter are numbered from here */
    OPTION_HELP = 'h',   /* -h and --help: every command has them */
};

enum {
    OPTION_REQUIRED = 1 << 0,
    OPTION_REPEATS = 1 << 1, /* may be there more than once */
    OPTION_HIDDEN = 1 << 2,  /* between our own processes: taken, and told to nobody */
};

struct command_option {
    int key;          /* its letter, or OPTION_LONG + n: what command_next() gives; 0 ends a list */
    const char *name; /* without "--" */
    const char *arg;  /* what its argument is called, "text|json"; NULL: it takes none */
    const char *help;
    unsigned flags;
};

struct command {
    const char *name;
    int (*fn)(int argc, char **argv);     /* argv[0] is the name; returns the exit code */
    const char *does;                     /* in a few words, for the list of commands */
    const char *operands;                 /* "FILE..."; NULL: none */
    const char *description;              /* paragraphs, parted by "\n\n" */
    const struct command_option *options; /* NULL: none but --help */
    const char *exits[COMMAND_EXITS];     /* what 0 and 1 mean; NULL: cannot be */
};

/* All of them, in the order of the list (commands.c); NULL ends it. */
extern const struct command *const commands[];
/* NULL: there is none. */
const struct command *command_find(const char *name);
/* The one that somebody may have meant; NULL. */
const struct command *command_nearest(const char *name);

/* ---- what is told of them ---- */

void command_print_list(FILE *to);
void command_print_usage(const struct command *c, FILE *to);
/* sluice(1), in man(7); and a completion for bash. */
void command_print_man(FILE *to);
void command_print_completion(FILE *to);

/* ---- reading the options ---- */

struct command_line {
    const struct command *command;
    int argc;
    char **argv;
    int exit_code; /* when command_next() gave -1 */
    struct option longs[COMMAND_OPTIONS_MAX + 2];
    char letters[2 * COMMAND_OPTIONS_MAX + 4];
};

void command_line_init(struct command_line *l, const struct command *c, int argc, char **argv);
/* The key of the next option, its argument in optarg; 0: that was all, and at argv[optind] the
 * operands begin; -1: there is nothing to do but to return exit_code (help was asked for, or there
 * is a mistake, which has been told). */
int command_next(struct command_line *l);
/* The same for a command that takes no operand: one is a mistake. */
int command_next_only(struct command_line *l);
/* Tells of a mistake ("sluice NAME: ...") and how it is used; returns EXIT_USAGE. */
int command_misuse(const struct command *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "-o text|json". False: it is neither. */
bool command_output(const char *arg, bool *json);

#endif
