/* app_probe.c - does somebody listen there? */
#include "lifecycle/app_probe.h"

#include "io/socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

enum { LISTENS = 0x0a, ANSWER_MS = 2 };

/* --- the kernel's list --- */

/* As struct in6_addr: IPv4 as ::ffff:a.b.c.d. */
static bool read_local(const char *line, struct in6_addr *ret, unsigned *ret_port,
                       unsigned *ret_state)
{
    unsigned w[4];
    if (sscanf(line, " %*u: %8x%8x%8x%8x:%4x %*37[0-9A-F:] %2x", &w[0], &w[1], &w[2], &w[3],
               ret_port, ret_state) == 6) {
        memcpy(ret->s6_addr, w, sizeof(w));
        return true;
    }
    if (sscanf(line, " %*u: %8x:%4x %*37[0-9A-F:] %2x", &w[3], ret_port, ret_state) != 3)
        return false;
    w[0] = w[1] = 0;
    w[2] = htonl(0xffff);
    memcpy(ret->s6_addr, w, sizeof(w));
    return true;
}

static bool takes(const struct in6_addr *local, const struct ip *ip)
{
    static const uint8_t any_four[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nothing[4];
    return memcmp(local->s6_addr, ip->bytes, 16) == 0 || IN6_IS_ADDR_UNSPECIFIED(local) ||
           (memcmp(local->s6_addr, any_four, 12) == 0 &&
            memcmp(local->s6_addr + 12, nothing, 4) == 0 && memcmp(ip->bytes, any_four, 12) == 0);
}

static bool listed_in(const char *path, const struct address *at, uint32_t n)
{
    char line[256];
    bool found = false, more = true;
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    (void)fgets(line, sizeof(line), f); /* the heading */
    while (!found && more && fgets(line, sizeof(line), f)) {
        struct in6_addr local;
        unsigned port, state;
        /* Those that listen come first. */
        more = read_local(line, &local, &port, &state) && state == LISTENS;
        for (uint32_t i = 0; more && !found && i < n; i++) {
            struct ip ip = address_ip(&at[i]);
            found = ip.known && address_port(&at[i]) == port && takes(&local, &ip);
        }
    }
    (void)fclose(f);
    return found;
}

/* proc(5): address, references, protocol, flags, type, state, inode, path; '@' for an abstract
 * name's NUL. */
static bool listed_unix(const struct address *at, uint32_t n)
{
    enum { ACCEPTS_CONNECTIONS = 0x10000 }; /* the kernel's __SO_ACCEPTCON */
    char line[256], path[sizeof(at->u.un.sun_path) + 1];
    unsigned flags;
    bool found = false;
    uint32_t i = 0;
    while (i < n && at[i].u.sa.sa_family != AF_UNIX)
        i++;
    FILE *f = i < n ? fopen("/proc/self/net/unix", "re") : NULL;
    if (!f)
        return false;
    while (!found && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%*31s %*x %*x %x %*x %*x %*u %108[^\n]", &flags, path) != 2 ||
            !(flags & ACCEPTS_CONNECTIONS))
            continue;
        for (i = 0; !found && i < n; i++) {
            const char *own = at[i].u.un.sun_path;
            found = at[i].u.sa.sa_family == AF_UNIX &&
                    (own[0] == '\0'
                         ? path[0] == '@' && strncmp(path + 1, own + 1, sizeof(path) - 2) == 0
                         : strncmp(path, own, sizeof(path) - 1) == 0);
        }
    }
    (void)fclose(f);
    return found;
}

/* --- a connection --- */

/* 0: somebody took it. */
static int try(const struct address *a)
{
    int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, rc = 0;
    int fd = socket(a->u.sa.sa_family, type, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, &a->u.sa, a->len) < 0)
        rc = -errno;
    if (rc == -EINPROGRESS) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        rc = poll(&p, 1, ANSWER_MS) == 1 ? socket_connect_result(fd) : -EAGAIN;
        if (rc > 0)
            rc = -rc;
    }
    (void)close(fd);
    return rc;
}

/* What else may be wrong (no descriptor, no permission) says nothing of the application. */
static bool refuses(int rc)
{
    return rc == -ECONNREFUSED || rc == -ENOENT || rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT ||
           rc == -ENETUNREACH;
}

static bool listed(const struct address *at, uint32_t n)
{
    return listed_in("/proc/self/net/tcp", at, n) || listed_in("/proc/self/net/tcp6", at, n) ||
           listed_unix(at, n);
}

enum app_probed app_probe(const struct address *at, uint32_t n, bool *ret_disturbed)
{
    enum app_probed found = APP_PROBE_REFUSES;
    *ret_disturbed = false;
    if (n == 0)
        return APP_PROBE_NONE;
    if (listed(at, n))
        return APP_PROBE_ACCEPTS;
    for (uint32_t i = 0; i < n; i++) {
        int rc = try(&at[i]);
        if (rc == -EAGAIN)
            found = APP_PROBE_NO_ANSWER;
        if (rc == -EAGAIN || refuses(rc))
            continue;
        *ret_disturbed = rc == 0 && !listed(at, n); /* it may have begun just now */
        return APP_PROBE_ACCEPTS;
    }
    return found;
}
