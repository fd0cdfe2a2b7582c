/* notify.c - the service manager: sd_notify(3) and the watchdog's settings, without libsystemd. */
#include "lifecycle/notify.h"

#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_MAX = 512 };

static usec_t watchdog_from_env(void)
{
    const char *interval = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t us, number;

    if (!interval || !str_to_u64(str_of(interval), &us))
        return 0;
    if (pid && (!str_to_u64(str_of(pid), &number) || number != (uint64_t)getpid()))
        return 0;
    return us;
}

void notify_init(struct notify *n)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;

    *n = (struct notify){.to.sun_family = AF_UNIX};
    if (len < 2 || (path[0] != '/' && path[0] != '@') || len >= sizeof(n->to.sun_path))
        return;
    memcpy(n->to.sun_path, path, len);
    if (path[0] == '@')
        n->to.sun_path[0] = '\0';
    n->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    n->watchdog = watchdog_from_env();
}

int notify_send(const struct notify *n, const char *fmt, ...)
{
    char text[MESSAGE_MAX];
    va_list args;

    if (!notify_listens(n))
        return 0;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(text))
        return -EMSGSIZE;
    /* A socket each time: they are few, and none is open when a serving process is started. */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t rc = sendto(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT,
                        (const struct sockaddr *)&n->to, n->len);
    int error = rc < 0 ? -errno : 0;
    (void)close(fd);
    return error;
}
