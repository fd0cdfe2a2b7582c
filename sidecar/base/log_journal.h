/* log_journal.h - lines to systemd-journald in its native protocol; for log.c.
 *
 * The journal keeps priority and fields then, which a line on stderr can't carry. */
#ifndef SLUICE_BASE_LOG_JOURNAL_H
#define SLUICE_BASE_LOG_JOURNAL_H

#include "base/str.h"

/* When stderr is the journal (JOURNAL_STREAM names it, systemd.exec(5)), log lines go to it
 * natively from here on, with SLUICE_COMPONENT=component; true then. At start, while there is one
 * thread. */
bool log_journal_open(const char *component);
void log_journal_close(void);
bool log_journal_is_open(void);

/* syslog(3)'s priority. Never waits. False when it could not be sent: too large, journald is not
 * there, or it is behind. */
bool log_journal_send(int priority, const char *message, size_t len);

/* Where journald listens; for tests, which have none. */
void log_journal_set_path(const char *path);

#endif
