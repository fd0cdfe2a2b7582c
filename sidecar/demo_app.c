/* demo_app.c - `sluice demo-app`: the command, its listeners and its loop.
 *
 * An application that knows nothing of drains: a signal ends it at once, whatever it is doing.
 * Plain epoll and one read and one write a request, so that it is not what a bench measures. */
#include "demo_app.h"

#include "base/mem.h"
#include "demo_app_conn.h"
#include "demo_app_device.h"
#include "demo_app_holder.h"
#include "io/address.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_LISTENERS = 8, ACCEPTS_A_TURN = 64, TEXT_BYTES = 512, MS_MAX = 60000 };

struct listener {
    int fd;
    bool tcp_echo;
    struct address address;
};

static struct listener listeners[MAX_LISTENERS];
static size_t n_listeners;

void demo_unlisten(void)
{
    for (size_t i = 0; i < n_listeners; i++) {
        if (listeners[i].fd >= 0)
            (void)close(listeners[i].fd);
        listeners[i].fd = -1;
    }
}

static void listener_event(struct app *a, const struct listener *l)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE)
                (void)usleep(1000); /* a demo: the backlog waits until somebody leaves */
            return;
        }
        struct app_conn *c = mem_zalloc(sizeof(*c));
        if (!c) {
            (void)close(fd);
            return;
        }
        int on = 1;
        if (l->address.u.sa.sa_family != AF_UNIX)
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        c->fd = fd;
        c->state = l->tcp_echo ? APP_TUNNEL : APP_HEAD;
        c->interest = EPOLLIN;
        a->connections++;
        a->open++;
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(a->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
            c->dead = true;
        demo_conn_event(a, c, EPOLLIN); /* the request is mostly there by now */
    }
}

static int app_init(struct app *a, const char *version)
{
    *a = (struct app){.epoll = epoll_create1(EPOLL_CLOEXEC), .version = str_of(version)};
    a->in = mem_alloc(APP_READ_BYTES);
    a->pattern = mem_alloc(APP_READ_BYTES);
    char *body = mem_alloc(TEXT_BYTES), *ready = mem_alloc(TEXT_BYTES);
    if (a->epoll < 0 || !a->in || !a->pattern || !body || !ready)
        return -ENOMEM; /* the process ends: nothing is given back */
    for (size_t i = 0; i < APP_READ_BYTES; i++)
        a->pattern[i] = i % APP_PATTERN == APP_PATTERN - 1 ? '\n' : (char)('0' + i % APP_PATTERN);
    a->body_bytes = (size_t)snprintf(body, TEXT_BYTES, "hello from %s\n", version);
    a->body = body;
    a->ready_bytes = (size_t)snprintf(ready, TEXT_BYTES,
                                      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                      "X-Version: %s\r\nContent-Length: %zu\r\n\r\n%s",
                                      version, a->body_bytes, body);
    a->ready = ready;
    for (size_t i = 0; i < APP_WHEEL_SLOTS; i++)
        list_init(&a->wheel[i]);
    for (size_t i = 0; i < n_listeners; i++) {
        struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = &listeners[i]};
        if (epoll_ctl(a->epoll, EPOLL_CTL_ADD, listeners[i].fd, &ev) < 0)
            return -errno;
    }
    return 0;
}

static void app_run(struct app *a)
{
    struct epoll_event events[256];
    for (;;) {
        int wait = a->n_timers > 0 ? 1 : holder_wait_ms();
        int n = epoll_wait(a->epoll, events, ARRAY_LEN(events), wait);
        for (int i = 0; i < n; i++) {
            const struct listener *l = events[i].data.ptr;
            if (l >= listeners && l < listeners + MAX_LISTENERS)
                listener_event(a, l);
            else
                demo_conn_event(a, events[i].data.ptr, events[i].events);
        }
        app_fire_timers(a);
        holder_tick();
    }
}

