/* app_probe.c - does somebody listen there? */
#include "lifecycle/app_probe.h"

#include "io/socket.h"
#include "lifecycle/app_listed.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { ANSWER_MS = 2 };

/* --- a connection --- */

/* 0: somebody took it. */
static int try(const struct address *a)
{
    int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, rc = 0;
    int fd = socket(a->u.sa.sa_family, type, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, &a->u.sa, a->len) < 0)
        rc = -errno;
    if (rc == -EINPROGRESS) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        rc = poll(&p, 1, ANSWER_MS) == 1 ? socket_connect_result(fd) : -EAGAIN;
        if (rc > 0)
            rc = -rc;
    }
    (void)close(fd);
    return rc;
}

/* What else may be wrong (no descriptor, no permission) says nothing of the application. */
static bool refuses(int rc)
{
    return rc == -ECONNREFUSED || rc == -ENOENT || rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT ||
           rc == -ENETUNREACH;
}

enum app_probed app_probe(const struct address *at, uint32_t n, bool *ret_disturbed)
{
    enum app_probed found = APP_PROBE_REFUSES;
    *ret_disturbed = false;
    if (n == 0)
        return APP_PROBE_NONE;
    if (app_listed(at, n))
        return APP_PROBE_ACCEPTS;
    for (uint32_t i = 0; i < n; i++) {
        int rc = try(&at[i]);
        if (rc == -EAGAIN)
            found = APP_PROBE_NO_ANSWER;
        if (rc == -EAGAIN || refuses(rc))
            continue;
        *ret_disturbed = rc == 0 && !app_listed(at, n); /* it may have begun just now */
        return APP_PROBE_ACCEPTS;
    }
    return found;
}
