/* cidr.c - IP addresses and networks, without a port and without a socket. */
#include "base/cidr.h"

#include <arpa/inet.h>
#include <errno.h>

int cidr_parse(struct str text, struct cidr *ret)
{
    char host[INET6_ADDRSTRLEN];
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    size_t n = slash ? (size_t)(slash - text.p) : text.n;
    struct cidr c = {.bits = 128};
    struct in_addr in;
    uint64_t bits;

    if (n == 0 || n >= sizeof(host) || memchr(text.p, '\0', n))
        return -EINVAL;
    memcpy(host, text.p, n);
    host[n] = '\0';
    bool four = inet_pton(AF_INET, host, &in) == 1;
    if (four) {
        c.bytes[10] = c.bytes[11] = 0xff;
        memcpy(c.bytes + 12, &in, 4);
    } else if (inet_pton(AF_INET6, host, c.bytes) != 1) {
        return -EINVAL;
    }
    if (slash) {
        if (!str_to_u64((struct str){slash + 1, text.n - n - 1}, &bits) || bits > (four ? 32 : 128))
            return -EINVAL;
        c.bits = (uint8_t)(four ? bits + 96 : bits);
    }
    *ret = c;
    return 0;
}

bool cidr_contains(const struct cidr *c, const struct ip *ip)
{
    const uint8_t *b = ip->bytes;
    size_t whole = c->bits / 8;
    if (!ip->known)
        return false;
    if (memcmp(c->bytes, b, whole) != 0)
        return false;
    unsigned rest = c->bits % 8;
    if (rest == 0)
        return true;
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return ((c->bytes[whole] ^ b[whole]) & mask) == 0;
}

int ip_parse(struct str text, struct ip *ret)
{
    struct cidr c;
    if (text.n == 0 || memchr(text.p, '/', text.n) || cidr_parse(text, &c) < 0)
        return -EINVAL;
    memcpy(ret->bytes, c.bytes, sizeof(ret->bytes));
    ret->known = true;
    return 0;
}
