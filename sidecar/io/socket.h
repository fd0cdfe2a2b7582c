/* socket.h - making sockets: listening, connecting, accepting. All non-blocking, close-on-exec. */
#ifndef SLUICE_IO_SOCKET_H
#define SLUICE_IO_SOCKET_H

#include "base/clock.h"
#include "io/address.h"

/* A bound, listening socket, or -errno. TCP_NODELAY and keep-alive are set on it, because
 * what is accepted inherits them (no call for each connection). IPv6 sockets are
 * IPv6 only. A Unix socket's stale file is removed when nobody listens behind it; -EADDRINUSE
 * when somebody does. */
int socket_listen(const struct address *a, int backlog, unsigned unix_mode);
/* The same options for a listening socket that came from elsewhere (socket activation). */
void socket_listen_options(int fd, const struct address *a);

/* A connection under way (or already made), or -errno. It fails (TCP_USER_TIMEOUT) when the peer
 * takes no byte for 10 s. */
int socket_connect(const struct address *a);
/* Of such an error (positive): it is we who have no descriptor, local port, source address or
 * memory left for it. It says nothing of the peer. */
bool socket_error_is_ours(int err);
/* Probes a silent peer: for tunnels, which may be silent for hours, and whose peers may take
 * nothing for as long. Requests have times of their own, and idle upstream connections are closed
 * long before. Harmless on a Unix socket. */
void socket_keep_alive(int fd);
/* What the kernel knows of how a TCP connection's peer answers. */
struct socket_answers {
    usec_t heard;         /* since its last packet */
    uint32_t unacked;     /* segments under way */
    uint32_t retransmits; /* of these, in a row without an acknowledgement */
    uint32_t probes;      /* the same, of keep-alive and window probes */
};
/* 0, or -errno where it is none. */
int socket_answers(int fd, struct socket_answers *ret);
/* A silent peer is probed when nothing has come for `idle` seconds, and each second from then on
 * until something does. It does not shorten the time after which the kernel gives it up. */
void socket_probe(int fd, uint32_t idle);
/* After writability: 0 or the errno of the attempt. */
int socket_connect_result(int fd);

/* The next connection or -errno (-EAGAIN none waits). */
int socket_accept(int fd, struct address *ret_peer);

/* From now on new SYNs are dropped while handshakes under way are finished; so that the backlog
 * can be emptied before the socket is closed and nobody who was let in is reset. Best effort. */
void socket_stop_syns(int fd);

/* Bytes that were sent and that the peer has not acknowledged. */
size_t socket_unsent(int fd);

/* True when bytes (or an end) wait to be read. */
bool socket_has_unread(int fd);

#endif
