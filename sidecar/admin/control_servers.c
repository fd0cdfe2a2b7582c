/* control_servers.c - the admin and health servers of the control thread. Their addresses are those
 * of the start: a change waits for a restart. */
#include "admin/control.h"

#include "base/mem.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static int add_server(struct control *c, const struct address *a,
                      const struct http_server_options *o, const char *what)
{
    char name[ADDRESS_TEXT_MAX];
    bool inherited;
    int fd = control_listen(c, a, 128, 0660, &inherited);
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

/* The server looks at these as long as it lives, and the snapshot of the start may go before. */
static int copy_token_file(struct control *c, const struct conf_admin *admin)
{
    if (admin->token_file.n == 0)
        return 0;
    c->token_file = mem_strndup(admin->token_file);
    return c->token_file ? 0 : -ENOMEM;
}

static int copy_allowed_hosts(struct control *c, const struct conf_admin *admin)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < admin->n_allowed_hosts; i++)
        bytes += sizeof(struct str) + admin->allowed_hosts[i].n;
    c->allowed_hosts = mem_zalloc(max_u64(bytes, 1));
    if (!c->allowed_hosts)
        return -ENOMEM;
    char *at = (char *)(c->allowed_hosts + admin->n_allowed_hosts);
    for (uint32_t i = 0; i < admin->n_allowed_hosts; i++) {
        struct str s = admin->allowed_hosts[i];
        memcpy(at, s.p, s.n);
        c->allowed_hosts[i] = (struct str){at, s.n};
        at += s.n;
    }
    return 0;
}

void control_close_servers(struct control *c)
{
    for (uint32_t i = 0; i < c->n_servers; i++)
        c->servers[i] = http_server_free(c->servers[i]);
    c->n_servers = 0;
    c->health = NULL;
    free(c->allowed_hosts);
    c->allowed_hosts = NULL;
    free(c->token_file);
    c->token_file = NULL;
}

int control_open_servers(struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    const struct conf_admin *admin = &conf->admin;
    if (copy_allowed_hosts(c, admin) < 0 || copy_token_file(c, admin) < 0)
        return -ENOMEM;
    struct http_server_options o = {
        .handler = api_admin,
        .ctx = c,
        .flags = HTTP_SERVER_MUTATIONS,
        .token_file = c->token_file,
        .allowed_hosts = c->allowed_hosts,
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
        c->health = c->servers[c->n_servers - 1];
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
        rc = add_server(c, &a, &o, "admin socket");
        if (rc == -ENOMEM)
            return rc;
        if (rc < 0)
            log_warn("sluice status, drain and the like will not reach this process");
    }
    return 0;
}
