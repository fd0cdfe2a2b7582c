/* command.c - what `sluice help` tells of a subcommand. */
#include "command.h"

#include "base/str.h"

enum { WIDTH = 80, OPTION_COLUMN_MAX = 28 };

/* ---- running text ---- */

struct wrap {
    FILE *to;
    size_t column, indent;
};

static void new_line(struct wrap *w)
{
    (void)fputc('\n', w->to);
    w->column = 0;
}

/* What must not be broken: after a space, or on a new line. */
static void put_unit(struct wrap *w, const char *text, size_t n)
{
    if (w->column > w->indent && w->column + 1 + n > WIDTH)
        new_line(w);
    if (w->column > w->indent) {
        (void)fputc(' ', w->to);
        w->column++;
    }
    for (; w->column < w->indent; w->column++)
        (void)fputc(' ', w->to);
    (void)fwrite(text, 1, n, w->to);
    w->column += n;
}

/* "\n\n" begins a paragraph. */
static void put_text(struct wrap *w, const char *text)
{
    while (*text) {
        if (text[0] == '\n' && text[1] == '\n') {
            new_line(w);
            new_line(w);
        }
        size_t skip = strspn(text, " \n"), n = strcspn(text + skip, " \n");
        if (n > 0)
            put_unit(w, text + skip, n);
        text += skip + n;
    }
}

/* ---- one command ---- */

static bool has_letter(const struct command_option *o)
{
    return o->key < OPTION_LONG;
}

static void put_synopsis(struct wrap *w, const struct command *c)
{
    char unit[128];
    int n = snprintf(unit, sizeof(unit), "usage: sluice %s", c->name);
    put_unit(w, unit, (size_t)n);
    w->indent = (size_t)n + 1;
    for (const struct command_option *o = c->options; o && o->key; o++) {
        bool required = o->flags & OPTION_REQUIRED;
        char name[64];
        if (o->flags & OPTION_HIDDEN)
            continue;
        if (has_letter(o))
            (void)snprintf(name, sizeof(name), "-%c", o->key);
        else
            (void)snprintf(name, sizeof(name), "--%s", o->name);
        n = snprintf(unit, sizeof(unit), "%s%s%s%s%s%s", required ? "" : "[", name,
                     o->arg ? " " : "", o->arg ? o->arg : "", required ? "" : "]",
                     o->flags & OPTION_REPEATS ? "..." : "");
        put_unit(w, unit, (size_t)n);
    }
    if (c->operands)
        put_unit(w, c->operands, strlen(c->operands));
    new_line(w);
    w->indent = 0;
}

/* "-o, --output text|json"; out has 64 bytes. */
static const char *option_words(const struct command_option *o, char *out)
{
    char letter[8] = "    ";
    if (has_letter(o))
        (void)snprintf(letter, sizeof(letter), "-%c, ", o->key);
    (void)snprintf(out, 64, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    return out;
}

/* column: how wide the words of the options are. */
static void put_option(struct wrap *w, const struct command_option *o, size_t column)
{
    char words[64];
    (void)option_words(o, words);
    w->indent = 2;
    put_unit(w, words, strlen(words));
    w->indent = 2 + column + 3;
    if (w->column + 3 > w->indent)
        new_line(w);
    for (; w->column < w->indent; w->column++)
        (void)fputc(' ', w->to);
    put_text(w, o->help);
    new_line(w);
    w->indent = 0;
}

static void put_options(struct wrap *w, const struct command *c)
{
    static const struct command_option help = {OPTION_HELP, "help", NULL, "this text", 0};
    char words[64];
    size_t column = strlen(option_words(&help, words));

    for (const struct command_option *o = c->options; o && o->key; o++) {
        size_t n = strlen(option_words(o, words));
        if (!(o->flags & OPTION_HIDDEN) && n > column && n <= OPTION_COLUMN_MAX)
            column = n;
    }
    for (const struct command_option *o = c->options; o && o->key; o++) {
        if (!(o->flags & OPTION_HIDDEN))
            put_option(w, o, column);
    }
    put_option(w, &help, column);
}

static void put_exits(struct wrap *w, const struct command *c)
{
    char text[512] = "Exit:";
    size_t o = strlen(text);
    for (int i = 0; i < COMMAND_EXITS; i++) {
        if (c->exits[i] && o < sizeof(text))
            o += (size_t)snprintf(text + o, sizeof(text) - o, " %d %s;", i, c->exits[i]);
    }
    if (o < sizeof(text))
        (void)snprintf(text + o, sizeof(text) - o, " 2 usage; 3 internal fault.");
    put_text(w, text);
    new_line(w);
}

void command_print_usage(const struct command *c, FILE *to)
{
    struct wrap w = {.to = to};
    put_synopsis(&w, c);
    new_line(&w);
    put_text(&w, c->description);
    new_line(&w);
    new_line(&w);
    put_options(&w, c);
    new_line(&w);
    put_exits(&w, c);
}

/* ---- all of them ---- */

void command_print_list(FILE *to)
{
    (void)fputs("usage: sluice COMMAND [OPTION...]\n\n", to);
    for (const struct command *const *c = commands; *c; c++)
        (void)fprintf(to, "  %-10s %s\n", (*c)->name, (*c)->does);
    (void)fputs("\n`sluice help COMMAND` explains one. Exit codes: 0 done, 1 the answer is no, "
                "2 usage,\n3 internal fault.\n",
                to);
}

const struct command *command_find(const char *name)
{
    for (const struct command *const *c = commands; *c; c++) {
        if (strcmp((*c)->name, name) == 0)
            return *c;
    }
    return NULL;
}

const struct command *command_nearest(const char *name)
{
    enum { FAR = 3 };
    const struct command *nearest = NULL;
    unsigned best = FAR;

    for (const struct command *const *c = commands; *c; c++) {
        unsigned d = str_distance(str_of(name), str_of((*c)->name), FAR);
        if (d < best) {
            best = d;
            nearest = *c;
        }
    }
    return nearest;
}
