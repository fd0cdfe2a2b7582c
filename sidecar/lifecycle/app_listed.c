/* app_listed.c - who listens, by the kernel's own lists. */
#include "lifecycle/app_listed.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LISTENS = 0x0a }; /* the kernel's TCP_LISTEN */

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

static int ask_diag(int fd, uint8_t family)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } ask = {
        .head = {.nlmsg_len = sizeof(ask),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = 1u << LISTENS},
    };
    return send(fd, &ask, sizeof(ask), 0) == (ssize_t)sizeof(ask) ? 0 : -errno;
}

static bool is_named(const struct inet_diag_msg *m, const struct address *at, uint32_t n)
{
    struct in6_addr local = {0};
    if (m->idiag_family == AF_INET) {
        uint32_t w[4] = {0, 0, htonl(0xffff), m->id.idiag_src[0]};
        memcpy(&local, w, sizeof(local));
    } else {
        memcpy(&local, m->id.idiag_src, sizeof(local));
    }
    return is_one_of(&local, ntohs(m->id.idiag_sport), at, n);
}

/* All that was asked for is read, found or not: what is left would answer the next question. Never
 * waits: the kernel puts a part of the answer there when it is asked, and when one is read. */
static int read_diag(int fd, const struct address *at, uint32_t n)
{
    _Alignas(struct nlmsghdr) char part[8192];
    bool found = false;
    for (;;) {
        ssize_t got = recv(fd, part, sizeof(part), MSG_DONTWAIT);
        if (got <= 0)
            return got < 0 ? -errno : -EPROTO;
        size_t left = (size_t)got;
        for (const struct nlmsghdr *h = (const void *)part; NLMSG_OK(h, left);
             h = NLMSG_NEXT(h, left)) {
            if (h->nlmsg_type == NLMSG_DONE)
                return found;
            if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
                h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
                return -EPROTO; /* NLMSG_ERROR: no tcp_diag */
            found = found || is_named(NLMSG_DATA(h), at, n);
        }
    }
}

int app_listed_by_diag(const struct address *at, uint32_t n)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    int rc = fd < 0 ? -errno : 0;
    for (size_t i = 0; rc == 0 && i < sizeof(families); i++) {
        rc = ask_diag(fd, families[i]);
        if (rc == 0)
            rc = read_diag(fd, at, n);
    }
    if (fd >= 0)
        (void)close(fd);
    return rc;
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
        more = read_local(line, &local, &port, &state) && state == LISTENS;
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
