/* resolver_reply.c - replies of DNS servers, and the hosts file, to records. */
#include "io/resolver_parts.h"

#include "base/mem.h"

#include <stdio.h>

const char *resolver_status_word(enum resolver_status s)
{
    static const char *const words[] = {"ok",      "nxdomain",  "nodata", "servfail",
                                        "timeout", "malformed", "error",  "canceled"};
    return s < RESOLVED_STATUSES ? words[s] : "pending";
}

enum resolver_status resolver_status_of(int ares_status)
{
    switch (ares_status) {
    case ARES_SUCCESS:
        return RESOLVED_OK;
    case ARES_ENODATA:
        return RESOLVED_NODATA;
    case ARES_ENOTFOUND:
        return RESOLVED_NXDOMAIN;
    case ARES_ETIMEOUT:
        return RESOLVED_TIMEOUT;
    case ARES_EREFUSED:
    case ARES_ENOTIMP:
    case ARES_EFORMERR:
    case ARES_ESERVFAIL:
    case ARES_ECONNREFUSED:
        return RESOLVED_SERVFAIL;
    case ARES_ENOMEM:
        return RESOLVED_ERROR;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        return RESOLVED_CANCELED;
    default:
        return RESOLVED_MALFORMED;
    }
}

static void add_ip(struct resolver_query *q, bool six, const void *bytes, int ttl)
{
    if (q->n == RESOLVER_RECORDS_MAX)
        return;
    struct resolver_ip *ip = &q->u.ips[q->n];
    uint32_t seconds = ttl > 0 ? (uint32_t)ttl : 0; /* the top bit set: 0 (RFC 2181 §8) */
    *ip = (struct resolver_ip){.six = six};
    memcpy(ip->bytes, bytes, six ? 16 : 4);
    q->ttl = q->n == 0 || seconds < q->ttl ? seconds : q->ttl;
    q->n++;
}

static int read_a(struct resolver_query *q, const unsigned char *reply, int len)
{
    struct ares_addrttl at[RESOLVER_RECORDS_MAX];
    int n = RESOLVER_RECORDS_MAX, rc = ares_parse_a_reply(reply, len, NULL, at, &n);
    for (int i = 0; rc == ARES_SUCCESS && i < n; i++)
        add_ip(q, false, &at[i].ipaddr, at[i].ttl);
    return rc;
}

static int read_aaaa(struct resolver_query *q, const unsigned char *reply, int len)
{
    struct ares_addr6ttl at[RESOLVER_RECORDS_MAX];
    int n = RESOLVER_RECORDS_MAX, rc = ares_parse_aaaa_reply(reply, len, NULL, at, &n);
    for (int i = 0; rc == ARES_SUCCESS && i < n; i++)
        add_ip(q, true, &at[i].ip6addr, at[i].ttl);
    return rc;
}

static int read_srv(struct resolver_query *q, const unsigned char *reply, int len)
{
    struct ares_srv_reply *first = NULL;
    int rc = ares_parse_srv_reply(reply, len, &first);

    if (rc != ARES_SUCCESS)
        return rc;
    q->u.srv = mem_zalloc(RESOLVER_RECORDS_MAX * sizeof(*q->u.srv));
    for (struct ares_srv_reply *it = first; it && q->u.srv && q->n < RESOLVER_RECORDS_MAX;
         it = it->next) {
        struct resolver_srv *s = &q->u.srv[q->n];
        int n = snprintf(s->host, sizeof(s->host), "%s", it->host);
        if (n < 0 || (size_t)n >= sizeof(s->host)) /* escaped, it is longer than any name */
            continue;
        s->port = it->port;
        s->priority = it->priority;
        s->weight = it->weight;
        q->n++;
    }
    ares_free_data(first);
    return q->u.srv ? ARES_SUCCESS : ARES_ENOMEM;
}

void resolver_read_reply(struct resolver_query *q, unsigned kind, const unsigned char *reply,
                         int len)
{
    int rc = kind == RESOLVE_SRV ? read_srv(q, reply, len)
             : kind == RESOLVE_A ? read_a(q, reply, len)
                                 : read_aaaa(q, reply, len);
    /* Only CNAMEs, or records of another name: nothing for us. */
    q->status = rc == ARES_SUCCESS && q->n == 0 ? RESOLVED_NODATA : resolver_status_of(rc);
}

/* ---- the hosts file ---- */

static void on_hosts(void *ctx, int status, int timeouts, struct ares_addrinfo *found)
{
    struct resolver_ask *a = ctx;
    (void)timeouts;
    if (status != ARES_SUCCESS || !found)
        return;
    for (const struct ares_addrinfo_node *it = found->nodes; it; it = it->ai_next) {
        const struct sockaddr_in *in = (const void *)it->ai_addr;
        const struct sockaddr_in6 *in6 = (const void *)it->ai_addr;
        if (it->ai_family == AF_INET && (a->kinds & RESOLVE_A))
            add_ip(&a->query[RESOLVER_V4], false, &in->sin_addr, RESOLVER_HOSTS_TTL);
        else if (it->ai_family == AF_INET6 && (a->kinds & RESOLVE_AAAA))
            add_ip(&a->query[RESOLVER_V6], true, &in6->sin6_addr, RESOLVER_HOSTS_TTL);
    }
    ares_freeaddrinfo(found);
}

/* Always the loopback addresses, whatever is in a file (RFC 6761 §6.3). c-ares 1.18 would do the
 * same where the file has no localhost, and lose some memory each time. */
static bool read_localhost(struct resolver_ask *a)
{
    struct str name = str_of(a->name), suffix = STR(".localhost");
    struct in_addr four = {htonl(INADDR_LOOPBACK)};
    bool under =
        name.n > suffix.n && str_ieq((struct str){name.p + name.n - suffix.n, suffix.n}, suffix);

    if (!under && !str_ieq(name, STR("localhost")))
        return false;
    if (a->kinds & RESOLVE_A)
        add_ip(&a->query[RESOLVER_V4], false, &four, RESOLVER_HOSTS_TTL);
    if (a->kinds & RESOLVE_AAAA)
        add_ip(&a->query[RESOLVER_V6], true, &in6addr_loopback, RESOLVER_HOSTS_TTL);
    return true;
}

bool resolver_read_hosts(struct resolver_ask *a)
{
    /* CARES_HOSTS names another file. */
    const struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT | ARES_AI_ENVHOSTS,
                                              .ai_family = AF_UNSPEC,
                                              .ai_socktype = SOCK_STREAM};
    bool found = false;

    if (!read_localhost(a))
        ares_getaddrinfo(a->r->files, a->name, NULL, &hints, on_hosts, a);
    for (int i = 0; i < RESOLVER_FAMILIES; i++)
        found = found || a->query[i].n > 0;
    for (int i = 0; found && i < RESOLVER_FAMILIES; i++) {
        struct resolver_query *q = &a->query[i];
        if (q->status != RESOLVED_NOT_ASKED)
            q->status = q->n > 0 ? RESOLVED_OK : RESOLVED_NODATA;
    }
    return found;
}
