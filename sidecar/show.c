/* show.c - text for people. */
#include "show.h"

#include "base/mem.h"

#include <stdarg.h>

enum { CELL_MAX = 80 };

void table_init(struct table *t, const char *align)
{
    *t = (struct table){.columns = strlen(align)};
    CHECK(t->columns <= TABLE_COLUMNS_MAX);
    for (size_t i = 0; i < t->columns; i++)
        t->right[i] = align[i] == 'r';
}

static void add(struct table *t, const char *text)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        char **cells = mem_realloc(t->cells, cap * sizeof(*cells));
        if (!cells)
            return;
        t->cells = cells;
        t->cap = cap;
    }
    char *copy = mem_strndup(str_of(text));
    if (!copy)
        return;
    for (char *p = copy; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    }
    t->cells[t->n++] = copy;
}

void table_cell(struct table *t, const char *fmt, ...)
{
    char text[CELL_MAX + 1];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    add(t, text);
}

void table_head(struct table *t, const char *words)
{
    while (*words) {
        size_t n = strcspn(words, "|");
        table_cell(t, "%.*s", (int)n, words);
        words += n + (words[n] == '|');
    }
}

/* Characters, not bytes: UTF-8's continuation bytes take no room. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void spaces(FILE *to, size_t n)
{
    while (n-- > 0)
        (void)fputc(' ', to);
}

void table_print(struct table *t, FILE *to)
{
    size_t width[TABLE_COLUMNS_MAX] = {0};

    for (size_t i = 0; i < t->n; i++) {
        size_t w = width_of(t->cells[i]);
        if (w > width[i % t->columns])
            width[i % t->columns] = w;
    }
    /* `owed`: padding that is only written when something stands behind it. */
    size_t owed = 0;
    for (size_t i = 0; i < t->n; i++) {
        size_t c = i % t->columns, pad = width[c] - width_of(t->cells[i]);
        size_t before = (c > 0 ? 2 : 0) + (t->right[c] ? pad : 0);
        owed = (c > 0 ? owed : 0) + before;
        if (t->cells[i][0] != '\0') {
            spaces(to, owed);
            (void)fputs(t->cells[i], to);
            owed = 0;
        }
        owed += t->right[c] ? 0 : pad;
        if (c + 1 == t->columns || i + 1 == t->n)
            (void)fputc('\n', to);
    }
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (struct table){0};
}

char *show_millis(double ms, char *out)
{
    long long s = (long long)(ms / 1000);

    if (!(ms >= 0 && ms < 1e15))
        (void)snprintf(out, SHOW_TEXT_MAX, "?");
    else if (ms < 10)
        (void)snprintf(out, SHOW_TEXT_MAX, "%.1f ms", ms);
    else if (ms < 1000)
        (void)snprintf(out, SHOW_TEXT_MAX, "%.0f ms", ms);
    else if (s < 120)
        (void)snprintf(out, SHOW_TEXT_MAX, "%.1f s", ms / 1000);
    else if (s < 2 * 3600)
        (void)snprintf(out, SHOW_TEXT_MAX, "%lldm %llds", s / 60, s % 60);
    else if (s < 48 * 3600)
        (void)snprintf(out, SHOW_TEXT_MAX, "%lldh %lldm", s / 3600, s / 60 % 60);
    else
        (void)snprintf(out, SHOW_TEXT_MAX, "%lldd %lldh", s / 86400, s / 3600 % 24);
    return out;
}

const char *json_text(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

double json_number(const json_t *o, const char *key)
{
    double n = json_number_value(json_object_get(o, key));
    return n > -9e18 && n < 9e18 ? n : 0;
}
