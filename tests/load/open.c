/* open.c - an open loop: requests come at a rate, at random as those of many clients do (Poisson),
 * whatever became of those before. For each it writes a line: when it was due, how long that was
 * ago when its answer was whole (both in us), and its status, or how else it ended (open.h).
 *
 * A client waits as long as its patience lasts, and then goes: it closes its HTTP/1.1 connection,
 * or resets its HTTP/2 stream. */
#include "open/open.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EVENTS = 256 };

static const char help[] =
    "usage: open --url http://ADDRESS:PORT/PATH --rate R [options]\n"
    "  --http2           with prior knowledge; else HTTP/1.1\n"
    "  -c N (100)        connections at most; a request that finds no room on them ends at once\n"
    "  -t SECONDS (10)   for how long requests come\n"
    "  --patience MS (1000)\n"
    "Writes 'due latency status' for each; statuses below 100: 1 out of patience, 2 broken off,\n"
    "3 no connection, 4 no room, 5 late to be sent by this process itself.\n";

static volatile sig_atomic_t interrupted;

static void on_signal(int signo)
{
    (void)signo;
    interrupted = 1;
}

/* --- calls and links --- */

void call_end(struct open *o, struct call *c, uint16_t status)
{
    if (o->n_records == o->room) {
        o->room = o->room ? o->room * 2 : 65536;
        o->records = realloc(o->records, o->room * sizeof(*o->records));
        if (!o->records)
            abort();
    }
    usec_t now = clock_mono();
    o->records[o->n_records++] = (struct record){
        .due_us = (uint32_t)(c->due - o->start),
        .latency_us = (uint32_t)(now - c->due),
        .status = status,
    };
    list_remove(&c->open);
    free(c);
}

bool link_open(struct open *o, struct link *l)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = l};
    if (fd < 0)
        return false;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if ((connect(fd, (const struct sockaddr *)&o->address, sizeof(o->address)) < 0 &&
         errno != EINPROGRESS) ||
        epoll_ctl(o->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
        (void)close(fd);
        return false;
    }
    list_remove(&l->closed);
    l->fd = fd;
    l->calls = 0;
    return true;
}

void link_close(struct open *o, struct link *l)
{
    if (l->calls > 0) {
        LIST_FOREACH_SAFE (it, &o->calls) {
            struct call *c = LIST_ENTRY(it, struct call, open);
            if (c->link == l)
                call_end(o, c, OPEN_BROKEN);
        }
    }
    (void)close(l->fd);
    nghttp2_session_del(l->session);
    response_free(&l->response);
    l->session = NULL;
    l->call = NULL;
    l->fd = -1;
    l->calls = 0;
    list_remove(&l->free);
    list_push_front(&o->closed, &l->closed);
}

/* --- the loop --- */

static void begin_due(struct open *o)
{
    while (o->next != 0 && o->next <= o->now) {
        struct call *c = calloc(1, sizeof(*c));
        if (!c)
            abort();
        c->due = o->next;
        list_push_back(&o->calls, &c->open);
        if (o->now - c->due > o->patience / 2)
            call_end(o, c, OPEN_LATE);
        else
            o->protocol->begin(o, c);
        double u = ((double)(rng_next(&o->rng) >> 11) + 1) * 0x1p-53; /* above 0, to 1 */
        usec_t gap = (usec_t)(-log(u) / o->rate * 1e6);
        o->next += gap > 0 ? gap : 1;
        if (interrupted || o->next >= o->start + o->duration)
            o->next = 0;
    }
}

/* All have the same patience: the oldest loses it first. */
static void give_up(struct open *o)
{
    struct list *it;
    while ((it = list_first(&o->calls)) != NULL) {
        struct call *c = LIST_ENTRY(it, struct call, open);
        if (o->now < c->due + o->patience)
            return;
        o->protocol->cancel(o, c);
        call_end(o, c, OPEN_TIMEOUT);
    }
}

static usec_t sleep_for(const struct open *o)
{
    struct list *it = list_first(&o->calls);
    usec_t until = it ? LIST_ENTRY(it, struct call, open)->due + o->patience : o->next;
    if (o->next != 0 && o->next < until)
        until = o->next;
    return until > o->now ? until - o->now : 0;
}

