/* termination_message.c - the drain's report as a few lines. */
#include "lifecycle/termination_message.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 180, TAIL_MAX = 2048 };

struct text {
    char *p;
    size_t n, cap;
};

/* A line, cut at LINE_MAX_BYTES; not one that does not fit. */
static void add(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct text *t, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    int wanted = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    size_t n = wanted < 0 ? 0 : min_u64((size_t)wanted, sizeof(line) - 1);
    if (t->n + n + 1 > t->cap)
        return;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)line[i];
        t->p[t->n++] = c < 0x20 || c >= 0x7f ? '?' : line[i];
    }
    t->p[t->n++] = '\n';
}

static const char *word(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static long long count(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static double seconds(const json_t *o, const char *key)
{
    return (double)count(o, key) / 1e3;
}

/* "completed 412, forced 1" of what is not zero; or " notice 2.0 s, drain 0.3 s". */
static size_t list_members(const json_t *o, bool phases, char *out, size_t cap)
{
    const char *key;
    json_t *value;
    size_t n = 0;
    out[0] = '\0';
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        size_t k = strlen(key);
        if (n >= cap || !json_is_integer(value) || (!phases && json_integer_value(value) == 0))
            continue;
        if (phases)
            n += (size_t)snprintf(out + n, cap - n, "%s%.*s %.1f s", n ? ", " : "",
                                  (int)(k > 3 ? k - 3 : k), key,
                                  (double)json_integer_value(value) / 1e3);
        else
            n += (size_t)snprintf(out + n, cap - n, "%s%s %lld", n ? ", " : "", key,
                                  (long long)json_integer_value(value));
    }
    return n;
}

static void add_details(struct text *t, const json_t *report)
{
    const json_t *runs = json_object_get(json_object_get(report, "cleanups"), "runs");
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(report, "forced"), i, o)
    {
        add(t, "forced: %s after %.1f s, peer %s, route %s, %s", word(o, "class"),
            seconds(o, "age_ms"), word(o, "peer"), word(o, "route"), word(o, "reason"));
    }
    json_array_foreach(runs, i, o)
    {
        add(t, "cleanup: %s %s after %.1f s, %lld tries%s%s", word(o, "name"), word(o, "result"),
            seconds(o, "took_ms"), count(o, "tries"), *word(o, "error") ? ": " : "",
            word(o, "error"));
    }
}

static void add_tail(struct text *t, const json_t *report)
{
    const json_t *cleanups = json_object_get(report, "cleanups");
    const json_t *longest = json_object_get(report, "longest");
    char list[LINE_MAX_BYTES];
    const char *class;
    json_t *counts;
    json_object_foreach(json_object_get(report, "classes"), class, counts)
    {
        if (list_members(counts, false, list, sizeof(list)) > 0)
            add(t, "%s: %s", class, list);
    }
    if (list_members(json_object_get(report, "budget"), true, list, sizeof(list)) > 0)
        add(t, "phases: %s", list);
    if (json_is_object(longest))
        add(t, "longest: %s %.1f s, route %s, %s", word(longest, "class"),
            seconds(longest, "age_ms"), word(longest, "route"), word(longest, "reason"));
    if (json_is_object(cleanups))
        add(t, "cleanups: %lld released, %lld already gone, %lld failed",
            count(cleanups, "released"), count(cleanups, "already_gone"),
            count(cleanups, "failed"));
    add(t, "drained in %.1f s of %.1f s, by %s: %lld forced, %lld open, %lld cleanups failed",
        seconds(report, "elapsed_ms"), seconds(report, "deadline_ms"), word(report, "trigger"),
        count(report, "forced_total"), count(report, "open"), count(cleanups, "failed"));
}

size_t termination_message(const json_t *report, char out[TERMINATION_MESSAGE_MAX])
{
    char room[TAIL_MAX];
    struct text tail = {.p = room, .cap = sizeof(room)};
    add_tail(&tail, report);
    struct text all = {.p = out, .cap = TERMINATION_MESSAGE_MAX - tail.n};
    add_details(&all, report);
    memcpy(out + all.n, tail.p, tail.n);
    return all.n + tail.n;
}

int termination_message_write(const char *path, const char *text, size_t n)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int rc = fd < 0 ? -errno : 0;
    if (fd < 0)
        return rc;
    if (fstat(fd, &st) < 0)
        rc = -errno;
    else if (!S_ISREG(st.st_mode))
        rc = -EINVAL;
    else if (ftruncate(fd, 0) < 0)
        rc = -errno;
    for (size_t done = 0; rc == 0 && done < n;) {
        ssize_t wrote = write(fd, text + done, n - done);
        if (wrote < 0 && errno != EINTR)
            rc = -errno;
        else if (wrote > 0)
            done += (size_t)wrote;
    }
    (void)close(fd);
    return rc;
}
