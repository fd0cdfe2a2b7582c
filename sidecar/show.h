/* show.h - text for people: aligned tables, times and shares, and JSON read with tolerance. */
#ifndef SLUICE_SHOW_H
#define SLUICE_SHOW_H

#include "base/check.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum { TABLE_COLUMNS_MAX = 12, SHOW_TEXT_MAX = 32 };

/* Rows are collected, then printed with each column as wide as it needs. Cells are cut at 80
 * bytes; control characters become '?'. A failed allocation loses rows, nothing else. */
struct table {
    size_t columns, n, cap;        /* n: cells */
    bool right[TABLE_COLUMNS_MAX]; /* numbers */
    char **cells;
};

/* align: one letter a column, 'l' or 'r'. */
void table_init(struct table *t, const char *align);
/* One cell; fmt as printf(). Cells fill the rows from left to right. */
void table_cell(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A row of words parted by '|'. */
void table_head(struct table *t, const char *words);
/* Prints and frees it. */
void table_print(struct table *t, FILE *to);

/* "12 ms", "1.5 s", "2h 13m", "3d 4h"; out has SHOW_TEXT_MAX bytes. Returns out. */
char *show_millis(double ms, char *out);

/* Members of a JSON object; what is missing or of another kind is "" or 0. */
const char *json_text(const json_t *o, const char *key);
double json_number(const json_t *o, const char *key);
static inline long long json_count(const json_t *o, const char *key)
{
    return (long long)json_number(o, key);
}

#endif
