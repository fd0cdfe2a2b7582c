/* reference.c - every key of the configuration, printed from its schema: a section for each map,
 * a row for each key. The two forms share the walk and differ in the pen. */
#include "reference.h"

#include "base/check.h"
#include "config/range.h"
#include "config/schema.h"
#include "man.h"

#ifndef SLUICE_VERSION
#define SLUICE_VERSION "unknown"
#endif

enum { PATH_MAX_BYTES = 160, TYPE_MAX_BYTES = 256 };

struct pen {
    void (*section)(FILE *to, const char *path, const struct schema_key *key,
                    const struct schema_map *map);
    void (*row)(FILE *to, const struct schema_key *key, bool restart);
    void (*end)(FILE *to, const struct schema_map *map);
};

/* ---- words for both ---- */

static const char *format_words(enum format format)
{
    switch (format) {
    case FORMAT_LABEL:
        return "a-z 0-9 -, at most 63";
    case FORMAT_NAME:
        return "a-z A-Z 0-9 . _ -, at most 63";
    case FORMAT_FILE:
    case FORMAT_SOCKET:
        return "a file's path";
    case FORMAT_PATH:
        return "a URL's path";
    case FORMAT_HOST_PATTERN:
        return "a host, or *. and a host";
    case FORMAT_HOST:
        return "a host";
    case FORMAT_HOST_PORT:
        return "a host, perhaps with :port";
    case FORMAT_METHOD:
        return "a method";
    case FORMAT_MEDIA_TYPE:
        return "a media type";
    case FORMAT_URL:
        return "a URL, http:// or https://";
    case FORMAT_PERCENT:
        return "a percentage, 0 to 100";
    case FORMAT_SPIFFE_RULE:
        return "a SPIFFE id, perhaps with /* in its end";
    default:
        return "text";
    }
}

static const char *type_words(const struct schema_key *key, char *out)
{
    char inner[TYPE_MAX_BYTES - 16];
    const char *words = "";
    size_t o = 0;

    out[0] = '\0';
    if (key->names) {
        for (const struct schema_name *n = key->names; n->name; n++) {
            if (!n->hidden && o < TYPE_MAX_BYTES)
                o += (size_t)snprintf(out + o, TYPE_MAX_BYTES - o, "%s%s", o ? ", " : "", n->name);
        }
        return out;
    }
    switch (key->type) {
    case SCHEMA_BOOL:
        words = key->flags & KEY_ONLY_TRUE ? "true" : "true or false";
        break;
    case SCHEMA_INT:
        words = "integer";
        break;
    case SCHEMA_DURATION:
        words = "duration";
        break;
    case SCHEMA_SIZE:
        words = "size";
        break;
    case SCHEMA_MODE:
        words = "file mode";
        break;
    case SCHEMA_STRING:
        words = format_words(key->format);
        break;
    case SCHEMA_ADDRESS:
        words = key->flags & KEY_NO_UNIX ? "IP address with port" : "address";
        break;
    case SCHEMA_CIDR:
        words = "network";
        break;
    case SCHEMA_ENDPOINT:
        words = "endpoint";
        break;
    case SCHEMA_MAP:
        words = "map";
        break;
    case SCHEMA_LIST:
        if (key->of->type == SCHEMA_MAP)
            words = "list of maps";
        else
            (void)snprintf(out, TYPE_MAX_BYTES, "list: %s%s", type_words(key->of, inner),
                           key->of->map ? ", or a map" : "");
        break;
    case SCHEMA_ENUM:
        break;
    }
    if (words[0])
        (void)snprintf(out, TYPE_MAX_BYTES, "%s%s", words, key->flags & KEY_OFF ? ", or off" : "");
    return out;
}

/* What else holds for the keys of a map: "Exactly one of a, b." One sentence a call, from *at on;
 * false: that was all. */