static void run(struct open *o)
{
    struct epoll_event events[EVENTS];
    o->start = o->now = o->next = clock_mono();
    while (o->next != 0 || !list_empty(&o->calls)) {
        begin_due(o);
        o->now = clock_mono();
        give_up(o);
        usec_t wait = sleep_for(o);
        struct timespec ts = {.tv_sec = (time_t)(wait / USEC_PER_SEC),
                              .tv_nsec = (long)(wait % USEC_PER_SEC) * 1000};
        int n = epoll_pwait2(o->epoll, events, EVENTS, &ts, NULL);
        o->now = clock_mono();
        for (int i = 0; i < n; i++) {
            struct link *l = events[i].data.ptr;
            if (l->fd >= 0)
                o->protocol->event(o, l);
        }
        if (interrupted)
            o->next = 0;
    }
}

/* --- what it is asked --- */

static int split_url(struct open *o, char *url)
{
    static const char scheme[] = "http://";
    char *host = url + sizeof(scheme) - 1, *slash = NULL, *colon = NULL;
    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0 || (slash = strchr(host, '/')) == NULL)
        return -EINVAL;
    o->path = strdup(slash);
    *slash = '\0';
    o->authority = strdup(host);
    if (!o->path || !o->authority || (colon = strchr(host, ':')) == NULL)
        return -EINVAL;
    *colon = '\0';
    o->address.sin_family = AF_INET;
    o->address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, host, &o->address.sin_addr) != 1)
        return -EINVAL;
    int n = snprintf(o->request, sizeof(o->request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", o->path,
                     o->authority);
    o->request_bytes = (size_t)n;
    return n > 0 && (size_t)n < sizeof(o->request) ? 0 : -EINVAL;
}

static int options_parse(struct open *o, int argc, char **argv)
{
    static const struct option options[] = {{"url", required_argument, NULL, 'u'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"http2", no_argument, NULL, '2'},
                                            {"patience", required_argument, NULL, 'p'},
                                            {0}};
    int key, rc = 0;
    while ((key = getopt_long(argc, argv, "c:t:", options, NULL)) >= 0) {
        double v = optarg ? strtod(optarg, NULL) : 0;
        if (key == 'u')
            rc = split_url(o, optarg);
        else if (key == 'r')
            o->rate = v;
        else if (key == '2')
            o->protocol = &protocol_h2;
        else if (key == 'p')
            o->patience = (usec_t)(v * 1000);
        else if (key == 'c')
            o->n_links = (uint32_t)v;
        else if (key == 't')
            o->duration = (usec_t)(v * 1e6);
        else
            return -EINVAL;
        if (rc < 0)
            return rc;
    }
    return o->path && o->rate > 0 && o->n_links > 0 && o->patience > 0 ? 0 : -EINVAL;
}

static int open_init(struct open *o)
{
    o->links = calloc(o->n_links, sizeof(*o->links));
    o->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!o->links || o->epoll < 0)
        return -ENOMEM;
    list_init(&o->calls);
    list_init(&o->free);
    list_init(&o->closed);
    for (uint32_t i = 0; i < o->n_links; i++) {
        o->links[i].fd = -1;
        list_init(&o->links[i].done);
        list_push_back(&o->closed, &o->links[i].closed);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct open o = {
        .protocol = &protocol_h1,
        .duration = 10 * USEC_PER_SEC,
        .patience = USEC_PER_SEC,
        .n_links = 100,
        .rng = {{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0x2545f4914f6cdd1d}},
    };
    if (options_parse(&o, argc, argv) < 0) {
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
    if (open_init(&o) < 0) {
        (void)fprintf(stderr, "open: %s\n", strerror(errno));
        return 1;
    }
    run(&o);
    for (uint32_t i = 0; i < o.n_links; i++) {
        if (o.links[i].fd >= 0)
            link_close(&o, &o.links[i]);
    }
    for (size_t i = 0; i < o.n_records; i++)
        (void)printf("%u %u %u\n", o.records[i].due_us, o.records[i].latency_us,
                     o.records[i].status);
    free(o.records);
    free(o.links);
    return 0;
}
