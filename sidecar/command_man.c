/* command_man.c - sluice(1) in man(7), and a completion for bash, from the table of commands. */
#include "command.h"

#include "man.h"

#ifndef SLUICE_VERSION
#define SLUICE_VERSION "unknown"
#endif

static void man_option(FILE *to, const struct command_option *o)
{
    (void)fputs(".TP\n", to);
    if (o->key < OPTION_LONG)
        (void)fprintf(to, "\\fB\\-%c\\fR, ", o->key);
    (void)fputs("\\fB\\-\\-", to);
    man_text(to, o->name);
    (void)fputs("\\fR", to);
    if (o->arg) {
        (void)fputs(" \\fI", to);
        man_text(to, o->arg);
        (void)fputs("\\fR", to);
    }
    (void)fputc('\n', to);
    man_text(to, o->help);
    (void)fputs(o->flags & OPTION_REQUIRED ? "; required" : "", to);
    (void)fputs(o->flags & OPTION_REPEATS ? "; may be given more than once\n" : "\n", to);
}

static void man_synopsis(FILE *to, const struct command *c)
{
    (void)fprintf(to, "\\fBsluice %s\\fR", c->name);
    for (const struct command_option *o = c->options; o && o->key; o++) {
        bool required = o->flags & OPTION_REQUIRED;
        if (o->flags & OPTION_HIDDEN)
            continue;
        (void)fputs(required ? " " : " [", to);
        if (o->key < OPTION_LONG)
            (void)fprintf(to, "\\fB\\-%c\\fR", o->key);
        else {
            (void)fputs("\\fB\\-\\-", to);
            man_text(to, o->name);
            (void)fputs("\\fR", to);
        }
        if (o->arg) {
            (void)fputs("\\ \\fI", to);
            man_text(to, o->arg);
            (void)fputs("\\fR", to);
        }
        (void)fputs(required ? "" : "]", to);
        (void)fputs(o->flags & OPTION_REPEATS ? "..." : "", to);
    }
    if (c->operands) {
        (void)fputs(" \\fI", to);
        man_text(to, c->operands);
        (void)fputs("\\fR", to);
    }
    (void)fputc('\n', to);
}

static void man_command(FILE *to, const struct command *c)
{
    (void)fprintf(to, ".SS sluice %s\n", c->name);
    man_synopsis(to, c);
    (void)fputs(".PP\n", to);
    man_lines(to, c->description);
    for (const struct command_option *o = c->options; o && o->key; o++) {
        if (!(o->flags & OPTION_HIDDEN))
            man_option(to, o);
    }
    (void)fputs(".PP\nExit:\n", to);
    for (int i = 0; i < COMMAND_EXITS; i++) {
        if (c->exits[i]) {
            (void)fprintf(to, "%d ", i);
            man_text(to, c->exits[i]);
            (void)fputs(";\n", to);
        }
    }
    (void)fputs("2 usage; 3 internal fault.\n", to);
}

void command_print_man(FILE *to)
{
    (void)fputs(".TH SLUICE 1 \"\" \"sluice " SLUICE_VERSION "\" \"User Commands\"\n"
                ".SH NAME\n"
                "sluice \\- a proxy sidecar that drains by a deadline\n"
                ".SH SYNOPSIS\n"
                "\\fBsluice\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR...]\n"
                ".SH DESCRIPTION\n"
                "A proxy for HTTP and TCP beside each instance of an application. It accepts the\n"
                "application's connections and makes those that it asks for; when the instance is\n"
                "taken away, it lets what is open come to its end, by one deadline.\n"
                ".SH COMMANDS\n",
                to);
    for (const struct command *const *c = commands; *c; c++)
        man_command(to, *c);
    (void)fputs(".SH EXIT STATUS\n"
                "0 done; 1 the answer is no (invalid, refused, not there); 2 usage; 3 internal "
                "fault.\n"
                ".SH SEE ALSO\n"
                ".BR sluice.yaml (5)\n",
                to);
}

/* ---- the shell ---- */

static void completion_words(FILE *to, const struct command *c)
{
    (void)fprintf(to, "        %s) words='--help", c->name);
    for (const struct command_option *o = c->options; o && o->key; o++) {
        if (!(o->flags & OPTION_HIDDEN))
            (void)fprintf(to, " --%s", o->name);
    }
    (void)fputs("' ;;\n", to);
}

void command_print_completion(FILE *to)
{
    (void)fputs("# bash completion for sluice; from `sluice help --bash-completion`\n"
                "_sluice()\n{\n"
                "    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
                "    COMPREPLY=()\n"
                "    if [ \"$COMP_CWORD\" -eq 1 ] || [ \"${COMP_WORDS[1]}\" = help ]; then\n"
                "        words='",
                to);
    for (const struct command *const *c = commands; *c; c++)
        (void)fprintf(to, "%s%s", c == commands ? "" : " ", (*c)->name);
    (void)fputs("'\n    else\n        case ${COMP_WORDS[1]} in\n", to);
    for (const struct command *const *c = commands; *c; c++)
        completion_words(to, *c);
    (void)fputs("        esac\n"
                "        case $word in\n"
                "        -*) ;;\n"
                "        *) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
                "        esac\n"
                "    fi\n"
                "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                "}\n"
                "complete -o filenames -F _sluice sluice\n",
                to);
}
