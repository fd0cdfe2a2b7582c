/* dns_list.c - the addresses of one upstream, in the file's order, each once. */
#include "proxy/dns_list.h"

#include "base/hash_index.h"
#include "base/mem.h"

struct dns_list *dns_list_new(void)
{
    struct dns_list *l = mem_alloc(sizeof(*l));
    if (!l)
        return NULL;
    dns_list_clear(l);
    return l;
}

void dns_list_clear(struct dns_list *l)
{
    l->n = l->left_out = 0;
    memset(l->slots, 0, sizeof(l->slots));
}

/* The slot that has the address, or the free one where it belongs. */
static uint16_t *find_slot(struct dns_list *l, const struct address *a)
{
    uint32_t i = hash_end(hash_bytes(HASH_BEGIN, (struct str){(const char *)&a->u, a->len}));
    for (;; i++) {
        uint16_t *slot = &l->slots[i % DNS_LIST_SLOTS];
        if (*slot == 0 || address_equal(&l->at[*slot - 1].address, a))
            return slot;
    }
}

/* NULL: it is there already, or there is no room. */
static struct endpoint_address *add(struct dns_list *l, const struct address *a)
{
    uint16_t *slot = find_slot(l, a);
    if (*slot != 0)
        return NULL;
    if (l->n == DNS_LIST_MAX) {
        l->left_out++;
        return NULL;
    }
    struct endpoint_address *e = &l->at[l->n++];
    *slot = (uint16_t)l->n;
    *e = (struct endpoint_address){.address = *a};
    return e;
}

void dns_list_add(struct dns_list *l, struct str text, const struct address *a)
{
    struct endpoint_address *e = add(l, a);
    if (e)
        e->text = text;
}

static struct address to_address(const struct resolver_ip *ip, uint16_t port)
{
    struct address a = {0};
    if (ip->six) {
        a.u.in6.sin6_family = AF_INET6;
        a.u.in6.sin6_port = htons(port);
        memcpy(&a.u.in6.sin6_addr, ip->bytes, 16);
        a.len = sizeof(a.u.in6);
    } else {
        a.u.in.sin_family = AF_INET;
        a.u.in.sin_port = htons(port);
        memcpy(&a.u.in.sin_addr, ip->bytes, 4);
        a.len = sizeof(a.u.in);
    }
    return a;
}

/* Never an endpoint: a connect to 0.0.0.0 or :: would reach this very host. */
static bool is_no_host(const struct resolver_ip *ip)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, zero[16];
    static const uint8_t broadcast[4] = {255, 255, 255, 255};
    const uint8_t *four = ip->bytes;
    if (ip->six) {
        if (memcmp(ip->bytes, zero, 16) == 0 || ip->bytes[0] == 0xff)
            return true;
        if (memcmp(ip->bytes, mapped, sizeof(mapped)) != 0)
            return false;
        four += sizeof(mapped);
    }
    return four[0] == 0 || (four[0] & 0xf0) == 224 || memcmp(four, broadcast, 4) == 0;
}

static bool refused(const struct resolver_ip *ip, bool allow_link_local)
{
    struct address a = to_address(ip, 0);
    return is_no_host(ip) || (!allow_link_local && address_is_link_local(&a));
}

static void add_ip(struct dns_list *l, const struct resolver_ip *ip, uint16_t port)
{
    struct address a = to_address(ip, port);
    char text[ADDRESS_TEXT_MAX];
    struct endpoint_address *e = add(l, &a);
    if (!e)
        return;
    char *at = l->text[l->n - 1];
    size_t n = strlen(address_format(&a, text));
    CHECK(n < sizeof(l->text[0]));
    memcpy(at, text, n + 1);
    e->text = (struct str){at, n};
}

/* True: it has an address that counts. */
static bool add_target(struct dns_list *l, const struct dns_target *t, uint16_t port, bool allow)
{
    uint32_t next[RESOLVER_FAMILIES] = {0};
    bool any = false, more = true;
    for (int f = RESOLVER_V6; more; f = 1 - f) {
        const struct dns_ips *s = &t->family[f];
        while (next[f] < s->n && refused(&s->at[next[f]], allow))
            next[f]++;
        if (next[f] < s->n) {
            add_ip(l, &s->at[next[f]++], port);
            any = true;
        }
        more = next[0] < t->family[0].n || next[1] < t->family[1].n;
    }
    return any;
}

void dns_list_add_name(struct dns_list *l, const struct dns_name *n, uint16_t port,
                       const struct conf_upstream_dns *u)
{
    bool any = false;
    if ((n->state == DNS_NOT_FOUND && u->on_not_found == DNS_REMOVE) ||
        (n->state == DNS_EMPTY && u->on_empty == DNS_REMOVE) || !n->targets)
        return;
    for (uint32_t i = 0; i < n->targets->n; i++) {
        const struct dns_target *t = &n->targets->at[i];
        if (any && t->priority != n->targets->at[i - 1].priority)
            break;
        if (add_target(l, t, t->port ? t->port : port, u->allow_link_local))
            any = true;
    }
}

void dns_name_count(const struct dns_name *n, bool allow_link_local, uint32_t *ret_n,
                    uint32_t *ret_refused)
{
    *ret_n = *ret_refused = 0;
    for (uint32_t i = 0; n->targets && i < n->targets->n; i++) {
        for (int f = 0; f < RESOLVER_FAMILIES; f++) {
            const struct dns_ips *s = &n->targets->at[i].family[f];
            *ret_n += s->n;
            for (uint32_t k = 0; k < s->n; k++)
                *ret_refused += refused(&s->at[k], allow_link_local);
        }
    }
}
