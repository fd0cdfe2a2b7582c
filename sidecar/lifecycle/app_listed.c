/* app_listed.c - who listens, by the kernel's own lists. */
#include "lifecycle/app_listed.h"

#include "lifecycle/sock_diag.h"

#include <linux/inet_diag.h>
#include <stdio.h>
#include <string.h>

static bool takes(const struct in6_addr *local, const struct ip *ip)
{
    static const uint8_t any_four[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nothing[4];
    return memcmp(local->s6_addr, ip->bytes, 16) == 0 || IN6_IS_ADDR_UNSPECIFIED(local) ||
           (memcmp(local->s6_addr, any_four, 12) == 0 &&
            memcmp(local->s6_addr + 12, nothing, 4) == 0 && memcmp(ip->bytes, any_four, 12) == 0);
}

static bool is_one_of(const struct in6_addr *local, unsigned port, const struct address *at,
                      uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct ip ip = address_ip(&at[i]);
        if (ip.known && address_port(&at[i]) == port && takes(local, &ip))
            return true;
    }
    return false;
}

/* --- sock_diag --- */

struct wanted {
    const struct address *at;
    uint32_t n;
    bool found;
};

static bool is_named(void *ctx, const struct inet_diag_msg *m)
{
    struct wanted *w = ctx;
    struct in6_addr local = {0};
    if (m->idiag_family == AF_INET) {
        uint32_t words[4] = {0, 0, htonl(0xffff), m->id.idiag_src[0]};
        memcpy(&local, words, sizeof(local));
    } else {
        memcpy(&local, m->id.idiag_src, sizeof(local));
    }
    w->found = is_one_of(&local, ntohs(m->id.idiag_sport), w->at, w->n);
    return !w->found;
}

int app_listed_by_diag(const struct address *at, uint32_t n)
{
    struct wanted w = {at, n, false};
    int rc = sock_diag_tcp(1u << SOCK_DIAG_LISTEN, is_named, &w);
    return rc < 0 ? rc : w.found;
}

/* --- /proc --- */

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
        more = read_local(line, &local, &port, &state) && state == SOCK_DIAG_LISTEN;
        found = more && is_one_of(&local, port, at, n);
    }
    (void)fclose(f);
    return found;
}

bool app_listed_in_proc(const struct address *at, uint32_t n)
{
    return listed_in("/proc/self/net/tcp", at, n) || listed_in("/proc/self/net/tcp6", at, n);
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

bool app_listed(const struct address *at, uint32_t n)
{
    int rc = app_listed_by_diag(at, n);
    return rc > 0 || (rc < 0 && app_listed_in_proc(at, n)) || listed_unix(at, n);
}
