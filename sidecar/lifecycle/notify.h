/* notify.h - the service manager: sd_notify(3) and the watchdog's settings, without libsystemd.
 *
 * Only the supervisor speaks to it. Nothing is allocated; a manager that does not read loses
 * messages, and delays nobody. */
#ifndef SLUICE_LIFECYCLE_NOTIFY_H
#define SLUICE_LIFECYCLE_NOTIFY_H

#include "base/check.h"
#include "base/clock.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    socklen_t len; /* 0: no manager */
    struct sockaddr_un to;
    usec_t watchdog; /* it wants WATCHDOG=1 more often than this; 0: it does not watch */
};

/* From NOTIFY_SOCKET (a path, or '@' and an abstract name), WATCHDOG_USEC and WATCHDOG_PID, which
 * must be ours where it is given. */
void notify_init(struct notify *n);

static inline bool notify_listens(const struct notify *n)
{
    return n->len > 0;
}

/* Assignments, a line each (READY=1\n). 0, also without a manager; or -errno. */
int notify_send(const struct notify *n, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
