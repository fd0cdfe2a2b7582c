/* log.h - lines for the operator, on stderr.
 *
 * Text, one line an event: `2026-01-01T00:00:00.000Z warn  message`. Bytes that a peer sent are
 * escaped and capped by the caller through log_quote(). Never a secret. Libraries and codecs
 * don't log; whoever calls them does. Where stderr is systemd's journal, lines go to it natively
 * (log_journal.h). What is longer than LOG_TEXT_MAX is cut, and says so at its end. */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include "base/check.h"
#include "base/str.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Bytes of a message, without what stands in front of it. */
enum { LOG_TEXT_MAX = 8000 };

void log_set_level(enum log_level level);
/* A word in front of every message ("supervisor"); static storage, NULL for none. */
void log_set_name(const char *name);
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* Copies s into out as printable ASCII (\xNN for the rest), at most cap - 1 bytes; returns out. */
char *log_quote(struct str s, char *out, size_t cap);

#endif
