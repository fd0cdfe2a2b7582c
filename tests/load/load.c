/* load.c - the load client: sends requests, and says of every one how it ended.
 *
 * In the words of the design: a request failed if the proxy took it and gave no complete answer,
 * or an error that the application did not give. What was refused at the door, and what crossed
 * the close of an idle connection, is counted under its own name. */
#include "lib/client.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { EVENTS = 512 };

static volatile sig_atomic_t interrupted, asked;

static void on_signal(int signo)
{
    if (signo == SIGUSR1)
        asked = 1;
    else
        interrupted = signo;
}

static void catch_signals(void)
{
    struct sigaction act = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGTERM, &act, NULL);
    (void)sigaction(SIGUSR1, &act, NULL);
    act.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &act, NULL);
}

static void raise_fd_limit(uint64_t wanted)
{
    struct rlimit fds;
    if (getrlimit(RLIMIT_NOFILE, &fds) < 0 || fds.rlim_cur >= wanted)
        return;
    if (fds.rlim_max < wanted) { /* works for root only */
        struct rlimit more = {.rlim_cur = wanted, .rlim_max = wanted};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return;
    }
    fds.rlim_cur = fds.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &fds);
}

static bool wants_more(const struct client *cl, usec_t deadline)
{
    const struct options *o = cl->o;
    if (interrupted || (deadline && cl->now >= deadline))
        return false;
    if (o->requests > 0 && cl->report.sent >= o->requests && cl->in_flight <= o->stuck)
        return false;
    return true;
}

/* SIGUSR1: how many until now. */
static void tell_sent(const struct client *cl)
{
    asked = 0;
    (void)printf("%llu\n", (unsigned long long)cl->report.sent);
    (void)fflush(stdout);
}

static void run(struct client *cl)
{
    const struct options *o = cl->o;
    struct epoll_event events[EVENTS];
    client_start(cl);
    usec_t deadline = o->duration ? cl->now + o->duration : 0, until = 0;
    bool told_idle = o->idle == 0;
    for (;;) {
        int sleep_ms = client_tick(cl);
        if (asked)
            tell_sent(cl);
        if (!told_idle && cl->idle_served >= o->idle) {
            told_idle = true;
            if (!o->quiet)
                (void)fprintf(stderr, "ready: %u idle connections\n", cl->idle_served);
        }
        if (!until && !wants_more(cl, deadline)) {
            /* The report's rate is of the time in which requests were sent. */
            cl->report.end = cl->now;
            until = cl->now + o->linger;
            client_stop(cl);
        }
        if (until && (cl->in_flight == 0 || cl->now >= until))
            break;
        usec_t end = until ? until : deadline;
        if (end && end - cl->now < (usec_t)sleep_ms * USEC_PER_MSEC)
            sleep_ms = 1;
        int n = epoll_wait(cl->epoll, events, EVENTS, sleep_ms);
        cl->turn++;
        cl->now = clock_mono();
        for (int i = 0; i < n; i++)
            client_event(cl, events[i].data.ptr, events[i].events);
    }
    client_end(cl);
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct client client;
    int rc = options_parse(&options, argc, argv);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    raise_fd_limit((uint64_t)options.connections + options.idle + options.stuck + 64);
    catch_signals();
    rc = client_init(&client, &options);
    if (rc < 0) {
        (void)fprintf(stderr, "load: %s\n", strerror(-rc));
        return 2;
    }
    run(&client);
    report_print(&client.report, &options);
    bool bad = report_failed(&client.report) > 0 && !options.allow_failed;
    client_free(&client);
    options_free(&options);
    return bad ? 1 : 0;
}
