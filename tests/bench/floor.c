/* floor.c - the bench's yardstick: a byte relay over raw epoll that does nothing else.
 *
 * `floor LISTEN_PORT BACKEND_PORT`, one thread, on loopback. Each client connection has one
 * connection to the backend; what one side sends is read and written to the other. No parsing, no
 * timer, no log: what a proxy spends above this is what its features cost. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };

/* One direction's reading end. The pair is freed when both ends have gone from the event batch. */
struct end {
    struct end *peer;
    int fd;
    uint32_t interest;
    bool eof;       /* read 0 */
    bool shut;      /* FIN sent */
    size_t pending; /* bytes of `held` that this end has still to write */
    size_t at;
    char *held;
};

static int ep;
static char in[READ_BYTES];
static struct end *graveyard[2048];
static size_t n_graves;

static struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void end_arm(struct end *e)
{
    uint32_t want = (e->eof || e->peer->pending > 0 ? 0u : (uint32_t)EPOLLIN) |
                    (e->pending > 0 ? (uint32_t)EPOLLOUT : 0u);
    struct epoll_event ev = {.events = want, .data.ptr = e};
    if (want == e->interest)
        return;
    (void)epoll_ctl(ep, e->interest == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, e->fd, &ev);
    e->interest = want;
}

static void pair_close(struct end *e)
{
    (void)close(e->fd);
    (void)close(e->peer->fd);
    e->fd = e->peer->fd = -1;
    graveyard[n_graves++] = e;
}

/* Writes to e; keeps what does not go. False: the pair is over. */
static bool end_write(struct end *e, const char *p, size_t n)
{
    ssize_t sent = send(e->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN)
        return false;
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done < n && p != e->held + e->at) { /* new bytes: the reading side stops until they went */
        e->held = e->held ? e->held : malloc(READ_BYTES);
        if (!e->held)
            return false;
        memcpy(e->held, p + done, n - done);
        e->at = 0;
    } else {
        e->at += done;
    }
    e->pending = n - done;
    return true;
}

static bool end_event(struct end *e, uint32_t events)
{
    struct end *to = e->peer;
    if (events & EPOLLERR)
        return false;
    if ((events & EPOLLOUT) && e->pending > 0 && !end_write(e, e->held + e->at, e->pending))
        return false;
    if ((events & (EPOLLIN | EPOLLHUP)) && !e->eof && to->pending == 0) {
        ssize_t n = recv(e->fd, in, sizeof(in), MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return false;
        e->eof = n == 0;
        if (n > 0 && !end_write(to, in, (size_t)n))
            return false;
    }
    for (int i = 0; i < 2; i++, e = e->peer) {
        if (e->eof && e->peer->pending == 0 && !e->peer->shut) {
            (void)shutdown(e->peer->fd, SHUT_WR);
            e->peer->shut = true;
        }
    }
    if (e->shut && e->peer->shut)
        return false;
    end_arm(e);
    end_arm(e->peer);
    return true;
}

static void accept_all(int listener, const struct sockaddr_in *backend)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        int up = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        struct end *pair = calloc(2, sizeof(*pair));
        if (!pair || up < 0)
            exit(1);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(up, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        pair[0] = (struct end){.peer = &pair[1], .fd = fd, .interest = UINT32_MAX};
        pair[1] = (struct end){.peer = &pair[0], .fd = up, .interest = UINT32_MAX};
        if (connect(up, (const struct sockaddr *)backend, sizeof(*backend)) < 0 &&
            errno != EINPROGRESS) {
            (void)close(fd);
            (void)close(up);
            free(pair);
            continue;
        }
        end_arm(&pair[0]);
        end_arm(&pair[1]);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fputs("usage: floor LISTEN_PORT BACKEND_PORT\n", stderr);
        return 2;
    }
    struct rlimit fds;
    (void)getrlimit(RLIMIT_NOFILE, &fds);
    fds.rlim_cur = fds.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &fds);
    (void)signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in here = loopback(argv[1]), backend = loopback(argv[2]);
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 ||
        listen(listener, SOMAXCONN) < 0) {
        perror("floor");
        return 1;
    }
    ep = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, events[512];
    (void)epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(ep, events, 512, -1);
        for (int i = 0; i < n; i++) {
            struct end *e = events[i].data.ptr;
            if (!e)
                accept_all(listener, &backend);
            else if (e->fd >= 0 && !end_event(e, events[i].events))
                pair_close(e);
        }
        while (n_graves > 0) {
            struct end *e = graveyard[--n_graves];
            free(e->held);
            free(e->peer->held);
            free(e < e->peer ? e : e->peer);
        }
    }
}
