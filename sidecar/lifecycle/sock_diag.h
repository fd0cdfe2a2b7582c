/* sock_diag.h - the kernel's TCP sockets of this network namespace, by sock_diag(7).
 *
 * Never waits: the kernel puts a part of the answer there when it is asked, and when one is read.
 */
#ifndef SLUICE_LIFECYCLE_SOCK_DIAG_H
#define SLUICE_LIFECYCLE_SOCK_DIAG_H

#include <stdbool.h>
#include <stdint.h>

struct inet_diag_msg;

/* States, as bits of `states`: the kernel's numbers of TCP. */
enum { SOCK_DIAG_LISTEN = 10, SOCK_DIAG_TIME_WAIT = 6, SOCK_DIAG_SYN_RECV = 3, SOCK_DIAG_MAX = 11 };

/* Of a socket that is in one of these states; false: enough. */
typedef bool sock_diag_fn(void *ctx, const struct inet_diag_msg *m);

/* IPv4, then IPv6. 0; -errno where it does not tell (no tcp_diag, a filter on address families). */
int sock_diag_tcp(uint32_t states, sock_diag_fn *each, void *ctx);

/* What sock_diag_tcp() has got, for tests: one datagram. 1: there is more; 0: that was all, or
 * `each` said enough (*ret_enough); -EPROTO. */
int sock_diag_read(const void *part, uint64_t n, sock_diag_fn *each, void *ctx, bool *ret_enough);

#endif