static bool next_rule(const struct schema_map *map, uint32_t *at, char *out, size_t cap)
{
    static const char *const how_many[] = {
        [CHOICE_AT_MOST_ONE] = "At most one of",
        [CHOICE_EXACTLY_ONE] = "Exactly one of",
        [CHOICE_AT_LEAST_ONE] = "At least one of",
    };
    uint32_t i = (*at)++;
    size_t o = 0;

    if (i < map->n_choices) {
        const struct schema_choice *c = &map->choices[i];
        o = (size_t)snprintf(out, cap, "%s", how_many[c->how_many]);
        for (int k = 0; k < SCHEMA_CHOICE_KEYS && c->keys[k] && o < cap; k++)
            o += (size_t)snprintf(out + o, cap - o, "%s %s", k ? "," : "", c->keys[k]);
    } else if (i < map->n_choices + map->n_cases) {
        const struct schema_case *c = &map->cases[i - map->n_choices];
        o = (size_t)snprintf(out, cap, "With %s%s%s", c->key, c->value ? ": " : "",
                             c->value ? c->value : "");
        if (c->needs && o < cap)
            o += (size_t)snprintf(out + o, cap - o, " there must be %s", c->needs);
        for (int k = 0; k < SCHEMA_CASE_KEYS && c->never[k] && o < cap; k++)
            o += (size_t)snprintf(out + o, cap - o, "%s %s",
                                  k          ? ","
                                  : c->needs ? ", and there cannot be"
                                             : " there cannot be",
                                  c->never[k]);
    } else {
        return false;
    }
    if (o < cap)
        (void)snprintf(out + o, cap - o, ".");
    return true;
}

/* A help text as a sentence. */
static int upper(char c)
{
    return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
}

/* ---- the walk ---- */

static void walk(FILE *to, const struct pen *pen, const struct schema_map *map, const char *path,
                 const struct schema_key *parent, bool restart)
{
    char below[PATH_MAX_BYTES];

    pen->section(to, path, parent, map);
    for (uint32_t i = 0; i < map->n_keys; i++)
        pen->row(to, &map->keys[i], schema_restarts(&map->keys[i], restart));
    pen->end(to, map);
    for (uint32_t i = 0; i < map->n_keys; i++) {
        const struct schema_key *key = &map->keys[i];
        const struct schema_map *inner = key->type == SCHEMA_MAP    ? key->map
                                         : key->type == SCHEMA_LIST ? key->of->map
                                                                    : NULL;
        if (!inner)
            continue;
        (void)snprintf(below, sizeof(below), "%s%s%s%s", path, path[0] ? "." : "", key->name,
                       key->type == SCHEMA_LIST ? "[]" : "");
        walk(to, pen, inner, below, key, schema_restarts(key, restart));
    }
}

/* ---- Markdown ---- */

/* In a table's cell. */
static void cell(FILE *to, const char *text)
{
    for (; *text; text++) {
        if (strchr("|<>*_`[]", *text))
            (void)fputc('\\', to);
        (void)fputc(*text, to);
    }
}

static void markdown_section(FILE *to, const char *path, const struct schema_key *key,
                             const struct schema_map *map)
{
    char rule[256];
    (void)fprintf(to, "\n## %s%s%s\n\n", path[0] ? "`" : "", path[0] ? path : "The file",
                  path[0] ? "`" : "");
    if (key) {
        (void)fputc(upper(key->help[0]), to);
        cell(to, key->help + 1);
        (void)fputs(".\n\n", to);
    }
    uint32_t at = 0;
    while (next_rule(map, &at, rule, sizeof(rule))) {
        cell(to, rule);
        (void)fputc('\n', to);
    }
    (void)fputs(at > 1 ? "\n" : "", to);
    (void)fputs(
        "| key | type | default | range | reload | what it is |\n|---|---|---|---|---|---|\n", to);
}

