/* exposition.c - text in Prometheus' exposition format 0.0.4 while it is put together. */
#include "admin/exposition.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

void metric_put(struct exposition *t, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (n < 0 || t->failed)
        return;
    size_t len = min_u64((uint64_t)n, sizeof(line) - 1);
    if (t->cap - t->len < len + 1) {
        size_t cap = t->cap ? t->cap * 2 : 16 * 1024;
        char *p = mem_realloc(t->p, cap);
        if (!p) {
            t->failed = true;
            return;
        }
        t->p = p;
        t->cap = cap;
    }
    memcpy(t->p + t->len, line, len + 1);
    t->len += len;
}

void metric_family(struct exposition *t, const char *name, const char *type, const char *help)
{
    metric_put(t, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", name, help, name, type);
}
