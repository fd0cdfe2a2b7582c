/* log.c - one write a line, so that threads never mix. */
#include "base/log.h"

#include "base/clock.h"
#include "base/log_journal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { HEAD_MAX = 128 }; /* the time, the level, the process's name */

static _Atomic int threshold = LOG_INFO; /* a reload sets it while others log */
static const char *process_name;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

void log_set_name(const char *name)
{
    process_name = name;
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

/* syslog(3)'s, which the journal has, too. */
static const char priorities[] = {3, 4, 6, 7};

/* The time and the level are the journal's to note. */
static bool to_journal(enum log_level level, const char *message, size_t len)
{
    char line[sizeof("<7>") + LOG_TEXT_MAX];
    if (!log_journal_is_open())
        return false;
    if (log_journal_send(priorities[level], message, len))
        return true;
    /* It reads stderr, too, a line each, and takes a priority in this form. */
    int n = snprintf(line, sizeof(line), "<%d>%.*s", priorities[level],
                     (int)min_u64(len, sizeof(line) - sizeof("<7>\n")), message);
    line[n++] = '\n';
    ssize_t rc = write(STDERR_FILENO, line, (size_t)n);
    (void)rc;
    return true;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    static const char words[][6] = {"error", "warn", "info", "debug"};
    static const char mark[] = " [truncated]";
    char line[HEAD_MAX + LOG_TEXT_MAX + sizeof("\n")];
    char when[CLOCK_RFC3339_LEN];
    va_list args;
    int saved = errno; /* who logs a failure often returns -errno next */

    if (!log_enabled(level))
        return;
    clock_format_rfc3339(clock_wall(), when);
    int head = snprintf(line, HEAD_MAX, "%s %-5s %s%s", when, words[level],
                        process_name ? process_name : "", process_name ? ": " : "");
    if (head < 0 || head >= HEAD_MAX)
        return;
    va_start(args, fmt);
    int body = vsnprintf(line + head, LOG_TEXT_MAX + 1, fmt, args);
    va_end(args);
    if (body < 0)
        return;
    size_t len = (size_t)head + min_u64((uint64_t)body, LOG_TEXT_MAX);
    if (body > LOG_TEXT_MAX)
        memcpy(line + len - (sizeof(mark) - 1), mark, sizeof(mark) - 1);
    if (to_journal(level, line + head, len - (size_t)head)) {
        errno = saved;
        return;
    }
    line[len++] = '\n';
    /* A full pipe or a closed stderr must not stop the proxy. */
    ssize_t rc = write(STDERR_FILENO, line, len);
    (void)rc;
    errno = saved;
}

char *log_quote(struct str s, char *out, size_t cap)
{
    size_t o = 0;
    for (size_t i = 0; i < s.n && o + 5 < cap; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            out[o++] = (char)c;
        else
            o += (size_t)snprintf(out + o, 5, "\\x%02x", c);
    }
    out[o] = '\0';
    return out;
}
