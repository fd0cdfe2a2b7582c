/* app_probe.h - does somebody listen there? Asked without disturbing who does.
 *
 * The kernel's list of listening sockets (app_listed.h) tells at no cost to the
 * application: we share its network namespace. Only where nobody is in it is the address connected
 * to, and the connection closed at once: it is refused then, or it is answered by somebody whom the
 * list does not show. Nothing waits: who does not answer at once on this machine may have a full
 * backlog, or the kernel has not come to refuse yet. */
#ifndef SLUICE_LIFECYCLE_APP_PROBE_H
#define SLUICE_LIFECYCLE_APP_PROBE_H

#include "io/address.h"
#include "lifecycle/app_proof.h"

/* All of these, or until one accepts. *ret_disturbed: it takes a connection to find that out. */
enum app_probed app_probe(const struct address *at, uint32_t n, bool *ret_disturbed);

#endif
