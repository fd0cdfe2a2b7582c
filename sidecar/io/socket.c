/* socket.c - making sockets. */
#include "io/socket.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { USER_TIMEOUT_MS = 10000, KEEPALIVE_IDLE_S = 60, KEEPALIVE_INTERVAL_S = 10 };

static void set_int(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

static bool is_tcp(const struct address *a)
{
    return a->u.sa.sa_family != AF_UNIX;
}

void socket_keep_alive(int fd)
{
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 0);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
}

void socket_listen_options(int fd, const struct address *a)
{
    if (is_tcp(a)) {
        set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        socket_keep_alive(fd);
    }
}

/* A file that a dead process left is in the way; one that a living process listens on is not
 * ours to take. */
static int clear_stale_unix(const struct address *a)
{
    struct stat st;
    if (lstat(a->u.un.sun_path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = connect(fd, &a->u.sa, a->len);
    int err = errno;
    (void)close(fd);
    if (rc == 0 || err == EAGAIN)
        return -EADDRINUSE;
    return err == ECONNREFUSED && unlink(a->u.un.sun_path) < 0 ? -errno : 0;
}

int socket_listen(const struct address *a, int backlog, unsigned unix_mode)
{
    int rc = 0;
    int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (is_tcp(a)) {
        set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (a->u.sa.sa_family == AF_INET6)
            set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        socket_listen_options(fd, a);
    } else {
        rc = clear_stale_unix(a);
    }
    if (rc == 0 && bind(fd, &a->u.sa, a->len) < 0)
        rc = -errno;
    if (rc == 0 && !is_tcp(a) && chmod(a->u.un.sun_path, unix_mode) < 0)
        rc = -errno;
    if (rc == 0 && listen(fd, backlog) < 0)
        rc = -errno;
    if (rc < 0) {
        (void)close(fd);
        return rc;
    }
    return fd;
}

int socket_connect(const struct address *a)
{
    int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (is_tcp(a)) {
        set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
    }
    if (connect(fd, &a->u.sa, a->len) < 0 && errno != EINPROGRESS) {
        int err = errno;
        (void)close(fd);
        return -err;
    }
    return fd;
}

bool socket_error_is_ours(int err)
{
    return err == EMFILE || err == ENFILE || err == EADDRNOTAVAIL || err == ENOBUFS ||
           err == ENOMEM;
}

int socket_answers(int fd, struct socket_answers *ret)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    memset(&info, 0, sizeof(info));
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return -errno;
    uint32_t heard = info.tcpi_last_ack_recv < info.tcpi_last_data_recv ? info.tcpi_last_ack_recv
                                                                        : info.tcpi_last_data_recv;
    *ret = (struct socket_answers){
        .heard = heard * USEC_PER_MSEC,
        .unacked = info.tcpi_unacked,
        .retransmits = info.tcpi_retransmits,
        .probes = info.tcpi_probes,
    };
    return 0;
}

void socket_probe(int fd, uint32_t idle)
{
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

int socket_connect_result(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        return errno;
    return err;
}

int socket_accept(int fd, struct address *ret_peer)
{
    ret_peer->len = sizeof(ret_peer->u);
    for (;;) {
        int got = accept4(fd, &ret_peer->u.sa, &ret_peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got >= 0)
            return got;
        /* The connection died in the queue: not our error, and the next one may be well. */
        if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO)
            return -errno;
    }
}

void socket_stop_syns(int fd)
{
    /* The filter sees the TCP header: byte 13 holds the flags. SYN without ACK is dropped. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),          BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    };
    struct sock_fprog prog = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

size_t socket_unsent(int fd)
{
    int n = 0;
    return ioctl(fd, SIOCOUTQ, &n) == 0 && n > 0 ? (size_t)n : 0;
}

bool socket_has_unread(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}
