/* app_ports.c - does one of the application's ports refuse? */
#include "lifecycle/app_ports.h"

#include "lifecycle/app_probe.h"

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

static bool accepts(const struct address *a)
{
    bool disturbed;
    return app_probe(a, 1, &disturbed) != APP_PROBE_REFUSES;
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
