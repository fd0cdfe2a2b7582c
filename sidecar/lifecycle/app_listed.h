/* app_listed.h - who listens, by the kernel's own lists: at no cost to who does.
 *
 * TCP by sock_diag(7), which goes through the listening sockets only: some 20 us. Where that is not
 * to be had (no tcp_diag, a filter on address families) by /proc/self/net/tcp and tcp6, for which
 * the kernel walks through the table of all connections as well: milliseconds. Unix sockets by
 * /proc/self/net/unix. All of it in this network namespace. */
#ifndef SLUICE_LIFECYCLE_APP_LISTED_H
#define SLUICE_LIFECYCLE_APP_LISTED_H

#include "io/address.h"

#include <stdbool.h>
#include <stdint.h>

/* One of these, itself or by an unspecified address. False also where no list can be read. */
bool app_listed(const struct address *at, uint32_t n);

/* Its parts for TCP, for tests. 1 listed, 0 not; by_diag: -errno where it does not tell. */
int app_listed_by_diag(const struct address *at, uint32_t n);
bool app_listed_in_proc(const struct address *at, uint32_t n);

#endif
