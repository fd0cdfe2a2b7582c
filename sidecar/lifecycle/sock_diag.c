/* sock_diag.c - the kernel's TCP sockets of this network namespace. */
#include "lifecycle/sock_diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask(int fd, uint8_t family, uint32_t states)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } question = {
        .head = {.nlmsg_len = sizeof(question),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = states},
    };
    ssize_t n = send(fd, &question, sizeof(question), 0);
    return n == (ssize_t)sizeof(question) ? 0 : n < 0 ? -errno : -EPROTO;
}

int sock_diag_read(const void *part, uint64_t n, sock_diag_fn *each, void *ctx, bool *ret_enough)
{
    size_t left = n;
    for (const struct nlmsghdr *h = part; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        if (h->nlmsg_type == NLMSG_DONE)
            return 0;
        if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
            h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
            return -EPROTO; /* NLMSG_ERROR: no tcp_diag */
        if (!*ret_enough)
            *ret_enough = !each(ctx, NLMSG_DATA(h));
    }
    return 1;
}

/* All of the answer is read, unless it is enough: what is left would answer the next question. */
static int read_answer(int fd, sock_diag_fn *each, void *ctx, bool *ret_enough)
{
    _Alignas(struct nlmsghdr) char part[8192];
    int rc = 1;
    while (rc == 1 && !*ret_enough) {
        ssize_t n = recv(fd, part, sizeof(part), MSG_DONTWAIT);
        if (n <= 0)
            return n < 0 ? -errno : -EPROTO;
        rc = sock_diag_read(part, (uint64_t)n, each, ctx, ret_enough);
    }
    return rc < 0 ? rc : 0;
}

int sock_diag_tcp(uint32_t states, sock_diag_fn *each, void *ctx)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    bool enough = false;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    int rc = fd < 0 ? -errno : 0;
    for (size_t i = 0; rc == 0 && !enough && i < sizeof(families); i++) {
        rc = ask(fd, families[i], states);
        if (rc == 0)
            rc = read_answer(fd, each, ctx, &enough);
    }
    if (fd >= 0)
        (void)close(fd);
    return rc;
}
