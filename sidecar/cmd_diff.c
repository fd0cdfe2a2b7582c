/* cmd_diff.c - `sluice diff OLD NEW`: what a reload would change, at once or with a restart. */
#include "cmd_diff.h"

#include "base/arena.h"
#include "config/build.h"
#include "config/diff.h"
#include "config/problems.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

enum { OPTION_EXIT_CODE = OPTION_LONG };

static const struct command_option options[] = {
    {'o', "output", "text|json", "json: one object, values in full", 0},
    {OPTION_EXIT_CODE, "exit-code", NULL, "exits with 1 where something differs, like diff(1)", 0},
    {0},
};

/* ---- a file ---- */

/* Its settings, in the arena. EXIT_DONE, or else nothing and why is on stderr. */
static int load(const char *file, struct arena *a, struct setting **ret)
{
    struct config_problems problems = {0};
    struct conf *conf = NULL;
    int rc = EXIT_NO;
    size_t n = 0;
    char *text = config_read(file, &n, &problems);

    if (text)
        conf = config_build(file, text, n, &problems);
    if (!conf) {
        config_problems_print(&problems, file, STDERR_FILENO);
    } else {
        /* Variables are left as the file has them: that is what is compared. */
        struct config_problems none = {0};
        struct yaml_node *root = yaml_tree_parse(a, text, n, &none);
        rc = root && settings_flatten(a, root, false, ret) ? EXIT_DONE : EXIT_FAULT;
        config_problems_free(&none);
    }
    (void)config_free(conf);
    config_problems_free(&problems);
    free(text);
    return rc;
}

/* ---- as text ---- */

static void print_path(struct str path)
{
    for (size_t i = 0; i < path.n; i++)
        (void)putchar((unsigned char)path.p[i] < ' ' ? '?' : path.p[i]);
}

static void print_value(const struct setting *s)
{
    char quoted[PROBLEM_QUOTE_MAX];
    (void)printf("%s%s", s->value.n ? problem_quote(s->value, quoted) : "\"\"",
                 s->given ? "" : " (default)");
}

static void print_change(const struct config_change *c)
{
    const struct setting *s = c->is ? c->is : c->was;

    if (c->inside) {
        if (!s->given || s->kind != SETTING_VALUE)
            return; /* what a new item has by default is no news */
        (void)fputs("      ", stdout);
        print_path((struct str){s->path.p + s->item->path.n, s->path.n - s->item->path.n});
    } else {
        (void)printf("  %c ", "+-~~"[c->kind]);
        print_path(s->path);
    }
    if (c->kind == CHANGE_REORDERED)
        (void)fputs(" in another order", stdout);
    if (s->kind != SETTING_ITEM) {
        (void)fputs(s->value.n || (c->was && c->is) ? ": " : "", stdout);
        if (c->was && c->is) {
            print_value(c->was);
            (void)fputs(" -> ", stdout);
        }
        if (s->value.n || (c->was && c->is))
            print_value(s);
    }
    (void)putchar('\n');
}

static void print_group(const struct config_diff *d, bool restart, const char *head)
{
    if ((restart ? d->restart : d->live) == 0)
        return;
    (void)puts(head);
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->items[i].restart == restart)
            print_change(&d->items[i]);
    }
}

/* ---- as JSON ---- */

static json_t *value_json(const struct setting *s)
{
    if (!s || s->kind == SETTING_ITEM)
        return json_null();
    return json_pack("{s:s%, s:b}", "value", s->value.p ? s->value.p : "", s->value.n, "default",
                     !s->given);
}

static json_t *change_json(const struct config_change *c)
{
    static const char *const words[] = {"added", "removed", "changed", "reordered"};
    const struct setting *s = c->is ? c->is : c->was;
    json_t *o = json_pack("{s:s%, s:s, s:o, s:o}", "path", s->path.p, s->path.n, "change",
                          words[c->kind], "old", value_json(c->was), "new", value_json(c->is));
    if (o && c->inside &&
        json_object_set_new(o, "in", json_stringn(s->item->path.p, s->item->path.n)) < 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static json_t *group_json(const struct config_diff *d, bool restart)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->items[i].restart == restart &&
            json_array_append_new(list, change_json(&d->items[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static int print_json(const struct config_diff *d)
{
    json_t *o = json_pack("{s:o, s:o, s:i}", "live", group_json(d, false), "restart",
                          group_json(d, true), "unchanged", (int)d->unchanged);
    int rc = o ? json_dumpf(o, stdout, JSON_INDENT(2)) : -1;
    json_decref(o);
    return rc < 0 || putchar('\n') == EOF ? EXIT_FAULT : EXIT_DONE;
}

/* ---- the command ---- */

static int diff(char **files, struct arena *a, bool json, bool exit_code)
{
    struct setting *old = NULL, *new = NULL;
    struct config_diff d;
    int rc = load(files[0], a, &old), other = load(files[1], a, &new);

    rc = rc > other ? rc : other;
    if (rc != EXIT_DONE)
        return rc;
    if (config_diff(old, new, &d) < 0)
        return EXIT_FAULT;
    if (json) {
        rc = print_json(&d);
    } else {
        print_group(&d, false, "live:");
        print_group(&d, true, "restart:");
        (void)printf("%u unchanged\n", d.unchanged);
    }
    if (rc == EXIT_DONE && exit_code && d.n > 0)
        rc = EXIT_NO;
    config_diff_free(&d);
    return rc;
}

static int cmd_diff(int argc, char **argv)
{
    struct command_line l;
    bool json = false, exit_code = false;
    int key;

    command_line_init(&l, &command_diff, argc, argv);
    while ((key = command_next(&l)) > 0) {
        if (key == OPTION_EXIT_CODE)
            exit_code = true;
        else if (!command_output(optarg, &json))
            return command_misuse(&command_diff, "--output is text or json");
    }
    if (key < 0)
        return l.exit_code;
    if (argc - optind != 2)
        return command_misuse(&command_diff, "two files are compared");
    struct arena *a = arena_new();
    int rc = a ? diff(argv + optind, a, json, exit_code) : EXIT_FAULT;
    (void)arena_free(a);
    if (rc == EXIT_FAULT)
        (void)fputs("sluice diff: memory is short\n", stderr);
    return rc;
}

const struct command command_diff = {
    .name = "diff",
    .fn = cmd_diff,
    .does = "Compares two configurations: live, or with a restart",
    .operands = "OLD NEW",
    .description =
        "Says what a reload of NEW would change in a process that runs OLD: at once (live), or "
        "only with a restart. Values are compared, not their writing: a default that is written "
        "out is no change. Variables (${NAME}) are shown and compared as the files have them.",
    .options = options,
    .exits = {"both are valid", "one is not, or with --exit-code: something differs"},
};