static void markdown_row(FILE *to, const struct schema_key *key, bool restart)
{
    char type[TYPE_MAX_BYTES], range[RANGE_TEXT_MAX];
    (void)fprintf(to, "| `%s` | ", key->name);
    cell(to, type_words(key, type));
    if (key->flags & KEY_REQUIRED)
        (void)fputs(" | required | ", to);
    else if (key->preset && key->preset[0])
        (void)fprintf(to, " | `%s` | ", key->preset);
    else
        (void)fputs(" | | ", to);
    cell(to, range_words(key, range));
    (void)fprintf(to, "%s| %s | ", range[0] ? " " : "", restart ? "restart" : "live");
    cell(to, key->help);
    (void)fputs(" |\n", to);
}

static void markdown_end(FILE *to, const struct schema_map *map)
{
    (void)to;
    (void)map;
}

void reference_print_markdown(FILE *to)
{
    static const struct pen pen = {markdown_section, markdown_row, markdown_end};
    (void)fputs("# Reference of the configuration\n"
                "\n"
                "Every key there is. This page is printed by `sluice schema --reference` from the "
                "table that\n"
                "configurations are checked by; [Configuration](configuration.md) explains them.\n"
                "\n"
                "`reload` says what becomes of a change: *live* with the next reload, or only with "
                "a *restart*\n"
                "(the reload keeps the old value, and lists the key as pending).\n",
                to);
    walk(to, &pen, &schema_root, "", NULL, false);
}

/* ---- man(7) ---- */

static void man_section(FILE *to, const char *path, const struct schema_key *key,
                        const struct schema_map *map)
{
    (void)map;
    (void)fputs(".SS ", to);
    man_text(to, path[0] ? path : "The file");
    (void)fputc('\n', to);
    if (key) {
        (void)fputc(upper(key->help[0]), to);
        man_text(to, key->help + 1);
        (void)fputs(".\n", to);
    }
}

static void man_row(FILE *to, const struct schema_key *key, bool restart)
{
    char type[TYPE_MAX_BYTES], range[RANGE_TEXT_MAX];
    (void)fprintf(to, ".TP\n\\fB%s\\fR (", key->name);
    man_text(to, type_words(key, type));
    if (range_words(key, range)[0]) {
        (void)fputs(", ", to);
        man_text(to, range);
    }
    if (key->flags & KEY_REQUIRED) {
        (void)fputs("; required", to);
    } else if (key->preset && key->preset[0]) {
        (void)fputs("; default ", to);
        man_text(to, key->preset);
    }
    (void)fputs(")\n", to);
    man_text(to, key->help);
    (void)fprintf(to, "%s\n", restart ? " (changed by a restart)" : "");
}

static void man_end(FILE *to, const struct schema_map *map)
{
    char rule[256];
    uint32_t at = 0;
    while (next_rule(map, &at, rule, sizeof(rule))) {
        (void)fputs(at == 1 ? ".PP\n" : "", to);
        man_text(to, rule);
        (void)fputc('\n', to);
    }
}

void reference_print_man(FILE *to)
{
    static const struct pen pen = {man_section, man_row, man_end};
    (void)fputs(
        ".TH SLUICE.YAML 5 \"\" \"sluice " SLUICE_VERSION "\" \"File Formats\"\n"
        ".SH NAME\n"
        "sluice.yaml \\- the configuration of sluice\n"
        ".SH DESCRIPTION\n"
        "One YAML document. Keys are case\\-sensitive; anchors, aliases, merge keys and tags "
        "are refused.\n"
        "Durations have a unit (us ms s m h): 250ms, 1.5s. Sizes too (B KiB MiB GiB): "
        "64KiB.\n"
        "Addresses are 127.0.0.1:80, [::1]:80 or unix:/run/x.sock.\n"
        ".PP\n"
        ".B sluice validate\n"
        "tells every mistake at once. A change takes effect with the next reload, unless "
        "it is marked as changed by a restart.\n"
        ".SH KEYS\n",
        to);
    walk(to, &pen, &schema_root, "", NULL, false);
    (void)fputs(".SH SEE ALSO\n"
                ".BR sluice (1)\n",
                to);
}
