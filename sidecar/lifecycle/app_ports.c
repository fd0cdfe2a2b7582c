/* app_ports.c - do the application's ports accept? */
#include "lifecycle/app_ports.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

static bool is_ours(const struct address *a)
{
    struct address any = *a;
    if (a->u.sa.sa_family == AF_UNIX)
        return true;
    if (a->u.sa.sa_family == AF_INET)
        any.u.in.sin_port = 0;
    else
        any.u.in6.sin6_port = 0;
    int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ours = fd >= 0 && bind(fd, &any.u.sa, any.len) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ours;
}

/* What has not been answered within the call is taken for a full backlog: somebody listens. */
static bool accepts(const struct address *a)
{
    int error = 0;
    socklen_t n = sizeof(error);
    int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true; /* no descriptor is no proof */
    if (connect(fd, &a->u.sa, a->len) < 0)
        error = errno;
    if (error == EINPROGRESS) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        error = 0;
        if (poll(&p, 1, 0) > 0)
            (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    }
    (void)close(fd);
    return error != ECONNREFUSED && error != ENOENT;
}

void app_ports_add(struct app_ports *p, const struct address *a, bool anyway)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (address_equal(&p->at[i], a))
            return;
    }
    if (p->n < APP_PORTS_MAX && is_ours(a) && (anyway || accepts(a)))
        p->at[p->n++] = *a;
}

enum prestop_port app_ports_ask(const struct app_ports *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (!accepts(&p->at[i]))
            return PRESTOP_PORT_REFUSES;
    }
    return p->n > 0 ? PRESTOP_PORT_ACCEPTS : PRESTOP_PORT_UNKNOWN;
}
