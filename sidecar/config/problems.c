/* problems.c - the list of mistakes: in order of line, the first hundred of them. */
#include "config/problems.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static void item_free(struct config_problem *item)
{
    free(item->path);
    free(item->message);
    *item = (struct config_problem){0};
}

void config_problems_free(struct config_problems *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        item_free(&p->items[i]);
    free(p->items);
    *p = (struct config_problems){0};
}

/* Room for one more; false: memory is short. */
static bool grow(struct config_problems *p)
{
    if (p->n < p->cap)
        return true;
    uint32_t cap = p->cap ? p->cap * 2 : 8;
    void *items = mem_realloc(p->items, cap * sizeof(*p->items));
    if (!items)
        return false;
    p->items = items;
    p->cap = cap;
    return true;
}

/* Takes path and message over. Mistakes come tree by tree, not line by line: each goes to its
 * place, behind those of the same place; the last one makes room where the list is full. */
static bool insert(struct config_problems *p, struct config_problem item)
{
    uint32_t at = p->n;
    while (at > 0 && (p->items[at - 1].line > item.line || (p->items[at - 1].line == item.line &&
                                                            p->items[at - 1].column > item.column)))
        at--;
    if (p->n == PROBLEMS_KEPT) {
        if (at == p->n)
            return false;
        item_free(&p->items[--p->n]);
        p->dropped++;
    }
    if (!grow(p))
        return false;
    memmove(&p->items[at + 1], &p->items[at], (p->n - at) * sizeof(*p->items));
    p->items[at] = item;
    p->n++;
    return true;
}

static bool keep(struct config_problems *p, struct config_problem item, const char *path,
                 const char *message)
{
    item.path = mem_strndup(str_of(path));
    item.message = mem_strndup(str_of(message));
    if (item.path && item.message && insert(p, item))
        return true;
    bool short_of_memory = !item.path || !item.message || p->n < PROBLEMS_KEPT;
    item_free(&item);
    p->dropped++;
    return !short_of_memory;
}

static const char no_memory[] = "out of memory";

void problem_add(struct config_problems *p, uint32_t line, uint32_t column, const char *path,
                 bool warning, const char *fmt, ...)
{
    char message[1024];
    va_list args;

    va_start(args, fmt);
    if (vsnprintf(message, sizeof(message), fmt, args) < 0)
        message[0] = '\0';
    va_end(args);
    if (!warning)
        p->errors++;
    if (!keep(p, (struct config_problem){.line = line, .column = column, .warning = warning}, path,
              message))
        problem_out_of_memory(p);
}

void problem_out_of_memory(struct config_problems *p)
{
    p->errors++;
    (void)keep(p, (struct config_problem){0}, "", no_memory);
}

char *problem_quote(struct str s, char *out)
{
    size_t o = 0, i = 0;
    while (i < s.n && o < PROBLEM_QUOTE_MAX - 9) { /* room for a character, "...", NUL */
        unsigned char c = (unsigned char)s.p[i];
        size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if (c < 0x20 || c == 0x7f || len > s.n - i ||
            (c == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0)) {
            for (size_t k = 0; k < len && i < s.n && o < PROBLEM_QUOTE_MAX - 8; k++)
                o += (size_t)snprintf(out + o, 5, "\\x%02x", (unsigned char)s.p[i++]);
            continue;
        }
        memcpy(out + o, s.p + i, len);
        o += len;
        i += len;
    }
    if (i < s.n) {
        memcpy(out + o, "...", 3);
        o += 3;
    }
    out[o] = '\0';
    return out;
}

void config_problems_print(const struct config_problems *p, const char *file, int fd)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const struct config_problem *item = &p->items[i];
        const char *kind = item->warning ? "warning: " : "";
        const char *colon = item->path[0] ? ": " : "";
        if (item->line == 0)
            (void)dprintf(fd, "%s: %s%s%s%s\n", file, item->path, colon, kind, item->message);
        else
            (void)dprintf(fd, "%s:%u:%u: %s%s%s%s\n", file, item->line, item->column, item->path,
                          colon, kind, item->message);
    }
    if (p->dropped > 0)
        (void)dprintf(fd, "%s: %u more %s\n", file, p->dropped,
                      p->dropped == 1 ? "problem" : "problems");
}
