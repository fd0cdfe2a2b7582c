/* control_sockets.c - the listening sockets: taken over from the supervisor, or bound and sent up.
 */
#include "admin/control.h"

#include "base/mem.h"
#include "io/socket.h"
#include "lifecycle/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int listen_on(struct control *c, const struct address *a, int backlog, unsigned mode)
{
    char name[ADDRESS_TEXT_MAX];
    (void)address_format(a, name);
    int fd = inherited_take(name);
    if (fd >= 0)
        return fd;
    fd = inherited_take_address(a, NULL, 0);
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

int control_open_listeners(struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    c->listen_fds = mem_zalloc(conf->n_listeners * sizeof(int));
    if (!c->listen_fds)
        return -ENOMEM;
    for (uint32_t i = 0; i < conf->n_listeners; i++)
        c->listen_fds[i] = -1;
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        int fd = listen_on(c, &l->address, (int)l->backlog, l->socket_mode);
        if (fd < 0) {
            log_error("listener %.*s: cannot listen on %.*s: %s", STR_FMT(l->name),
                      STR_FMT(l->address_text), strerror(-fd));
            return fd;
        }
        c->listen_fds[i] = fd;
    }
    return 0;
}

static int add_server(struct control *c, const struct address *a,
                      const struct http_server_options *o, const char *what)
{
    char name[ADDRESS_TEXT_MAX];
    int fd = listen_on(c, a, 128, 0660);
    if (fd >= 0) {
        struct http_server *s = http_server_new(c->loop.ev, fd, o);
        if (s) {
            c->servers[c->n_servers++] = s;
            return 0;
        }
        (void)close(fd);
        fd = -ENOMEM;
    }
    log_error("%s: cannot listen on %s: %s", what, address_format(a, name), strerror(-fd));
    return fd;
}

static void make_parent(const char *path)
{
    char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path || (size_t)(slash - path) >= sizeof(dir))
        return;
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = '\0';
    (void)mkdir(dir, 0755);
}

int control_open_servers(struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    const struct conf_admin *admin = &conf->admin;
    struct http_server_options o = {
        .handler = api_admin,
        .ctx = c,
        .flags = HTTP_SERVER_MUTATIONS,
        .token_file = admin->token_file.n ? admin->token_file.p : NULL,
        .allowed_hosts = admin->allowed_hosts,
        .n_allowed_hosts = admin->n_allowed_hosts,
    };
    int rc = admin->tcp_enabled ? add_server(c, &admin->tcp, &o, "admin") : 0;
    if (rc < 0)
        return rc;
    if (conf->health_enabled) {
        struct http_server_options h = {
            .handler = api_health, .ctx = c, .flags = HTTP_SERVER_ANY_HOST, .max_connections = 256};
        rc = add_server(c, &conf->health, &h, "health");
        if (rc < 0)
            return rc;
    }
    if (admin->socket_path.n > 0) {
        struct address a = {.u.un.sun_family = AF_UNIX};
        if (admin->socket_path.n >= sizeof(a.u.un.sun_path))
            return -EINVAL;
        memcpy(a.u.un.sun_path, admin->socket_path.p, admin->socket_path.n);
        a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + admin->socket_path.n + 1);
        make_parent(a.u.un.sun_path);
        o.flags |= HTTP_SERVER_UNIX;
        /* Without it traffic flows all the same: said loudly, not fatal. */
        if (add_server(c, &a, &o, "admin socket") < 0)
            log_warn("sluice status, drain and the like will not reach this process");
    }
    return 0;
}
