/* slots.c - an upstream with a capacity: K requests at once, each for a time; the others queue.
 *
 * HTTP/1.1 on one thread. What it has read it works on: it learns that a client has left only when
 * it answers, as a pool of threads behind a queue does. So with more clients than it can serve, and
 * clients that don't wait for ever, it ends up working for nobody. At SIGTERM it prints what it
 * did.
 *
 * A slot takes the next request at the time at which its last one was due to end, and not when this
 * process came to see that: the capacity is exactly K / time, however late a timer is. */
#include "base/clock.h"
#include "base/list.h"
#include "base/rng.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SLOTS_MAX = 1024, HEAD_BYTES = 2048, BACKLOG = 4096, ACCEPTS_A_TURN = 64, EVENTS = 256 };

static const char help[] = "usage: slots --listen PORT [options]\n"
                           "  --slots K (20)         requests that are worked on at once\n"
                           "  --service MS (10)      how long each takes\n"
                           "  --spread PERCENT (0)   that much more or less, evenly\n"
                           "  --then MS              how long from SIGUSR1 on\n"
                           "  --connections N (8000) open at once; more wait in the backlog\n"
                           "On loopback, until SIGTERM.\n";

static const char answer[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";

/* One request at a time: what comes behind it is read when it is answered. */
struct client {
    struct list queue;
    int fd;
    bool busy, more; /* readable since it was last read empty */
    uint32_t bytes;
    usec_t came; /* its request */
    char head[HEAD_BYTES];
};

struct slot {
    struct client *serves; /* NULL: free, since `end` */
    usec_t end;
};

struct upstream {
    int epoll, listener;
    uint32_t n_slots, service_us, then_us, spread_percent, connections_max;
    uint32_t connections, queued, queued_max;
    bool paused; /* accepting is */
    uint64_t answered, wasted;
    struct rng rng;
    struct list queue;
    struct slot slot[SLOTS_MAX];
};

static volatile sig_atomic_t ended, changed;

static void on_signal(int signo)
{
    *(signo == SIGUSR1 ? &changed : &ended) = 1;
}

static void set_accepting(struct upstream *u, bool on)
{
    struct epoll_event ev = {.events = on ? (uint32_t)EPOLLIN : 0, .data.ptr = NULL};
    (void)epoll_ctl(u->epoll, EPOLL_CTL_MOD, u->listener, &ev);
    u->paused = !on;
}

static void client_close(struct upstream *u, struct client *c)
{
    (void)close(c->fd);
    free(c);
    u->connections--;
    if (u->paused)
        set_accepting(u, true);
}

/* --- slots --- */

static usec_t service_time(struct upstream *u)
{
    double mean = changed ? u->then_us : u->service_us, half = mean * u->spread_percent / 100;
    double at = (double)(rng_next(&u->rng) >> 11) * 0x1p-53; /* 0 to 1 */
    return (usec_t)(mean - half + 2 * half * at);
}

static void slot_serve(struct upstream *u, struct slot *s, struct client *c)
{
    s->serves = c;
    s->end = (c->came > s->end ? c->came : s->end) + service_time(u);
}

static void client_request(struct upstream *u, struct client *c, usec_t now)
{
    c->busy = true;
    c->came = now;
    for (uint32_t i = 0; i < u->n_slots; i++) {
        if (!u->slot[i].serves) {
            slot_serve(u, &u->slot[i], c);
            return;
        }
    }
    list_push_back(&u->queue, &c->queue);
    if (++u->queued > u->queued_max)
        u->queued_max = u->queued;
}

static struct slot *first_to_end(struct upstream *u)
{
    struct slot *first = NULL;
    for (uint32_t i = 0; i < u->n_slots; i++) {
        if (u->slot[i].serves && (!first || u->slot[i].end < first->end))
            first = &u->slot[i];
    }
    return first;
}

/* Reads what is there, and begins when that is a request. They have no bodies. */
static void client_read(struct upstream *u, struct client *c, usec_t now)
{
    while (c->more) {
        ssize_t n = recv(c->fd, c->head + c->bytes, sizeof(c->head) - c->bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            c->more = false;
        } else if (n <= 0) {
            client_close(u, c);
            return;
        } else {
            c->bytes += (uint32_t)n;
            if (c->bytes >= 4 && memcmp(c->head + c->bytes - 4, "\r\n\r\n", 4) == 0) {
                c->bytes = 0;
                client_request(u, c, now);
                return;
            }
        }
    }
}

static void client_answer(struct upstream *u, struct client *c, usec_t now)
{
    char byte;
    c->busy = false;
    ssize_t n = recv(c->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    bool gone = n == 0 || (n < 0 && errno != EAGAIN) ||
                send(c->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0;
    ++*(gone ? &u->wasted : &u->answered);
    if (gone)
        client_close(u, c);
    else
        client_read(u, c, now);
}

/* What has ended is answered, and what waits begins. Returns when to look again; 0: never. */
static usec_t work(struct upstream *u, usec_t now)
{
    struct slot *s;
    while ((s = first_to_end(u)) != NULL && s->end <= now) {
        struct client *c = s->serves;
        struct list *next = list_first(&u->queue);
        s->serves = NULL;
        if (next) {
            list_remove(next);
            u->queued--;
            slot_serve(u, s, LIST_ENTRY(next, struct client, queue));
        }
        client_answer(u, c, now);
    }
    return s ? s->end : 0;
}

/* --- connections --- */

static void accept_some(struct upstream *u, usec_t now)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        if (u->connections == u->connections_max) {
            set_accepting(u, false);
            return;
        }
        int on = 1, fd = accept4(u->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct client *c = calloc(1, sizeof(*c));
        struct epoll_event ev = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP, .data.ptr = c};
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (!c || epoll_ctl(u->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
            (void)close(fd);
            free(c);
            return;
        }
        u->connections++;
        c->fd = fd;
        c->more = true;
        client_read(u, c, now);
    }
}

static void run(struct upstream *u)
{
    struct epoll_event events[EVENTS];
    while (!ended) {
        usec_t due = work(u, clock_mono()), now = clock_mono();
        usec_t wait = due > now ? due - now : 0;
        struct timespec ts = {.tv_sec = (time_t)(wait / USEC_PER_SEC),
                              .tv_nsec = (long)(wait % USEC_PER_SEC) * 1000};
        int n = epoll_pwait2(u->epoll, events, EVENTS, due ? &ts : NULL, NULL);
        now = clock_mono();
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!c) {
                accept_some(u, now);
                continue;
            }
            c->more = true;
            if (!c->busy)
                client_read(u, c, now);
        }
    }
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    return fd;
}

