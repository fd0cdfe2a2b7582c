/* control_sockets.c - the listening sockets: taken over from the supervisor, or bound and sent up;
 * closed without a reset. */
#include "admin/control.h"

#include "base/hash_index.h"
#include "base/mem.h"
#include "config/problems.h"
#include "io/socket.h"
#include "lifecycle/inherited.h"
#include "proxy/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* Handshakes under way get this long before a listener closes. */
enum { LISTENER_GRACE_MS = 100 };

/* --- opening --- */

/* The supervisor's word for it: the address, or a digest of a path that is too long. */
static void name_of(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
    size_t n = strlen(address_format(a, out));
    if (n >= CHANNEL_NAME_MAX)
        (void)snprintf(out, ADDRESS_TEXT_MAX, "unix:#%016llx",
                       (unsigned long long)hash_bytes(HASH_BEGIN, (struct str){out, n}));
}

int control_listen(struct control *c, const struct address *a, int backlog, unsigned mode,
                   bool *ret_inherited)
{
    char name[ADDRESS_TEXT_MAX];
    name_of(a, name);
    int fd = inherited_take(name);
    *ret_inherited = true;
    if (fd >= 0)
        return fd;
    fd = inherited_take_address(a, NULL, 0);
    *ret_inherited = fd >= 0;
    if (fd >= 0) {
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        socket_listen_options(fd, a);
    } else {
        fd = socket_listen(a, backlog, mode);
    }
    if (fd < 0)
        return fd;
    int rc = channel_hold(c->channel, name, fd);
    if (rc < 0)
        log_warn("the supervisor does not hold %s: %s", name, strerror(-rc));
    return fd;
}

static struct control_socket *find_socket(const struct control *c, const struct address *a)
{
    struct control_socket *s = c->sockets;
    while (s && !address_equal(&s->address, a))
        s = s->next;
    return s;
}

static void unlink_if_unix(const struct control_socket *s)
{
    if (s->address.u.sa.sa_family == AF_UNIX && !inherited_path_is_activated(&s->address))
        (void)unlink(s->address.u.un.sun_path);
}

/* Takes it off the list. */
static void socket_free(struct control *c, struct control_socket *s)
{
    struct control_socket **at = &c->sockets;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (s->fd >= 0)
        (void)close(s->fd);
    free(s);
}

static int open_socket(struct control *c, const struct conf_listener *l)
{
    struct control_socket *s = mem_zalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->fd = control_listen(c, &l->address, (int)l->backlog, l->socket_mode, &s->inherited);
    if (s->fd < 0) {
        int rc = s->fd;
        free(s);
        return rc;
    }
    s->state = SOCKET_FRESH;
    s->direction = l->direction;
    s->backlog = l->backlog;
    s->address = l->address;
    name_of(&l->address, s->name);
    s->next = c->sockets;
    c->sockets = s;
    return 0;
}

int control_open_listeners(struct control *c, const struct conf *conf,
                           struct config_problems *problems)
{
    int rc = 0;
    for (uint32_t i = 0; i < conf->n_listeners && rc == 0; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        char path[64];
        if (find_socket(c, &l->address))
            continue;
        rc = open_socket(c, l);
        if (rc == 0)
            continue;
        (void)snprintf(path, sizeof(path), "listeners[%u].address", i);
        problem_add(problems, l->line, l->column, path, false, "cannot listen on %.*s: %s",
                    STR_FMT(l->address_text), strerror(-rc));
    }
    if (rc < 0)
        control_close_fresh(c);
    return rc;
}

void control_close_fresh(struct control *c)
{
    for (struct control_socket *s = c->sockets, *next; s; s = next) {
        next = s->next;
        if (s->state != SOCKET_FRESH || s->inherited)
            continue;
        unlink_if_unix(s);
        (void)channel_drop(c->channel, s->name);
        socket_free(c, s);
    }
}

static const struct conf_listener *listener_of(const struct conf *conf, const struct address *a)
{
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        if (address_equal(&conf->listeners[i].address, a))
            return &conf->listeners[i];
    }
    return NULL;
}

void control_keep_listeners(struct control *c, const struct conf *conf)
{
    for (struct control_socket *s = c->sockets; s; s = s->next) {
        const struct conf_listener *l = listener_of(conf, &s->address);
        if (s->state == SOCKET_CLOSING)
            continue;
        s->state = l ? SOCKET_LISTENS : SOCKET_MARKED;
        if (!l)
            continue;
        s->direction = l->direction;
        if (s->backlog != l->backlog)
            (void)listen(s->fd, (int)l->backlog);
        s->backlog = l->backlog;
    }
}

int control_listener_fd(const struct control *c, const struct conf_listener *l)
{
    const struct control_socket *s = find_socket(c, &l->address);
    return s ? s->fd : -1;
}

/* --- closing --- */

void control_mark_direction(struct control *c, enum direction d)
{
    for (struct control_socket *s = c->sockets; s; s = s->next) {
        if (s->direction == d && s->state != SOCKET_CLOSING)
            s->state = SOCKET_MARKED;
    }
}

static void emptied(struct gather *g)
{
    struct control *c = g->control;
    char address[ADDRESS_TEXT_MAX];
    for (struct control_socket *s = c->sockets, *next; s; s = next) {
        next = s->next;
        if (s->state != SOCKET_CLOSING)
            continue;
        log_info("listener on %s is closed", address_format(&s->address, address));
        socket_free(c, s);
    }
    c->closing_sockets = false;
    if (control_close_marked(c))
        return;
    control_reload_sockets_closed(c);
    control_drain_sockets_closed(c);
}

static void empty_left(struct gather_part *part)
{
    worker_close_left(part->worker);
}

static void empty_inbound(struct gather_part *part)
{
    worker_close_left(part->worker);
    worker_close_listeners(part->worker, DIRECTION_INBOUND);
}

/* The handshakes under way have been finished. */
static void on_close_timer(struct timer *t)
{
    struct control *c = CONTAINER_OF(t, struct control, close_timer);
    if (gather_start(c, NULL, c->closing_for_drain ? empty_inbound : empty_left, emptied) < 0)
        timer_set(&c->loop, t, c->loop.now + LISTENER_GRACE_MS * USEC_PER_MSEC);
}

bool control_close_marked(struct control *c)
{
    bool any = false;
    if (c->closing_sockets)
        return true;
    c->closing_for_drain = drain_now(&c->process.drain) >= DRAIN_DRAIN;
    for (struct control_socket *s = c->sockets; s; s = s->next) {
        if (s->state != SOCKET_MARKED)
            continue;
        s->state = SOCKET_CLOSING;
        any = true;
        /* First of all: should we crash, nobody may find a socket that no client reaches. */
        (void)channel_drop(c->channel, s->name);
        unlink_if_unix(s);
        if (s->address.u.sa.sa_family != AF_UNIX)
            socket_stop_syns(s->fd);
    }
    if (!any)
        return false;
    c->closing_sockets = true;
    timer_init(&c->close_timer, on_close_timer);
    timer_set(&c->loop, &c->close_timer, clock_mono() + LISTENER_GRACE_MS * USEC_PER_MSEC);
    return true;
}

void control_close_unused(struct control *c, enum direction d)
{
    for (struct control_socket *s = c->sockets, *next; s; s = next) {
        next = s->next;
        if (s->direction != d || s->state == SOCKET_CLOSING)
            continue;
        unlink_if_unix(s);
        (void)channel_drop(c->channel, s->name);
        socket_free(c, s);
    }
}

void control_close_sockets(struct control *c)
{
    while (c->sockets)
        socket_free(c, c->sockets);
}
