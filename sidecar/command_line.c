/* command_line.c - the options of a subcommand, read as its table says. */
#include "command.h"

#include "base/str.h"

#include <stdarg.h>

void command_line_init(struct command_line *l, const struct command *c, int argc, char **argv)
{
    size_t n = 0, letters = 0;

    *l = (struct command_line){.command = c, .argc = argc, .argv = argv};
    l->letters[letters++] = ':'; /* a missing argument is told apart */
    for (const struct command_option *o = c->options; o && o->key; o++) {
        CHECK(n < COMMAND_OPTIONS_MAX);
        l->longs[n++] =
            (struct option){o->name, o->arg ? required_argument : no_argument, NULL, o->key};
        if (o->key >= OPTION_LONG)
            continue;
        l->letters[letters++] = (char)o->key;
        if (o->arg)
            l->letters[letters++] = ':';
    }
    l->longs[n] = (struct option){"help", no_argument, NULL, OPTION_HELP};
    l->letters[letters] = OPTION_HELP;
    opterr = 0;
    optind = 0; /* GNU: begins anew */
}

static const struct command_option *find_key(const struct command *c, int key)
{
    for (const struct command_option *o = c->options; o && o->key; o++) {
        if (o->key == key)
            return o;
    }
    return NULL;
}

static const char *nearest_option(const struct command *c, const char *word)
{
    const char *nearest = NULL;
    unsigned best = 3;
    for (const struct command_option *o = c->options; o && o->key; o++) {
        unsigned d = str_distance(str_of(word), str_of(o->name), best);
        if (d < best && !(o->flags & OPTION_HIDDEN)) {
            best = d;
            nearest = o->name;
        }
    }
    return nearest;
}

/* getopt_long() has refused the word before argv[optind], or a letter. */
static int refuse_option(const struct command_line *l, bool no_argument_given)
{
    const struct command_option *o = find_key(l->command, optopt);
    const char *word = optind > 0 && optind <= l->argc ? l->argv[optind - 1] : "";

    if (no_argument_given && o)
        return command_misuse(l->command, "--%s needs its %s", o->name, o->arg);
    if (optopt && o)
        return command_misuse(l->command, "--%s takes no argument", o->name);
    if (optopt)
        return command_misuse(l->command, "there is no option \"-%c\"", optopt);
    const char *near = strncmp(word, "--", 2) == 0 ? nearest_option(l->command, word + 2) : NULL;
    if (near)
        return command_misuse(l->command, "there is no option \"%s\" (did you mean \"--%s\"?)",
                              word, near);
    return command_misuse(l->command, "there is no option \"%s\"", word);
}

int command_next(struct command_line *l)
{
    int key = getopt_long(l->argc, l->argv, l->letters, l->longs, NULL);
    if (key == -1)
        return 0;
    if (key == OPTION_HELP && !find_key(l->command, key)) {
        command_print_usage(l->command, stdout);
        l->exit_code = EXIT_DONE;
        return -1;
    }
    if (key == '?' || key == ':') {
        l->exit_code = refuse_option(l, key == ':');
        return -1;
    }
    return key;
}

int command_next_only(struct command_line *l)
{
    int key = command_next(l);
    if (key != 0 || optind >= l->argc)
        return key;
    l->exit_code = command_misuse(l->command, "unexpected argument \"%s\"", l->argv[optind]);
    return -1;
}

int command_misuse(const struct command *c, const char *fmt, ...)
{
    va_list args;
    (void)fprintf(stderr, "sluice %s: ", c->name);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputs("\n\n", stderr);
    command_print_usage(c, stderr);
    return EXIT_USAGE;
}

bool command_output(const char *arg, bool *json)
{
    *json = strcmp(arg, "json") == 0;
    return *json || strcmp(arg, "text") == 0;
}