static int options_parse(struct upstream *u, int argc, char **argv, uint16_t *ret_port)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"slots", required_argument, NULL, 'k'},
                                            {"service", required_argument, NULL, 's'},
                                            {"spread", required_argument, NULL, 'p'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"then", required_argument, NULL, 't'},
                                            {0}};
    int key;
    while ((key = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        double v = optarg ? strtod(optarg, NULL) : 0;
        if (key == 'l')
            *ret_port = (uint16_t)v;
        else if (key == 'k')
            u->n_slots = (uint32_t)v;
        else if (key == 's')
            u->service_us = (uint32_t)(v * 1000);
        else if (key == 't')
            u->then_us = (uint32_t)(v * 1000);
        else if (key == 'p')
            u->spread_percent = (uint32_t)v;
        else if (key == 'c')
            u->connections_max = (uint32_t)v;
        else
            return -EINVAL;
    }
    if (u->then_us == 0)
        u->then_us = u->service_us;
    if (*ret_port == 0 || u->n_slots < 1 || u->n_slots > SLOTS_MAX || u->service_us < 1 ||
        u->spread_percent > 100 || u->connections_max < 1)
        return -EINVAL;
    return 0;
}

int main(int argc, char **argv)
{
    static struct upstream u = {
        .n_slots = 20,
        .service_us = 10000,
        .connections_max = 8000,
        .rng = {{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0x2545f4914f6cdd1d}}};
    uint16_t port = 0;
    if (options_parse(&u, argc, argv, &port) < 0) {
        (void)fputs(help, stderr);
        return 2;
    }
    struct rlimit fds;
    if (getrlimit(RLIMIT_NOFILE, &fds) == 0) {
        fds.rlim_cur = fds.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &fds);
    }
    struct sigaction act = {.sa_handler = on_signal};
    (void)sigaction(SIGTERM, &act, NULL);
    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGUSR1, &act, NULL);
    list_init(&u.queue);
    u.epoll = epoll_create1(EPOLL_CLOEXEC);
    u.listener = listen_on(port);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    if (u.listener < 0 || epoll_ctl(u.epoll, EPOLL_CTL_ADD, u.listener, &ev) < 0) {
        (void)fprintf(stderr, "slots: port %u: %s\n", port, strerror(errno));
        return 1;
    }
    run(&u);
    (void)printf("{\"answered\":%llu,\"wasted\":%llu,\"queued\":%u,\"queued_max\":%u}\n",
                 (unsigned long long)u.answered, (unsigned long long)u.wasted, u.queued,
                 u.queued_max);
    return 0; /* the kernel takes back the rest */
}
