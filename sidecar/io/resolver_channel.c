/* resolver_channel.c - c-ares' sockets and timeouts on the loop. */
#include "io/resolver_parts.h"

#include "base/mem.h"

#include <errno.h>

/* The largest answer that is asked for over UDP: what every path carries (DNS flag day 2020). */
enum { EDNS_BYTES = 1232 };

struct watch {
    struct list link;
    struct reap reap;
    struct ev_io io;
    struct resolver *r;
};

static void on_socket(struct ev_loop *ev, struct ev_io *io, int events)
{
    struct watch *w = CONTAINER_OF(io, struct watch, io);
    struct resolver *r = w->r;
    int fd = io->fd;
    (void)ev;
    CHECK_OBJ(r, RESOLVER_MAGIC);
    ares_process_fd(r->dns, events & EV_READ ? fd : ARES_SOCKET_BAD,
                    events & EV_WRITE ? fd : ARES_SOCKET_BAD);
    resolver_arm(r);
}

static void free_watch(struct reap *reap)
{
    free(CONTAINER_OF(reap, struct watch, reap));
}

static struct watch *find_watch(const struct resolver *r, int fd)
{
    LIST_FOREACH (it, &r->sockets) {
        struct watch *w = LIST_ENTRY(it, struct watch, link);
        if (w->io.fd == fd)
            return w;
    }
    return NULL;
}

/* From c-ares: what to wait for on its socket; neither: it is about to be closed. */
static void on_socket_state(void *ctx, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = ctx;
    struct watch *w;
    CHECK_OBJ(r, RESOLVER_MAGIC);

    w = find_watch(r, fd);
    if (w)
        ev_io_stop(r->loop->ev, &w->io);
    if (!readable && !writable) {
        if (w) {
            list_remove(&w->link);
            loop_reap(r->loop, &w->reap, free_watch);
        }
        return;
    }
    if (!w) {
        w = mem_zalloc(sizeof(*w));
        if (!w) /* its queries time out */
            return;
        w->r = r;
        ev_io_init(&w->io, on_socket, fd, 0);
        list_push_back(&r->sockets, &w->link);
    }
    ev_io_set(&w->io, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
    ev_io_start(r->loop->ev, &w->io);
}

void resolver_arm(struct resolver *r)
{
    struct timeval tv;
    if (!ares_timeout(r->dns, NULL, &tv)) {
        timer_set(r->loop, &r->timer, 0);
        return;
    }
    /* One more: c-ares counts in whole milliseconds, and too early means once more around. */
    timer_set(r->loop, &r->timer,
              clock_mono() + (usec_t)tv.tv_sec * USEC_PER_SEC + (usec_t)tv.tv_usec + 1000);
}

static void on_timeout(struct timer *t)
{
    struct resolver *r = CONTAINER_OF(t, struct resolver, timer);
    ares_socket_t fds[ARES_GETSOCK_MAXNUM];
    CHECK_OBJ(r, RESOLVER_MAGIC);
    /* Where the process stood still, answers may have come and not been read: they are in time.
     * (c-ares looks at the time behind each socket: of several servers', the first one's are sure.)
     */
    int bits = ares_getsock(r->dns, fds, ARES_GETSOCK_MAXNUM);
    for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
        if (ARES_GETSOCK_READABLE(bits, i))
            ares_process_fd(r->dns, fds[i], ARES_SOCKET_BAD);
    }
    ares_process_fd(r->dns, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolver_arm(r);
}

static int set_servers(struct resolver *r, const struct resolver_options *o)
{
    struct ares_addr_port_node nodes[16] = {0};
    uint32_t n = (uint32_t)min_u64(o->n_servers, ARRAY_LEN(nodes));
    for (uint32_t i = 0; i < n; i++) {
        const struct address *a = &o->servers[i];
        nodes[i].next = i + 1 < n ? &nodes[i + 1] : NULL;
        nodes[i].family = a->u.sa.sa_family;
        nodes[i].udp_port = nodes[i].tcp_port = address_port(a);
        if (nodes[i].family == AF_INET6)
            memcpy(&nodes[i].addr.addr6, &a->u.in6.sin6_addr, sizeof(nodes[i].addr.addr6));
        else
            nodes[i].addr.addr4 = a->u.in.sin_addr;
    }
    return n == 0 ? ARES_SUCCESS : ares_set_servers_ports(r->dns, nodes);
}

int resolver_open(struct resolver *r, const struct resolver_options *o)
{
    char dns_only[] = "b", files_only[] = "f";
    /* ARES_FLAG_NOCHECKRESP stays out: other answers than the asked server's are to be dropped. */
    struct ares_options dns = {.flags = ARES_FLAG_EDNS,
                               .ednspsz = EDNS_BYTES,
                               .timeout = (int)(max_u64(o->timeout, USEC_PER_MSEC) / USEC_PER_MSEC),
                               .tries = (int)max_u64(o->tries, 1),
                               .lookups = dns_only,
                               .sock_state_cb = on_socket_state,
                               .sock_state_cb_data = r,
                               .resolvconf_path = (char *)o->resolv_conf};
    struct ares_options files = {.flags = ARES_FLAG_NOALIASES,
                                 .lookups = files_only,
                                 .resolvconf_path = (char *)o->resolv_conf};
    int given = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
    int path = o->resolv_conf ? ARES_OPT_RESOLVCONF : 0;
    int mask;

    timer_init(&r->timer, on_timeout);
    list_init(&r->sockets);
    if (ares_library_init_mem(ARES_LIB_INIT_ALL, mem_alloc, free, mem_realloc) != ARES_SUCCESS)
        return -ENOMEM;
    if (ares_init_options(&r->dns, &dns, given | path) != ARES_SUCCESS) {
        r->dns = NULL;
        goto fail;
    }
    if (ares_init_options(&r->files, &files, ARES_OPT_FLAGS | ARES_OPT_LOOKUPS | path) !=
        ARES_SUCCESS) {
        r->files = NULL;
        goto fail;
    }
    if (set_servers(r, o) != ARES_SUCCESS ||
        ares_save_options(r->dns, &r->search, &mask) != ARES_SUCCESS)
        goto fail;
    return 0;

fail:
    resolver_close(r);
    return -EIO;
}

void resolver_close(struct resolver *r)
{
    ares_destroy_options(&r->search);
    if (r->dns)
        ares_destroy(r->dns);
    if (r->files)
        ares_destroy(r->files);
    r->dns = r->files = NULL;
    timer_stop(r->loop, &r->timer);
    ares_library_cleanup();
}