static int listen_on(const char *text, bool tcp_echo)
{
    const char *why = "too many listeners";
    struct listener *l = &listeners[n_listeners];
    if (n_listeners == MAX_LISTENERS || address_parse(str_of(text), &l->address, &why) < 0) {
        (void)fprintf(stderr, "sluice demo-app: %s: %s\n", text, why);
        return -EINVAL;
    }
    int on = 1, family = l->address.u.sa.sa_family;
    l->tcp_echo = tcp_echo;
    l->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (family == AF_UNIX)
        (void)unlink(l->address.u.un.sun_path);
    else
        (void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (l->fd < 0 || bind(l->fd, &l->address.u.sa, l->address.len) < 0 ||
        listen(l->fd, SOMAXCONN) < 0) {
        (void)fprintf(stderr, "sluice demo-app: %s: %s\n", text, strerror(errno));
        return -errno;
    }
    n_listeners++;
    return 0;
}

enum { OPTION_LOGIN_MS = OPTION_LONG, OPTION_LOGIN, OPTION_USE_MS };

static const struct command_option options[] = {
    {'l', "listen", "ADDRESS", "serves HTTP there", OPTION_REQUIRED | OPTION_REPEATS},
    {'t', "tcp-echo", "ADDRESS", "sends back what comes there", OPTION_REPEATS},
    {'v', "version", "NAME", "what it calls itself in answers (v1)", 0},
    {'w', "workers", "N", "processes, 1 to 64 (1)", 0},
    {'s', "sessions", "N", "is a device: N may log in at /login, each until its /logout", 0},
    {OPTION_LOGIN_MS, "login-ms", "MS", "the device answers a login so late", 0},
    {OPTION_LOGIN, "login", "ADDRESS", "logs in to a device there, and holds the session", 0},
    {OPTION_USE_MS, "use-ms", "MS", "uses the session so often (never)", 0},
    {0},
};

static int cmd_demo_app(int argc, char **argv)
{
    const struct command *self = &command_demo_app;
    struct command_line l;
    const char *version = "v1";
    const char *why = NULL;
    uint64_t workers = 1, sessions = 0, login_ms = 0, use_ms = 0;
    struct address device = {0};
    bool logs_in = false;
    int key;

    command_line_init(&l, self, argc, argv);
    while ((key = command_next_only(&l)) > 0) {
        if (key == 'v')
            version = optarg;
        else if (key == 'w') {
            if (!str_to_u64(str_of(optarg), &workers) || workers < 1 || workers > 64)
                return command_misuse(self, "--workers is a number from 1 to 64");
        } else if (key == 's') {
            if (!str_to_u64(str_of(optarg), &sessions) || sessions < 1 ||
                sessions > DEVICE_SESSIONS_MAX)
                return command_misuse(self, "--sessions is a number from 1 to %d",
                                      DEVICE_SESSIONS_MAX);
        } else if (key == OPTION_LOGIN_MS || key == OPTION_USE_MS) {
            if (!str_to_u64(str_of(optarg), key == OPTION_USE_MS ? &use_ms : &login_ms) ||
                use_ms > MS_MAX || login_ms > MS_MAX)
                return command_misuse(self, "milliseconds are a number up to %d", MS_MAX);
        } else if (key == OPTION_LOGIN) {
            logs_in = true;
            if (address_parse(str_of(optarg), &device, &why) < 0)
                return command_misuse(self, "--login %s: %s", optarg, why);
        } else if (listen_on(optarg, key == 't') < 0)
            return EXIT_NO;
    }
    if (key < 0)
        return l.exit_code;
    if (n_listeners == 0)
        return command_misuse(self, "--listen ADDRESS is required");
    if (strlen(version) > 64)
        return command_misuse(self, "--version has at most 64 bytes");
    if (workers > 1 && (sessions > 0 || logs_in))
        return command_misuse(self, "with --sessions or --login there is one process");

    struct rlimit fds;
    if (getrlimit(RLIMIT_NOFILE, &fds) == 0) {
        fds.rlim_cur = fds.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &fds);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    for (uint64_t i = 1; i < workers; i++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            break;
        }
    }
    static struct app app;
    if (app_init(&app, version) < 0) {
        (void)fputs("sluice demo-app: could not start\n", stderr);
        return 1;
    }
    app.login_ms = (uint32_t)login_ms;
    if (sessions > 0 && device_init((uint32_t)sessions) < 0)
        return 1;
    if (logs_in && holder_login(&device, (uint32_t)use_ms) < 0) {
        (void)fputs("sluice demo-app: could not log in\n", stderr);
        return 1;
    }
    app_run(&app);
    return 0;
}

const struct command command_demo_app = {
    .name = "demo-app",
    .fn = cmd_demo_app,
    .does = "A small HTTP application to try sluice with",
    .description =
        "An application to put a sidecar in front of; a signal ends it at once.\n\n"
        "Paths: / /healthz /stats /headers /status?code= /delay?ms= /bytes?n= "
        "/chunked?n=&size=&ms= /cut?n= /upload /echo /early /hang /close /reset /websocket "
        "/leak?fds=&sockets=&threads=&rss=\n\n"
        "With --sessions it plays a device that knows nothing of its clients' deaths: POST /login "
        "gives a session, POST /logout?session= ends it, and /sessions tells who is logged in. "
        "With --login it plays the client, which gives nothing back; /exit?code= /abort /oom "
        "/unlisten are its ends.",
    .options = options,
    .exits = {NULL, "it could not start"},
};
