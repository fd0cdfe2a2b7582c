/* exposition.c - text in Prometheus' exposition format 0.0.4 while it is put together. */
#include "admin/exposition.h"

#include "base/histogram.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

/* One bound a doubling is what a scraper keeps; the judge reads the fine buckets. */
#define LEAST_BOUND ((usec_t)128)
#define LAST_BOUND  (128 * USEC_PER_SEC)

enum { LINE_MAX_BYTES = 512 };

/* Where a line goes; NULL: memory is short. */
static char *line_room(struct exposition *t)
{
    if (t->failed || t->cap - t->len >= LINE_MAX_BYTES)
        return t->failed ? NULL : t->p + t->len;
    size_t cap = t->cap ? t->cap * 2 : 16 * 1024;
    char *p = mem_realloc(t->p, cap);
    t->failed = !p;
    if (t->failed)
        return NULL;
    t->p = p;
    t->cap = cap;
    return p + t->len;
}

/* A line while it is put together; what does not fit is left out. */
struct line {
    char *p, *end;
};

static void add(struct line *l, const char *p, size_t n)
{
    n = min_u64(n, (uint64_t)(l->end - l->p));
    if (n > 0)
        memcpy(l->p, p, n);
    l->p += n;
}

static void add_number(struct line *l, uint64_t n)
{
    char digits[20];
    uint32_t at = sizeof(digits);
    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    add(l, digits + at, sizeof(digits) - at);
}

/* The conversions that nearly all lines are made of, at a fifth of what vsnprintf(3) takes: there
 * are tens of thousands, and meanwhile the control thread answers nobody. False: there is another
 * one in it. */
static bool format_plainly(struct line *l, const char *fmt, va_list args)
{
    while (*fmt) {
        const char *next = strchrnul(fmt, '%');
        add(l, fmt, (size_t)(next - fmt));
        fmt = next;
        if (strncmp(fmt, "%s", 2) == 0) {
            const char *s = va_arg(args, const char *);
            add(l, s, strlen(s));
            fmt += 2;
        } else if (strncmp(fmt, "%.*s", 4) == 0) {
            int most = va_arg(args, int);
            const char *s = va_arg(args, const char *);
            add(l, s, most > 0 ? strnlen(s, (size_t)most) : 0);
            fmt += 4;
        } else if (strncmp(fmt, "%llu", 4) == 0) {
            add_number(l, va_arg(args, unsigned long long));
            fmt += 4;
        } else if (strncmp(fmt, "%u", 2) == 0) {
            add_number(l, va_arg(args, unsigned));
            fmt += 2;
        } else if (strncmp(fmt, "%d", 2) == 0) {
            int n = va_arg(args, int);
            add(l, "-", n < 0);
            add_number(l, (uint64_t)llabs(n));
            fmt += 2;
        } else if (*fmt) {
            return false;
        }
    }
    return true;
}

static void put(struct exposition *t, const char *fmt, va_list args)
{
    char *text = line_room(t);
    if (!text)
        return;
    struct line l = {text, text + LINE_MAX_BYTES - 1};
    va_list again;
    va_copy(again, args);
    if (format_plainly(&l, fmt, again)) {
        t->len += (size_t)(l.p - text);
        *l.p = '\0';
    } else {
        int n = vsnprintf(text, LINE_MAX_BYTES, fmt, args);
        t->len += n > 0 ? min_u64((uint64_t)n, LINE_MAX_BYTES - 1) : 0;
    }
    va_end(again);
}

/* Room for n series more; else they are counted as left out. */
static bool has_room(struct exposition *t, uint32_t n)
{
    if (t->most == 0 || (t->series < t->most && t->most - t->series >= n))
        return true;
    t->dropped += n;
    return false;
}

void metric_put(struct exposition *t, const char *fmt, ...)
{
    va_list args;
    if (!has_room(t, 1))
        return;
    t->series++;
    va_start(args, fmt);
    put(t, fmt, args);
    va_end(args);
}

static void put_text(struct exposition *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void put_text(struct exposition *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    put(t, fmt, args);
    va_end(args);
}

void metric_family(struct exposition *t, const char *name, const char *type, const char *help)
{
    put_text(t, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", name, help, name, type);
}

static bool is_bound(uint32_t bucket)
{
    return bucket % HISTOGRAM_SUB == HISTOGRAM_SUB - 1 && histogram_upper(bucket) >= LEAST_BOUND &&
           histogram_upper(bucket) <= LAST_BOUND;
}

/* Numbers become text slowly, and there are thousands of histograms. */
static void make_bounds(struct exposition *t)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (!is_bound(i))
            continue;
        CHECK(t->n_bounds < METRIC_BOUNDS);
        (void)snprintf(t->bounds[t->n_bounds++], METRIC_BOUND_TEXT, "%.9g",
                       (double)histogram_upper(i) / 1e6);
    }
}

void metric_histogram(struct exposition *t, const char *name, const char *labels,
                      const uint64_t *counts, uint64_t sum)
{
    uint64_t total = 0;
    uint32_t bound = 0;
    if (t->n_bounds == 0)
        make_bounds(t);
    if (!has_room(t, t->n_bounds + 3))
        return;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        total += counts[i];
        if (is_bound(i))
            metric_put(t, "sluice_%s_bucket{%s,le=\"%s\"} %llu\n", name, labels, t->bounds[bound++],
                       (unsigned long long)total);
    }
    metric_put(t, "sluice_%s_bucket{%s,le=\"+Inf\"} %llu\n", name, labels,
               (unsigned long long)total);
    metric_put(t, "sluice_%s_sum{%s} %.6f\n", name, labels, (double)sum / 1e6);
    metric_put(t, "sluice_%s_count{%s} %llu\n", name, labels, (unsigned long long)total);
}
