/* app_ports.h - does one of the application's ports refuse? Asked while a container of the pod
 * restarts (prestop.h), by app_probe.h.
 *
 * Addresses of this machine only: there the kernel answers within the call, so nothing waits. On
 * the control thread. */
#ifndef SLUICE_LIFECYCLE_APP_PORTS_H
#define SLUICE_LIFECYCLE_APP_PORTS_H

#include "io/address.h"
#include "lifecycle/prestop.h"

enum { APP_PORTS_MAX = 32 };

struct app_ports {
    uint32_t n;
    struct address at[APP_PORTS_MAX]; /* those that accepted when they were added */
};

/* Keeps those that it has. One that is not ours, or that refuses now (unless `anyway`), is not
 * added; what is over APP_PORTS_MAX neither. */
void app_ports_add(struct app_ports *p, const struct address *a, bool anyway);
enum prestop_port app_ports_ask(const struct app_ports *p);

#endif
